"""What all runs share: sending, collecting jobs, and stopping soon after being asked to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import Future
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from airflow_provider_leen.api.errors import LeenError, LeenStoppedError
from airflow_provider_leen.bulk.jobs import JobCollector
from airflow_provider_leen.bulk.sending import Batching, Sender
from airflow_provider_leen.bulk.work import Work

Answer = TypeVar("Answer")


class Run:
    """A run of many calls. Expected errors are kept in :attr:`error` instead of raised, so that results are kept.

    :param work: the work on the items.
    :param on_batch: is called after each batch; it must not block.
    :param goes_on: whether to continue with the other jobs if one can't be fetched.
    """

    def __init__(
        self,
        work: Work[Any],
        batching: Batching,
        *,
        on_batch: Callable[[], None] = lambda: None,
        goes_on: bool = False,
    ) -> None:
        self.ledger = work.ledger
        self.stop_grace = batching.stop_grace
        self._sender = Sender(work, work.client.settings, batching, on_batch)
        self._collector = JobCollector(work, goes_on=goes_on)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopped = asyncio.Event()
        self._stopped_at = 0.0
        self._stop_reason: str | None = None

    @property
    def error(self) -> LeenError | None:
        """The error that ended the run early, if any."""
        return self._sender.halted

    @property
    def jobs_under_way(self) -> dict[str, list[str]]:
        """The jobs that may still be running, with the keys of their tickets."""
        return self._collector.under_way()

    def stop(self, reason: str) -> Future[None] | None:
        """Ask the run to stop, from any thread or signal handler: batches in flight get a short while to end."""
        self._stop_reason = self._stop_reason or reason
        loop = self._loop
        return asyncio.run_coroutine_threadsafe(self._stop(), loop) if loop else None

    @asynccontextmanager
    async def _running(self) -> AsyncIterator[None]:
        """Make the work inside the ``with`` block stoppable, and keep the error that ends it."""
        self._loop = asyncio.get_running_loop()
        try:
            if self._stop_reason is not None:
                await self._stop()
            yield
        except LeenError as error:
            await self._sender.halt(error)
        finally:
            self._loop = None

    async def _ask(self, question: Coroutine[Any, Any, Answer], *, grace: float = 0.0) -> Answer:
        """Wait for a result. A stop ends the wait, after some seconds.

        :raises LeenStoppedError: the run was stopped.
        """
        asking = asyncio.ensure_future(question)
        stopped = asyncio.ensure_future(self._stopped.wait())
        try:
            await asyncio.wait([asking, stopped], return_when=asyncio.FIRST_COMPLETED)
            if not asking.done():
                left = self._stopped_at + grace - asyncio.get_running_loop().time()
                await asyncio.wait([asking], timeout=max(0.0, left))
            if asking.done():
                return asking.result()
            raise LeenStoppedError(str(self._stop_reason))
        finally:
            asking.cancel()
            stopped.cancel()
            await asyncio.wait([asking, stopped])

    async def _stop(self) -> None:
        if not self._stopped.is_set():
            self._stopped_at = asyncio.get_running_loop().time()
            self._stopped.set()
        await self._sender.stop(str(self._stop_reason))
