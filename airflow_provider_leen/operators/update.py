"""The operator that changes many tickets alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from threading import Event
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.common.compat.sdk import AirflowFailException, BaseOperator, TaskDeferred

from airflow_provider_leen.api.errors import (
    LeenConnectError,
    LeenError,
    LeenOutcomeUnknownError,
    LeenRateLimitError,
    LeenServerError,
    LeenStoppedError,
)
from airflow_provider_leen.operators.arguments import check_flag, check_seconds, check_whole_number
from airflow_provider_leen.operators.leen import BEYOND_RETRY
from airflow_provider_leen.operators.supervisor import SupervisorThread
from airflow_provider_leen.operators.waiting import waiting_ends_at

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_leen.bulk.updates import Outcome, UpdateSummary
    from airflow_provider_leen.hooks.leen import LeenHook

    Work = Callable[[SupervisorThread, LeenHook, list[Any], dict[str, Outcome]], None]

_JOBS = "jobs"
"""The XCom that says, while the worker is free, which jobs change which tickets."""

_PASSING = (LeenConnectError, LeenRateLimitError, LeenServerError)
"""What ends by itself: a job is asked for again."""


class LeenUpdateTicketsOperator(BaseOperator):
    """Change many tickets alike, through Leen's jobs (``POST /itsm/tickets/bulk/update``).

    Every id has a result, and what is known is published before the task fails. A retry sends everything again: setting
    the same values twice does no harm, but it undoes what a person changed in between.

    Leen changes the status first, and the other fields only where that worked. Give the task an ``execution_timeout``:
    a job that never ends is waited for until then.

    :param ticket_ids: Leen's ids of the tickets, UUIDs (templated): a list, an upstream task's output, a mapped
        upstream's outputs (ids, or lists of ids), one id, or a text that holds JSON or a Python literal. A ticket that
        was created with vendor ids has none before the connector's next sync.
    :param updates: what to set on each of them (templated): any of ``status``, ``priority``, ``assigned_user_id``,
        ``name``, ``description``.
    :param leen_conn_id: the Airflow connection, default ``leen_default`` (templated).
    :param connection_id: the Leen connection ID to use instead of the connection's login (templated).
    :param batch_size: tickets a job, 1 to 50, default 50.
    :param max_failures: fail when more tickets than this failed; default: with no limit at all, any failure fails.
    :param max_failure_rate: the same as a share of the total, 0 to 1; default: no such limit.
    :param poll_interval: seconds between two rounds of asking for the jobs, default 10.
    :param deferrable: free the worker while the jobs run, default False.
    :return: the summary: ``total``, ``succeeded``, ``failed``, a count for each status, and ``results``, one for each
        id in the order of the input, each with ``request_index``, ``success``, ``status``, ``ticket_id`` and ``error``.
        The statuses: ``updated``; ``rejected`` (Leen or the vendor refused), ``invalid`` (no UUID, never sent),
        ``unknown`` (sent, and nobody can say), ``unsent``.
    :raises AirflowFailException: from :class:`LeenAuthError`, :class:`LeenConfigError`, :class:`LeenNotFoundError`,
        :class:`LeenValidationError` or :class:`LeenThresholdError`, which a retry can't mend.
    :raises LeenOutcomeUnknownError: tickets were to be changed and nobody can say whether they were; it names them.
    :raises LeenConnectError: Leen can't be reached; what is left was not sent.
    :raises LeenRateLimitError: Leen asks to wait for longer than the connection allows.
    :raises LeenStoppedError: the task was stopped from outside before it knew of every ticket.
    :raises AirflowTaskTimeout: the ``execution_timeout`` was over before all jobs had ended.
    """

    template_fields: Sequence[str] = ("ticket_ids", "updates", "leen_conn_id", "connection_id")
    template_fields_renderers: ClassVar[dict[str, str]] = {"ticket_ids": "json", "updates": "json"}
    ui_color = "#e6f4ea"

    def __init__(
        self,
        *,
        ticket_ids: Any,
        updates: Any,
        leen_conn_id: str = "leen_default",
        connection_id: str | None = None,
        batch_size: int = 50,
        max_failures: int | None = None,
        max_failure_rate: float | None = None,
        poll_interval: float = 10.0,
        deferrable: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_whole_number("batch_size", batch_size, 1, 50)
        check_seconds("poll_interval", poll_interval)
        check_flag("deferrable", deferrable)
        if max_failures is not None or max_failure_rate is not None:
            from airflow_provider_leen.bulk.summary import check_thresholds

            check_thresholds(max_failures, max_failure_rate)
        self.ticket_ids = ticket_ids
        self.updates = updates
        self.leen_conn_id = leen_conn_id
        self.connection_id = connection_id
        self.batch_size = batch_size
        self.max_failures = max_failures
        self.max_failure_rate = max_failure_rate
        self.poll_interval = poll_interval
        self.deferrable = deferrable
        self._stop: Event | None = None

    def execute(self, context: Context) -> UpdateSummary:
        """Change the tickets; publish what became of them; raise when the task has to fail."""
        return self._finish(context, partial(self._submit_and_wait, context))

    def execute_complete(self, context: Context, event: Any = None) -> UpdateSummary:
        """Go on after the trigger: ask what became of the jobs, publish it, raise when the task has to fail."""
        status = event.get("status") if isinstance(event, dict) else None
        if status not in ("done", "timeout", "error"):
            raise LeenOutcomeUnknownError(
                f"The trigger that waited for Leen's jobs sent no usable event ({event!r:.200}). The jobs go on at "
                "Leen; a retry sets the same values again, which does no harm.",
                can_be_settled=True,
            )
        if status == "error":
            self.log.warning("The trigger could not ask for the jobs: %s", event.get("message"))
        return self._finish(context, partial(self._collect, context, timed_out=status == "timeout"))

    def on_kill(self) -> None:
        """Stop sending and waiting. Called in the signal handler, in the middle of whatever the main thread does."""
        if self._stop is not None:
            self._stop.set()

    def _finish(self, context: Context, work: Work) -> UpdateSummary:
        """Do the work, publish what became of the tickets, and raise when the task has to fail."""
        from airflow_provider_leen.bulk.updates import read_ticket_ids
        from airflow_provider_leen.hooks.leen import LeenHook

        self._stop = Event()
        outcomes: dict[str, Outcome] = {}
        ended: BaseException | None = None
        try:
            ids = read_ticket_ids(self.ticket_ids)
            with SupervisorThread() as supervisor:
                with LeenHook(self.leen_conn_id, connection_id=self.connection_id) as hook:
                    try:
                        work(supervisor, hook, ids, outcomes)
                    except TaskDeferred:
                        raise
                    except BaseException as error:
                        # The task's timeout as well, which a signal raises: what is known is published first.
                        ended = error
                return self._publish(context, supervisor, ids, outcomes, ended)
        except BEYOND_RETRY as error:
            failure = AirflowFailException(str(error))
            failure.__cause__ = error
        raise failure

    def _submit_and_wait(
        self,
        context: Context,
        supervisor: SupervisorThread,
        hook: LeenHook,
        ids: list[Any],
        outcomes: dict[str, Outcome],
    ) -> None:
        from airflow_provider_leen.bulk.updates import in_batches, read_updates

        submitted: dict[str, list[str]] = {}
        halted: LeenError | None = None
        updates = read_updates(self.updates)
        for batch in in_batches(ids, self.batch_size):
            try:
                self._submit(hook, batch, updates, submitted, outcomes)
            except LeenError as error:
                # The last submission; what is under way is waited for before its error is raised.
                halted = error
                break
        if self.deferrable and submitted and halted is None:
            # Not handed over with the deferral: dag.test() drops what a deferral hands over beside the event.
            supervisor.call(context["ti"].xcom_push, key=_JOBS, value=submitted)
            self._free_the_worker(context, submitted)
        self._wait(hook, submitted, outcomes)
        if halted is not None:
            raise halted

    def _submit(
        self,
        hook: LeenHook,
        batch: list[str],
        updates: dict[str, str],
        submitted: dict[str, list[str]],
        outcomes: dict[str, Outcome],
    ) -> None:
        from airflow_provider_leen.api.retry import Effect, effect_of_write
        from airflow_provider_leen.bulk.updates import Outcome

        assert self._stop is not None
        if self._stop.is_set():
            raise LeenStoppedError("The task was stopped from outside before all tickets were sent.")
        # Before the request: a timeout may strike in the middle of it.
        outcomes.update(dict.fromkeys(batch, Outcome("unknown", "the task ended while it was being sent")))
        try:
            job_id = hook.submit_bulk_update(batch, updates)
        except LeenError as error:
            effect = effect_of_write(error)
            status = {Effect.NOTHING: "unsent", Effect.REFUSED: "rejected", Effect.UNKNOWN: "unknown"}[effect]
            outcomes.update(dict.fromkeys(batch, Outcome(status, str(error))))  # type: ignore[arg-type]
            raise
        submitted[job_id] = batch
        outcomes.update(dict.fromkeys(batch, Outcome("unknown", f"the task ended before its job {job_id}")))
        self.log.info("Job %s changes %d tickets.", job_id, len(batch))

    def _free_the_worker(self, context: Context, submitted: Mapping[str, list[str]]) -> None:
        from airflow_provider_leen.triggers.leen import LeenJobsTrigger

        deadline = waiting_ends_at(context["ti"].start_date, self.execution_timeout)
        self.log.info("Waiting for %d jobs, and freeing the worker meanwhile.", len(submitted))
        self.defer(
            trigger=LeenJobsTrigger(
                self.leen_conn_id, self.connection_id, list(submitted), self.poll_interval, deadline
            ),
            method_name="execute_complete",
        )

    def _wait(self, hook: LeenHook, submitted: Mapping[str, list[str]], outcomes: dict[str, Outcome]) -> None:
        """Ask for the jobs until all have ended."""
        assert self._stop is not None
        waiting = dict(submitted)
        while waiting := self._ask(hook, waiting, outcomes):
            if self._stop.wait(self.poll_interval):
                raise LeenStoppedError("The task was stopped from outside before all of its jobs had ended.")

    def _collect(
        self,
        context: Context,
        supervisor: SupervisorThread,
        hook: LeenHook,
        ids: list[Any],
        outcomes: dict[str, Outcome],
        *,
        timed_out: bool,
    ) -> None:
        """Ask for the jobs that the trigger waited for."""
        ti = context["ti"]
        map_index = -1 if ti.map_index is None else ti.map_index
        submitted = supervisor.call(ti.xcom_pull, task_ids=ti.task_id, key=_JOBS, map_indexes=map_index)
        if not isinstance(submitted, dict):
            raise LeenOutcomeUnknownError(
                f"The XCom {_JOBS!r} of this task is gone, which says which jobs it waited for. They go on at Leen; a "
                "retry sets the same values again, which does no harm.",
                can_be_settled=True,
            )
        waiting = self._ask(hook, submitted, outcomes)
        if waiting and timed_out:
            from airflow.providers.common.compat.sdk import AirflowTaskTimeout

            raise AirflowTaskTimeout(
                f"{len(waiting)} jobs had not ended when the task's execution_timeout of {self.execution_timeout} was "
                f"over: {', '.join(list(waiting)[:20])}."
            )
        self._wait(hook, waiting, outcomes)

    def _ask(
        self, hook: LeenHook, submitted: Mapping[str, list[str]], outcomes: dict[str, Outcome]
    ) -> dict[str, list[str]]:
        """Ask for each job once; fill in what became of its tickets, and return the jobs that have not ended."""
        from airflow_provider_leen.api.jobs import has_ended
        from airflow_provider_leen.bulk.updates import Outcome, outcomes_of

        waiting: dict[str, list[str]] = {}
        for job_id, batch in submitted.items():
            try:
                job = hook.get_job(job_id)
            except _PASSING as error:
                outcomes.update(dict.fromkeys(batch, Outcome("unknown", f"its job could not be asked for: {error}")))
                waiting[job_id] = batch
                continue
            outcomes.update(outcomes_of(job, batch))
            if not has_ended(job):
                waiting[job_id] = batch
        return waiting

    def _publish(
        self,
        context: Context,
        supervisor: SupervisorThread,
        ids: list[Any],
        outcomes: Mapping[str, Outcome],
        ended: BaseException | None,
    ) -> UpdateSummary:
        from airflow_provider_leen.bulk.updates import closing_table, final_error, summarise

        summary = summarise(ids, outcomes)
        self.log.info("What became of %d tickets:\n%s", summary["total"], closing_table(summary))
        error = ended
        if ended is None or isinstance(ended, LeenError):
            error = final_error(summary, ended, self.max_failures, self.max_failure_rate)
        if error is None:
            return summary
        # Airflow publishes what a task returns, but not when it fails.
        supervisor.call(context["ti"].xcom_push, key="return_value", value=summary)
        raise error
