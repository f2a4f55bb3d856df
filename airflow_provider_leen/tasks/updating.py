"""What happens inside a task that changes many tickets: drive the run, then publish or free the worker, then raise."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.providers.common.compat.sdk import AirflowTaskTimeout, TaskDeferred

from airflow_provider_leen.bulk.stores import MemoryStore
from airflow_provider_leen.bulk.summary import UpdateSummary, closing_table, counted
from airflow_provider_leen.bulk.update import Update
from airflow_provider_leen.bulk.updates import (
    SAME_VALUES_AGAIN,
    final_error,
    progress_of,
    read_ticket_ids,
    read_updates,
    summarise,
    unique_ids,
)
from airflow_provider_leen.bulk.verdict import left_to_the_gate
from airflow_provider_leen.hooks.leen import LeenHook
from airflow_provider_leen.tasks.deferral import (
    Resumed,
    carried,
    end_of_waiting,
    read_event,
    waited_too_long,
    waiting_ends_at,
)
from airflow_provider_leen.tasks.ledger import make_ledger
from airflow_provider_leen.tasks.lineage import NAME, counts_in
from airflow_provider_leen.tasks.publishing import Publisher
from airflow_provider_leen.tasks.stopping import drive, fail_without_retry
from airflow_provider_leen.tasks.supervisor import SupervisorThread

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_leen.api.sync_client import LeenClient
    from airflow_provider_leen.operators.update import LeenUpdateTicketsOperator

log = logging.getLogger(__name__)


def update_tickets(operator: LeenUpdateTicketsOperator, context: Context) -> UpdateSummary:
    """Change the tickets of an operator, publish the results, and raise when the task has to fail."""
    return _run(operator, context, None)


def go_on_updating(operator: LeenUpdateTicketsOperator, context: Context, event: Any) -> UpdateSummary:
    """Go on after the trigger: collect what the jobs did, publish it, and raise when the task has to fail."""
    return _run(operator, context, read_event(event, retry=SAME_VALUES_AGAIN))


def _run(operator: LeenUpdateTicketsOperator, context: Context, resumed: Resumed | None) -> UpdateSummary:
    with (
        fail_without_retry(),
        SupervisorThread() as supervisor,
        LeenHook(operator.leen_conn_id, connection_id=operator.connection_id) as hook,
    ):
        return _UpdatingTask(operator, context, supervisor, hook.get_conn(), resumed).execute()


class _UpdatingTask:
    """One process of one try.

    :param resumed: what the trigger's event says, where the task has waited for its jobs.
    """

    def __init__(
        self,
        operator: LeenUpdateTicketsOperator,
        context: Context,
        supervisor: SupervisorThread,
        client: LeenClient,
        resumed: Resumed | None,
    ) -> None:
        self._operator = operator
        self._context = context
        self._supervisor = supervisor
        self._client = client
        self._resumed = resumed
        self._ids = read_ticket_ids(operator.ticket_ids)
        self._store = MemoryStore(resumed.values if resumed else {})
        self._run = Update(
            client.aio,
            make_ledger(context, self._store, supervisor.executor, embedded=False),
            unique_ids(self._ids),
            read_updates(operator.updates),
            batch_size=operator.batch_size,
            max_concurrent_batches=operator.max_concurrent_batches,
        )

    def execute(self) -> UpdateSummary:
        """Do the work; publish what is known; raise when the task has to fail."""
        try:
            interruption = self._go_on(self._resumed) if self._resumed else self._submit_and_wait()
        except TaskDeferred:
            raise
        except AirflowTaskTimeout as error:
            # Raised by a signal, anywhere.
            interruption = self._timed_out(error)
        except BaseException as error:
            interruption = error
        return self._publish(interruption)

    def _submit_and_wait(self) -> BaseException | None:
        run, operator = self._run, self._operator
        drive(operator, self._client, run, run.submit())
        if operator.deferrable and run.jobs_under_way and run.error is None:
            self._wait_for_jobs()
        # After an error, too: what is under way is waited for before it is raised.
        drive(operator, self._client, run, run.wait(operator.poll_interval, self._report_progress))
        return None

    def _go_on(self, resumed: Resumed) -> BaseException | None:
        """Ask for the jobs that the trigger waited for; return why those that go on are not waited for any longer."""
        run = self._run
        drive(self._operator, self._client, run, run.resume(resumed.place))
        if run.error is not None or not run.jobs_under_way:
            return None
        ended = end_of_waiting(
            resumed, list(run.jobs_under_way), run.unknown, self._operator.execution_timeout, retry=SAME_VALUES_AGAIN
        )
        if ended is None:
            self._wait_for_jobs()
        return ended

    def _timed_out(self, error: BaseException) -> BaseException:
        """Name the jobs that go on."""
        jobs = list(self._run.jobs_under_way)
        if not jobs:
            return error
        named = waited_too_long(jobs, self._operator.execution_timeout, SAME_VALUES_AGAIN)
        named.__cause__ = error
        return named

    def _wait_for_jobs(self) -> NoReturn:
        """Free the worker until the jobs have ended."""
        from airflow_provider_leen.triggers.leen import LeenJobsTrigger

        operator, jobs = self._operator, list(self._run.jobs_under_way)
        self._client.run(self._run.ledger.flush())
        self._report_progress()
        log.info("Waiting for %s, and freeing the worker meanwhile.", counted(len(jobs), "job"))
        operator.defer(
            trigger=LeenJobsTrigger(
                operator.leen_conn_id,
                operator.connection_id,
                jobs,
                operator.poll_interval,
                waiting_ends_at(self._context["ti"].start_date, operator.execution_timeout),
                carried(self._run.ledger.place, values=self._store.values),
            ),
            method_name="execute_complete",
        )
        raise AssertionError("defer() raises")

    def _report_progress(self) -> None:
        """Let the gate that watches this task know how far it is."""
        progress = progress_of(summarise(self._ids, self._run.ledger.table))
        self._supervisor.begin(self._context["ti"].xcom_push, key="progress", value=progress)

    def _publish(self, interruption: BaseException | None) -> UpdateSummary:
        operator = self._operator
        summary = summarise(self._ids, self._run.ledger.table)
        operator.counts = counts_in(summary)
        error = interruption or final_error(summary, self._run.error, operator.max_failures, operator.max_failure_rate)
        publisher = Publisher(self._context, self._supervisor)
        publisher.push("return_value", summary)
        # The task's own logger: Airflow 3 drops the fields of lines that other loggers write.
        operator.log.info(
            "Results of %s:\n%s",
            counted(summary["total"], "ticket"),
            closing_table(summary),
            extra={NAME: operator.counts},
        )
        publisher.conclude(error, SAME_VALUES_AGAIN)
        if warning := left_to_the_gate(summary, operator.max_failures, operator.max_failure_rate):
            log.warning(warning)
        return summary
