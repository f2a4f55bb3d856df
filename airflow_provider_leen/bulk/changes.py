"""Closes or reopens tickets of a register through Leen's update jobs; each step is recorded in the register first.

A change is recorded before it is sent, then its job, then its end, and that this try saw it. So wherever a run ends,
the next one knows which tickets to read before it plans.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from airflow_provider_leen.api.client import AsyncLeenClient
from airflow_provider_leen.bulk.findings import History, Shown
from airflow_provider_leen.bulk.journal import Journal, Owner
from airflow_provider_leen.bulk.ledger import LEAVES_WITHIN, Intent, Ledger
from airflow_provider_leen.bulk.register_ledger import RegisterLedger
from airflow_provider_leen.bulk.sending import Batching
from airflow_provider_leen.bulk.state import Ticket
from airflow_provider_leen.bulk.stores import MemoryStore
from airflow_provider_leen.bulk.update import Update

WAITS_FOR_JOBS = 600.0
"""Seconds for which a run waits for the jobs of its changes; the next run collects those still running."""


class StatusChange(Update):
    """A change of the status of tickets.

    :param register: the register in which each step is recorded.
    :param keys: by Leen's id in lower case, the keys of the tickets.
    :param wanted: the wanted state.
    :param status: Leen's status for that state.
    :param by: the task of a Dag run that changes them.
    """

    ledger: _RecordedChange

    def __init__(
        self,
        client: AsyncLeenClient,
        register: RegisterLedger,
        keys: Mapping[str, str],
        wanted: Shown,
        status: str,
        by: str,
        batching: Batching,
    ) -> None:
        recorded = _RecordedChange(register, keys, wanted, by)
        super().__init__(client, recorded, list(keys), {"status": status}, batching)

    async def run(self, poll_interval: float) -> None:
        """Make the change, and record its progress."""
        try:
            await self.submit()
            await self.wait(poll_interval, lambda: None, WAITS_FOR_JOBS)
        finally:
            self.ledger.note()

    def errors(self) -> dict[str, str]:
        """Return by key why tickets were not changed, if known."""
        tickets = {key: self.ledger.table[ticket_id] for ticket_id, key in self.ledger.keys.items()}
        return {key: ticket.error for key, ticket in tickets.items() if ticket.error}


class _RecordedChange(Ledger):
    """The facts of a change, in memory; those that the next run needs are recorded in the register."""

    def __init__(self, register: RegisterLedger, keys: Mapping[str, str], wanted: Shown, by: str) -> None:
        journal = Journal(MemoryStore(), Owner({}, 1))
        super().__init__(journal, None, embedded=False, host=register.host, now=register.now)
        self.keys = keys
        self._register = register
        self._wanted = wanted
        self._by = by

    async def intend(self, keys: Sequence[str], *, as_job: bool = False, settled_after: float = 0.0) -> Intent:
        """Record that tickets are about to be changed."""
        leaves_by = self.now() + LEAVES_WITHIN
        self._step(keys, lambda history, _: history.sent(self._wanted, leaves_by, self._by))
        await self._register.flush()
        return await super().intend(keys, as_job=as_job, settled_after=settled_after)

    async def flush(self) -> None:
        """Record what is known of them."""
        self.note()
        await self._register.flush()
        await super().flush()

    def note(self) -> None:
        """Record the state of sent tickets in the register."""
        now = self.now()
        self._step(
            [ticket_id for ticket_id in self.keys if ticket_id in self.table],
            lambda history, ticket: _after(history, ticket, now, self._by),
        )

    def _step(self, ticket_ids: Sequence[str], step: Callable[[History, Ticket], History]) -> None:
        histories: dict[str, Any] = {}
        for ticket_id in ticket_ids:
            key = self.keys[ticket_id]
            before = self._register.table.history(key)
            after = step(before, self.table[ticket_id])
            if after != before:
                histories[key] = after.as_json()
        self._register.table.reconciled(histories)


def _after(history: History, ticket: Ticket, now: float, by: str) -> History:
    """Return a ticket's history with the state of its running change."""
    if ticket.status == "updated":
        return history.made(now, by)
    if ticket.status == "rejected":
        return history.refused(str(ticket.refusal))
    if not ticket.sendings:
        return history.withdrawn()
    sending = ticket.sendings[-1]
    if sending.job:
        return history.submitted(sending.job)
    return history if sending.as_job else history.ended()
