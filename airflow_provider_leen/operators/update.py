"""The operator that makes the same change to many tickets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.common.compat.sdk import BaseOperator

from airflow_provider_leen.operators.base import ManyTickets
from airflow_provider_leen.tasks.arguments import FLAG, SECONDS, THRESHOLDS, Argument, check_literals, whole_number

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_leen.bulk.summary import UpdateSummary

__all__ = ["LeenUpdateTicketsOperator"]


class LeenUpdateTicketsOperator(ManyTickets, BaseOperator):
    """Make the same change to many tickets, through Leen's jobs (``POST /itsm/tickets/bulk/update``).

    Every id gets a result with its outcome. A bad one is reported and does not fail its batch. Results are published
    before the task fails. :class:`LeenTicketFailureSensor` judges the summary. A retry sends everything again: setting
    the same values twice does no harm, but it overwrites what a person changed in between.

    Leen changes the status first, and the other fields only if that worked. Give the task an ``execution_timeout``: it
    limits the wait for a job that never ends.

    ::

        LeenUpdateTicketsOperator(task_id="close_tickets", ticket_ids=find_ids(), updates={"status": "CLOSED"})

    :param ticket_ids: Leen's ids of the tickets, UUIDs (templated): a list, an upstream task's output, a mapped
        upstream's outputs (ids, or lists of ids), one id, or a text that holds JSON or a Python literal. A ticket that
        was created with vendor ids has none until the connector's next sync.
    :param updates: what to set on each of them (templated): any of ``status``, ``priority``, ``assigned_user_id``,
        ``name``, ``description``.
    :param leen_conn_id: the Airflow connection, default ``leen_default`` (templated).
    :param connection_id: the Leen connection ID to use instead of the connection's login (templated).
    :param batch_size: tickets per job, 1 to 50, default 50 (templated).
    :param max_concurrent_batches: jobs submitted at a time, 1 or more, default 4 (templated).
    :param max_failures: publish the results, then fail when more tickets than this failed; default: the gate decides
        (templated).
    :param max_failure_rate: the same as a share of the tickets, 0 to 1; default: the gate decides (templated).
    :param poll_interval: seconds between two polls of the jobs, default 10 (templated).
    :param deferrable: free the worker while the jobs run, default False (templated).
    :return: the summary: ``total``, ``succeeded``, ``failed``, a count for each status, and ``results``, one for each
        id in the order of the input, each with ``request_index``, ``success``, ``status``, ``ticket_id`` and ``error``.
        The statuses: ``updated``; ``rejected`` (Leen or the vendor refused this ticket), ``invalid`` (not a UUID, never
        sent), ``unknown`` (sent, outcome unknown), ``unsent`` (certainly not changed: the task stopped before).
    :raises AirflowFailException: from :class:`LeenAuthError`, :class:`LeenConfigError`, :class:`LeenNotFoundError`,
        :class:`LeenValidationError` or :class:`LeenThresholdError`, which a retry can't fix.
    :raises LeenOutcomeUnknownError: it is unknown whether tickets were changed; it names them.
    :raises LeenConnectError: Leen can't be reached; the remaining tickets were not sent.
    :raises LeenRateLimitError: Leen asks to wait for longer than the connection allows.
    :raises LeenServerError: Leen failed repeatedly; the remaining tickets were not sent.
    :raises LeenStoppedError: the task was stopped from outside before it knew every outcome.
    :raises AirflowTaskTimeout: the ``execution_timeout`` ended before all jobs had; it names the running ones.
    """

    argument_checks: ClassVar[dict[str, Argument]] = {
        "batch_size": whole_number(1, 50),
        "max_concurrent_batches": whole_number(1),
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
        max_concurrent_batches: int | str = 4,
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
        self.max_concurrent_batches: Any = max_concurrent_batches
        self.max_failures: Any = max_failures
        self.max_failure_rate: Any = max_failure_rate
        self.poll_interval: Any = poll_interval
        self.deferrable: Any = deferrable
        check_literals(self, self.argument_checks)

    def execute(self, context: Context) -> UpdateSummary:
        """Change the tickets, publish the results, and raise if the task has to fail."""
        from airflow_provider_leen.tasks.updating import UpdatingTask

        return UpdatingTask.start(self, context)

    def execute_complete(self, context: Context, event: Any = None) -> UpdateSummary:
        """Continue after the trigger: collect the jobs' results, publish them, and raise if the task has to fail."""
        from airflow_provider_leen.tasks.updating import UpdatingTask

        return UpdatingTask.go_on(self, context, event)
