"""Asks which tickets Leen knows already, so that a daily scan that finds the same again files nothing twice."""

from __future__ import annotations

from collections.abc import Iterable

from airflow_provider_leen.api.client import AsyncLeenClient
from airflow_provider_leen.api.errors import LeenResponseError
from airflow_provider_leen.bulk.asking import ask_all
from airflow_provider_leen.bulk.lookup import Created, clashing
from airflow_provider_leen.bulk.tickets import TicketRow


async def find_existing(client: AsyncLeenClient, rows: Iterable[TicketRow]) -> dict[str, Created]:
    """Look up the rows' own identifiers, eight at a time; keys of this run can't be known yet.

    A closed ticket counts as existing. A ticket that was created with vendor ids is not known to Leen before the
    connector's next sync.

    :return: the ids of the tickets that exist, by key.
    :raises LeenError: a look-up failed or contradicts itself, which is not a "no": nobody may create these tickets now.
    """
    found: dict[str, Created] = {}

    async def ask(row: TicketRow) -> None:
        ticket = await client.get_ticket_by_identifier(str(row.identifier))
        if ticket is not None:
            found[str(row.key)] = Created(ticket.id, ticket.vendor_ticket_id)

    await ask_all(ask, (row for row in rows if row.identifier != row.key))
    if doubted := clashing(found):
        raise LeenResponseError(
            f"Leen answered the look-ups of {len(doubted)} different identifiers with the same ticket "
            f"({found[doubted[0]].ticket_id}), so that nothing shows which of them exist. Identifiers of which only "
            "the ends differ may have been cut: put what tells them apart at the beginning."
        )
    return found
