"""Finds out what became of tickets that were sent without an answer.

Leen is asked for each identifier. Where a ticket carries its key in its description, the vendor is searched for it,
too; only such a search, late enough, proves that a ticket does not exist.
"""

from __future__ import annotations

import asyncio
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
from airflow_provider_leen.bulk.asking import ask_all
from airflow_provider_leen.bulk.ledger import Created, Sent
from airflow_provider_leen.bulk.summary import counted
from airflow_provider_leen.bulk.tickets import TicketRow

log = logging.getLogger(__name__)

FAILURES_BEFORE_GIVING_UP = 8
"""So many failed look-ups in a row mean that asking for the others is no use either."""

FAILED_SEARCHES_BEFORE_GIVING_UP = 3
"""The same for searches, each of which is about many tickets; one follows upon the other."""

CLOCK_SKEW = 60.0
"""Seconds by which Leen's clock may be behind this machine's."""

NEVER = 1e11
"""Seconds: stands for a time that doesn't come, since a ledger's values are plain JSON, which has no infinity."""

MAX_JQL = 5000
"""The longest search that Leen takes, in characters."""

_KEY = "airflow-[0-9a-f]{24}"
_KEY_AS_LAST_LINE = re.compile(rf"(?:\A|[\n>])[ \t]*({_KEY})(?:\s|</\w+>)*\Z")


@dataclass(slots=True)
class Unsettled:
    """A ticket that was sent, and nobody can say whether it exists.

    :param row: the ticket.
    :param sent: what is on record of its sending.
    :param created_after: it can't have been created before this time.
    :param findings: what was found out, for a person.
    """

    row: TicketRow
    sent: Sent
    created_after: float
    findings: str = ""


def is_this_ticket(ticket: Ticket, row: TicketRow, created_after: float) -> bool:
    """Tell whether what Leen has under a row's identifier was created from this row, in this run.

    The key of a run is in no other run. An identifier of the user's own may be: yesterday's ticket is not today's.
    """
    if ticket.identifier != row.identifier:
        return False
    return row.identifier == row.key or was_created_after(ticket, created_after)


def is_key(identifier: str) -> bool:
    """Tell whether an identifier is one of this package's keys, which are unique to a run."""
    return re.fullmatch(_KEY, identifier) is not None


def was_created_after(ticket: Ticket, created_after: float) -> bool:
    """Tell whether a ticket says that it was created after a time, in seconds since the epoch."""
    try:
        created_at = datetime.fromisoformat(ticket.ticket_created_at or "")
    except ValueError:
        return False
    # Without an offset it proves nothing: it may be of any time zone.
    return created_at.tzinfo is not None and created_at.timestamp() >= created_after - CLOCK_SKEW


def jql_for(keys: Sequence[str]) -> str:
    """Write the JQL that finds tickets by the keys in their descriptions."""
    return " OR ".join(f'description ~ "{_in_jql(key)}"' for key in keys)


def in_searches(keys: Sequence[str]) -> Iterator[list[str]]:
    """Divide keys among searches that are not too long for Leen."""
    room = 0
    asked: list[str] = []
    for key in keys:
        length = len(jql_for([key])) + len(" OR ")
        if length > room and asked:
            yield asked
            asked = []
        room = (room if asked else MAX_JQL) - length
        asked.append(key)
    if asked:
        yield asked


def read_hit(hit: Any) -> dict[str, Created]:
    """Read the key that a search's hit carries, if any, and its ids: of a Jira issue or of a Leen ticket.

    Only the description's last line counts, where this package writes the key. Elsewhere it is a mere mention, in an
    incident's ticket say, that quotes which outcomes a failed task did not know.
    """
    if not isinstance(hit, dict):
        return {}
    fields = hit.get("fields")
    is_issue = isinstance(fields, dict) or "key" in hit
    description = fields.get("description") if isinstance(fields, dict) else hit.get("description")
    key = _KEY_AS_LAST_LINE.search(_last_text(description))
    if key is None:
        return {}
    ids = Created(None, _text(hit.get("key"))) if is_issue else Created(_text(hit.get("id")), vendor_ticket_id(hit))
    return {key.group(1): ids}


def vendor_ticket_id(ticket: Mapping[str, Any]) -> str | None:
    """Find a Jira key in one of Leen's tickets: Leen does not document where it is, but its url ends with it."""
    url = ticket.get("url")
    found = re.search(r"/([A-Za-z][A-Za-z0-9_]*-\d+)/?$", url) if isinstance(url, str) else None
    attributes = ticket.get("vendor_attributes")
    other = attributes.get("id") if isinstance(attributes, dict) else None
    return found.group(1) if found else _text(other)


