"""A vendor that limits the calls in any second: how much of the limit is used, how often it is exceeded."""

from __future__ import annotations

import asyncio
import random
from collections import deque

import pytest

from airflow_provider_leen.api.errors import LeenRateLimitError
from tests.bulk.sender import Answer, Leen, Names, send
from tests.support.virtual_time import now


class Vendor:
    """Limits the calls in any one second, and asks to come back in a second.

    :param service: how long an accepted call takes.
    :param says_when: whether it says when to come back.
    """

    def __init__(self, rate: int, service: float, *, says_when: bool = True) -> None:
        self.rate, self.service, self.says_when = rate, service, says_when
        self.random = random.Random(1)
        self.accepted: list[float] = []
        self.refused = 0
        self._in_this_second: deque[float] = deque()

    async def __call__(self, names: Names) -> Answer:
        while self._in_this_second and self._in_this_second[0] <= now() - 1:
            self._in_this_second.popleft()
        if len(self._in_this_second) >= self.rate:
            self.refused += 1
            await asyncio.sleep(0.003)
            return LeenRateLimitError("slower", status=429, retry_after=1.0 if self.says_when else None)
        self._in_this_second.append(now())
        self.accepted.append(now())
        await asyncio.sleep(self.service * self.random.uniform(0.9, 1.1))
        return None


@pytest.mark.parametrize(
    ("rate", "service", "batches", "says_when"),
    [
        *((rate, 0.02, batches, True) for rate in (1, 5, 20) for batches in (1, 4, 8)),
        *((rate, 0.35, 8, True) for rate in (3, 10, 20)),
        (100, 0.02, 4, True),
        *((rate, 0.1, 4, False) for rate in (1, 2, 5, 20)),
    ],
)
def test_most_of_a_limit_is_used_and_fewer_than_5_percent_of_the_calls_are_refused(
    rate: int, service: float, batches: int, says_when: bool
) -> None:
    random.seed(1)
    calls, vendor = max(300, 20 * rate), Vendor(rate, service, says_when=says_when)
    leen = Leen(vendor)
    send(leen, calls, batch_size=1, at_once=batches, max_retries=20, max_retry_wait=5.0)
    assert leen.statuses() == {"created": calls}
    achieved = calls / vendor.accepted[-1]
    assert achieved >= 0.85 * rate
    assert vendor.refused < 0.05 * (calls + vendor.refused)
