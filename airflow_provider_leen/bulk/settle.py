"""Finds out what became of tickets that were sent without an answer.

Leen is asked for each identifier. Where a ticket carries its key in its description, the vendor is searched for it,
too; only such a search, late enough, proves that a ticket does not exist.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from airflow_provider_leen.api.client import AsyncLeenClient
from airflow_provider_leen.api.errors import LeenError
from airflow_provider_leen.api.models import Ticket
from airflow_provider_leen.api.settings import LeenSettings
from airflow_provider_leen.bulk.ledger import Created
from airflow_provider_leen.bulk.tickets import TicketRow

log = logging.getLogger(__name__)

LOOK_UPS_AT_ONCE = 8

FAILURES_BEFORE_GIVING_UP = 8
"""So many failed look-ups in a row mean that asking for the others is no use either."""

CLOCK_SKEW = 60.0
"""Seconds by which Leen's clock may be behind this machine's."""

MAX_JQL = 5000
"""The longest search that Leen takes, in characters."""

_KEY = re.compile(r"airflow-[0-9a-f]{24}")


@dataclass(slots=True)
class Unsettled:
    """A ticket that was sent, and nobody can say whether it exists.

    :param row: the ticket.
    :param sent_at: a time on record before it left, in seconds since the epoch.
    :param created_after: it can't have been created before this time.
    :param findings: what was found out, for a person.
    """

    row: TicketRow
    sent_at: float
    created_after: float
    findings: str = ""


def is_this_ticket(ticket: Ticket, row: TicketRow, created_after: float) -> bool:
    """Tell whether what Leen has under a row's identifier was created from this row, in this run.

    The key of a run is in no other run. An identifier of the user's own may be: yesterday's ticket is not today's.
    """
    if ticket.identifier != row.identifier:
        return False
    if row.identifier == row.key:
        return True
    try:
        created_at = datetime.fromisoformat(ticket.ticket_created_at or "")
    except ValueError:
        return False
    # Without an offset it proves nothing: it may be of any time zone.
    return created_at.tzinfo is not None and created_at.timestamp() >= created_after - CLOCK_SKEW


def searches(keys: Sequence[str]) -> Iterator[str]:
    """Write the JQL that finds tickets by the keys in their descriptions, in searches that Leen takes."""
    clauses: list[str] = []
    for key in keys:
        clause = f'description ~ "{_in_jql(key)}"'
        if clauses and sum(map(len, clauses)) + 4 * len(clauses) + len(clause) > MAX_JQL:
            yield " OR ".join(clauses)
            clauses = []
        clauses.append(clause)
    if clauses:
        yield " OR ".join(clauses)


def read_hit(hit: Any) -> dict[str, Created]:
    """Read which keys a search's hit carries, and its ids; a Jira issue and a Leen ticket are both understood."""
    if not isinstance(hit, dict):
        return {}
    keys = set(_KEY.findall(json.dumps(hit)))
    is_issue = isinstance(hit.get("fields"), dict) or "key" in hit
    ids = Created(None, _text(hit.get("key"))) if is_issue else Created(_text(hit.get("id")), vendor_ticket_id(hit))
    return dict.fromkeys(keys, ids)


def vendor_ticket_id(ticket: Mapping[str, Any]) -> str | None:
    """Find a Jira key in one of Leen's tickets: Leen does not document where it is, but its url ends with it."""
    url = ticket.get("url")
    found = re.search(r"/([A-Za-z][A-Za-z0-9_]*-\d+)/?$", url) if isinstance(url, str) else None
    attributes = ticket.get("vendor_attributes")
    other = attributes.get("id") if isinstance(attributes, dict) else None
    return found.group(1) if found else _text(other)


def absence_is_believed_at(sent_at: float, settings: LeenSettings) -> float:
    """Say from when on a search that finds nothing proves that a ticket does not exist.

    A request leaves within one timeout of the time on record, may be worked on for another, and then the vendor's
    search index lags.
    """
    return sent_at + 2 * settings.timeout + settings.settle_time


