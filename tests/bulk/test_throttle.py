from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest

from airflow_provider_leen.bulk.throttle import SAFETY, Throttle, ThrottleClosed
from tests.support.virtual_time import in_virtual_time, now


class Batches:
    """Batches that go through a throttle; the test ends each."""

    def __init__(self, throttle: Throttle) -> None:
        self.throttle = throttle
        self.admitted: list[float] = []
        self.ends: list[asyncio.Event] = []
        self.turned_away = 0
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, count: int) -> None:
        self._tasks += [asyncio.create_task(self._batch()) for _ in range(count)]

    async def _batch(self) -> None:
        try:
            async with self.throttle.slot() as admitted_at:
                self.admitted.append(admitted_at)
                self.ends.append(end := asyncio.Event())
                await end.wait()
        except ThrottleClosed:
            self.turned_away += 1

    async def settle(self) -> int:
        """Let everything happen that happens at once; return how many have been admitted so far."""
        for _ in range(50):
            await asyncio.sleep(0)
        return len(self.admitted)

    async def end(self, number: int) -> None:
        self.ends[number].set()
        await self.settle()

    async def all(self) -> None:
        while not all(task.done() for task in self._tasks):
            for end in self.ends:
                end.set()
            await asyncio.sleep(1)


@in_virtual_time
async def test_no_more_than_the_limit_are_in_flight() -> None:
    batches = Batches(Throttle(2))
    batches.start(5)
    assert await batches.settle() == 2
    await batches.end(0)
    assert len(batches.admitted) == 3
    await batches.all()
    assert len(batches.admitted) == 5


@in_virtual_time
async def test_during_a_pause_none_leaves_and_after_it_those_that_may() -> None:
    throttle = Throttle(2)
    batches = Batches(throttle)
    batches.start(1)
    await batches.settle()
    throttle.pause(3600)
    throttle.pause(20)
    batches.start(3)
    assert await batches.settle() == 1
    await asyncio.sleep(3600)
    assert await batches.settle() == 2
    assert batches.admitted == pytest.approx([0, 3600]), "a shorter pause does not end a longer one"
    await batches.all()


@in_virtual_time
async def test_a_pause_also_holds_batches_that_were_waiting_for_others_to_end() -> None:
    throttle = Throttle(1)
    batches = Batches(throttle)
    batches.start(2)
    await batches.settle()
    throttle.pause(3600)
    await batches.end(0)
    assert len(batches.admitted) == 1
    await batches.all()
    assert batches.admitted[1] >= 3600


@pytest.mark.parametrize(("concurrency", "halved"), [(8, 4), (5, 2), (1, 1)])
@in_virtual_time
async def test_one_burst_of_refusals_halves_the_concurrency_once(concurrency: int, halved: int) -> None:
    throttle = Throttle(concurrency)
    batches = Batches(throttle)
    batches.start(concurrency)
    await batches.settle()
    await asyncio.sleep(0.1)
    for admitted_at in batches.admitted:
        throttle.refuse(admitted_at, 0.001)
    assert throttle.pace.concurrency == halved
    await batches.all()


@in_virtual_time
async def test_the_next_burst_halves_it_again_down_to_one() -> None:
    throttle = Throttle(4)
    concurrency = []
    for _ in range(4):
        async with throttle.slot() as admitted_at:
            throttle.refuse(admitted_at, 0.001)
        concurrency.append(throttle.pace.concurrency)
    assert concurrency == [2, 1, 1, 1]


@in_virtual_time
async def test_after_a_refusal_batches_leave_at_an_even_interval() -> None:
    throttle = Throttle(2)
    admitted = []
    for number in range(8):
        async with throttle.slot() as admitted_at:
            admitted.append(admitted_at)
            if number == 3:
                throttle.refuse(admitted_at, 9.0)
    assert throttle.pace.interval == pytest.approx(3.0 / SAFETY), "three were accepted in as long a time as the wait"
    assert admitted[4] == pytest.approx(9.0)
    assert [later - earlier for earlier, later in pairwise(admitted[4:])] == pytest.approx([3.0 / SAFETY] * 3)
    assert now() == admitted[-1]


@in_virtual_time
async def test_a_closed_throttle_rejects_waiting_batches_and_not_those_in_flight() -> None:
    throttle = Throttle(1)
    batches = Batches(throttle)
    batches.start(3)
    await batches.settle()
    await throttle.close()
    await batches.settle()
    assert batches.turned_away == 2
    with pytest.raises(ThrottleClosed):
        async with throttle.slot():
            pass
    await batches.all()
    assert len(batches.admitted) == 1


@in_virtual_time
async def test_closing_ends_a_pause() -> None:
    throttle = Throttle(1)
    throttle.pause(3600)
    batches = Batches(throttle)
    batches.start(2)
    await batches.settle()
    await throttle.close()
    await batches.settle()
    assert batches.turned_away == 2


@in_virtual_time
async def test_a_batch_that_is_cancelled_while_it_waits_does_not_count_as_in_flight() -> None:
    throttle = Throttle(1)
    async with throttle.slot():
        waiting = asyncio.ensure_future(throttle.slot().__aenter__())
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    async with throttle.slot():
        pass
