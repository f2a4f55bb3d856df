"""Creates the tickets of a regular list: findings that the register knows are not filed again.

The steps are those of :mod:`.create`, with the findings' own keys. Before anything is sent, unknown outcomes of earlier
runs are looked up and the brake is checked; at the end, Leen's ids of tickets filed by vendor IDs are collected.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar

from airflow_provider_leen.api.errors import LeenBrakeError, LeenError, LeenValidationError
from airflow_provider_leen.api.jira import Record, read_ticket
from airflow_provider_leen.api.models import Ticket as LeensTicket
from airflow_provider_leen.bulk.create import Creation
from airflow_provider_leen.bulk.lookup import NEVER, Control, Created, UnknownTicket, final_from, project_of
from airflow_provider_leen.bulk.register_ledger import RegisterLedger
from airflow_provider_leen.bulk.register_table import Entry, Known, RegisterTable
from airflow_provider_leen.bulk.state import CLOCK_SKEW
from airflow_provider_leen.bulk.summary import counted
from airflow_provider_leen.bulk.ticket_list import TicketList
from airflow_provider_leen.bulk.tickets import TicketRow
from airflow_provider_leen.bulk.verdict import too_many_new

log = logging.getLogger(__name__)

LEARNS_FOR = 7 * 86_400.0
"""Seconds after its filing during which Leen is asked for the id of a ticket that it stores at its next sync."""

MAX_PAGES = 20
"""The most pages of Leen's list that are searched for ids."""

PAGE_SIZE = 500
"""Tickets on a page of it: Leen's own 100 would end a list that others' changes fill, too, at 2,000 tickets."""

MADE_WITHIN = 600.0
"""A ticket that was created this many seconds after the filing, or later, is a clone."""

NO_IDENTIFIER = "`identifier` is missing: with a register every row needs its own, the same every day"


def refuse_without_identifier(rows: Sequence[TicketRow]) -> None:
    """Make rows without their own identifier invalid."""
    for row in rows:
        if row.key is not None and row.identifier == row.key:
            row.identifier, row.key, row.error = None, None, NO_IDENTIFIER


class RegisterList(TicketList):
    """The rows of a run with a register."""

    _ledger: RegisterLedger

    def begin(self) -> None:
        """Give each row the key of its finding's ticket."""
        table, self.by_key = self.table, {}
        for row in self.rows:
            if row.key is None or row.identifier is None:
                continue
            row.key = table.key_for(row.identifier)
            if first := self.by_key.get(row.key):
                # The same letters in another Unicode form.
                row.follows, row.key = first.index, None
                continue
            self.by_key[row.key] = row
            if row.key not in table.entries:
                generation, project = table.generation(row.identifier), project_of(self._payload(row))
                table.announced[row.key] = Entry(row.identifier, generation, project)

    @property
    def table(self) -> RegisterTable:
        """The facts."""
        return self._ledger.table

    def __contains__(self, key: str) -> bool:
        """Return whether a ticket belongs to the register: all do."""
        return True

    def identifier_of(self, key: str) -> str | None:
        """Return the identifier with which a ticket was sent."""
        entry = self.table.entries.get(key)
        return entry.identifier if entry else super().identifier_of(key)

    def earlier(self, jobs_under_way: Mapping[str, Collection[str]]) -> list[UnknownTicket]:
        """Return all tickets with an unknown outcome, including those of findings that are no longer in the list."""
        in_jobs = {key for keys in jobs_under_way.values() for key in keys}
        gone = [self._as_gone(key) for key in self.gone_unknown() if key not in in_jobs]
        return [*self.unknown_tickets(jobs_under_way), *gone]

    def gone_unknown(self) -> list[str]:
        """Return the keys of tickets with an unknown outcome whose findings are not in the list."""
        table = self.table
        return [key for key in table.entries if key not in self.by_key and table[key].status == "unknown"]

    def controls(self, project: str) -> list[Control]:
        """Return some tickets of the register in a project that the tracker's search must find by now."""
        of_project = ((self.table[key], key) for key, entry in self.table.entries.items() if entry.project == project)
        return self._some_of((ticket, key) for ticket, key in of_project if ticket.proved and ticket.sendings)

    def _as_gone(self, key: str) -> UnknownTicket:
        ticket, entry = self.table[key], self.table.entries[key]
        row = TicketRow(-1, (), None, entry.identifier, key, None)
        until = final_from(ticket.sendings, self._settings, self._ledger.host)
        return UnknownTicket(row, "", entry.project, ticket.sendings, until, ticket.named)


