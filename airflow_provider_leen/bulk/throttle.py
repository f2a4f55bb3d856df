"""How many batches may be in flight, and how soon one may follow another: all batches of a task slow down together.

Nobody is told a vendor's rate limit beforehand. Batches leave as fast as their places allow until the first 429. That
halves the places, and tells the rate: as many calls as were accepted in as long a time as Leen asks to wait (in a
second, where that is less, or not said), a little less to be safe. From then on the batches leave at even distances,
since the places alone can't hold a rate when calls are short. While nothing is refused, the places grow back one by
one, and the distances shrink, slowly at first: each 429 costs a wait of all batches, and the limit is usually where it
was. Simulated, and run against the sandbox, this keeps above 85 % of the limit with less than 5 % of the calls refused,
as long as a vendor asks to wait for as long as it counts.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

SAFETY = 0.97
"""The share of the rate that was learnt at which batches leave."""

MOST_LATE = 0.01
"""Seconds: a batch that leaves late by so little, as an event loop has it, doesn't make the next ones late, too."""

SHORTEST_WINDOW = 1.0
"""Seconds: limits are seldom counted over less, and within less there is too little to count."""

MOST_SLOWING = 1.25
"""By so much, at the most, one wave makes known distances longer: of few calls, one more or less says little."""

QUIET_FOR_A_PLACE = 5
"""After so many calls in a row that were not refused, one more may be in flight."""

QUIET_FOR_A_STEP = 20
SECONDS_FOR_A_STEP = 8.0
"""After so many calls and so long a time without a 429 batches leave faster, by 1 % more than at the step before."""

MAX_REMEMBERED = 10_000


class Pace:
    """Decides when a batch may leave. It is told the time, and does nothing by itself.

    :param places: the most batches in flight.
    """

    def __init__(self, places: int) -> None:
        self.places = places
        self.gap = 0.0
        self.opens_at = 0.0
        self._most = places
        self._left_at: deque[float] = deque(maxlen=MAX_REMEMBERED)
        self._slowed_at = 0.0
        self._window = (0.0, 1.0)
        self._longest_gap = math.inf
        self._quiet = 0
        self._quiet_at_step = 0
        self._stepped_at = 0.0
        self._steps = 0

    def leaves(self, now: float) -> None:
        """A batch leaves."""
        self._left_at.append(now)
        self.opens_at = max(self.opens_at, now - MOST_LATE) + self.gap

    def pause(self, now: float, seconds: float) -> None:
        """Let no batch leave for so many seconds."""
        self.opens_at = max(self.opens_at, now + seconds)

    def refuse(self, left_at: float, now: float, wait: float) -> None:
        """A batch was answered with 429; what was in flight when the first one of a wave was is one wave with it.

        :param left_at: when the batch left.
        :param now: the time.
        :param wait: how many seconds Leen asks to wait.
        """
        if left_at in self._left_at:
            self._left_at.remove(left_at)
        if left_at >= self._slowed_at:
            self.places = max(1, self.places // 2)
            self._slowed_at = now
            window = max(wait, SHORTEST_WINDOW)
            self._window = (now - window, window)
            self._longest_gap = MOST_SLOWING * self.gap or math.inf
        since, seconds = self._window
        accepted = sum(left > since for left in self._left_at)
        if accepted or self._longest_gap < math.inf:
            self.gap = min(seconds / max(1, accepted) / SAFETY, self._longest_gap)
        else:
            # Others have used up what there was: that says how long to wait, and nothing of a rate.
            self.gap = 0.0
        self.pause(now, wait)
        self._quiet = self._quiet_at_step = self._steps = 0
        self._stepped_at = self.opens_at

    def accept(self, now: float) -> None:
        """A batch was answered without complaint."""
        self._quiet += 1
        if self._quiet % QUIET_FOR_A_PLACE == 0:
            self.places = min(self._most, self.places + 1)
        calls, seconds = self._quiet - self._quiet_at_step, now - self._stepped_at
        if calls >= QUIET_FOR_A_STEP and seconds >= SECONDS_FOR_A_STEP:
            self._steps += 1
            self.gap /= 1 + self._steps / 100
            self._quiet_at_step, self._stepped_at = self._quiet, now


class ThrottleClosed(Exception):
    """No batch may leave any more."""


class Throttle:
    """Admits batches one by one, as its :class:`Pace` decides.

    :param places: the most batches in flight.
    """

    def __init__(self, places: int) -> None:
        self.pace = Pace(places)
        self._in_flight = 0
        self._closed = False
        self._changed = asyncio.Condition()

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[float]:
        """Wait until a batch may leave; it counts as in flight inside of the ``with`` block.

        :return: when it was admitted, for :meth:`refuse`.
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
            admitted_at = _loop_time()
            self.pace.leaves(admitted_at)
        try:
            yield admitted_at
        finally:
            async with self._changed:
                self._in_flight -= 1
                self._changed.notify_all()

    def pause(self, seconds: float) -> None:
        """Let no batch leave for so many seconds."""
        self.pace.pause(_loop_time(), seconds)

    def refuse(self, admitted_at: float, wait: float) -> None:
        """Slow down: the batch that was admitted then got a 429, and is to wait for so many seconds."""
        self.pace.refuse(admitted_at, _loop_time(), wait)

    def accept(self) -> None:
        """Note that a batch was answered without complaint."""
        self.pace.accept(_loop_time())

    async def close(self) -> None:
        """Admit no batch any more; those in flight are not touched."""
        self._closed = True
        async with self._changed:
            self._changed.notify_all()

    def _must_wait(self) -> float | None:
        """Return 0 when a batch may leave, else seconds to wait, or None to wait for a change."""
        if self._in_flight >= self.pace.places:
            return None
        return max(0.0, self.pace.opens_at - _loop_time())


def _loop_time() -> float:
    return asyncio.get_running_loop().time()
