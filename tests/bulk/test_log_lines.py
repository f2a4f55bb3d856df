from __future__ import annotations

import logging

import pytest

from airflow_provider_leen.bulk.log_lines import (
    MAX_BATCH_LINES,
    MAX_OPEN_LINES,
    PROGRESS_LINES,
    batch_is_logged,
    folded,
    progress_is_logged,
    repetition_is_logged,
)

log = logging.getLogger(__name__)


@pytest.mark.parametrize("batches", [1, 2, 99, 100, 101, 150, 199, 200, 1000, 4321])
def test_batches_get_a_bounded_number_of_lines_and_the_last_one_is_among_them(batches: int) -> None:
    logged = [number for number in range(1, batches + 1) if batch_is_logged(number, batches)]
    assert min(batches, MAX_BATCH_LINES / 2) <= len(logged) <= MAX_BATCH_LINES + 1
    assert logged[-1] == batches


@pytest.mark.parametrize(
    ("times", "logged"),
    [(1, [1]), (10, [*range(1, 11)]), (100, [*range(1, 11), 20, 40, 80]), (200, [*range(1, 11), 20, 40, 80, 160])],
)
def test_what_happens_again_and_again_is_logged_ever_more_rarely(times: int, logged: list[int]) -> None:
    assert [number for number in range(1, times + 1) if repetition_is_logged(number)] == logged


@pytest.mark.parametrize(
    ("left_before", "left", "total", "logged"),
    [
        (3, 3, 3, False),
        (3, 2, 3, True),
        (1, 0, 3, True),
        (1, 0, 1000, True),
        (1000, 999, 1000, False),
        (1000, 950, 1000, True),
        (949, 901, 1000, False),
    ],
)
def test_progress_is_logged_in_steps(left_before: int, left: int, total: int, logged: bool) -> None:
    assert progress_is_logged(left_before, left, total) is logged


def test_progress_one_by_one_gets_a_bounded_number_of_lines() -> None:
    assert sum(progress_is_logged(left + 1, left, 1000) for left in range(1000)) == PROGRESS_LINES


def test_few_batches_are_not_folded(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with folded(log, MAX_OPEN_LINES, "Sending %d tickets", 500):
        log.info("Batch 1")
    assert caplog.messages == ["Batch 1"]


def test_the_fold_is_closed_when_the_sending_fails(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with pytest.raises(ValueError, match="unforeseen"), folded(log, MAX_OPEN_LINES + 1, "Sending %d tickets", 550):
        raise ValueError("unforeseen")
    assert caplog.messages == ["::group::Sending 550 tickets", "::endgroup::"]
