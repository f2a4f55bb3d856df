"""Which tickets of a summary Leen does not know before its connector's next sync, and whether it knows them by now."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping
from datetime import datetime
from typing import Any

from airflow_provider_leen.api.client import AsyncLeenClient
from airflow_provider_leen.api.errors import LeenConfigError, LeenValidationError
from airflow_provider_leen.api.models import Ticket
from airflow_provider_leen.bulk.settle import vendor_ticket_id
from airflow_provider_leen.bulk.summary import Summary, read_summaries


def read_one_summary(value: Any) -> Summary:
    """Return the summary in what ``results`` was rendered to.

    :raises LeenConfigError: there is none, or several, or one whose results are elsewhere.
    """
    summaries = read_summaries(value)
    if len(summaries) > 1:
        raise LeenConfigError(
            f"`results` holds {len(summaries)} summaries: map the sensor over them, like the operator that made them "
            "(`.expand(results=…)`)."
        )
    [summary] = summaries
    if summary["total"] and not summary["results"]:
        raise LeenConfigError("This summary's results are in a file (`results_path`): there is none to wait for here.")
    return summary


def unsynced(summary: Summary) -> list[str]:
    """Return the vendor's ids of the tickets that exist and have no id of Leen's yet."""
    return [
        result["vendor_ticket_id"]
        for result in summary["results"]
        if result["success"] and result["ticket_id"] is None and result["vendor_ticket_id"]
    ]


def fill_in(summary: Summary, ticket_ids: Mapping[str, str]) -> Summary:
    """Return the summary with Leen's ids.

    :param ticket_ids: the vendor's id of a ticket -> Leen's.
    """
    results = [
        result | {"ticket_id": result["ticket_id"] or ticket_ids.get(result["vendor_ticket_id"] or "")}
        for result in summary["results"]
    ]
    return summary | {"results": results}


def vendor_names(ticket: Mapping[str, Any]) -> set[str]:
    """Return every name that the vendor may know one of Leen's tickets by.

    Leen does not document where a Jira key is: its url ends with it, and one of the ids in its attributes may be it.
    """
    attributes = ticket.get("vendor_attributes")
    data = attributes.get("data") if isinstance(attributes, dict) else None
    parts = [part for part in (attributes, data) if isinstance(part, dict)]
    names = [vendor_ticket_id(ticket), *(part.get(field) for part in parts for field in ("id", "key"))]
    return {name for name in names if isinstance(name, str) and name}


async def find_synced(client: AsyncLeenClient, keys: Collection[str], since: datetime) -> dict[str, str]:
    """Look for tickets in Leen's list.

    :param keys: the vendor's ids.
    :param since: none of them was created before.
    :return: the vendor's id -> Leen's, of those that Leen knows.
    :raises LeenError: the list can't be read.
    """
    wanted = set(keys)
    found: dict[str, str] = {}
    async for ticket in _tickets(client, since):
        found |= dict.fromkeys(wanted & vendor_names(ticket.model_dump()), ticket.id)
    return found


async def _tickets(client: AsyncLeenClient, since: datetime) -> AsyncIterator[Ticket]:
    try:
        async for ticket in client.iter_tickets(updatedSince=since):
            yield ticket
    except LeenValidationError:
        # The list of users is documented to take this filter, that of tickets is not.
        async for ticket in client.iter_tickets():
            yield ticket
