"""The task that changes many tickets: drives the run, then publishes or frees the worker, then raises."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from airflow.providers.common.compat.sdk import AirflowTaskTimeout, TaskDeferred

from airflow_provider_leen.bulk.outline import read_outline
from airflow_provider_leen.bulk.sending import Batching
from airflow_provider_leen.bulk.stores import MemoryStore
from airflow_provider_leen.bulk.summary import UpdateSummary
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
from airflow_provider_leen.tasks.deferral import Resumed, end_of_waiting, waited_too_long
from airflow_provider_leen.tasks.ledger import make_ledger
from airflow_provider_leen.tasks.publishing import Publisher
from airflow_provider_leen.tasks.running import BulkTask
from airflow_provider_leen.tasks.stopping import drive

if TYPE_CHECKING:
    from airflow_provider_leen.operators.update import LeenUpdateTicketsOperator


class UpdatingTask(BulkTask[UpdateSummary]):
    """Changes the tickets of an operator."""

    operator: LeenUpdateTicketsOperator
    retry_does = SAME_VALUES_AGAIN
    read_carried = staticmethod(read_outline)

    def prepare(self) -> None:
        """Read the ids and make the run."""
        operator = self.operator
        self._ids = read_ticket_ids(operator.ticket_ids)
        self._run = Update(
            self.client.aio,
            make_ledger(self.context, MemoryStore(), self.supervisor, embedded=False),
            unique_ids(self._ids),
            read_updates(operator.updates),
            Batching(operator.batch_size, operator.max_concurrent_batches),
        )

    def execute(self) -> UpdateSummary:
        """Do the work, publish the results, and raise if the task has to fail."""
        try:
            interruption = self._go_on(self.resumed) if self.resumed else self._submit_and_wait()
        except TaskDeferred:
            raise
        except AirflowTaskTimeout as error:
            # Raised by a signal, anywhere.
            interruption = self._timed_out(error)
        except BaseException as error:
            interruption = error
        return self._publish(interruption)

    def _submit_and_wait(self) -> BaseException | None:
        run, operator = self._run, self.operator
        drive(operator, self.client, run, run.submit())
        if operator.deferrable and run.jobs_under_way and run.error is None:
            self._wait_for_jobs()
        # Also after an error: running jobs are waited for before it is raised.
        drive(operator, self.client, run, run.wait(operator.poll_interval, self._report_progress))
        return None

    def _go_on(self, resumed: Resumed) -> BaseException | None:
        """Get the jobs that the trigger waited for; return why the task stops waiting for those still running."""
        run = self._run
        drive(self.operator, self.client, run, run.resume(resumed.carried))
        if run.error is not None or not run.jobs_under_way:
            return None
        ended = end_of_waiting(
            resumed, list(run.jobs_under_way), run.unknown, self.operator.execution_timeout, retry=SAME_VALUES_AGAIN
        )
        if ended is None:
            self._wait_for_jobs()
        return ended

    def _timed_out(self, error: BaseException) -> BaseException:
        """Name the running jobs."""
        jobs = list(self._run.jobs_under_way)
        if not jobs:
            return error
        named = waited_too_long(jobs, self.operator.execution_timeout, SAME_VALUES_AGAIN)
        named.__cause__ = error
        return named

    def _wait_for_jobs(self) -> NoReturn:
        """Free the worker until the jobs have ended."""
        self._report_progress()
        self.wait_for(list(self._run.jobs_under_way), self._run.outline()._asdict())

    def _report_progress(self) -> None:
        self.report_progress(progress_of(summarise(self._ids, self._run.ledger.table)))

    def _publish(self, interruption: BaseException | None) -> UpdateSummary:
        operator = self.operator
        summary = summarise(self._ids, self._run.ledger.table)
        error = interruption or final_error(summary, self._run.error, operator.max_failures, operator.max_failure_rate)
        publisher = Publisher(self.context, self.supervisor)
        publisher.push("return_value", summary)
        self.conclude(publisher, summary, error, self.retry_does)
        return summary