class RegisterCreation(Creation):
    """Creates one list of tickets, each once over all runs.

    :param known: tickets that others filed, by their findings' identifiers.
    :param max_new: the most tickets that may be filed; None for no limit.
    """

    list_class: ClassVar[type[TicketList]] = RegisterList
    known_from: ClassVar[str] = "the register"
    labelled: ClassVar[tuple[str, ...]] = ("unknown", "created", "rejected")
    ledger: RegisterLedger
    _tickets: RegisterList

    def __init__(
        self,
        *args: Any,
        known: Mapping[str, Created] | None = None,
        max_new: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self._known = known or {}
        self._max_new = max_new

    @property
    def earlier_unknown(self) -> int:
        """How many tickets of findings that are no longer in the list have an unknown outcome."""
        return len(self._tickets.gone_unknown()) if self.ledger.is_open else 0

    async def _story(self) -> None:
        await self._take_over()
        if self._resume is not None:
            await self._collect_jobs()
            await self._settle()
            return
        began = self.ledger.now()
        await self._collect_jobs()
        await self._settle_earlier()
        await self._leave_out_existing()
        self._brake()
        await self._send()
        await self._settle()
        await self._learn_ids(began)

    async def _take_over(self) -> None:
        await super()._take_over()
        if self._known and self._resume is None:
            take_over_known(self.ledger.table, self._known)
            self._tickets.begin()

    async def _settle_earlier(self) -> None:
        """Look up unknown outcomes of earlier runs. Tickets that are proved absent are sent with the others."""
        earlier = [] if self._on_unknown == "fail" else self._tickets.earlier(self.jobs_under_way)
        if earlier:
            left = await self._look_up(earlier)
            if left and self._on_unknown == "lookup" and self.error is None:
                await self._prove_absence(left)
        self._enter_found()

    async def _leave_out_existing(self) -> None:
        await super()._leave_out_existing()
        self._enter_found()

    def _enter_found(self) -> None:
        """Record the findings of tickets that were found, and that the register did not know."""
        table = self.ledger.table
        table.enter(key for key in self._tickets.by_key if table[key].proved and key not in table.entries)

    def _brake(self) -> None:
        """Refuse to file more than is allowed.

        :raises LeenBrakeError: more would be filed.
        """
        new, rows = len(self._to_send()), len(self._tickets.by_key)
        if self._max_new is not None and new > self._max_new:
            shown = self.ledger.register.shown_scope
            raise LeenBrakeError(too_many_new(new, self._max_new, known=rows - new, listed=rows, register=shown))

    async def _learn_ids(self, before: float) -> None:
        """Collect Leen's ids of tickets that were filed by vendor IDs, once Leen has synced them.

        :param before: tickets filed later are ignored.
        """
        table = self.ledger.table
        lacking = [one for one in self._lacking_ids(before) if (one.filed_at or 0) < before]
        if not lacking or self.error is not None:
            return
        since = datetime.fromtimestamp(min(one.filed_at or 0 for one in lacking) - CLOCK_SKEW, UTC)
        shown: list[LeensTicket] = []
        try:
            await self._ask(self._list(since, shown))
        except LeenError as error:
            log.warning("Not all tickets that changed since %s could be listed: %s", since.isoformat(), error)
        table.renamed(learnt(table, shown))
        left = len(self._lacking_ids(before))
        if left:
            log.info("Leen's ids of %s are not known until its next sync.", counted(left, "ticket"))

    def _lacking_ids(self, before: float) -> list[Known]:
        """Return the tickets whose ids are to be collected, in a run that began then."""
        return self.ledger.table.lacking_ids(before - LEARNS_FOR)

    async def _list(self, since: datetime, shown: list[LeensTicket]) -> None:
        filters: dict[str, Any] = {"updatedSince": since.isoformat(), "max_pages": MAX_PAGES}
        try:
            async for ticket in self._client.iter_tickets(**filters, limit=PAGE_SIZE):
                shown.append(ticket)
        except LeenValidationError:
            # How large a page may be is not documented.
            shown.clear()
            async for ticket in self._client.iter_tickets(**filters):
                shown.append(ticket)


def take_over_known(table: RegisterTable, known: Mapping[str, Created]) -> None:
    """Record tickets that others filed for findings that the register does not know."""
    new: dict[str, Created] = {}
    for identifier, ticket in known.items():
        before = table.known(identifier)
        if before is None or before.status in ("unsent", "rejected"):
            key = table.key_for(identifier)
            table.announced[key] = Entry(identifier, table.generation(identifier), "")
            new[key] = ticket
    table.enter(new)
    table.taken_over(new)
    if new:
        log.info("Taken over as known: %s.", counted(len(new), "finding"))


def learnt(table: RegisterTable, shown: Sequence[LeensTicket]) -> dict[str, list[str | None]]:
    """Return the new or changed ids of the register's tickets in a list, by key."""
    by_id: dict[str, Known] = {}
    by_key: dict[str, Known] = {}
    for known in table.all_known():
        if known.status in ("created", "existing") and not known.given:
            by_key[known.key] = known
            by_id |= dict.fromkeys((i.casefold() for i in (known.ticket_id, known.vendor_ticket_id) if i), known)
    ids: dict[str, list[str | None]] = {}
    # The oldest first: people clone tickets together with the key in the description.
    for record in sorted(map(read_ticket, shown), key=lambda record: record.created_at or NEVER):
        named = record.ticket_id, record.vendor_ticket_id
        # Leen's id identifies a moved ticket; the key identifies a ticket whose reply named no id.
        meant = [by_id[one.casefold()] for one in named if one and one.casefold() in by_id]
        if not meant and record.key in by_key and not _is_clone(record, by_key[record.key]):
            meant = [by_key[record.key]]
        if meant and not record.contradictions and named != (meant[0].ticket_id, meant[0].vendor_ticket_id):
            ids.setdefault(meant[0].key, list(named))
    return ids


def _is_clone(record: Record, known: Known) -> bool:
    """Return whether a ticket that carries a key was created later than the key's own ticket."""
    if known.vendor_ticket_id is None and known.ticket_id is None:
        return False
    return record.created_at is None or record.created_at > (known.filed_at or 0.0) + MADE_WITHIN
