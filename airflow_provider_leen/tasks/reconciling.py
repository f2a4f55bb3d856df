"""The task that reconciles a list of findings: drives the run, then publishes, then raises."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_leen.api.errors import LeenConfigError
from airflow_provider_leen.bulk.lookup import settled_after
from airflow_provider_leen.bulk.plan import Settings
from airflow_provider_leen.bulk.reconcile import Reconciliation
from airflow_provider_leen.bulk.sending import Batching
from airflow_provider_leen.bulk.summary import Summary
from airflow_provider_leen.bulk.tickets import TicketRow, payload
from airflow_provider_leen.tasks.creating import CreatingTask, warn_of_earlier
from airflow_provider_leen.tasks.register import known_at, make_register_ledger
from airflow_provider_leen.tasks.sources import absent, gaps

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_leen.operators.reconcile import LeenReconcileTicketsOperator

log = logging.getLogger(__name__)


class ReconcilingTask(CreatingTask):
    """Reconciles an operator's findings with their tickets."""

    operator: LeenReconcileTicketsOperator  # type: ignore[assignment]  # it has all that the body of a creation reads
    _run: Reconciliation

    def execute(self) -> Summary:
        """Do the work, even with an empty list, publish the results, and raise if the task has to fail."""
        return self._publish(self._drive())

    def _given_rows(self) -> Sequence[Any]:
        operator = self.operator
        written = operator.as_written("tickets")
        lacking = gaps(operator, written, self.context)
        if operator.tickets_path is None:
            lacking += absent(operator.tickets, written)
        if lacking:
            log.warning("Sources of the list gave nothing, or an instance of them did: %s.", ", ".join(lacking))
        self._is_whole = not lacking
        return super()._given_rows()

    def _make_run(self) -> Reconciliation:
        operator, settings = self.operator, self.client.settings
        if self._register is None:
            raise LeenConfigError("`register` is empty: write the folder or object-storage URL of the register.")

        def body(row: TicketRow, note: str) -> dict[str, Any]:
            return payload(row, self._defaults, self._fitting, note)

        return Reconciliation(
            self.client.aio,
            self.supervisor.call(make_register_ledger, self._register, self.context, settings, self.supervisor),
            self._rows,
            body,
            Batching(operator.batch_size, operator.max_concurrent_batches),
            settings=Settings(
                operator.on_gone,
                operator.on_returned,
                operator.close_after,
                operator.max_close_rate,
                operator.max_new,
                settled_after(settings),
            ),
            is_whole=self._is_whole,
            run=self.context["ti"].run_id,
            at=time_of_list(self.context),
            statuses={"open": operator.reopened_status, "closed": operator.closed_status},
            poll_interval=operator.poll_interval,
            dry_run=operator.dry_run,
            expected=expected_plan(operator.expected_plan),
            known=self.supervisor.call(known_at, operator.known_path),
            on_unknown=operator.on_unknown,
            on_progress=self.report_progress,
        )

    def _summary(self) -> Summary:
        summary: Any = self._run.summary()
        warn_of_earlier(summary["earlier_unknown"])
        return summary  # type: ignore[no-any-return]  # it has all that is read of a creation's


def expected_plan(given: str | None) -> str | None:
    """Return the approved plan; None for any.

    :raises LeenConfigError: a template rendered to nothing, which must not count as "any".
    """
    if given is not None and given.strip() in ("", "None"):
        raise LeenConfigError("`expected_plan` is empty: the dry run that it refers to has published no plan.")
    return given and given.strip()


def time_of_list(context: Context) -> float:
    """Return the time of the list: when the Dag run was due, in seconds since the epoch."""
    run = context["dag_run"]
    names = ("run_after", "data_interval_end", "logical_date", "start_date")
    times = (getattr(run, name, None) for name in names)
    return next((moment.timestamp() for moment in times if moment is not None), 0.0)
