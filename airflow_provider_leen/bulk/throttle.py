"""How many batches may be in flight, and since when: all batches of a task slow down together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class ThrottleClosed(Exception):
    """No batch may leave any more."""


class Throttle:
    """Admits batches one by one.

    :param limit: the most batches in flight.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._in_flight = 0
        self._opens_at = 0.0
        self._halved_at = 0.0
        self._closed = False
        self._changed = asyncio.Condition()

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[float]:
        """Wait until a batch may leave; it counts as in flight inside of the ``with`` block.

        :return: when it was admitted, for :meth:`pause`.
        :raises ThrottleClosed: none may leave any more.
        """
        async with self._changed:
            while not self._closed and (wait := self._must_wait()) != 0:
                try:
                    async with asyncio.timeout(wait):
                        await self._changed.wait()
                except TimeoutError:
                    pass
            if self._closed:
                raise ThrottleClosed
            self._in_flight += 1
        try:
            yield _loop_time()
        finally:
            async with self._changed:
                self._in_flight -= 1
                self._changed.notify_all()

    def pause(self, seconds: float) -> None:
        """Let no batch leave for so many seconds."""
        self._opens_at = max(self._opens_at, _loop_time() + seconds)

    def halve(self, admitted_at: float) -> None:
        """Halve how many batches may be in flight, once for all that were admitted before the last time."""
        if admitted_at >= self._halved_at:
            self.limit = max(1, self.limit // 2)
            self._halved_at = _loop_time()

    async def close(self) -> None:
        """Admit no batch any more; those in flight are not touched."""
        self._closed = True
        async with self._changed:
            self._changed.notify_all()

    def _must_wait(self) -> float | None:
        """Return 0 when a batch may leave, else seconds to wait, or None to wait for a change."""
        if self._in_flight >= self.limit:
            return None
        return max(0.0, self._opens_at - _loop_time())


def _loop_time() -> float:
    return asyncio.get_running_loop().time()