class Settler:
    """Asks Leen and the vendor for tickets.

    :param client: the API.
    :param embedded: whether the tickets carry their keys in their descriptions.
    """

    def __init__(self, client: AsyncLeenClient, *, embedded: bool) -> None:
        self.embedded = embedded
        self._client = client
        self._failures = 0

    async def look_up(self, tickets: Sequence[Unsettled]) -> dict[int, Created]:
        """Ask for all tickets at once.

        :return: the ones that exist, by the index of their row; of the others, ``findings`` says what was found out.
        """
        found: dict[int, Created] = {}
        waiting = iter(tickets)
        self._failures = 0

        async def ask() -> None:
            for ticket in waiting:
                ids = await self._by_identifier(ticket)
                if ids is not None:
                    found[ticket.row.index] = ids

        await asyncio.gather(*(ask() for _ in range(LOOK_UPS_AT_ONCE)))
        if self.embedded:
            found |= await self._by_search([ticket for ticket in tickets if ticket.row.index not in found])
        return found

    async def confirm_absence(self, tickets: Sequence[Unsettled]) -> tuple[dict[int, Created], list[Unsettled]]:
        """Wait until a search that finds nothing is believed, then search once more.

        :return: the tickets that exist, by the index of their row, and those that surely don't.
        """
        if not self.embedded or not tickets:
            return {}, []
        settings = self._client.settings
        until = max(absence_is_believed_at(ticket.sent_at, settings) for ticket in tickets)
        wait = until - time.time()
        if wait > 0:
            clock = datetime.fromtimestamp(until).astimezone().strftime("%H:%M:%S %Z")
            log.info(
                "%d tickets were sent without an answer and not found so far; the vendor's search may lag. Waiting "
                "until %s (%.0f s), then searching once more.",
                len(tickets),
                clock,
                wait,
            )
            await asyncio.sleep(wait)
        failed: list[Unsettled] = []
        found = await self._by_search(tickets, failed)
        lost = {ticket.row.index for ticket in failed}
        return found, [ticket for ticket in tickets if ticket.row.index not in found.keys() | lost]

    async def _by_identifier(self, ticket: Unsettled) -> Created | None:
        if self._failures >= FAILURES_BEFORE_GIVING_UP:
            ticket.findings = "Leen could not be asked for it: the look-ups before it failed."
            return None
        try:
            known = await self._client.get_ticket_by_identifier(str(ticket.row.identifier))
        except LeenError as error:
            self._failures += 1
            ticket.findings = f"Leen could not be asked for it ({error})."
            return None
        self._failures = 0
        if known is None:
            ticket.findings = "Leen does not know its identifier, which proves nothing before a sync."
            return None
        if not is_this_ticket(known, ticket.row, ticket.created_after):
            ticket.findings = (
                f"Leen has the ticket {known.id} under its identifier, but nothing shows that it is of this run."
            )
            return None
        return Created(known.id, vendor_ticket_id(known.model_dump()))

    async def _by_search(
        self, tickets: Sequence[Unsettled], failed: list[Unsettled] | None = None
    ) -> dict[int, Created]:
        by_key = {str(ticket.row.key): ticket for ticket in tickets}
        found: dict[int, Created] = {}
        for jql in searches(list(by_key)):
            asked = [by_key[key] for key in _KEY.findall(jql)]
            try:
                hits = await self._client.search_tickets(jql)
            except LeenError as error:
                for ticket in asked:
                    ticket.findings += f" The vendor could not be searched for its key ({error})."
                if failed is not None:
                    failed += asked
                continue
            for key, ids in ((key, ids) for hit in hits for key, ids in read_hit(hit).items()):
                if key in by_key:
                    found[by_key[key].row.index] = ids
            for ticket in asked:
                if ticket.row.index not in found:
                    ticket.findings += " The vendor's search does not find its key."
        return found


def _in_jql(key: str) -> str:
    # A phrase inside of a JQL string: the inner quotes and every backslash are escaped.
    phrase = key.replace("\\", "\\\\").replace('"', '\\"')
    return f'\\"{phrase}\\"'


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
