from __future__ import annotations

import asyncio
import io
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from airflow_provider_leen.plugins.limits import BusyError, Limited, Slots


def soon(seconds: float = 60) -> float:
    return time.monotonic() + seconds


def ran(work: Callable[[Slots], Coroutine[Any, Any, Any]]) -> Any:
    return asyncio.run(work(Slots(at_once=2, wait=0.01)))


def test_the_result_and_the_error_of_the_work_are_passed_on() -> None:
    assert ran(lambda slots: slots.run(["a"], lambda: 7, soon())) == 7
    with pytest.raises(KeyError):
        ran(lambda slots: slots.run(["a"], lambda: {"a": 1}["x"], soon()))


def test_a_slot_is_free_again_once_work_has_ended_and_all_of_several_are() -> None:
    async def often(slots: Slots) -> int:
        return sum([await slots.run(["a", "b"], lambda: 1, soon()) for _ in range(20)])

    assert ran(often) == 20


def test_a_store_that_hangs_is_left_alone_and_delays_no_other() -> None:
    hangs = threading.Event()

    async def asked(slots: Slots) -> int:
        for _ in range(2):
            with pytest.raises(TimeoutError):
                await slots.run(["dead"], hangs.wait, soon(0.3))
        for stores in (["dead"], ["alive", "dead"]):
            with pytest.raises(BusyError):
                await slots.run(stores, lambda: 1, soon())
        threads = threading.active_count()
        alive = [await slots.run(["alive"], lambda: 1, soon()) for _ in range(5)]
        hangs.set()
        while threading.active_count() >= threads:
            await asyncio.sleep(0.01)
        return sum(alive) + await slots.run(["dead"], lambda: 1, soon())

    assert ran(asked) == 6


def test_nothing_is_begun_once_the_time_is_over() -> None:
    begun: list[int] = []
    with pytest.raises(TimeoutError):
        ran(lambda slots: slots.run(["a"], lambda: begun.append(1), time.monotonic() - 1))
    assert begun == []


def test_a_thread_that_hangs_does_not_keep_the_process_from_ending() -> None:
    hangs = threading.Event()

    async def hung(slots: Slots) -> list[bool]:
        with pytest.raises(TimeoutError):
            await slots.run(["dead"], hangs.wait, soon(0.3))
        return [thread.daemon for thread in threading.enumerate() if thread.name == "leen-tab"]

    assert ran(hung) == [True]
    hangs.set()


def test_a_file_is_read_to_its_end_within_the_limits_and_closed() -> None:
    file = io.BytesIO(b"x" * 100_000)
    with io.BufferedReader(Limited(file, soon(), max_bytes=100_000)) as limited:
        assert limited.read() == b"x" * 100_000
    assert file.closed


def test_a_file_that_is_too_large_or_takes_too_long_is_an_error() -> None:
    with pytest.raises(OSError, match="it has more than 1 MB"):
        io.BufferedReader(Limited(io.BytesIO(b"x" * 1_000_001), soon(), max_bytes=1_000_000)).read()
    with pytest.raises(TimeoutError):
        Limited(io.BytesIO(b"x"), time.monotonic() - 1, max_bytes=9).read()
