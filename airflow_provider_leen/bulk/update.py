"""Makes the same change to many tickets, through Leen's jobs: the steps of a run.

Setting the same values twice does no harm, so a later try sends everything again, and the ledger of a run is in memory.
If the worker is freed while jobs run, an outline of the ledger crosses the deferral.
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
from airflow_provider_leen.bulk.sending import Batching
from airflow_provider_leen.bulk.work import Work


class UpdateWork(Work[str]):
    """Submits a job that changes the tickets of a batch; their ids are their keys.

    :param client: the API.
    :param updates: what to set on each ticket.
    """

    field = "ticket_ids"

    def __init__(self, client: AsyncLeenClient, ledger: Ledger, updates: Mapping[str, str]) -> None:
        super().__init__(client, ledger, str, as_job=True)
        self._updates = updates

    async def call(self, items: Sequence[str], leaves_by: float) -> str:
        """Submit one job."""
        return await self.client.send_bulk_update(items, self._updates, leaves_by=leaves_by)

    def replied(self, items: Sequence[str], reply: str) -> None:
        """Record the job of the tickets."""
        self.submitted(items, reply)

    def claims_of_job(self, job: Job, keys: Sequence[str]) -> list[Claim]:
        """Read what a finished job proves about its tickets."""
        return jobs.results_of_update(job, keys)

    def succeeded(self, claims: Mapping[str, Claim]) -> None:
        """Record which tickets were changed."""
        self.table.changed(list(claims))


class Update(Run):
    """Makes the same change to many tickets.

    :param client: the API.
    :param ledger: the facts of this try, not yet opened.
    :param ids: the tickets, each once.
    :param updates: what to set on each of them.
    """

    def __init__(
        self,
        client: AsyncLeenClient,
        ledger: Ledger,
        ids: Sequence[str],
        updates: Mapping[str, str],
        batching: Batching,
    ) -> None:
        super().__init__(UpdateWork(client, ledger, updates), batching, goes_on=True)
        self._ids = ids

    @property
    def unknown(self) -> list[str]:
        """The tickets with an unknown outcome."""
        return [key for key, ticket in self.ledger.table.items() if ticket.status == "unknown"]

    async def submit(self) -> None:
        """Submit the jobs. On return, each ticket was sent, or was left unsent because of :attr:`error`."""
        async with self._running():
            await self.ledger.open()
            await self._sender.send(self._ids)

    def outline(self) -> Outline:
        """Return the state for the process that continues after a deferral."""
        return outline_of(self._ids, self.ledger.table, self.jobs_under_way)

    async def resume(self, outline: Outline) -> None:
        """Continue after a deferral: get each job once."""
        async with self._running():
            await self.ledger.open()
            restore(self._ids, self.ledger.table, outline)
            await self._collect()

    async def wait(self, poll_interval: float, on_progress: Callable[[], None], at_most: float = math.inf) -> None:
        """Poll the jobs until all have ended.

        :param poll_interval: seconds between two polls.
        :param on_progress: is called after each round; it must not block.
        :param at_most: seconds after which the polling stops.
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
