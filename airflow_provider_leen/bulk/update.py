"""Changes many tickets alike, through Leen's jobs: the story of a run.

Setting the same values twice does no harm, so a later try sends everything again, and the ledger of a run is in memory.
Where the worker is freed while jobs run, its values travel with the deferral.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

from airflow_provider_leen.api import jobs
from airflow_provider_leen.api.client import AsyncLeenClient
from airflow_provider_leen.api.errors import LeenError, LeenStoppedError
from airflow_provider_leen.bulk.jobs import JobCollector
from airflow_provider_leen.bulk.journal import Place
from airflow_provider_leen.bulk.ledger import Ledger
from airflow_provider_leen.bulk.sending import STOP_GRACE, Sender
from airflow_provider_leen.bulk.work import LedgerWork

log = logging.getLogger(__name__)


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
        return await self._client.send_bulk_update(items, self._updates)

    def replied(self, items: Sequence[str], reply: str) -> None:
        """Note in which job the tickets are."""
        self.submitted(items, reply)


class Update:
    """The change of many tickets alike. Expected trouble is not raised but found in :attr:`error`.

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
        self.ledger = ledger
        self.stop_grace = stop_grace
        self._ids = ids
        self._halted: LeenError | None = None
        self._sender = Sender(
            UpdateWork(client, ledger, updates),
            client.settings,
            batch_size=batch_size,
            max_concurrent_batches=max_concurrent_batches,
            stop_grace=stop_grace,
        )
        self._collector = JobCollector(client, ledger, jobs.results_of_update, str, self._changed, goes_on=True)
        self._stop_reason: str | None = None
        self._ends_at = 0.0
        self._stopped = asyncio.Event()
        self._stopping: asyncio.Future[None] | None = None
        self._patience: asyncio.Timeout | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def error(self) -> LeenError | None:
        """What ended the run early, if anything did."""
        return self._sender.halted or self._halted

    @property
    def jobs_under_way(self) -> dict[str, list[str]]:
        """The jobs that have not ended, as far as is known, with their tickets."""
        return {job: ids for job, ids in self.ledger.table.open_jobs().items() if job not in self._collector.gone}

    @property
    def unknown(self) -> list[str]:
        """The tickets of which it is not known whether they were changed."""
        table = self.ledger.table
        return [key for key in table if table[key].status == "unknown"]

    async def submit(self) -> None:
        """Submit the jobs. On return each ticket left, or was kept back because of :attr:`error`."""
        async with self._until_stopped(with_grace=False):
            await self.ledger.open()
            await self._sender.send(self._ids)

    async def resume(self, place: Place) -> None:
        """Go on after a deferral: ask for each job once."""
        async with self._until_stopped():
            await self.ledger.resume(place)
            await self._collector.collect(self.jobs_under_way)

    async def wait(self, poll_interval: float, on_progress: Callable[[], None]) -> None:
        """Ask for the jobs until all have ended.

        :param poll_interval: seconds between two rounds.
        :param on_progress: is called after each round; it must not block.
        """
        async with self._until_stopped():
            while self.jobs_under_way:
                await self._collector.collect(self.jobs_under_way)
                on_progress()
                if self.jobs_under_way:
                    await self._pause(poll_interval)

    def stop(self, reason: str) -> None:
        """Ask the run to stop, from any thread or signal handler: calls in flight get a short while to end."""
        if self._stop_reason is not None:
            return
        # The clock of asyncio's loops, too.
        self._ends_at = time.monotonic() + self.stop_grace
        self._stop_reason = reason
        if (loop := self._loop) is not None:
            loop.call_soon_threadsafe(self._hurry)

    def _changed(self, claims: Mapping[str, object]) -> None:
        self.ledger.table.changed(list(claims))

    def _hurry(self) -> None:
        self._stopped.set()
        if self._patience is not None and not self._patience.expired():
            self._patience.reschedule(self._ends_at)
        # Kept: asyncio holds its tasks by weak references only.
        self._stopping = asyncio.ensure_future(self._sender.stop(str(self._stop_reason)))

    @asynccontextmanager
    async def _until_stopped(self, *, with_grace: bool = True) -> AsyncIterator[None]:
        """Cut short what is in flight when the short while after a stop is over; the sender sees to that by itself."""
        self._loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(None) as patience:
                self._patience = patience if with_grace else None
                if self._stop_reason is not None:
                    self._hurry()
                yield
        except TimeoutError:
            self._halted = self._halted or LeenStoppedError(str(self._stop_reason))
        except LeenError as error:
            self._halted = self._halted or error
        finally:
            self._loop = self._patience = None

    async def _pause(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._stopped.wait(), seconds)
        except TimeoutError:
            return
        raise LeenStoppedError(str(self._stop_reason))
