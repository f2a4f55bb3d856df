"""How many batches may be in flight, and at what interval they leave: all batches of a task slow down together.

A vendor's rate limit is unknown until the first 429. Until then, batches leave as fast as the concurrency allows. A 429
halves the concurrency, and shows the rate: the calls accepted during as long a time as Leen asks to wait (one second if
that is less, or missing), reduced by a safety margin. From then on, batches leave at an even interval, since
concurrency alone can't limit the rate of short calls. While nothing is refused, the concurrency grows by one at a time
and the interval shrinks, slowly at first: each 429 delays all batches, and the limit is usually where it was.

In simulations and against the sandbox, this uses more than 85 % of the limit with less than 5 % of the calls refused,
if the vendor asks to wait for as long as its window. Halving the rate instead of learning it loses 10 to 24 points of
throughput on limits that are counted by the second, and up to 64 in the worst case.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

SAFETY = 0.97
"""The share of the learnt rate that is used."""

MAX_LATENESS = 0.01
"""Seconds: a batch that leaves late by less, because of the event loop, does not delay the next ones."""

SHORTEST_WINDOW = 1.0
"""Seconds: limits are seldom counted over less, and in less time there is too little to count."""

MAX_SLOWDOWN = 1.25
"""Upper bound on how much one burst of 429s lengthens a known interval: a few calls are no reliable measurement."""

CALLS_PER_CONCURRENCY = 5
"""After this many consecutive accepted calls, one more batch may be in flight."""

CALLS_PER_STEP = 20
SECONDS_PER_STEP = 8.0
"""After this many calls and this much time without a 429, the interval shrinks, each time by 1 % more."""

MAX_REMEMBERED = 10_000


class Pace:
    """Decides when a batch may leave. Pure: the time is passed in.

    :param max_concurrency: the most batches in flight.
    """

    def __init__(self, max_concurrency: int) -> None:
        self.concurrency = max_concurrency
        self.interval = 0.0
        self.opens_at = 0.0
        self._max_concurrency = max_concurrency
        self._left_at: deque[float] = deque(maxlen=MAX_REMEMBERED)
        self._slowed_at = 0.0
        self._window = (0.0, 1.0)
        self._longest_interval = math.inf
        self._accepted = 0
        self._accepted_at_step = 0
        self._stepped_at = 0.0
        self._steps = 0

    def leaves(self, now: float) -> None:
        """Note that a batch leaves."""
        self._left_at.append(now)
        self.opens_at = max(self.opens_at, now - MAX_LATENESS) + self.interval

    def pause(self, now: float, seconds: float) -> None:
        """Let no batch leave for some seconds."""
        self.opens_at = max(self.opens_at, now + seconds)

    def refuse(self, left_at: float, now: float, wait: float) -> None:
        """Slow down after a 429. Batches that left before an earlier 429 belong to the same burst, and count once.

        :param left_at: when the batch left.
        :param now: the time.
        :param wait: how many seconds Leen asks to wait.
        """
        if left_at in self._left_at:
            self._left_at.remove(left_at)
        if left_at >= self._slowed_at:
            self.concurrency = max(1, self.concurrency // 2)
            self._slowed_at = now
            window = max(wait, SHORTEST_WINDOW)
            self._window = (now - window, window)
            self._longest_interval = MAX_SLOWDOWN * self.interval or math.inf
        since, seconds = self._window
        accepted = sum(left > since for left in self._left_at)
        if accepted or self._longest_interval < math.inf:
            self.interval = min(seconds / max(1, accepted) / SAFETY, self._longest_interval)
        else:
            # Other clients have used up the limit: this shows how long to wait, but not the rate.
            self.interval = 0.0
        self.pause(now, wait)
        self._accepted = self._accepted_at_step = self._steps = 0
        self._stepped_at = self.opens_at

    def accept(self, now: float) -> None:
        """Note that a batch was accepted, and speed up after enough of them."""
        self._accepted += 1
        if self._accepted % CALLS_PER_CONCURRENCY == 0:
            self.concurrency = min(self._max_concurrency, self.concurrency + 1)
        calls, seconds = self._accepted - self._accepted_at_step, now - self._stepped_at
        if calls >= CALLS_PER_STEP and seconds >= SECONDS_PER_STEP:
            self._steps += 1
            self.interval /= 1 + self._steps / 100
            self._accepted_at_step, self._stepped_at = self._accepted, now


class ThrottleClosed(Exception):
    """No more batches may leave."""


class Throttle:
    """Admits batches one by one, as its :class:`Pace` decides.

    :param max_concurrency: the most batches in flight.
    """

    def __init__(self, max_concurrency: int) -> None:
        self.pace = Pace(max_concurrency)
        self._in_flight = 0
        self._closed = False
        self._changed = asyncio.Condition()

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[float]:
        """Wait until a batch may leave; it is in flight inside the ``with`` block.

        :return: when it was admitted, for :meth:`refuse`.
        :raises ThrottleClosed: no more batches may leave.
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
            admitted_at = _loop_time()
            self.pace.leaves(admitted_at)
        try:
            yield admitted_at
        finally:
            async with self._changed:
                self._in_flight -= 1
                self._changed.notify_all()

    def pause(self, seconds: float) -> None:
        """Let no batch leave for some seconds."""
        self.pace.pause(_loop_time(), seconds)

    def refuse(self, admitted_at: float, wait: float) -> None:
        """Slow down: the batch that was admitted then got a 429, and has to wait some seconds."""
        self.pace.refuse(admitted_at, _loop_time(), wait)

    def accept(self) -> None:
        """Note that a batch was accepted."""
        self.pace.accept(_loop_time())

    async def close(self) -> None:
        """Admit no more batches; those in flight are not affected."""
        self._closed = True
        async with self._changed:
            self._changed.notify_all()

    def _must_wait(self) -> float | None:
        """Return 0 if a batch may leave, else the seconds to wait, or None to wait for a change."""
        if self._in_flight >= self.pace.concurrency:
            return None
        return max(0.0, self.pace.opens_at - _loop_time())


def _loop_time() -> float:
    return asyncio.get_running_loop().time()
