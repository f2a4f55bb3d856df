"""The operator that changes many tickets alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from airflow.providers.common.compat.sdk import AirflowTaskTimeout, BaseOperator, TaskDeferred

from airflow_provider_leen.api.errors import LeenError, LeenOutcomeUnknownError
from airflow_provider_leen.operators.ending import Interruptible, failing_for_good
from airflow_provider_leen.operators.supervisor import SupervisorThread
from airflow_provider_leen.operators.waiting import end_of_waiting, read_event, results_before_waiting, waiting_ends_at
from airflow_provider_leen.tasks.arguments import FLAG, SECONDS, THRESHOLDS, Argument, check_literals, whole_number
from airflow_provider_leen.tasks.templates import RendersOnce

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context
    from airflow.providers.openlineage.extractors import OperatorLineage

    from airflow_provider_leen.api.sync_client import LeenClient
    from airflow_provider_leen.bulk.summary import UpdateSummary
    from airflow_provider_leen.bulk.update_run import UpdateRun

    Work = Callable[[SupervisorThread, LeenClient, UpdateRun, list[Any]], BaseException | None]

_JOBS = "jobs"
"""The XCom that says, while the worker is free, which jobs change which tickets."""


class LeenUpdateTicketsOperator(RendersOnce, Interruptible, BaseOperator):
    """Change many tickets alike, through Leen's jobs (``POST /itsm/tickets/bulk/update``).

    Every id has a result, whatever happens: a bad one is reported and does not sink its batch, and what is known is
    published before the task fails. :class:`LeenTicketFailureSensor` judges the summary. A retry sends everything
    again: setting the same values twice does no harm, but it undoes what a person changed in between.

    Leen changes the status first, and the other fields only where that worked. Give the task an ``execution_timeout``:
    a job that never ends is waited for until then.

    :param ticket_ids: Leen's ids of the tickets, UUIDs (templated): a list, an upstream task's output, a mapped
        upstream's outputs (ids, or lists of ids), one id, or a text that holds JSON or a Python literal. A ticket that
        was created with vendor ids has none before the connector's next sync.
    :param updates: what to set on each of them (templated): any of ``status``, ``priority``, ``assigned_user_id``,
        ``name``, ``description``.
    :param leen_conn_id: the Airflow connection, default ``leen_default`` (templated).
    :param connection_id: the Leen connection ID to use instead of the connection's login (templated).
    :param batch_size: tickets a job, 1 to 50, default 50 (templated).
    :param max_failures: publish the results, then fail when more tickets than this failed; default: the gate decides
        (templated).
    :param max_failure_rate: the same as a share of the total, 0 to 1; default: the gate decides (templated).
    :param poll_interval: seconds between two rounds of asking for the jobs, default 10 (templated).
    :param deferrable: free the worker while the jobs run, default False (templated).
    :return: the summary: ``total``, ``succeeded``, ``failed``, a count for each status, and ``results``, one for each
        id in the order of the input, each with ``request_index``, ``success``, ``status``, ``ticket_id`` and ``error``.
        The statuses: ``updated``; ``rejected`` (Leen or the vendor refused this ticket), ``invalid`` (no UUID, never
        sent), ``unknown`` (sent, and nobody can say), ``unsent`` (surely not changed: the task stopped before it).
    :raises AirflowFailException: from :class:`LeenAuthError`, :class:`LeenConfigError`, :class:`LeenNotFoundError`,
        :class:`LeenValidationError` or :class:`LeenThresholdError`, which a retry can't mend.
    :raises LeenOutcomeUnknownError: tickets were to be changed and nobody can say whether they were; it names them.
    :raises LeenConnectError: Leen can't be reached; what is left was not sent.
    :raises LeenRateLimitError: Leen asks to wait for longer than the connection allows.
    :raises LeenServerError: Leen fails again and again; what is left was not sent.
    :raises LeenStoppedError: the task was stopped from outside before it knew of every ticket.
    :raises AirflowTaskTimeout: the ``execution_timeout`` was over before all jobs had ended; it names those that go on.
    """

    argument_checks: ClassVar[dict[str, Argument]] = {
        "batch_size": whole_number(1, 50),
        **THRESHOLDS,
        "poll_interval": SECONDS,
        "deferrable": FLAG,
    }
    template_fields: Sequence[str] = ("ticket_ids", "updates", "leen_conn_id", "connection_id", *argument_checks)
    rendered_to_objects: ClassVar[frozenset[str]] = frozenset({"ticket_ids", "updates"})
    joined_fields: ClassVar[frozenset[str]] = frozenset({"ticket_ids"})
    template_fields_renderers: ClassVar[dict[str, str]] = {"ticket_ids": "json", "updates": "json"}
    ui_color = "#e6f4ea"

    def __init__(
        self,
        *,
        ticket_ids: Any,
        updates: Any,
        leen_conn_id: str = "leen_default",
        connection_id: str | None = None,
        batch_size: int | str = 50,
        max_failures: int | str | None = None,
        max_failure_rate: float | str | None = None,
        poll_interval: float | str = 10.0,
        deferrable: bool | str = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.ticket_ids = ticket_ids
        self.updates = updates
        self.leen_conn_id = leen_conn_id
        self.connection_id = connection_id
        self.batch_size: Any = batch_size
        self.max_failures: Any = max_failures
        self.max_failure_rate: Any = max_failure_rate
        self.poll_interval: Any = poll_interval
        self.deferrable: Any = deferrable
        check_literals(self, self.argument_checks)
        self._counts: dict[str, int] | None = None

    def execute(self, context: Context) -> UpdateSummary:
        """Change the tickets; publish what became of them; raise when the task has to fail."""
        return self._finish(context, partial(self._submit_and_wait, context))

    def execute_complete(self, context: Context, event: Any = None) -> UpdateSummary:
        """Go on after the trigger: ask what became of the jobs, publish it, raise when the task has to fail."""
        from airflow_provider_leen.bulk.updates import SAME_VALUES_AGAIN

        return self._finish(context, partial(self._collect, context, read_event(event, retry=SAME_VALUES_AGAIN)))

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> OperatorLineage[Any, Any] | None:
        """Tell OpenLineage how many tickets ended how, after a failure, too.

        :param task_instance: the one that has ended.
        :return: the run facet ``leen_tickets``, with the counts of the summary.
        """
        from airflow_provider_leen.operators.counts import lineage_of

        return lineage_of(self._counts)

    def _finish(self, context: Context, work: Work) -> UpdateSummary:
        """Do the work, publish what became of the tickets, and raise when the task has to fail."""
        from airflow_provider_leen.bulk.update_run import UpdateRun
        from airflow_provider_leen.bulk.updates import read_ticket_ids
        from airflow_provider_leen.hooks.leen import LeenHook

        with (
            failing_for_good(),
            SupervisorThread() as supervisor,
            LeenHook(self.leen_conn_id, connection_id=self.connection_id) as hook,
        ):
            ids = read_ticket_ids(self.ticket_ids)
            client = hook.get_conn()
            run = UpdateRun(client.aio)
            try:
                interruption = work(supervisor, client, run, ids)
            except (TaskDeferred, LeenOutcomeUnknownError):
                # The latter where XCom has lost what was known before the wait: nothing can be published.
                raise
            except LeenError as error:
                run.halted, interruption = error, None
            except BaseException as error:
                interruption = self._interruption(error, run)
            return self._publish(context, supervisor, run, ids, interruption)

    def _interruption(self, error: BaseException, run: UpdateRun) -> BaseException:
        """Return what interrupted the work; a timeout, which a signal raises anywhere, names the jobs that go on."""
        if not isinstance(error, AirflowTaskTimeout) or not run.jobs:
            return error
        named = self._end_of_waiting({"status": "timeout"}, run)
        assert named is not None
        named.__cause__ = error
        return named

    def _submit_and_wait(
        self, context: Context, supervisor: SupervisorThread, client: LeenClient, run: UpdateRun, ids: list[Any]
    ) -> BaseException | None:
        from airflow_provider_leen.bulk.updates import in_batches, read_updates

        self._drive(client, run, run.submit(in_batches(ids, self.batch_size), read_updates(self.updates)))
        if self.deferrable and run.jobs and run.halted is None:
            self._free_the_worker(context, supervisor, run, ids)
        # After an error, too: what is under way is waited for before it is raised.
        tell_progress = partial(self._tell_progress, context, supervisor, run, ids)
        self._drive(client, run, run.wait(self.poll_interval, tell_progress))
        return None

    def _collect(
        self,
        context: Context,
        event: Mapping[str, Any],
        supervisor: SupervisorThread,
        client: LeenClient,
        run: UpdateRun,
        ids: list[Any],
    ) -> BaseException | None:
        """Ask for the jobs that the trigger waited for; return why those that go on are not waited for any longer."""
        from airflow_provider_leen.bulk.updates import SAME_VALUES_AGAIN, outcomes_in

        run.outcomes = outcomes_in(supervisor.call(results_before_waiting, context, retry=SAME_VALUES_AGAIN))
        run.jobs = supervisor.call(_jobs_before_waiting, context)
        self._drive(client, run, run.ask())
        if run.halted is not None or not run.jobs:
            return None
        ended = self._end_of_waiting(event, run)
        if ended is None:
            self._free_the_worker(context, supervisor, run, ids)
        return ended

    def _end_of_waiting(self, event: Mapping[str, Any], run: UpdateRun) -> BaseException | None:
        from airflow_provider_leen.bulk.updates import SAME_VALUES_AGAIN

        return end_of_waiting(event, list(run.jobs), run.unknown, self.execution_timeout, retry=SAME_VALUES_AGAIN)

    def _free_the_worker(
        self, context: Context, supervisor: SupervisorThread, run: UpdateRun, ids: list[Any]
    ) -> NoReturn:
        """Wait in the triggerer for the jobs; what is known by now is kept in XCom meanwhile."""
        from airflow_provider_leen.bulk.summary import counted
        from airflow_provider_leen.bulk.updates import SAME_VALUES_AGAIN, summarise
        from airflow_provider_leen.operators.publishing import Publisher
        from airflow_provider_leen.triggers.leen import LeenJobsTrigger

        self._tell_progress(context, supervisor, run, ids)
        # Not handed over with the deferral: dag.test() drops what a deferral hands over beside the event.
        publisher = Publisher(context, supervisor)
        publisher.push(_JOBS, run.jobs)
        publisher.push("return_value", summarise(ids, run.outcomes))
        publisher.conclude(None, SAME_VALUES_AGAIN)
        deadline = waiting_ends_at(context["ti"].start_date, self.execution_timeout)
        self.log.info("Waiting for %s, and freeing the worker meanwhile.", counted(len(run.jobs), "job"))
        self.defer(
            trigger=LeenJobsTrigger(
                self.leen_conn_id, self.connection_id, list(run.jobs), self.poll_interval, deadline
            ),
            method_name="execute_complete",
        )
        raise AssertionError("defer() raises")

    def _tell_progress(self, context: Context, supervisor: SupervisorThread, run: UpdateRun, ids: list[Any]) -> None:
        """Let the gate that watches this task know how far it is."""
        from airflow_provider_leen.bulk.updates import progress_of, summarise

        progress = progress_of(summarise(ids, run.outcomes))
        supervisor.begin(context["ti"].xcom_push, key="progress", value=progress)

    def _publish(
        self,
        context: Context,
        supervisor: SupervisorThread,
        run: UpdateRun,
        ids: list[Any],
        interruption: BaseException | None,
    ) -> UpdateSummary:
        from airflow_provider_leen.bulk.summary import closing_table, counted
        from airflow_provider_leen.bulk.updates import SAME_VALUES_AGAIN, final_error, summarise
        from airflow_provider_leen.bulk.verdict import left_to_the_gate
        from airflow_provider_leen.operators.counts import NAME, counts_in
        from airflow_provider_leen.operators.publishing import Publisher

        summary = summarise(ids, run.outcomes)
        self._counts = counts_in(summary)
        error = interruption or final_error(summary, run.halted, self.max_failures, self.max_failure_rate)
        publisher = Publisher(context, supervisor)
        publisher.push("return_value", summary)
        told = counted(summary["total"], "ticket"), closing_table(summary)
        self.log.info("What became of %s:\n%s", *told, extra={NAME: self._counts})
        publisher.conclude(error, SAME_VALUES_AGAIN)
        if warning := left_to_the_gate(summary, self.max_failures, self.max_failure_rate):
            self.log.warning(warning)
        return summary


def _jobs_before_waiting(context: Context) -> dict[str, list[str]]:
    """Return by job id the tickets of the jobs that the task waited for.

    :raises LeenOutcomeUnknownError: they are gone.
    """
    from airflow_provider_leen.bulk.updates import SAME_VALUES_AGAIN

    ti = context["ti"]
    map_index = -1 if ti.map_index is None else ti.map_index
    jobs = ti.xcom_pull(task_ids=ti.task_id, key=_JOBS, map_indexes=map_index)
    if isinstance(jobs, dict):
        return jobs
    raise LeenOutcomeUnknownError(
        f"The XCom {_JOBS!r} of this task is gone, which says which jobs it waited for. They go on at Leen. "
        f"{SAME_VALUES_AGAIN}",
        can_be_settled=True,
    )
