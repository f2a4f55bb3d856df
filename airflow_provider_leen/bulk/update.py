"""Changes many tickets alike, through Leen's jobs: the story of a run.

Setting the same values twice does no harm, so a later try sends everything again, and the ledger of a run is in memory.
Where the worker is freed while jobs run, an outline of it travels with the deferral.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence

from airflow_provider_leen.api import jobs
from airflow_provider_leen.api.client import AsyncLeenClient
from airflow_provider_leen.api.models import Job
from airflow_provider_leen.api.results import Claim
from airflow_provider_leen.bulk.ledger import Ledger
from airflow_provider_leen.bulk.outline import Outline, outline_of, restore
from airflow_provider_leen.bulk.run import Run
from airflow_provider_leen.bulk.sending import STOP_GRACE
from airflow_provider_leen.bulk.work import LedgerWork


class UpdateWork(LedgerWork[str]):
    """Submits a job that changes the tickets of a batch; their ids are their keys.

    :param client: the API.
    :param updates: what to set on each ticket.
    """

    field = "ticket_ids"

    def __init__(self, client: AsyncLeenClient, ledger: Ledger, updates: Mapping[str, str]) -> None:
        super().__init__(client, ledger, str, as_job=True)
        self._updates = updates

    async def call(self, items: Sequence[str]) -> str:
        """Submit one job."""
        return await self.client.send_bulk_update(items, self._updates)

    def replied(self, items: Sequence[str], reply: str) -> None:
        """Note in which job the tickets are."""
        self.submitted(items, reply)

    def claims_of_job(self, job: Job, keys: Sequence[str]) -> list[Claim]:
        """Read what a job that has ended proves of its tickets."""
        return jobs.results_of_update(job, keys)

    def succeeded(self, claims: Mapping[str, Claim]) -> None:
        """Note which tickets were changed."""
        self.table.changed(list(claims))


class Update(Run):
    """The change of many tickets alike.

    :param client: the API.
    :param ledger: the facts of this try, not yet opened.
    :param ids: the tickets, each of them once.
    :param updates: what to set on each of them.
    :param batch_size: tickets a job, 1 to 50.
    :param max_concurrent_batches: calls in flight at most.
    :param stop_grace: seconds that calls in flight get to end after a stop.
    """

    def __init__(
        self,
        client: AsyncLeenClient,
        ledger: Ledger,
        ids: Sequence[str],
        updates: Mapping[str, str],
        *,
        batch_size: int,
        max_concurrent_batches: int,
        stop_grace: float = STOP_GRACE,
    ) -> None:
        super().__init__(
            UpdateWork(client, ledger, updates),
            batch_size=batch_size,
            max_concurrent_batches=max_concurrent_batches,
            stop_grace=stop_grace,
            goes_on=True,
        )
        self._ids = ids

    @property
    def unknown(self) -> list[str]:
        """The tickets of which it is not known whether they were changed."""
        return [key for key, ticket in self.ledger.table.items() if ticket.status == "unknown"]

    async def submit(self) -> None:
        """Submit the jobs. On return each ticket left, or was kept back because of :attr:`error`."""
        async with self._running():
            await self.ledger.open()
            await self._sender.send(self._ids)

    def outline(self) -> Outline:
        """Return what the process that goes on after a deferral needs."""
        return outline_of(self._ids, self.ledger.table, self.jobs_under_way)

    async def resume(self, outline: Outline) -> None:
        """Go on after a deferral: ask for each job once."""
        async with self._running():
            await self.ledger.open()
            restore(self._ids, self.ledger.table, outline)
            await self._collect()

    async def wait(self, poll_interval: float, on_progress: Callable[[], None], at_most: float = math.inf) -> None:
        """Ask for the jobs until all have ended.

        :param poll_interval: seconds between two rounds.
        :param on_progress: is called after each round; it must not block.
        :param at_most: seconds after which jobs that go on are left alone.
        """
        async with self._running():
            until = asyncio.get_running_loop().time() + at_most
            while self.jobs_under_way:
                await self._collect()
                on_progress()
                if asyncio.get_running_loop().time() >= until:
                    break
                if self.jobs_under_way:
                    await self._ask(asyncio.sleep(poll_interval))

    async def _collect(self) -> None:
        await self._ask(self._collector.collect(self.jobs_under_way), grace=self.stop_grace)
