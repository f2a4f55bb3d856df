"""A triggerer that is killed while it waits for Leen, and another that takes over."""

from __future__ import annotations

from collections.abc import Iterator

import psutil
import pytest

from airflow_provider_leen.sandbox.faults import FaultRule
from qa.chaos.lab import Lab
from qa.chaos.test_kill import BATCH, Task, names

pytestmark = [pytest.mark.xdist_group("scheduler"), pytest.mark.timeout(900)]

JOBS = "/v1/jobs/"
LIST = "/v1/itsm/tickets"
JOBS_CANT_BE_ASKED_FOR = FaultRule(kind="status", status=503, method="GET", path=JOBS)
"""So that no job has ended, as far as a trigger knows."""


@pytest.fixture
def triggerers(lab: Lab) -> Iterator[list[psutil.Process]]:
    """The triggerers that a test has started; they end with it."""
    started: list[psutil.Process] = []
    yield started
    for process in started:
        kill(process)


def kill(process: psutil.Process) -> None:
    """Kill a process and its children, as a lost machine would."""
    if process.is_running():
        doomed = [process, *process.children(recursive=True)]
        for one in doomed:
            one.kill()
        psutil.wait_procs(doomed[1:], timeout=10)


def questions(task: Task, path: str) -> int:
    return sum(request.method == "GET" and request.path.startswith(path) for request in task.slot.requests)


def wait_for_questions(task: Task, *paths: str) -> None:
    """Wait until some more questions were asked of each kind."""
    before = {path: questions(task, path) for path in paths}
    task.wait_for(lambda: all(questions(task, path) >= before[path] + 3 for path in paths))


def test_a_triggerer_is_killed_and_another_continues_and_nothing_is_created_twice(
    lab: Lab, triggerers: list[psutil.Process]
) -> None:
    task = Task(lab, "kill_triggerer", 3 * BATCH, [JOBS_CANT_BE_ASKED_FOR])
    triggerers.append(lab.airflow.start_triggerer())
    wait_for_questions(task, JOBS)
    kill(triggerers[0])
    assert task.look().task == "deferred"
    triggerers.append(lab.airflow.start_triggerer())
    wait_for_questions(task, JOBS)
    task.slot.end_faults()
    assert task.wait_for_end().run == "success"
    assert task.look().try_number == 1
    sent = [request for request in task.slot.requests if request.method == "POST"]
    assert [request.ticket_names for request in sent] == [names(0, 10), names(10, 20), names(20, 30)]
    assert task.held == names(0, 3 * BATCH)
    assert task.statuses() == ["created"] * 3 * BATCH
    assert all(result["ticket_id"] and result["vendor_ticket_id"] for result in task.xcom()["results"])


def test_an_update_and_the_wait_for_a_sync_continue_when_their_triggerer_is_killed(
    lab: Lab, triggerers: list[psutil.Process]
) -> None:
    task = Task(lab, "wait_triggerer", BATCH, [JOBS_CANT_BE_ASKED_FOR])
    triggerers.append(lab.airflow.start_triggerer())
    task.wait_for(lambda: all(task.look(waiting).task == "deferred" for waiting in ("update", "synced")))
    wait_for_questions(task, JOBS, LIST)
    kill(triggerers[0])
    triggerers.append(lab.airflow.start_triggerer())
    wait_for_questions(task, JOBS, LIST)
    assert [task.look(waiting).task for waiting in ("update", "synced")] == ["deferred", "deferred"]
    task.slot.end_faults()
    task.slot.sync()
    assert task.wait_for_end().run == "success"
    assert [task.look(waiting).try_number for waiting in ("update", "synced")] == [1, 1]

    known = task.xcom(task_id="known")
    updates = [request.body for request in task.slot.requests if request.path == f"{LIST}/bulk/update"]
    sent = sorted((update["ticket_ids"] for update in updates), key=len, reverse=True)
    assert sent == [known[:2], known[2:]], "each once, in any order"
    held = {ticket["ticket_id"]: ticket for ticket in task.slot.tickets(task.run_id)}
    assert [ticket_id for ticket_id, ticket in held.items() if ticket["status"] == "CLOSED"] == known
    assert [result["status"] for result in task.xcom(task_id="update")["results"]] == ["updated"] * 3

    before, after = task.xcom()["results"], task.xcom(task_id="synced")["results"]
    assert [result["ticket_id"] for result in before] == [None] * BATCH
    assert [held[result["ticket_id"]]["name"] for result in after] == names(0, BATCH)
    assert task.calls == [names(0, BATCH)]