def absence_after(settings: LeenSettings, *, as_job: bool = False) -> float:
    """Say how many seconds after a sending a search that finds nothing proves that a ticket does not exist.

    A request leaves within one timeout of the time on record, may be worked on for another, and then the vendor's
    search index lags. A job may be in a queue for nobody knows how long: before its end is seen, nothing proves it.
    """
    return NEVER if as_job else 2 * settings.timeout + settings.settle_time


class Settler:
    """Asks Leen and the vendor for tickets.

    :param client: the API.
    """

    def __init__(self, client: AsyncLeenClient) -> None:
        self._client = client
        self._failures = 0

    async def look_up(self, tickets: Sequence[Unsettled]) -> dict[int, Created]:
        """Ask for all tickets at once; those that carry their keys are searched for, too.

        :return: the ones that exist, by the index of their row; of the others, ``findings`` says what was found out.
        """
        found: dict[int, Created] = {}
        self._failures = 0

        async def ask(ticket: Unsettled) -> None:
            ids = await self._by_identifier(ticket)
            if ids is not None:
                found[ticket.row.index] = ids

        await ask_all(ask, tickets)
        by_search, _absent = await self._by_search([t for t in tickets if t.row.index not in found])
        return found | by_search

    async def confirm_absence(self, tickets: Sequence[Unsettled]) -> tuple[dict[int, Created], list[Unsettled]]:
        """Wait until a search that finds nothing is believed, then search once more for tickets that carry their keys.

        :return: the tickets that exist, by the index of their row, and those that surely don't.
        """
        tickets = [ticket for ticket in tickets if (ticket.sent.absence_from or NEVER) < NEVER]
        until = max((ticket.sent.absence_from or 0.0 for ticket in tickets), default=0.0)
        wait = until - time.time()
        if wait > 0:
            clock = datetime.fromtimestamp(until).astimezone().strftime("%H:%M:%S %Z")
            log.info(
                "%s sent without an answer and not found so far; the vendor's search may lag. Waiting "
                "until %s (%.0f s), then searching once more.",
                counted(len(tickets), "ticket"),
                clock,
                wait,
            )
            await asyncio.sleep(wait)
        for ticket in tickets:
            ticket.findings = ""
        return await self._by_search(tickets)

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

    async def _by_search(self, tickets: Sequence[Unsettled]) -> tuple[dict[int, Created], list[Unsettled]]:
        """Search for the keys that tickets carry; return the tickets found, and those of which nothing was found."""
        by_key = {str(ticket.row.key): ticket for ticket in tickets if ticket.sent.absence_from is not None}
        found: dict[int, Created] = {}
        absent: list[Unsettled] = []
        failures = 0
        for asked in in_searches(list(by_key)):
            ids: dict[str, Created] = {}
            finding = "The vendor could not be searched for its key: the searches before it failed."
            if failures < FAILED_SEARCHES_BEFORE_GIVING_UP:
                try:
                    ids, nothing_left = await self._search(asked)
                except LeenError as error:
                    failures += 1
                    finding = f"The vendor could not be searched for its key ({error})."
                else:
                    failures = 0
                    finding = "The vendor's search does not find its key."
                    absent += [by_key[key] for key in asked if nothing_left and key not in ids]
            found |= {by_key[key].row.index: ids[key] for key in ids}
            for key in asked:
                by_key[key].findings = f"{by_key[key].findings} {finding}".strip()
        return found, absent

    async def _search(self, keys: Sequence[str]) -> tuple[dict[str, Created], bool]:
        """Search until no further key is found; say whether the last search found nothing at all.

        How many hits the search returns at most is not documented: one that finds some of the keys proves nothing of
        the others, and only an empty one is sure to be whole.
        """
        found: dict[str, Created] = {}
        left = list(keys)
        while left:
            hits = await self._client.search_tickets(jql_for(left))
            new = {key: ids for hit in hits for key, ids in read_hit(hit).items() if key in left}
            if not new:
                return found, not hits
            found |= new
            left = [key for key in left if key not in found]
        return found, True


def _in_jql(key: str) -> str:
    # A phrase inside of a JQL string: the inner quotes and every backslash are escaped.
    phrase = key.replace("\\", "\\\\").replace('"', '\\"')
    return f'\\"{phrase}\\"'


def _last_text(description: Any) -> str:
    """Return a description that is a text, or the last text of one in Atlassian's document format (nested nodes)."""
    if isinstance(description, str):
        return description
    if not isinstance(description, dict):
        return ""
    nodes = description.get("content")
    texts = (_last_text(node) for node in reversed(nodes if isinstance(nodes, list) else []))
    return _text(description.get("text")) or next((text for text in texts if text.strip()), "")


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
