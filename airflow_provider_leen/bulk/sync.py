"""Which tickets of a summary have no Leen id yet, and whether Leen has synced them meanwhile."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, cast

from airflow_provider_leen.api.client import AsyncLeenClient
from airflow_provider_leen.api.errors import LeenConfigError, LeenResponseError, LeenValidationError
from airflow_provider_leen.api.jira import is_key, read_ticket
from airflow_provider_leen.api.models import Ticket
from airflow_provider_leen.bulk.asking import ask_all
from airflow_provider_leen.bulk.lookup import Created
from airflow_provider_leen.bulk.state import CLOCK_SKEW
from airflow_provider_leen.bulk.summary import Summary, TicketResult, read_summaries

SLACK = timedelta(hours=1)
"""The most seconds that Leen's or the tracker's clock may be behind this machine's."""


@dataclass(frozen=True)
class Found:
    """Tickets that Leen knows.

    :param by_vendor_ticket_id: the vendor's id of a ticket -> Leen's.
    :param by_identifier: the identifier of a ticket -> its ids.
    """

    by_vendor_ticket_id: dict[str, str] = field(default_factory=dict)
    by_identifier: dict[str, Created] = field(default_factory=dict)


@dataclass(frozen=True)
class Awaited:
    """Tickets that exist but have no Leen id yet; its length is their number.

    :param vendor_ticket_ids: of tickets that Leen finds only by the vendor's id, after a sync.
    :param identifiers: of tickets whose vendor id is unknown, too, for example after a job: Leen finds them by their
        identifiers.
    """

    vendor_ticket_ids: list[str]
    identifiers: list[str]

    def __len__(self) -> int:
        return len(self.names)

    @property
    def names(self) -> list[str]:
        """The tickets' names, for a person."""
        return [*self.vendor_ticket_ids, *self.identifiers]

    def without(self, found: Found) -> Awaited:
        """Return the tickets that are not found yet."""
        return Awaited(
            [key for key in self.vendor_ticket_ids if key not in found.by_vendor_ticket_id],
            [identifier for identifier in self.identifiers if identifier not in found.by_identifier],
        )


def read_one_summary(value: Any) -> Summary:
    """Return the summary in the rendered value of ``results``.

    :raises LeenConfigError: there is none, or several, or one of changed tickets.
    """
    summaries = read_summaries(value)
    if len(summaries) > 1:
        raise LeenConfigError(
            f"`results` holds {len(summaries)} summaries: map the sensor over them, like their operator "
            "(`.expand(results=…)`)."
        )
    [summary] = summaries
    if "updated" in summary:
        raise LeenConfigError(
            "This is a summary of changed tickets, which already have Leen ids: give the sensor the `.output` of the "
            "operator that created them."
        )
    return cast(Summary, summary)


def unsynced(summary: Summary) -> Awaited:
    """Return the tickets that exist but have no Leen id yet."""
    results = [result for result in summary["results"] if result["success"] and result["ticket_id"] is None]
    return Awaited(
        [result["vendor_ticket_id"] for result in results if result["vendor_ticket_id"]],
        [result["identifier"] for result in results if not result["vendor_ticket_id"] and result["identifier"]],
    )


def fill_in(summary: Summary, found: Found) -> Summary:
    """Return the summary with the ids that were found."""
    return summary | {"results": [_filled_in(result, found) for result in summary["results"]]}


def _filled_in(result: TicketResult, found: Found) -> TicketResult:
    if result["ticket_id"]:
        return result
    if result["vendor_ticket_id"]:
        return result | {"ticket_id": found.by_vendor_ticket_id.get(result["vendor_ticket_id"])}
    ids = found.by_identifier.get(result["identifier"] or "", Created(None, None))
    return result | {"ticket_id": ids.ticket_id, "vendor_ticket_id": ids.vendor_ticket_id}


def vendor_names(ticket: Ticket) -> set[str]:
    """Return every id under which the vendor may know one of Leen's tickets.

    Leen does not document the field of a Jira key: the url ends with it, or one of the ids in its attributes is the
    key.
    """
    attributes = ticket.vendor_attributes
    data = attributes.get("data") if isinstance(attributes, dict) else None
    parts = [part for part in (attributes, data) if isinstance(part, dict)]
    names = [ticket.vendor_ticket_id, *(part.get(field) for part in parts for field in ("id", "key"))]
    return {name for name in names if isinstance(name, str) and name}


async def find_synced(client: AsyncLeenClient, awaited: Awaited, since: datetime) -> Found:
    """Look for tickets: in Leen's list by vendor ids, and one by one by identifiers.

    :param client: the API.
    :param awaited: the tickets.
    :param since: no ticket was created before.
    :raises LeenError: Leen is not available.
    """
    found = Found()

    async def look_up(identifier: str) -> None:
        try:
            ticket = await client.get_ticket_by_identifier(identifier)
        except LeenResponseError as error:
            if error.status != 200:
                raise
            # Another ticket, or a contradictory reply: this one isn't found yet.
            return
        if ticket is None:
            return
        created_at = read_ticket(ticket).created_at
        # Yesterday's ticket may have the same identifier, if the user chose it.
        if is_key(identifier) or (created_at is not None and created_at >= since.timestamp() - CLOCK_SKEW):
            found.by_identifier[identifier] = Created(ticket.id, ticket.vendor_ticket_id)

    await ask_all(look_up, awaited.identifiers)
    wanted = set(awaited.vendor_ticket_ids)
    if wanted:
        async with aclosing(_tickets(client, since - SLACK)) as tickets:
            async for ticket in tickets:
                names = wanted & vendor_names(ticket)
                record = read_ticket(ticket)
                if len(names) == 1 and record.ticket_id and not record.contradictions:
                    found.by_vendor_ticket_id[names.pop()] = record.ticket_id
                if len(found.by_vendor_ticket_id) == len(wanted):
                    break
    return _without_clashes(found)


def _without_clashes(found: Found) -> Found:
    """Drop tickets that Leen returned for several ids: they are found later, or not at all."""
    ids = [*found.by_vendor_ticket_id.values(), *(known.ticket_id for known in found.by_identifier.values())]
    seen = Counter((ticket_id or "").casefold() for ticket_id in ids)
    return Found(
        {name: ticket_id for name, ticket_id in found.by_vendor_ticket_id.items() if seen[ticket_id.casefold()] == 1},
        {name: known for name, known in found.by_identifier.items() if seen[(known.ticket_id or "").casefold()] == 1},
    )


async def _tickets(client: AsyncLeenClient, since: datetime) -> AsyncGenerator[Ticket, None]:
    try:
        async for ticket in client.iter_tickets(updatedSince=since):
            yield ticket
    except LeenValidationError:
        # This filter is documented for the list of users, not for that of tickets.
        async for ticket in client.iter_tickets():
            yield ticket
