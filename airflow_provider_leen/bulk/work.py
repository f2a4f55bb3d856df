"""What the works of all senders share: each item has a key in the ledger, where its facts go."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from airflow_provider_leen.api.client import AsyncLeenClient
from airflow_provider_leen.api.results import Claim
from airflow_provider_leen.bulk.ledger import Intent, Ledger
from airflow_provider_leen.bulk.state import Ticket
from airflow_provider_leen.bulk.table import TicketTable

Item = TypeVar("Item")


class LedgerWork(Generic[Item]):
    """The part of a :class:`~.sending.Work` that keeps the record.

    :param client: the API.
    :param ledger: the facts of this try.
    :param key_of: returns the key of an item.
    :param as_job: whether a request submits a job.
    :param settled_after: seconds after a request left from when on nothing more comes of it.
    """

    def __init__(
        self,
        client: AsyncLeenClient,
        ledger: Ledger,
        key_of: Callable[[Item], str],
        *,
        as_job: bool,
        settled_after: float = 0.0,
    ) -> None:
        self._client = client
        self._ledger = ledger
        self._key_of = key_of
        self._as_job = as_job
        self._settled_after = settled_after

    @property
    def table(self) -> TicketTable:
        """The facts."""
        return self._ledger.table

    def keys(self, items: Sequence[Item]) -> list[str]:
        """Return the keys of items."""
        return [self._key_of(item) for item in items]

    async def intend(self, items: Sequence[Item]) -> Intent:
        """Put on record that items are about to leave in one request."""
        keys = self.keys(items)
        return await self._ledger.intend(keys, as_job=self._as_job, settled_after=self._settled_after)

    async def leave(self, intent: Intent) -> None:
        """Return when the request may leave at once."""
        await self._ledger.leave(intent)

    def withdraw(self, intent: Intent) -> None:
        """Note that the request of an intent did not leave, or did nothing."""
        self._ledger.withdraw(intent)

    def refused(self, intent: Intent, rejected: Sequence[tuple[Item, str]]) -> None:
        """Note that a request did nothing, and which of its items Leen refused, with the reasons."""
        self._ledger.withdraw(intent, {self._key_of(item): reason for item, reason in rejected})

    def unanswered(self, items: Sequence[Item], reason: str) -> None:
        """Note why the outcome of items that left is unknown."""
        self.table.unknown(self.keys(items), reason, self._ledger.now())

    async def flush(self) -> None:
        """Put on record what was noted."""
        await self._ledger.flush()

    def said(self, items: Sequence[Item]) -> str:
        """Say how many items ended how, such as ``49 created, 1 rejected``."""
        table = self.table
        counts = Counter(_shown_status(table[key]) for key in self.keys(items))
        return ", ".join(f"{number} {status}" for status, number in counts.items())

    def claimed(self, items: Sequence[Item], claims: Sequence[Claim]) -> str | None:
        """Note what a reply proves of each item; return why, where it proves nothing of any of them."""
        return note_claims(self.table, self.keys(items), claims, self._ledger.now())

    def submitted(self, items: Sequence[Item], job_id: str) -> None:
        """Note the job that items were submitted in."""
        keys, others = self.keys(items), self.table.keys_in_job(job_id)
        self.table.submitted(keys, job_id)
        if others is not None:
            reason = f"Leen named one and the same job, {job_id}, for several requests, so it proves nothing."
            self.table.unknown([*others, *keys], reason)


def note_claims(table: TicketTable, keys: Sequence[str], claims: Sequence[Claim], at: float) -> str | None:
    """State what a reply proves of each ticket; return why, where it proves nothing of any of them.

    :param at: when the reply came, in seconds since the epoch.
    """
    by_status: defaultdict[str, dict[str, Claim]] = defaultdict(dict)
    for key, claim in zip(keys, claims, strict=True):
        by_status[claim.status][key] = claim
    table.created({key: [it.ticket_id, it.vendor_ticket_id] for key, it in by_status["succeeded"].items()})
    table.refused({key: str(claim.error) for key, claim in by_status["rejected"].items()})
    note_unknown(table, by_status["unknown"], at)
    return str(claims[0].error) if len(by_status["unknown"]) == len(keys) else None


def note_unknown(table: TicketTable, claims: dict[str, Claim], at: float, before: str = "") -> None:
    """State that a reply proves nothing of tickets, why, and which ids it names.

    :param before: is put before the reasons.
    """
    by_reason: defaultdict[str, list[str]] = defaultdict(list)
    for key, claim in claims.items():
        by_reason[f"{before}{claim.error}"].append(key)
    for reason, keys in by_reason.items():
        table.unknown(keys, reason, at)
    ids = {key: [one for one in (it.ticket_id, it.vendor_ticket_id) if one] for key, it in claims.items()}
    table.named({key: named for key, named in ids.items() if named})


def _shown_status(ticket: Ticket) -> str:
    in_job = ticket.status == "unknown" and any(sending.job for sending in ticket.sendings[-1:])
    return "submitted" if in_job else ticket.status
