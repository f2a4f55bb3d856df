"""The operator that keeps tickets in step with a list of findings that is scanned regularly."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.common.compat.sdk import BaseOperator

from airflow_provider_leen.links.leen import LeenTicketsLink
from airflow_provider_leen.operators.base import ManyTickets
from airflow_provider_leen.tasks.arguments import (
    FLAG,
    MAX_FAILURES,
    RATE,
    SECONDS,
    THRESHOLDS,
    Argument,
    check_literals,
    check_source,
    choice,
    whole_number,
)

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_leen.bulk.summary import ReconcileSummary

__all__ = ["LeenReconcileTicketsOperator"]


class LeenReconcileTicketsOperator(ManyTickets, BaseOperator):
    """File a ticket for each new finding of a list, close those of findings that are gone, reopen those that are back.

    The list is complete for its scope: a finding that is missing from it is gone. A ticket is read at the tracker
    before it is changed, and a person's changes are never undone. Nothing is sent if a brake applies, if the list is
    older than one that was reconciled before, or if the plan is not the approved one. ::

        LeenReconcileTicketsOperator(
            task_id="reconcile",
            tickets_path="/data/semgrep-{{ ds }}.sarif",
            register="s3://team/leen-register",
            scope="semgrep/repo-a",
            ticket_defaults={"project_vendor_id": "SEC", "type": "Task"},
        )

    All arguments are templated. Those that the bulk operator has, too, mean the same.

    :param tickets: the findings' tickets, by Leen's field names, each with its own ``identifier``, the same every day;
        see :class:`~.leen.LeenBulkCreateTicketsOperator` (templated). A source, or an instance of a mapped one,
        that was skipped or gave None makes the list incomplete: new findings are filed, but nothing is closed. Either
        this or ``tickets_path``.
    :param tickets_path: a file or object-storage URL that holds them (templated).
    :param register: a folder or object-storage URL that all workers can reach. It records over all Dag runs which
        finding has which ticket (templated).
    :param scope: the section of the register that the list covers, such as ``semgrep/repo-a``. Default: a single one; a
        mapped task needs one for each instance (templated).
    :param known_path: a ``.csv`` or ``.jsonl`` file of findings that have a ticket already, which is never changed, or
        that need none (templated).
    :param on_gone: what to do about the ticket of a finding that is gone: ``close`` (default) or ``keep`` (templated).
    :param on_returned: what to do about a finding that was gone for ``close_after`` lists and is found again
        (templated): ``reopen`` (default) its ticket if this operator closed it and nobody touched it since, else file a
        new one that names it; ``create`` always files a new one; ``keep`` does nothing.
    :param close_after: in how many consecutive complete lists, of different Dag runs, a finding must be missing,
        default 2 (templated).
    :param max_close_rate: send nothing and fail if this run would decide to close more than this share, 0 to 1, and
        more than 5 of the scope's open tickets, default 0.2; 1 confirms that all may be closed, even if the list is
        empty (templated).
    :param max_new: send nothing and fail if more tickets than this would be filed, default 500; None: no limit
        (templated).
    :param closed_status: Leen's status of a ticket that is closed, default ``CLOSED`` (templated).
    :param reopened_status: Leen's status of a ticket that is reopened, default ``TODO`` (templated).
    :param dry_run: return the same summary with what would be done, ``dry_run`` and the hash ``plan``, and send and
        record nothing, default False (templated).
    :param expected_plan: the ``plan`` of a dry run; another plan is refused (templated).
    :param ticket_defaults: fields that apply to every ticket (templated).
    :param priority_map: maps the rows' priorities to the tickets' (templated).
    :param leen_conn_id: the Airflow connection, default ``leen_default`` (templated).
    :param connection_id: the Leen connection ID to use instead of the connection's login (templated).
    :param batch_size: tickets per call, 1 to 50, default 50 (templated).
    :param max_concurrent_batches: calls in flight at most, default 4 (templated).
    :param on_unknown: what to do about new tickets with an unknown outcome: ``lookup`` (default) or ``fail``
        (templated).
    :param max_failures: publish the results, then fail when more tickets than this failed; default: the gate decides
        (templated).
    :param max_failure_rate: the same as a share, 0 to 1; default: the gate decides (templated).
    :param results_path: a file for the results instead of XCom (templated).
    :param poll_interval: seconds between two polls of update jobs, default 10 (templated).
    :return: the summary: the counts of the bulk operator, ``closed``, ``reopened`` and ``pending`` (a change that waits
        for a later run, and why), ``complete``, ``waiting`` (tickets that stay open because the list is empty),
        ``closed_by_people``, ``earlier_unknown``, ``plan``, and ``results``: those of the rows in order, then those of
        the findings that are gone.
    :raises AirflowFailException: from :class:`LeenBrakeError`, :class:`LeenAuthError`, :class:`LeenConfigError` (also
        for an older list and another plan), :class:`LeenNotFoundError`, :class:`LeenValidationError` or
        :class:`LeenThresholdError`, which a retry can't fix.
    :raises LeenLedgerError: the register can't be read or written, or another run holds it for too long.
    :raises LeenOutcomeUnknownError: the outcome of new tickets is unknown; it names them.
    :raises LeenConnectError: Leen can't be reached; the remaining tickets were not sent.
    :raises LeenRateLimitError: Leen asks to wait for longer than the connection allows.
    :raises LeenServerError: Leen failed repeatedly; the remaining tickets were not sent.
    :raises LeenStoppedError: the task was stopped from outside with tickets left.
    """

    argument_checks: ClassVar[dict[str, Argument]] = {
        "on_gone": choice("close", "keep"),
        "on_returned": choice("reopen", "create", "keep"),
        "close_after": whole_number(1),
        "max_close_rate": RATE,
        "max_new": MAX_FAILURES,
        "dry_run": FLAG,
        "batch_size": whole_number(1, 50),
        "max_concurrent_batches": whole_number(1),
        "on_unknown": choice("lookup", "fail"),
        **THRESHOLDS,
        "poll_interval": SECONDS,
    }
    template_fields: Sequence[str] = (
        "tickets",
        "tickets_path",
        "register",
        "scope",
        "known_path",
        "closed_status",
        "reopened_status",
        "expected_plan",
        "ticket_defaults",
        "priority_map",
        "leen_conn_id",
        "connection_id",
        "results_path",
        *argument_checks,
    )
    rendered_to_objects: ClassVar[frozenset[str]] = frozenset({"tickets", "ticket_defaults", "priority_map"})
    joined_fields: ClassVar[frozenset[str]] = frozenset({"tickets"})
    template_fields_renderers: ClassVar[dict[str, str]] = {"tickets": "json", "ticket_defaults": "json"}
    operator_extra_links = (LeenTicketsLink(),)
    ui_color = "#e6f4ea"

    # Arguments of the bulk operator that are fixed here.
    durable: ClassVar[bool] = True
    ledger_path: ClassVar[str] = ""
    embed_identifier: ClassVar[None] = None
    deferrable: ClassVar[bool] = False

    def __init__(
        self,
        *,
        tickets: Any = None,
        tickets_path: str | os.PathLike[str] | None = None,
        register: str | os.PathLike[str],
        scope: str | None = None,
        known_path: str | os.PathLike[str] | None = None,
        on_gone: str = "close",
        on_returned: str = "reopen",
        close_after: int | str = 2,
        max_close_rate: float | str = 0.2,
        max_new: int | str | None = 500,
        closed_status: str = "CLOSED",
        reopened_status: str = "TODO",
        dry_run: bool | str = False,
        expected_plan: str | None = None,
        ticket_defaults: Any = None,
        priority_map: Any = None,
        leen_conn_id: str = "leen_default",
        connection_id: str | None = None,
        batch_size: int | str = 50,
        max_concurrent_batches: int | str = 4,
        on_unknown: str = "lookup",
        max_failures: int | str | None = None,
        max_failure_rate: float | str | None = None,
        results_path: str | os.PathLike[str] | None = None,
        poll_interval: float | str = 10.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_source(tickets, tickets_path)
        self.tickets = tickets
        self.tickets_path = tickets_path
        self.register = register
        self.scope = scope
        self.known_path = known_path
        self.on_gone = on_gone
        self.on_returned = on_returned
        self.close_after: Any = close_after
        self.max_close_rate: Any = max_close_rate
        self.max_new: Any = max_new
        self.closed_status = closed_status
        self.reopened_status = reopened_status
        self.dry_run: Any = dry_run
        self.expected_plan = expected_plan
        self.ticket_defaults = ticket_defaults
        self.priority_map = priority_map
        self.leen_conn_id = leen_conn_id
        self.connection_id = connection_id
        self.batch_size: Any = batch_size
        self.max_concurrent_batches: Any = max_concurrent_batches
        self.on_unknown = on_unknown
        self.max_failures: Any = max_failures
        self.max_failure_rate: Any = max_failure_rate
        self.results_path = results_path
        self.poll_interval: Any = poll_interval
        check_literals(self, self.argument_checks)
        self.ticket_link: str | None = None

    def execute(self, context: Context) -> ReconcileSummary:
        """Reconcile, publish the results, and raise if the task has to fail."""
        from airflow_provider_leen.tasks.reconciling import ReconcilingTask

        return ReconcilingTask.start(self, context)  # type: ignore[return-value]
