"""A triggerer that is killed while it waits for Leen's jobs, and another that takes over."""

from __future__ import annotations

from collections.abc import Iterator

import psutil
import pytest

from airflow_provider_leen.sandbox.faults import FaultRule
from tests.chaos.lab import Lab
from tests.chaos.test_kill import BATCH, Task, names

pytestmark = [pytest.mark.xdist_group("scheduler"), pytest.mark.timeout(180)]

JOBS = "/v1/jobs/"


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


def questions(task: Task) -> int:
    return sum(request.path.startswith(JOBS) for request in task.slot.requests)


def test_a_triggerer_is_killed_and_another_goes_on_and_nothing_is_created_twice(
    lab: Lab, triggerers: list[psutil.Process]
) -> None:
    # As long as it can't be asked for, no job has ended as far as a trigger knows.
    task = Task(lab, "kill_triggerer", 3 * BATCH, [FaultRule(kind="status", status=503, method="GET", path=JOBS)])
    triggerers.append(lab.airflow.start_triggerer())
    task.wait_for(lambda: questions(task) >= 3)
    kill(triggerers[0])
    asked = questions(task)
    assert task.look().task == "deferred"
    triggerers.append(lab.airflow.start_triggerer())
    task.wait_for(lambda: questions(task) >= asked + 3)
    task.slot.end_faults()
    assert task.wait_for_end().run == "success"
    assert task.look().try_number == 1
    sent = [request for request in task.slot.requests if request.method == "POST"]
    assert [request.ticket_names for request in sent] == [names(0, 10), names(10, 20), names(20, 30)]
    assert task.held == names(0, 3 * BATCH)
    assert task.statuses() == ["created"] * 3 * BATCH
    assert all(result["ticket_id"] and result["vendor_ticket_id"] for result in task.xcom()["results"])


def test_a_lost_202_is_named_and_not_sent_again(lab: Lab, triggerers: list[psutil.Process]) -> None:
    task = Task(lab, "kill_triggerer", 3 * BATCH, [FaultRule(kind="lost", nth=2, path="/v1/itsm/tickets/bulk")])
    triggerers.append(lab.airflow.start_triggerer())
    assert task.wait_for_end().run == "failed"
    assert task.statuses() == ["created"] * BATCH + ["unknown"] * BATCH + ["created"] * BATCH
    assert len([request for request in task.slot.requests if request.method == "POST"]) == 3
    assert task.held == names(0, 10) + names(20, 30)
