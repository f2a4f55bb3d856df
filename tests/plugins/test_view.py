from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_leen.plugins.tasks import TaskTickets
from airflow_provider_leen.plugins.view import NOTHING_IN_RUN, NOTHING_IN_TASK, build_view


def task(name: str = "create", may_change: bool = False, **fields: Any) -> TaskTickets:
    return TaskTickets(name, "running" if may_change else "success", may_change, **fields)


def view(*tasks: TaskTickets, is_run: bool = True, **unreadable: str) -> dict[str, Any]:
    return build_view(tasks, is_run=is_run, unreadable=unreadable)


@pytest.mark.parametrize(("is_run", "message"), [(True, NOTHING_IN_RUN), (False, NOTHING_IN_TASK)])
def test_if_no_task_is_leens_a_message_says_so(is_run: bool, message: str) -> None:
    assert view(is_run=is_run)["message"] == message


def test_the_counts_of_several_tasks_are_added_up_failures_first() -> None:
    together = view(task("a", counts={"created": 2, "rejected": 1}), task("b", counts={"created": 3, "unknown": 1}))
    assert list(together["counts"].items()) == [("unknown", 1), ("rejected", 1), ("created", 5)]
    assert together["total"] == 7
    assert together["message"] is None
    assert [part["total"] for part in together["tasks"]] == [3, 4]


def test_the_progress_of_running_tasks_is_added_to_the_results_of_others() -> None:
    at_work = [
        task(name, may_change=True, progress={"total": 10, "done": done, "failed": 1})
        for name, done in (("a", 4), ("b", 5))
    ]
    together = view(*at_work, task("c", counts={"created": 3}))
    assert together["progress"] == {"total": 20, "done": 9, "failed": 2}
    assert together["total"] == 3
    assert together["may_change"]


def test_nothing_more_is_to_come_once_all_tasks_have_ended() -> None:
    assert not view(task("a"), task("b"))["may_change"]


def test_a_file_that_could_not_be_read_is_a_remark_on_its_task() -> None:
    [first, second] = view(task("a"), task("b", remark="skipped"), a="there is no such file")["tasks"]
    assert (first["remark"], second["remark"]) == ("there is no such file", "skipped")
