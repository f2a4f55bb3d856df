"""The work of a sender: what is recorded of the items of a list, and the calls about them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, TypeVar

from airflow_provider_leen.api.client import AsyncLeenClient
from airflow_provider_leen.api.models import Job
from airflow_provider_leen.api.results import Claim
from airflow_provider_leen.bulk.ledger import Intent, Ledger
from airflow_provider_leen.bulk.table import TicketTable

Item = TypeVar("Item")


class Work(Generic[Item]):
    """The work on the items of a list. Each has a key in the ledger, which holds its facts.

    A subclass makes the calls, and reads what they prove.

    :param client: the API.
    :param ledger: the facts of this try.
    :param key_of: returns the key of an item.
    :param as_job: whether a request submits a job.
    :param settled_after: the seconds after which a request can have no further effect.
    """

    field: str
    """The field of the request that holds the items, by which a refusal locates them."""

    def __init__(
        self,
        client: AsyncLeenClient,
        ledger: Ledger,
        key_of: Callable[[Item], str],
        *,
        as_job: bool,
        settled_after: float = 0.0,
    ) -> None:
        self.client = client
        self.ledger = ledger
        self._key_of = key_of
        self._as_job = as_job
        self._settled_after = settled_after

    @property
    def table(self) -> TicketTable:
        """The facts."""
        return self.ledger.table

    async def call(self, items: Sequence[Item], leaves_by: float) -> Any:
        """Make one call, once; its reply goes to :meth:`replied`.

        :param leaves_by: the time by which it leaves, or not at all.
        :raises LeenError: the call failed.
        """
        raise NotImplementedError

    def replied(self, items: Sequence[Item], reply: Any) -> str | None:
        """Record what a reply proves about each item; return why, if it proves nothing about any of them."""
        raise NotImplementedError

    def succeeded(self, claims: Mapping[str, Claim]) -> None:
        """Record the tickets, by key, for which a reply or a job proves success."""
        raise NotImplementedError

    def claims_of_job(self, job: Job, keys: Sequence[str]) -> list[Claim]:
        """Read what a finished job proves about its tickets."""
        raise NotImplementedError

    async def intend(self, items: Sequence[Item]) -> Intent:
        """Record that items are about to be sent in one request; see :meth:`.Ledger.intend`."""
        return await self.ledger.intend(self._keys(items), as_job=self._as_job, settled_after=self._settled_after)

    def refused(self, intent: Intent, rejected: Sequence[tuple[Item, str]]) -> None:
        """Record that a request had no effect, and which of its items Leen refused, with the reasons."""
        self.ledger.withdraw(intent, {self._key_of(item): reason for item, reason in rejected})

    def outcome_unknown(self, items: Sequence[Item], reason: str) -> None:
        """Record why the outcome of items that were sent is unknown."""
        self.table.unknown(self._keys(items), reason, self.ledger.now())

    def said(self, items: Sequence[Item]) -> str:
        """Return how many items ended how, such as ``49 created, 1 rejected``."""
        tickets = map(self.table.__getitem__, self._keys(items))
        # A ticket in a job has no other outcome yet.
        counts = Counter(
            "submitted" if status == "unknown" and any(sending.job for sending in ticket.sendings[-1:]) else status
            for ticket in tickets
            for status in (ticket.status,)
        )
        return ", ".join(f"{number} {status}" for status, number in counts.items())

    def claimed(self, items: Sequence[Item], claims: Sequence[Claim]) -> str | None:
        """Record what a reply proves about each item; return why, if it proves nothing about any of them."""
        unproved = self._note(dict(zip(self._keys(items), claims, strict=True)))
        return str(claims[0].error) if len(unproved) == len(items) else None

    def submitted(self, items: Sequence[Item], job_id: str) -> None:
        """Record the job in which items were submitted."""
        keys, others = self._keys(items), self.table.keys_in_job(job_id)
        self.table.submitted(keys, job_id)
        if others is not None:
            reason = f"Leen returned the same job, {job_id}, for several requests, so it proves nothing."
            self.table.unknown([*others, *keys], reason)

    def job_ended(self, job_id: str, keys: Sequence[str], claims: Sequence[Claim], how: str) -> None:
        """Record what a finished job proves about its tickets.

        :param how: how it ended, for a person.
        """
        unproved = self._note(dict(zip(keys, claims, strict=True)), job_id, f"Job {job_id} ended with {how}. ")
        # It may have created a ticket just before its end, whose time is unknown: count from now.
        self.table.job_ended(unproved, job_id, self.ledger.now(), self.ledger.host)

    def _keys(self, items: Sequence[Item]) -> list[str]:
        return list(map(self._key_of, items))

    def _note(self, claims: Mapping[str, Claim], job_id: str = "", before: str = "") -> list[str]:
        """Record what a reply or a job proves about each ticket; return the keys without a proof.

        :param before: a text before their reasons.
        """
        by_status: defaultdict[str, dict[str, Claim]] = defaultdict(dict)
        for key, claim in claims.items():
            by_status[claim.status][key] = claim
        unproved = by_status["unknown"]
        self.succeeded(by_status["succeeded"])
        self.table.refused({key: str(claim.error) for key, claim in by_status["rejected"].items()}, job_id)
        by_reason: defaultdict[str, list[str]] = defaultdict(list)
        for key, claim in unproved.items():
            by_reason[f"{before}{claim.error}"].append(key)
        for reason, keys in by_reason.items():
            self.table.unknown(keys, reason, self.ledger.now())
        ids = {key: [one for one in (it.ticket_id, it.vendor_ticket_id) if one] for key, it in unproved.items()}
        self.table.named({key: named for key, named in ids.items() if named})
        return list(unproved)
