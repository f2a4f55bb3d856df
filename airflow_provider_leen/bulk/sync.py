"""Which tickets of a summary have no id of Leen's yet, and whether Leen knows them by now."""

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
"""How far Leen's clock, or the tracker's, may be behind this machine's."""


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
    """Tickets that exist and have no id of Leen's yet; its length is their number.

    :param vendor_ticket_ids: of those that Leen knows by the vendor's id only, after a sync.
    :param identifiers: of those whose vendor's id isn't known either, as after a job whose tickets could not be asked
        for. Leen knows them by their identifiers.
    """

    vendor_ticket_ids: list[str]
    identifiers: list[str]

    def __len__(self) -> int:
        return len(self.names)

    @property
    def names(self) -> list[str]:
        """What the tickets are called, for a person."""
        return [*self.vendor_ticket_ids, *self.identifiers]

    def without(self, found: Found) -> Awaited:
        """Return those that are not found yet."""
        return Awaited(
            [key for key in self.vendor_ticket_ids if key not in found.by_vendor_ticket_id],
            [identifier for identifier in self.identifiers if identifier not in found.by_identifier],
        )


def read_one_summary(value: Any) -> Summary:
    """Return the summary in what ``results`` was rendered to.

    :raises LeenConfigError: there is none, or several, or one of changed tickets.
    """
    summaries = read_summaries(value)
    if len(summaries) > 1:
        raise LeenConfigError(
            f"`results` holds {len(summaries)} summaries: map the sensor over them, like the operator that made them "
            "(`.expand(results=…)`)."
        )
    [summary] = summaries
    if "updated" in summary:
        raise LeenConfigError(
            "This is the summary of changed tickets, which have ids of Leen's: give the sensor the `.output` of the "
            "operator that created them."
        )
    return cast(Summary, summary)


def unsynced(summary: Summary) -> Awaited:
    """Return the tickets that exist and have no id of Leen's yet."""
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
    """Return every name that the vendor may know one of Leen's tickets by.

    Leen does not document where a Jira key is: its url ends with it, and one of the ids in its attributes may be it.
    """
    attributes = ticket.vendor_attributes
    data = attributes.get("data") if isinstance(attributes, dict) else None
    parts = [part for part in (attributes, data) if isinstance(part, dict)]
    names = [ticket.vendor_ticket_id, *(part.get(field) for part in parts for field in ("id", "key"))]
    return {name for name in names if isinstance(name, str) and name}


async def find_synced(client: AsyncLeenClient, awaited: Awaited, since: datetime) -> Found:
    """Look for tickets: in Leen's list by the vendor's ids, one by one by identifiers.

    :param client: the API.
    :param awaited: the tickets.
    :param since: none of them was created before.
    :raises LeenError: Leen can't be asked.
    """
    found = Found()

    async def look_up(identifier: str) -> None:
        try:
            ticket = await client.get_ticket_by_identifier(identifier)
        except LeenResponseError as error:
            if error.status != 200:
                raise
            # Another ticket, or one that contradicts itself: this one isn't found yet.
            return
        if ticket is None:
            return
        created_at = read_ticket(ticket).created_at
        # Yesterday's ticket may have the same identifier, where it is the user's own.
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
    """Leave out the tickets that Leen names for several: they are found later, or not at all."""
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
        # The list of users is documented to take this filter, that of tickets is not.
        async for ticket in client.iter_tickets():
            yield ticket
