"""Asks which tickets Leen knows already, so that a daily scan that finds the same again files nothing twice."""

from __future__ import annotations

from collections.abc import Iterable

from airflow_provider_leen.api.client import AsyncLeenClient
from airflow_provider_leen.bulk.asking import ask_all
from airflow_provider_leen.bulk.ledger import Created
from airflow_provider_leen.bulk.settle import vendor_ticket_id
from airflow_provider_leen.bulk.tickets import TicketRow


async def find_existing(client: AsyncLeenClient, rows: Iterable[TicketRow]) -> dict[int, Created]:
    """Look up the rows' own identifiers, eight at a time; keys of this run can't be known yet.

    A closed ticket counts as existing. A ticket that was created with vendor ids is not known to Leen before the
    connector's next sync.

    :return: the ids of the tickets that exist, by the index of their row.
    :raises LeenError: a look-up failed, which is not a "no": nobody may create these tickets now.
    """
    found: dict[int, Created] = {}

    async def ask(row: TicketRow) -> None:
        ticket = await client.get_ticket_by_identifier(str(row.identifier))
        if ticket is not None and ticket.identifier == row.identifier:
            found[row.index] = Created(ticket.id, vendor_ticket_id(ticket.model_dump()))

    await ask_all(ask, (row for row in rows if row.identifier != row.key))
    return found
