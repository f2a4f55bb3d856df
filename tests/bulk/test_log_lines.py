from __future__ import annotations

import logging

import pytest

from airflow_provider_leen.bulk.log_lines import FIRST_LINES, MAX_OPEN_LINES, BatchLog, Thinned

log = logging.getLogger(__name__)


def logged(every: float, lines: int) -> list[float]:
    """When lines are logged of which one comes each ``every`` seconds."""
    times = [every * number for number in range(lines)]
    left = iter([0.0, *times])
    thinned = Thinned(lambda: next(left))
    return [time for time in times if thinned.is_due()]


@pytest.mark.parametrize(
    ("every", "lines", "expected"),
    [
        pytest.param(0.0, 10, [0.0] * 10, id="few"),
        pytest.param(0.0, 5_000, [0.0] * FIRST_LINES, id="many at once"),
        pytest.param(10.0, 20, [*map(float, range(0, 100, 10)), 120.0, 150.0, 180.0], id="one each half minute"),
        pytest.param(60.0, 20, [60.0 * number for number in range(20)], id="slow ones are all logged"),
    ],
)
def test_the_first_lines_are_logged_and_then_one_each_half_minute(
    every: float, lines: int, expected: list[float]
) -> None:
    assert logged(every, lines) == expected


def test_a_day_of_lines_leaves_fewer_than_150() -> None:
    assert 100 < len(logged(1.0, 86_400)) < 150


def test_the_last_batch_is_always_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    batches = BatchLog(log, 200)
    for _ in range(200):
        batches.batch_done(lambda: "50 created", 0.0)
    assert [message.partition(":")[0] for message in caplog.messages] == [
        *(f"Batch {number} of 200" for number in range(1, FIRST_LINES + 1)),
        "Batch 200 of 200",
    ]


def test_few_batches_are_not_folded(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with BatchLog(log, MAX_OPEN_LINES).folded("Sending 500 tickets"):
        log.info("Batch 1")
    assert caplog.messages == ["Batch 1"]


def test_the_fold_is_closed_when_the_sending_fails(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with pytest.raises(ValueError, match="unforeseen"), BatchLog(log, MAX_OPEN_LINES + 1).folded("Sending 550 tickets"):
        raise ValueError("unforeseen")
    assert caplog.messages == ["::group::Sending 550 tickets", "::endgroup::"]
