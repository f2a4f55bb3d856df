"""Looks up which tickets Leen already knows, so that a daily scan does not file a finding twice."""

from __future__ import annotations

from collections.abc import Iterable

from airflow_provider_leen.api.client import AsyncLeenClient
from airflow_provider_leen.api.errors import LeenResponseError
from airflow_provider_leen.bulk.asking import ask_all
from airflow_provider_leen.bulk.lookup import Created, clashing
from airflow_provider_leen.bulk.tickets import TicketRow


async def find_existing(client: AsyncLeenClient, rows: Iterable[TicketRow]) -> dict[str, Created]:
    """Look up the rows' own identifiers, eight at a time; generated keys can't exist yet.

    A closed ticket counts as existing. Leen does not find a ticket that was created with vendor ids until the
    connector's next sync.

    :return: the ids of the tickets that exist, by key.
    :raises LeenError: a look-up failed or contradicts itself. This does not mean that the ticket is missing, so none of
        the tickets may be created.
    """
    found: dict[str, Created] = {}

    async def ask(row: TicketRow) -> None:
        ticket = await client.get_ticket_by_identifier(str(row.identifier))
        if ticket is not None:
            found[str(row.key)] = Created(ticket.id, ticket.vendor_ticket_id)

    await ask_all(ask, (row for row in rows if row.identifier != row.key))
    if contested := clashing(found):
        raise LeenResponseError(
            f"Leen answered the look-ups of {len(contested)} different identifiers with the same ticket "
            f"({found[contested[0]].ticket_id}), so it is unknown which of them exist. Leen may have cut "
            "identifiers that differ only at their ends: put the part that distinguishes them at the beginning."
        )
    return found
