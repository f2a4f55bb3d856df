"""Looks up tickets with an unknown outcome at Leen and the tracker; :mod:`.lookup` decides what the answers prove.

Leen is asked for the ids that contradictory replies named, and for each identifier. If a ticket may carry its key in
its description, the tracker is searched for the key, too.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import datetime

from airflow_provider_leen.api import jira
from airflow_provider_leen.api.client import AsyncLeenClient
from airflow_provider_leen.api.errors import LeenError
from airflow_provider_leen.api.jira import Record
from airflow_provider_leen.api.reservations import SearchReply, read_search
from airflow_provider_leen.bulk import lookup
from airflow_provider_leen.bulk.asking import ask_all
from airflow_provider_leen.bulk.lookup import Control, Created, UnknownTicket
from airflow_provider_leen.bulk.summary import counted

log = logging.getLogger(__name__)

FAILURES_BEFORE_GIVING_UP = 8
"""Give up look-ups after this many consecutive failures."""

FAILED_SEARCHES_BEFORE_GIVING_UP = 3
"""The same for searches, each of which is about many tickets."""

ControlsOf = Callable[[str], Sequence[Control]]
"""Returns tickets of a project that a reliable search must find. Finding one is enough: people may have moved or
deleted others."""


class Settler:
    """Looks up tickets at Leen and the tracker.

    :param client: the API.
    :param now: the time in seconds since the epoch.
    :param sleep: waits for some seconds.
    """

    def __init__(
        self,
        client: AsyncLeenClient,
        now: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._client = client
        self._now = now
        self._sleep = sleep
        self._failures = 0

    async def look_up(self, tickets: Sequence[UnknownTicket]) -> dict[str, Created]:
        """Look up tickets: by named ids, by identifier, then by the keys that they may carry.

        :return: those that exist, by key; ``findings`` of the others says what was found.
        """
        found: dict[str, Created] = {}
        self._failures = 0

        async def ask(ticket: UnknownTicket) -> None:
            ticket.findings = ""
            ids = await self._by_id(ticket) or await self._by_identifier(ticket)
            if ids is not None:
                found[ticket.key] = ids

        await ask_all(ask, tickets)
        left = [ticket for ticket in tickets if ticket.key not in found and ticket.may_carry_key]
        by_search, _absent = await self._by_search(left, None)
        return found | by_search

    async def confirm_absence(
        self, tickets: Sequence[UnknownTicket], controls_of: ControlsOf
    ) -> tuple[dict[str, Created], list[UnknownTicket]]:
        """Wait until an empty search counts as proof, then search once more for tickets that carry their keys.

        :param controls_of: is asked after the wait.
        :return: the tickets that exist, by key, and those that don't exist.
        """
        tickets = [ticket for ticket in tickets if ticket.may_be_absent]
        until = max((ticket.final_from for ticket in tickets), default=0.0)
        wait = until - self._now()
        if wait > 0:
            clock = datetime.fromtimestamp(until).astimezone().strftime("%H:%M:%S %Z")
            log.info(
                "The outcome of %s is unknown, and look-ups have not found them so far. The tracker's search may lag. "
                "Waiting until %s (%.0f s), then searching once more.",
                counted(len(tickets), "ticket"),
                clock,
                wait,
            )
            await self._sleep(wait)
        for ticket in tickets:
            ticket.findings = ""
        return await self._by_search(tickets, controls_of)

    async def fetch_ids(self, tickets: Sequence[UnknownTicket]) -> dict[str, Created]:
        """Fetch the ids of tickets that a job created, since jobs don't return ids.

        :return: the known ids, by key.
        """
        found: dict[str, Created] = {}
        self._failures = 0

        async def ask(ticket: UnknownTicket) -> None:
            if self._failures >= FAILURES_BEFORE_GIVING_UP:
                return
            try:
                known = await self._client.get_ticket_by_identifier(str(ticket.row.identifier))
            except LeenError:
                self._failures += 1
                return
            self._failures = 0
            if known is not None and lookup.is_that_of(record := jira.read_ticket(known), ticket):
                found[ticket.key] = lookup.created(record)

        await ask_all(ask, tickets)
        return found

    async def _by_id(self, ticket: UnknownTicket) -> Created | None:
        """Read the tickets that contradictory replies named, until one proves to be this one."""
        for named in ticket.named:
            reading = self._read_from_tracker if jira.is_issue_key(named) else self._read_from_leen
            if (ids := await self._by_record(ticket, named, reading(named))) is not None:
                return ids
        return None

    async def _by_record(self, ticket: UnknownTicket, named: str, reading: Awaitable[Record | None]) -> Created | None:
        try:
            record = await reading
        except LeenError as error:
            _note(ticket, f"The reply named {named}, which could not be read ({error}).")
            return None
        why_not = "it can't be found" if record is None else lookup.why_not_by_id(record, ticket)
        if record is not None and why_not is None:
            return lookup.created(record)
        _note(ticket, f"The reply named {named}, but {why_not}.")
        return None

    async def _read_from_leen(self, ticket_id: str) -> Record | None:
        record = jira.read_ticket(await self._client.get_ticket(ticket_id))
        # Ids in contradictory replies may have any form.
        return record if (record.ticket_id or "").strip().casefold() == ticket_id.casefold() else None

    async def _read_from_tracker(self, vendor_ticket_id: str) -> Record | None:
        records = jira.read_hits(await self._search(jira.jql_for_issue(vendor_ticket_id)))
        same = [r for r in records if (r.vendor_ticket_id or "").casefold() == vendor_ticket_id.casefold()]
        return same[0] if len(same) == 1 else None

    async def _by_identifier(self, ticket: UnknownTicket) -> Created | None:
        if self._failures >= FAILURES_BEFORE_GIVING_UP:
            _note(ticket, "It was not looked up in Leen: earlier look-ups failed.")
            return None
        try:
            known = await self._client.get_ticket_by_identifier(str(ticket.row.identifier))
        except LeenError as error:
            self._failures += 1
            _note(ticket, f"It could not be looked up in Leen ({error}).")
            return None
        self._failures = 0
        if known is None:
            _note(ticket, "Leen does not know its identifier, but that proves nothing before Leen's next sync.")
            return None
        record = jira.read_ticket(known)
        why_not = lookup.why_not_by_identifier(record, ticket)
        if why_not is None:
            return lookup.created(record)
        _note(ticket, f"Leen has the ticket {known.id} under its identifier, but {why_not}.")
        return None

    async def _by_search(
        self, tickets: Sequence[UnknownTicket], controls_of: ControlsOf | None
    ) -> tuple[dict[str, Created], list[UnknownTicket]]:
        """Search for the keys that tickets may carry; return the tickets found, and those proved not to exist."""
        found: dict[str, Created] = {}
        absent: list[UnknownTicket] = []
        failures = 0
        for project, keys, by_key in _searches(tickets):
            controls = controls_of(project) if controls_of else ()
            ids: dict[str, Created] = {}
            if failures >= FAILED_SEARCHES_BEFORE_GIVING_UP:
                why_not = "The tracker was not searched for its key: earlier searches failed."
            else:
                try:
                    ids, why_not = await self._search_for(keys, controls)
                    failures = 0
                except LeenError as error:
                    failures += 1
                    why_not = f"The tracker could not be searched for its key ({error})."
            found |= ids
            for ticket in (by_key[key] for key in keys if key not in ids):
                if not why_not and controls_of:
                    absent.append(ticket)
                _note(ticket, why_not or "The tracker's search does not find its key.")
        return found, absent

    async def _search_for(self, keys: Sequence[str], controls: Sequence[Control]) -> tuple[dict[str, Created], str]:
        """Search until no further key is found; return why the last, empty search proves nothing, if so.

        The most hits of a search are not documented: a search that finds some of the keys proves nothing about the
        others. Only an empty one is certainly complete.
        """
        found: dict[str, Created] = {}
        left = list(keys)
        while left:
            reply = await self._search(jira.jql_for(left))
            records = jira.read_hits(reply)
            new = lookup.by_key(records, left)
            for key, number in Counter(record.key for record in records if record.key in new).items():
                if number > 1:
                    log.warning(
                        "The tracker has %d tickets with the key %s, perhaps clones: the oldest one counts.",
                        number,
                        key,
                    )
            found |= new
            left = [key for key in left if key not in new]
            if new or not left:
                continue
            if not reply.is_empty:
                return found, _says_more(reply)
            if controls:
                return await self._with_controls(left, controls, found)
            return found, ""
        return found, ""

    async def _with_controls(
        self, left: Sequence[str], controls: Sequence[Control], found: dict[str, Created]
    ) -> tuple[dict[str, Created], str]:
        """Search once more for keys that were not found, each time with the key of a ticket that must be found."""
        for control in controls:
            # Of the same form and length, so that it fails in the same cases.
            reply = await self._search(jira.jql_for([*left, control.key]))
            seen = lookup.by_key(jira.read_hits(reply), [*left, control.key])
            is_seen = _is_seen(control, seen.pop(control.key, None))
            found |= seen
            if is_seen:
                return found, _says_more(reply) if reply.reservations else ""
        shown = controls[0].vendor_ticket_id or controls[0].key
        return found, (
            f"The tracker's search does not find its key, but it does not find that of {shown} either, so this proves "
            "nothing."
        )

    async def _search(self, jql: str) -> SearchReply:
        return read_search(await self._client.search_page(jql))


def _searches(tickets: Sequence[UnknownTicket]) -> Iterator[tuple[str, list[str], dict[str, UnknownTicket]]]:
    """Group tickets into searches, each in one project: as project, keys, and the tickets by their keys."""
    by_project: dict[str, dict[str, UnknownTicket]] = {}
    for ticket in tickets:
        by_project.setdefault(ticket.project, {})[ticket.key] = ticket
    for project, by_key in by_project.items():
        for keys in jira.in_searches(list(by_key)):
            yield project, keys, by_key


def _says_more(reply: SearchReply) -> str:
    what = f"says more than that ({reply.reservations[0]})" if reply.reservations else "finds other tickets"
    return f"The tracker's search does not find its key, but {what}, which proves nothing."


def _is_seen(control: Control, ids: Created | None) -> bool:
    known, shown = control.vendor_ticket_id, ids.vendor_ticket_id if ids else None
    return ids is not None and (known is None or shown is None or known.casefold() == shown.casefold())


def _note(ticket: UnknownTicket, finding: str) -> None:
    ticket.findings = f"{ticket.findings} {finding}".strip()
