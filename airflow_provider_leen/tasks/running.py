"""What all tasks about many tickets share: how they begin, free the worker while jobs run, and end."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Generic, NoReturn, TypeVar

from airflow_provider_leen.bulk.summary import AnySummary, Progress, closing_table, counted
from airflow_provider_leen.bulk.verdict import failures_that_nothing_judges
from airflow_provider_leen.hooks.leen import LeenHook
from airflow_provider_leen.tasks.deferral import NOTHING_TWICE, Resumed, read_event, waiting_ends_at
from airflow_provider_leen.tasks.gating import is_gated
from airflow_provider_leen.tasks.lineage import NAME, counts_in, give_to_assets
from airflow_provider_leen.tasks.publishing import Publisher
from airflow_provider_leen.tasks.stopping import fail_without_retry
from airflow_provider_leen.tasks.supervisor import SupervisorThread

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_leen.api.sync_client import LeenClient

log = logging.getLogger(__name__)

SummaryT = TypeVar("SummaryT", bound=AnySummary)


@contextmanager
def connected(operator: Any) -> Iterator[tuple[SupervisorThread, LeenHook]]:
    """Let a task call Airflow's supervisor and Leen; errors that a retry can't fix fail it without one."""
    with (
        fail_without_retry(),
        SupervisorThread() as supervisor,
        LeenHook(operator.leen_conn_id, connection_id=operator.connection_id) as hook,
    ):
        yield supervisor, hook


@dataclass
class BulkTask(Generic[SummaryT]):
    """One process of one try of a task about many tickets. A subclass has the body: :meth:`prepare`, :meth:`execute`.

    :param resumed: the content of the trigger's event, if the task has waited for its jobs.
    """

    operator: Any
    context: Context
    supervisor: SupervisorThread
    client: LeenClient
    resumed: Resumed | None

    retry_does: ClassVar[str] = NOTHING_TWICE
    """What a retry does with the jobs of this try, for a person."""

    def __post_init__(self) -> None:
        self.prepare()

    @classmethod
    def start(cls, operator: Any, context: Context) -> SummaryT:
        """Do a task's work, publish the results, and raise if it has to fail."""
        with connected(operator) as (supervisor, hook):
            return cls(operator, context, supervisor, hook.get_conn(), None).execute()

    @classmethod
    def go_on(cls, operator: Any, context: Context, event: Any) -> SummaryT:
        """Continue after the trigger: collect the jobs' results, publish them, and raise if the task has to fail."""
        resumed = read_event(event, cls.read_carried, retry=cls.retry_does)
        with connected(operator) as (supervisor, hook):
            return cls(operator, context, supervisor, hook.get_conn(), resumed).execute()

    @staticmethod
    def read_carried(carried: Any) -> Any:
        """Read what a trigger has carried; see :func:`~.deferral.read_event`."""
        raise NotImplementedError

    def prepare(self) -> None:
        """Read the arguments and make the run."""
        raise NotImplementedError

    def execute(self) -> SummaryT:
        """Do the work, publish the results, and raise if the task has to fail."""
        raise NotImplementedError

    def report_progress(self, progress: Progress) -> None:
        """Publish the progress for the gate that watches this task."""
        self.supervisor.submit(self.context["ti"].xcom_push, key="progress", value=progress)

    def wait_for(self, jobs: Sequence[str], carried: Mapping[str, Any], *, register: str | None = None) -> NoReturn:
        """Free the worker until jobs have ended.

        :param carried: the state for the process that continues.
        :param register: the folder of the register's scope whose lease this try holds.
        """
        from airflow_provider_leen.triggers.leen import LeenJobsTrigger

        operator = self.operator
        log.info("Freeing the worker while %s run: %s", counted(len(jobs), "job"), ", ".join(jobs[:20]))
        operator.defer(
            trigger=LeenJobsTrigger(
                operator.leen_conn_id,
                operator.connection_id,
                jobs,
                operator.poll_interval,
                waiting_ends_at(self.context["ti"].start_date, operator.execution_timeout),
                dict(carried),
                register,
            ),
            method_name="execute_complete",
        )
        raise AssertionError("defer() raises")

    def conclude(
        self, publisher: Publisher, summary: SummaryT, ended_with: BaseException | None, retry: str | None
    ) -> None:
        """Log the published results, and raise the error that ended the task, if any.

        :param retry: what a retry of the task does if an XCom could not be published; see :class:`Publisher`.
        """
        operator = self.operator
        operator.counts = counts_in(summary)
        give_to_assets(operator.outlets, self.context, operator.counts)
        # The task's own logger: Airflow 3 drops the extra fields of other loggers.
        operator.log.info(
            "Results of %s:\n%s",
            counted(summary["total"], "ticket"),
            closing_table(summary),
            extra={NAME: operator.counts},
        )
        publisher.conclude(ended_with, retry)
        gated = is_gated(operator.task_id, self.context.get("dag"))
        if warning := failures_that_nothing_judges(
            summary, operator.max_failures, operator.max_failure_rate, is_gated=gated
        ):
            log.warning(warning)
