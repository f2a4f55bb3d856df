"""Asks which tickets Leen knows already, so that a daily scan that finds the same again files nothing twice."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from airflow_provider_leen.api.client import AsyncLeenClient
from airflow_provider_leen.api.errors import LeenError
from airflow_provider_leen.bulk.ledger import Created
from airflow_provider_leen.bulk.settle import LOOK_UPS_AT_ONCE, vendor_ticket_id
from airflow_provider_leen.bulk.tickets import TicketRow


async def find_existing(client: AsyncLeenClient, rows: Iterable[TicketRow]) -> dict[int, Created]:
    """Look up the rows' own identifiers, eight at a time; keys of this run can't be known yet.

    A closed ticket counts as existing. A ticket that was created with vendor ids is not known to Leen before the
    connector's next sync.

    :return: the ids of the tickets that exist, by the index of their row.
    :raises LeenError: a look-up failed, which is not a "no": nobody may create these tickets now.
    """
    waiting = iter([row for row in rows if row.identifier != row.key])
    found: dict[int, Created] = {}

    async def ask() -> None:
        for row in waiting:
            ticket = await client.get_ticket_by_identifier(str(row.identifier))
            if ticket is not None and ticket.identifier == row.identifier:
                found[row.index] = Created(ticket.id, vendor_ticket_id(ticket.model_dump()))

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(LOOK_UPS_AT_ONCE):
                group.create_task(ask())
    except* LeenError as errors:
        failure = errors.exceptions[0]
    else:
        return found
    raise failure
