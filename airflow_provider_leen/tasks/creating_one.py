"""The task that creates one ticket: looks the ticket up, creates it, and looks it up again if the reply is lost."""

from __future__ import annotations

import logging
import time
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow_provider_leen.api.errors import LeenConfigError, LeenError, LeenOutcomeUnknownError
from airflow_provider_leen.api.jira import read_ticket
from airflow_provider_leen.api.models import Ticket
from airflow_provider_leen.api.retry import Effect, effect_of_write
from airflow_provider_leen.api.text import clean, clean_json
from airflow_provider_leen.bulk.lookup import NEVER, UnknownTicket, project_of, settled_after, why_not_by_identifier
from airflow_provider_leen.bulk.reading import parse_text
from airflow_provider_leen.bulk.state import CLOCK_SKEW, Sending
from airflow_provider_leen.bulk.statuses import STATUSES, Status
from airflow_provider_leen.bulk.summary import counts_of
from airflow_provider_leen.bulk.tickets import TicketRow, payload, prepare
from airflow_provider_leen.tasks.ledger import key_scope
from airflow_provider_leen.tasks.lineage import give_to_assets
from airflow_provider_leen.tasks.publishing import Publisher
from airflow_provider_leen.tasks.running import connected

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_leen.hooks.leen import LeenHook
    from airflow_provider_leen.operators.create import LeenCreateTicketOperator

log = logging.getLogger(__name__)

LOOK_UP_INTERVAL = 10.0
"""Seconds between two look-ups of a ticket whose reply was lost."""


def create_ticket(operator: LeenCreateTicketOperator, context: Context, stops: SimpleQueue[None]) -> dict[str, Any]:
    """Create the ticket of an operator, unless an earlier try did, publish it, and return it.

    :param stops: gets an item when the task is stopped.
    """
    with connected(operator) as (supervisor, hook):
        task = _CreatingOneTask(operator, context, hook, stops)
        known = task.known_ticket()
        record = _record(known or task.create(), hook.settings.ticket_url)
        publisher = Publisher(context, supervisor)
        publisher.push("return_value", record)
        status: Status = "created" if known is None else "existing"
        give_to_assets(operator.outlets, context, counts_of([status], STATUSES))
        publisher.conclude(None, f"A retry finds the ticket by its identifier, {task.row.identifier}.")
        return record


class _CreatingOneTask:
    def __init__(
        self, operator: LeenCreateTicketOperator, context: Context, hook: LeenHook, stops: SimpleQueue[None]
    ) -> None:
        self.row = _read_row(operator.ticket, context, hook)
        self._skips = operator.if_exists == "skip" and self.row.identifier != self.row.key
        self._is_retry = context["ti"].try_number > 1
        self._hook = hook
        self._stops = stops
        self._run_started = _run_started(context)

    def known_ticket(self) -> Ticket | None:
        """Look for the ticket before it is created, if it may already exist."""
        if not self._is_retry and not self._skips:
            return None
        identifier = str(self.row.identifier)
        known = self._hook.get_ticket_by_identifier(identifier)
        if known is None:
            return None
        # An earlier try may have sent it at any time since the run began.
        if not self._skips and not _is_this(known, self.row, self._run_started, NEVER):
            created_at = read_ticket(known).created_at
            if created_at is not None and created_at < self._run_started - CLOCK_SKEW:
                return None
            raise LeenOutcomeUnknownError(
                f"Leen has the ticket {known.id} with the identifier {identifier}. It is unknown whether an earlier "
                "try of this task or another run created it. Look at it in the tracker: if it is this ticket, mark "
                "the task as successful, or set if_exists='skip' and clear the task.",
                identifiers=[identifier],
                can_be_settled=True,
            )
        log.info("The ticket already exists in Leen (identifier %s): not creating it again.", identifier)
        return known

    def create(self) -> Ticket:
        """Create the ticket. If the reply is lost, look it up."""
        started, sent_at, row = time.monotonic(), time.time(), self.row
        try:
            ticket = self._hook.create_ticket(payload(row, None))
        except LeenError as error:
            if effect_of_write(error) is not Effect.UNKNOWN:
                raise
            lost = error
        else:
            log.info("Created the ticket %s (identifier %s).", clean(ticket.id), row.identifier)
            return ticket
        # A request may be processed for another timeout after the client stopped waiting.
        found = self._look_up(sent_at, until=started + 2 * self._hook.settings.timeout, reason=lost)
        if found is not None:
            return found
        raise LeenOutcomeUnknownError(
            f"The ticket {row.name!r:.80} (identifier {row.identifier}) was sent, and its outcome is unknown. "
            f"{lost} No look-up by its identifier found it. Look for it in the tracker; a retry looks it up again, "
            "and creates it if Leen does not know it.",
            identifiers=[str(row.identifier)],
            can_be_settled=True,
        ) from lost

    def _look_up(self, sent_at: float, *, until: float, reason: LeenError) -> Ticket | None:
        """Look up a ticket whose reply was lost, repeatedly."""
        log.warning(
            "%s Looking the ticket up by its identifier for %.0f s.", reason, max(0.0, until - time.monotonic())
        )
        while True:
            try:
                known = self._hook.get_ticket_by_identifier(str(self.row.identifier))
            except LeenError as error:
                log.warning("The look-up failed: %s", error)
            else:
                final_from = sent_at + settled_after(self._hook.settings)
                if known is not None and _is_this(known, self.row, sent_at, final_from):
                    log.info("The ticket was created: Leen knows it as %s.", clean(known.id))
                    return known
            left = until - time.monotonic()
            if left <= 0 or self._is_stopped_within(min(LOOK_UP_INTERVAL, left)):
                return None

    def _is_stopped_within(self, seconds: float) -> bool:
        try:
            self._stops.get(timeout=seconds)
        except Empty:
            return False
        return True


def _run_started(context: Context) -> float:
    started = context["dag_run"].start_date
    return started.timestamp() if started else 0.0


def _is_this(ticket: Ticket, row: TicketRow, sent_at: float, final_from: float) -> bool:
    body = payload(row, None)
    sending = Sending(sent_at, final_from, "", embedded=False)
    unknown = UnknownTicket(row, body["name"], project_of(body), (sending,), final_from)
    return why_not_by_identifier(read_ticket(ticket), unknown) is None


def _read_row(given: Any, context: Context, hook: LeenHook) -> TicketRow:
    ticket = parse_text(given, "ticket") if isinstance(given, str) else given
    [row] = prepare([ticket], None, key_scope(context, hook.settings))
    if row.error is not None:
        raise LeenConfigError(f"`ticket` can't be sent: {row.error}.")
    return row


def _record(ticket: Ticket, ticket_url: str | None) -> dict[str, Any]:
    record: dict[str, Any] = clean_json(ticket.model_dump(mode="json"))
    key = ticket.vendor_ticket_id
    if not record["url"] and ticket_url and key:
        record["url"] = clean(ticket_url).replace("{vendor_ticket_id}", quote(key, safe=""))
    return record
