"""Operators that create tickets through Leen."""

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
    OPTIONAL_FLAG,
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

    from airflow_provider_leen.bulk.summary import Summary

__all__ = ["LeenBulkCreateTicketsOperator"]


class LeenBulkCreateTicketsOperator(ManyTickets, BaseOperator):
    """Create a ticket for every row of a list, in batches, through ``POST /itsm/tickets/bulk/sync``.

    Every input row gets a result row with its outcome. A bad ticket is reported and does not fail its batch. Results
    are published before the task fails.

    All arguments are templated. Only the text of the Dag file is rendered, once, never the text of a finding. Flags and
    numbers that a template renders to text are parsed.

    ::

        create = LeenBulkCreateTicketsOperator(
            task_id="create_tickets",
            tickets=scan(),
            ticket_defaults={"project_vendor_id": "SEC", "type": "Task"},
            retries=3,
        )
        LeenTicketFailureSensor(task_id="gate", results=create.output, max_failure_rate=0.05)

    :param tickets: the tickets, by Leen's field names (templated): a list of mappings, an upstream task's output, a
        mapped upstream's outputs (tickets, or lists of tickets), one mapping, a data frame of pandas or polars, Leen's
        own body ``{"tickets": [...]}``, a SARIF report, a text that holds one of these as JSON or a Python literal, or
        a list of several tasks' outputs, which are joined; None counts as empty. Any other report is refused as a
        whole. Either this or ``tickets_path``.
    :param tickets_path: a file or object-storage URL, or a path object, that ends in ``.json`` (an array, or SARIF),
        ``.jsonl`` or ``.ndjson`` (one ticket a line), ``.csv`` (the first line names the fields) or ``.sarif``, in any
        case, each also compressed as ``.gz``; read at run time, so that a very large list need not pass through XCom
        (templated).
    :param ticket_defaults: fields that apply to every ticket, such as the project and the type (templated). A ticket's
        own fields override them.
    :param leen_conn_id: the Airflow connection, default ``leen_default`` (templated).
    :param connection_id: the Leen connection ID to use instead of the connection's login (templated).
    :param batch_size: tickets per call, 1 to 50, default 50 (templated).
    :param max_concurrent_batches: calls in flight at most, default 4; 1 keeps the order in the tracker (templated).
    :param on_invalid: what to do about rows that can't be sent: ``report`` (default) sends the others, ``fail``
        refuses the whole list before anything is sent (templated).
    :param on_unknown: what to do about tickets with an unknown outcome, from this try or an earlier one (templated):
        ``lookup`` (default) asks Leen, and with ``embed_identifier`` the vendor, too, and sends again only tickets that
        are proved not to exist; ``fail`` never asks; ``resend`` asks, then sends again what was not found, which may
        create duplicates. If an outcome stays unknown, the task fails.
    :param if_exists: what to do about a ticket whose own identifier Leen knows already (templated): ``create``
        (default) creates another, ``skip`` reports it as ``existing`` with its ids. A closed ticket counts as existing.
        Leen does not find tickets that were created with vendor ids until the connector's next sync.
    :param embed_identifier: append the ticket's key as the last line of its description, so that the vendor can be
        searched for it (templated); default: always with a ``register``, else not. Only with it can every unknown
        outcome be determined.
    :param max_failures: publish the results, then fail when more tickets than this failed; default: the gate decides
        (templated).
    :param max_failure_rate: the same as a share, 0 to 1, of the tickets that did not exist before: failed / (total -
        existing); default: the gate decides (templated).
    :param results_path: the absolute path or object-storage URL of a file for the results, as JSON Lines, instead of
        XCom, for very large lists (templated). ``results`` is then empty and ``results_path`` names the file. The
        failed rows go to ``<results_path>.failed.jsonl``, and the XCom ``failed_tickets`` is that path, ready to be
        another operator's ``tickets_path``. Another try overwrites both. If the operator is mapped, include ``{{
        ti.map_index }}`` in the path.
    :param durable: keep a durable ledger of what was sent and what came back, for retries, default True (templated).
        Without it, a retry sends everything again.
    :param ledger_path: an object-storage URL or a folder for the ledger that all workers can reach (templated).
        Default: Airflow's task state store (Airflow 3.3 and newer); older versions have no durable ledger without it,
        and a retry treats the outcome of every ticket as unknown.
    :param priority_map: maps the rows' priorities to the tickets', such as ``{"ERROR": "HIGH"}``: exact names first,
        then case-insensitive ones (templated). Leen's own names are accepted in any case; other values are sent as they
        are. Default: none.
    :param register: a folder or object-storage URL that all workers can reach. It records over all Dag runs which
        finding has which ticket, so that tomorrow's run does not file it again (templated). Every row then needs its
        own ``identifier``, the same every day. It replaces ``durable`` and ``ledger_path``.
    :param scope: the section of the register that the list covers, such as ``semgrep/repo-a``; scopes are independent.
        Default: a single one; a mapped task needs one for each instance (templated).
    :param known_path: a ``.csv`` (with a line of names) or ``.jsonl`` file with ``identifier``, ``vendor_ticket_id``
        and ``ticket_id`` of findings that the register does not know: they have a ticket already, or, with neither id,
        need none (templated).
    :param max_new: file nothing and fail if more tickets than this would be filed; default: no limit (templated).
    :param deferrable: submit each batch as a job of Leen's (``POST /itsm/tickets/bulk``) and free the worker until the
        jobs have ended, default False (templated). This endpoint stores tickets in Leen at once, but returns no vendor
        id, so ``ticket_id`` and ``vendor_ticket_id`` are looked up and may stay null. Needs a durable ledger.
    :param poll_interval: seconds between two polls of the jobs, default 10; ``deferrable`` only (templated).
    :return: the summary: ``total``, ``succeeded``, ``failed``, a count for each status (``created``, ``existing``,
        ``rejected``, ``invalid``, ``unknown``, ``unsent``), and ``results``, one for each row in the order of the
        input, each with ``request_index``, ``success``, ``status``, ``name``, ``identifier``, ``ticket_id`` (null when
        vendor ids were used), ``vendor_ticket_id`` and ``error``. The XCom ``failed_tickets`` holds the failed rows
        whose tickets certainly don't exist, as they were given, ready to be another operator's ``tickets``.
    :raises AirflowFailException: from :class:`LeenAuthError`, :class:`LeenConfigError`, :class:`LeenNotFoundError`,
        :class:`LeenValidationError` or :class:`LeenThresholdError`, which a retry can't fix.
    :raises LeenLedgerError: the record of what was sent can't be read or written, so nothing more is sent.
    :raises LeenOutcomeUnknownError: the outcome of tickets is unknown; it names them.
    :raises LeenConnectError: Leen can't be reached; the remaining tickets were not sent.
    :raises LeenRateLimitError: Leen asks to wait for longer than the connection allows.
    :raises LeenServerError: Leen failed repeatedly; the remaining tickets were not sent.
    :raises LeenStoppedError: the task was stopped from outside with tickets left.
    """

    argument_checks: ClassVar[dict[str, Argument]] = {
        "batch_size": whole_number(1, 50),
        "max_concurrent_batches": whole_number(1),
        "on_invalid": choice("report", "fail"),
        "on_unknown": choice("lookup", "fail", "resend"),
        "if_exists": choice("create", "skip"),
        "embed_identifier": OPTIONAL_FLAG,
        **THRESHOLDS,
        "max_new": MAX_FAILURES,
        "durable": FLAG,
        "deferrable": FLAG,
        "poll_interval": SECONDS,
    }
    template_fields: Sequence[str] = (
        "tickets",
        "tickets_path",
        "ticket_defaults",
        "leen_conn_id",
        "connection_id",
        "results_path",
        "ledger_path",
        "priority_map",
        "register",
        "scope",
        "known_path",
        *argument_checks,
    )
    rendered_to_objects: ClassVar[frozenset[str]] = frozenset({"tickets", "ticket_defaults", "priority_map"})
    joined_fields: ClassVar[frozenset[str]] = frozenset({"tickets"})
    template_fields_renderers: ClassVar[dict[str, str]] = {
        "tickets": "json",
        "ticket_defaults": "json",
        "priority_map": "json",
    }
    operator_extra_links = (LeenTicketsLink(),)
    ui_color = "#e6f4ea"

    def __init__(
        self,
        *,
        tickets: Any = None,
        tickets_path: str | os.PathLike[str] | None = None,
        ticket_defaults: Any = None,
        leen_conn_id: str = "leen_default",
        connection_id: str | None = None,
        batch_size: int | str = 50,
        max_concurrent_batches: int | str = 4,
        on_invalid: str = "report",
        on_unknown: str = "lookup",
        if_exists: str = "create",
        embed_identifier: bool | str | None = None,
        max_failures: int | str | None = None,
        max_failure_rate: float | str | None = None,
        results_path: str | os.PathLike[str] | None = None,
        durable: bool | str = True,
        ledger_path: str | os.PathLike[str] | None = None,
        priority_map: Any = None,
        register: str | os.PathLike[str] | None = None,
        scope: str | None = None,
        known_path: str | os.PathLike[str] | None = None,
        max_new: int | str | None = None,
        deferrable: bool | str = False,
        poll_interval: float | str = 10.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_source(tickets, tickets_path)
        self.tickets = tickets
        self.tickets_path = tickets_path
        self.ticket_defaults = ticket_defaults
        self.leen_conn_id = leen_conn_id
        self.connection_id = connection_id
        self.batch_size: Any = batch_size
        self.max_concurrent_batches: Any = max_concurrent_batches
        self.on_invalid = on_invalid
        self.on_unknown = on_unknown
        self.if_exists = if_exists
        self.embed_identifier: Any = embed_identifier
        self.max_failures: Any = max_failures
        self.max_failure_rate: Any = max_failure_rate
        self.results_path = results_path
        self.durable: Any = durable
        self.ledger_path = ledger_path
        self.priority_map = priority_map
        self.register = register
        self.scope = scope
        self.known_path = known_path
        self.max_new: Any = max_new
        self.deferrable: Any = deferrable
        self.poll_interval: Any = poll_interval
        check_literals(self, self.argument_checks)
        self.ticket_link: str | None = None

    def execute(self, context: Context) -> Summary:
        """Create the tickets, publish the results, and raise if the task has to fail."""
        from airflow_provider_leen.tasks.creating import CreatingTask

        return CreatingTask.start(self, context)

    def execute_complete(self, context: Context, event: Any = None) -> Summary:
        """Continue after the trigger: collect the jobs' results, publish them, and raise if the task has to fail."""
        from airflow_provider_leen.tasks.creating import CreatingTask

        return CreatingTask.go_on(self, context, event)
