"""The operator that creates one ticket."""

from __future__ import annotations

import time
from collections.abc import Sequence
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.common.compat.sdk import BaseOperator

from airflow_provider_leen.api.errors import LeenConfigError, LeenError, LeenOutcomeUnknownError
from airflow_provider_leen.api.text import clean, clean_json
from airflow_provider_leen.operators.ending import failing_for_good
from airflow_provider_leen.operators.supervisor import SupervisorThread
from airflow_provider_leen.tasks.arguments import Argument, check_literals, choice
from airflow_provider_leen.tasks.templates import RendersOnce

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_leen.api.models import Ticket
    from airflow_provider_leen.bulk.tickets import TicketRow
    from airflow_provider_leen.hooks.leen import LeenHook

LOOK_UP_INTERVAL = 10.0
"""Seconds between two look-ups of a ticket whose creation was not answered."""


class LeenCreateTicketOperator(RendersOnce, BaseOperator):
    """Create one ticket, and return it (``POST /itsm/tickets``).

    Leen stores such a ticket at once, whatever ids it was given, so that it can be looked up by its identifier: where
    the ticket has none of its own, a key that is stable over retries is sent as one. A reply that was lost is settled
    by look-ups, and a retry looks the ticket up before it creates it.

    :param ticket: the ticket, by Leen's field names (templated): a mapping, an upstream task's output, or a text that
        holds JSON or a Python literal.
    :param leen_conn_id: the Airflow connection, default ``leen_default`` (templated).
    :param connection_id: the Leen connection ID to use instead of the connection's login (templated).
    :param if_exists: what to do when Leen knows a ticket with the given identifier already (templated): ``create``
        (default) creates another, unless it is this run's own; ``skip`` returns the one that is there, which may be
        closed.
    :return: the record as Leen has it: ``id``, ``name``, ``identifier``, ``status``, ``url``, ``vendor_attributes``, …;
        ``url`` is made from the connection's Ticket URL where Leen gives none.
    :raises AirflowFailException: from :class:`LeenAuthError`, :class:`LeenConfigError`, :class:`LeenNotFoundError` or
        :class:`LeenValidationError`, which a retry can't mend.
    :raises LeenOutcomeUnknownError: the ticket was sent without an answer, and Leen does not know it. A retry looks it
        up again, and creates it when Leen still does not know it.
    :raises LeenConnectError: Leen can't be reached; nothing was sent.
    :raises LeenRateLimitError: Leen asks to wait for longer than the connection allows; nothing was created.
    """

    argument_checks: ClassVar[dict[str, Argument]] = {"if_exists": choice("create", "skip")}
    template_fields: Sequence[str] = ("ticket", "leen_conn_id", "connection_id", *argument_checks)
    rendered_to_objects: ClassVar[frozenset[str]] = frozenset({"ticket"})
    template_fields_renderers: ClassVar[dict[str, str]] = {"ticket": "json"}
    ui_color = "#e6f4ea"

    def __init__(
        self,
        *,
        ticket: Any,
        leen_conn_id: str = "leen_default",
        connection_id: str | None = None,
        if_exists: str = "create",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.ticket = ticket
        self.leen_conn_id = leen_conn_id
        self.connection_id = connection_id
        self.if_exists = if_exists
        check_literals(self, self.argument_checks)
        # Not an Event: the signal handler would wait for ever for the lock that the main thread may hold just then.
        self._stops: SimpleQueue[None] | None = None

    def execute(self, context: Context) -> dict[str, Any]:
        """Create the ticket, unless an earlier try did, and return it."""
        from airflow_provider_leen.hooks.leen import LeenHook
        from airflow_provider_leen.operators.publishing import Publisher

        self._stops = SimpleQueue()
        with (
            failing_for_good(),
            SupervisorThread() as supervisor,
            LeenHook(self.leen_conn_id, connection_id=self.connection_id) as hook,
        ):
            row = self._read_row(context, hook)
            ticket = self._known_ticket(context, hook, row) or self._create(context, hook, row)
            record = _record(ticket, hook.settings.ticket_url)
            publisher = Publisher(context, supervisor)
            publisher.push("return_value", record)
            publisher.conclude(None, f"A retry finds the ticket by its identifier, {row.identifier}.")
            return record

    def on_kill(self) -> None:
        """Stop looking up. Called in the signal handler, in the middle of whatever the main thread does."""
        if self._stops is not None:
            self._stops.put(None)

    def _read_row(self, context: Context, hook: LeenHook) -> TicketRow:
        from airflow_provider_leen.bulk.tickets import parse_text, prepare
        from airflow_provider_leen.operators.task_instance import key_scope

        ticket = parse_text(self.ticket, "ticket") if isinstance(self.ticket, str) else self.ticket
        [row] = prepare([ticket], None, key_scope(context, hook.settings))
        if row.error is not None:
            raise LeenConfigError(f"`ticket` can't be sent: {row.error}.")
        return row

    def _known_ticket(self, context: Context, hook: LeenHook, row: TicketRow) -> Ticket | None:
        """Look for the ticket before it is created, where it may be there already."""
        from airflow_provider_leen.bulk.ledger import NEVER

        is_retry = context["ti"].try_number > 1
        skips = self.if_exists == "skip" and row.identifier != row.key
        if not is_retry and not skips:
            return None
        known = hook.get_ticket_by_identifier(str(row.identifier))
        if known is None:
            return None
        # When an earlier try sent it isn't known: at any time since the run began.
        if not skips and not _is_this(known, row, _started(context), NEVER):
            if _is_older_than_this_run(context, known):
                return None
            raise LeenOutcomeUnknownError(
                f"Leen has the ticket {known.id} with the identifier {row.identifier}. Nothing shows that an earlier "
                "try of this task created it, nor that another run did. Look into the tracker: if it is this ticket, "
                "mark the task as successful, or set if_exists='skip' and clear it.",
                identifiers=[str(row.identifier)],
                can_be_settled=True,
            )
        self.log.info("Leen knows the ticket already (identifier %s): not creating it again.", row.identifier)
        return known

    def _create(self, context: Context, hook: LeenHook, row: TicketRow) -> Ticket:
        from airflow_provider_leen.api.retry import Effect, effect_of_write
        from airflow_provider_leen.bulk.tickets import payload

        started, sent_at = time.monotonic(), time.time()
        try:
            ticket = hook.create_ticket(payload(row, None))
        except LeenError as error:
            if effect_of_write(error) is not Effect.UNKNOWN:
                raise
            lost = error
        else:
            self.log.info("Created the ticket %s (identifier %s).", clean(ticket.id), row.identifier)
            return ticket
        # A request may be worked on for another timeout after its reply was given up.
        found = self._look_up(hook, row, sent_at, until=started + 2 * hook.settings.timeout, reason=lost)
        if found is not None:
            return found
        raise LeenOutcomeUnknownError(
            f"The ticket {row.name!r:.80} (identifier {row.identifier}) was sent and nobody can say whether it exists. "
            f"{lost} No look-up by its identifier has found it. Look for it in the tracker; a retry looks it up again, "
            "and creates it when Leen does not know it.",
            identifiers=[str(row.identifier)],
            can_be_settled=True,
        ) from lost

    def _look_up(
        self, hook: LeenHook, row: TicketRow, sent_at: float, *, until: float, reason: LeenError
    ) -> Ticket | None:
        """Ask Leen again and again for a ticket whose creation was not answered."""
        from airflow_provider_leen.bulk.lookup import final_after

        self.log.warning(
            "%s Looking the ticket up by its identifier for %.0f s.", reason, max(0.0, until - time.monotonic())
        )
        while True:
            try:
                known = hook.get_ticket_by_identifier(str(row.identifier))
            except LeenError as error:
                self.log.warning("The look-up failed: %s", error)
            else:
                final_from = sent_at + final_after(hook.settings)
                if known is not None and _is_this(known, row, sent_at, final_from):
                    self.log.info("The ticket was created: Leen knows it as %s.", clean(known.id))
                    return known
            left = until - time.monotonic()
            if left <= 0 or self._is_stopped_within(min(LOOK_UP_INTERVAL, left)):
                return None

    def _is_stopped_within(self, seconds: float) -> bool:
        assert self._stops is not None
        try:
            self._stops.get(timeout=seconds)
        except Empty:
            return False
        return True


def _is_this(ticket: Ticket, row: TicketRow, sent_at: float, final_from: float) -> bool:
    from airflow_provider_leen.api.jira import read_ticket
    from airflow_provider_leen.bulk.ledger import Sent
    from airflow_provider_leen.bulk.lookup import Unsettled, project_of, why_not_by_identifier
    from airflow_provider_leen.bulk.tickets import payload

    body = payload(row, None)
    sent = Sent(sent_at, final_from, embedded=False)
    return why_not_by_identifier(read_ticket(ticket), Unsettled(row, body["name"], project_of(body), (sent,))) is None


def _is_older_than_this_run(context: Context, ticket: Ticket) -> bool:
    from airflow_provider_leen.api.jira import read_ticket
    from airflow_provider_leen.bulk.lookup import CLOCK_SKEW

    created_at = read_ticket(ticket).created_at
    return created_at is not None and created_at < _started(context) - CLOCK_SKEW


def _started(context: Context) -> float:
    started = context["dag_run"].start_date
    return started.timestamp() if started else 0.0


def _record(ticket: Ticket, ticket_url: str | None) -> dict[str, Any]:
    from urllib.parse import quote

    record: dict[str, Any] = clean_json(ticket.model_dump(mode="json"))
    key = ticket.vendor_ticket_id
    if not record["url"] and ticket_url and key:
        record["url"] = clean(ticket_url).replace("{vendor_ticket_id}", quote(key, safe=""))
    return record
