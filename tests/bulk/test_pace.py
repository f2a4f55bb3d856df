"""When a batch may leave: single decisions. Their overall effect is in `test_rate_limit.py`."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from airflow_provider_leen.bulk.throttle import (
    CALLS_PER_CONCURRENCY,
    CALLS_PER_STEP,
    MAX_LATENESS,
    MAX_SLOWDOWN,
    SAFETY,
    SECONDS_PER_STEP,
    SHORTEST_WINDOW,
    Pace,
)


def left(concurrency: int, times: Sequence[float]) -> Pace:
    pace = Pace(concurrency)
    for time in times:
        pace.leaves(time)
    return pace


@pytest.mark.parametrize(
    ("times", "refused", "wait", "rate"),
    [
        pytest.param([0.0, 0.1, 0.2, 0.3], [0.3], 1.0, 3.0, id="one of four"),
        pytest.param([0.0, 0.0, 0.0, 0.0], [0.0, 0.0], 1.0, 2.0, id="half of a burst"),
        pytest.param([0.0, 5.0, 5.1, 5.2], [5.2], 1.0, 2.0, id="not what left long before"),
        pytest.param([0.0, 5.0, 5.1, 5.2], [5.2], 10.0, 0.3, id="a longer wait looks further back"),
        pytest.param([0.0, 0.3, 0.6, 0.9], [0.9], 0.2, 3.0, id="a shorter wait than a second looks back a second"),
    ],
)
def test_the_rate_is_what_was_accepted_in_as_long_a_time_as_leen_asks_to_wait(
    times: list[float], refused: list[float], wait: float, rate: float
) -> None:
    pace = left(8, times)
    now = times[-1] + 0.01
    for left_at in refused:
        pace.refuse(left_at, now, wait)
    assert 1 / pace.interval == pytest.approx(rate * SAFETY)
    assert pace.opens_at == now + wait


@pytest.mark.parametrize("wait", [0.1, 1.0, 60.0])
def test_if_none_was_accepted_there_is_a_wait_but_no_rate_to_learn(wait: float) -> None:
    pace = left(4, [0.0, 0.0])
    pace.refuse(0.0, 0.1, wait)
    pace.refuse(0.0, 0.1, wait)
    assert (pace.interval, pace.concurrency, pace.opens_at) == (0.0, 2, 0.1 + wait)


def test_without_a_refusal_nothing_is_held_back() -> None:
    pace = left(4, [0.0, 0.0, 0.1])
    for _ in range(1000):
        pace.accept(1000.0)
    assert (pace.concurrency, pace.interval) == (4, 0.0)
    assert pace.opens_at <= 0.1


@pytest.mark.parametrize(
    ("late", "next_at"),
    [
        pytest.param(0.0, 2.0, id="in time"),
        pytest.param(MAX_LATENESS / 2, 2.0, id="a little late: the next one is not"),
        pytest.param(0.5, 2.5 - MAX_LATENESS, id="late: what was missed is not made up for"),
    ],
)
def test_a_batch_that_leaves_late_does_not_slow_down_all_that_follow(late: float, next_at: float) -> None:
    pace = left(4, [0.0])
    pace.interval, pace.opens_at = 1.0, 1.0
    pace.leaves(1.0 + late)
    assert pace.opens_at == pytest.approx(next_at)


def test_refusals_that_have_nothing_to_do_with_a_rate_do_not_slow_down_without_end() -> None:
    pace = left(4, [0.0, 0.1])
    pace.refuse(0.1, 0.2, 0.05)
    for _ in range(50):
        now = pace.opens_at
        pace.leaves(now)
        pace.refuse(now, now + 0.01, 0.05)
    assert pace.interval <= SHORTEST_WINDOW / SAFETY


def test_a_pause_for_another_reason_does_not_change_the_rate() -> None:
    pace = left(4, [0.0])
    pace.pause(1.0, 5.0)
    pace.pause(1.0, 1.0)
    assert (pace.concurrency, pace.interval, pace.opens_at) == (4, 0.0, 6.0)


def test_the_concurrency_grows_by_one_after_enough_accepted_calls_up_to_its_maximum() -> None:
    pace = left(4, [0.0])
    pace.refuse(0.0, 0.1, 1.0)
    concurrency = [pace.concurrency]
    for _ in range(4 * CALLS_PER_CONCURRENCY):
        pace.accept(2.0)
        concurrency.append(pace.concurrency)
    assert concurrency[::CALLS_PER_CONCURRENCY] == [2, 3, 4, 4, 4]


def test_a_refusal_ends_the_run() -> None:
    pace = left(4, [0.0])
    pace.refuse(0.0, 0.1, 1.0)
    for number in range(2, 50):
        for _ in range(CALLS_PER_CONCURRENCY - 1):
            pace.accept(float(number))
        pace.leaves(float(number))
        pace.refuse(float(number), number + 0.1, 1.0)
    assert pace.concurrency == 1


@pytest.mark.parametrize(
    ("calls", "seconds", "steps"),
    [
        (CALLS_PER_STEP, SECONDS_PER_STEP, 1),
        (CALLS_PER_STEP - 1, SECONDS_PER_STEP, 0),
        (CALLS_PER_STEP, SECONDS_PER_STEP - 0.1, 0),
    ],
)
def test_the_rate_grows_after_enough_calls_and_enough_time(calls: int, seconds: float, steps: int) -> None:
    pace = left(4, [0.0, 0.1])
    pace.refuse(0.1, 0.2, 1.0)
    before = pace.interval
    for _ in range(calls):
        pace.accept(1.201 + seconds)
    assert pace.interval == pytest.approx(before / 1.01**steps)


def test_one_burst_of_refusals_slows_a_known_rate_down_only_a_little() -> None:
    pace = left(4, [0.0, 0.1, 0.2, 0.3])
    pace.refuse(0.3, 0.3, 1.0)
    before = pace.interval
    pace.leaves(9.0)
    pace.refuse(9.0, 9.1, 1.0)
    assert pace.interval == pytest.approx(MAX_SLOWDOWN * before)
