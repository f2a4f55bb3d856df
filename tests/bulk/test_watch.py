"""Tasks that are still running, judged by their progress."""

from __future__ import annotations

import pytest

from airflow_provider_leen.bulk.statuses import Status
from airflow_provider_leen.bulk.summary import Summary
from airflow_provider_leen.bulk.watch import WatchedTask, over_threshold_already, without_summary
from tests.support.results import summary_of


def summary(created: int, rejected: int, existing: int = 0) -> Summary:
    given: dict[Status, int] = {"created": created, "rejected": rejected, "existing": existing}
    return summary_of(*(status for status, count in given.items() for _ in range(count)))


def running(total: int, failed: int, state: str = "running") -> WatchedTask:
    return WatchedTask("create", state, progress={"total": total, "done": failed, "failed": failed})


NOT_STARTED = WatchedTask("create[1]", None)


@pytest.mark.parametrize(
    ("state", "ended"),
    [
        ("success", True),
        ("failed", True),
        ("upstream_failed", True),
        ("skipped", True),
        ("removed", True),
        (None, False),
        ("scheduled", False),
        ("queued", False),
        ("running", False),
        ("deferred", False),
        ("up_for_retry", False),
        ("restarting", False),
    ],
)
def test_a_task_has_ended_when_airflow_will_not_run_it_again(state: str | None, ended: bool) -> None:
    assert WatchedTask("create", state).has_ended is ended


@pytest.mark.parametrize(
    ("tasks", "limits", "passed"),
    [
        pytest.param([NOT_STARTED], (0, None), False, id="nothing is known"),
        pytest.param([running(100, 2)], (2, None), False, id="as many as allowed"),
        pytest.param([running(100, 3)], (2, None), True, id="one more"),
        pytest.param([running(100, 2), running(100, 1)], (2, None), True, id="added up"),
        pytest.param([running(100, 3), NOT_STARTED], (2, None), True, id="a count does not wait for the others"),
        pytest.param([running(100, 11)], (None, 0.1), True, id="the rate of all its tickets"),
        pytest.param([running(100, 11), NOT_STARTED], (None, 0.1), False, id="a rate waits until all are known"),
        pytest.param([running(100, 11), running(100, 0)], (None, 0.1), False, id="the rate of all tickets"),
        pytest.param(
            [WatchedTask("create", "success", summary=summary(1, 2)), running(9, 1)], (2, None), True, id="with ended"
        ),
        pytest.param(
            [WatchedTask("create", "success", summary=summary(2, 2)), running(4, 1)], (None, 0.4), False, id="and rate"
        ),
        pytest.param(
            [WatchedTask("create", "success", summary=summary(2, 2, 96)), running(4, 1)], (None, 0.3), True, id="known"
        ),
        pytest.param([running(0, 0)], (None, 0.0), False, id="no ticket at all"),
        pytest.param(
            [running(100, 11), WatchedTask("idle", "skipped")],
            (None, 0.1),
            True,
            id="one that was skipped has no ticket",
        ),
    ],
)
def test_a_threshold_is_passed_already_when_nothing_to_come_can_change_it(
    tasks: list[WatchedTask], limits: tuple[int | None, float | None], passed: bool
) -> None:
    assert (over_threshold_already(tasks, *limits) is not None) is passed


def test_tasks_that_ended_without_a_summary_are_named() -> None:
    tasks = [
        WatchedTask("create[0]", "failed"),
        WatchedTask("create[1]", "success", summary=summary(1, 0)),
        WatchedTask("other", "upstream_failed"),
        WatchedTask("gone", "removed"),
        WatchedTask("idle", "skipped"),
        running(5, 0),
    ]
    assert without_summary(tasks) == (
        "These tasks ended without a summary of their tickets: create[0] (failed), other (upstream_failed), "
        "gone (removed)."
    )
    assert without_summary(tasks[1:2]) is None
