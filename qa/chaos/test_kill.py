"""A task under a scheduler that is killed between a request and its reply, or stopped from outside."""

from __future__ import annotations

import json
import os
import signal
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import psutil
import pytest

from airflow_provider_leen.sandbox.faults import FaultRule
from qa.chaos.bridge import CREATE
from qa.chaos.lab import Lab
from qa.chaos.scheduler import Look
from qa.chaos.slot import Slot

pytestmark = pytest.mark.timeout(900)

BATCH = 10


@dataclass
class Task:
    """One run of a Dag that sends batches of 10, one after the other, and may be retried."""

    lab: Lab
    dag_id: str
    tickets: int
    rules: list[FaultRule] = field(default_factory=list)
    run_id: str = field(default_factory=lambda: str(uuid.uuid4()))

    killed_try: int = 0

    def __post_init__(self) -> None:
        self.slot: Slot = self.lab.patient
        self.slot.begin(self.rules)
        airflow = self.lab.airflow
        path = airflow.home / f"{self.run_id}.json"
        path.write_text(json.dumps([{"name": f"finding {n}", "project_vendor_id": "SEC"} for n in range(self.tickets)]))
        conf = {
            "tickets_path": str(path),
            "conn": self.slot.conn_id,
            "connection_id": self.run_id,
            "ledger_path": "" if airflow.has_state_store else str(airflow.ledger_folder(self.run_id)),
        }
        airflow.trigger(self.dag_id, self.run_id, conf)

    def look(self, task_id: str = CREATE) -> Look:
        return self.lab.airflow.look(self.dag_id, self.run_id, task_id)

    def runner(self) -> psutil.Process:
        pid = self.look().pid
        assert pid is not None
        return psutil.Process(pid)

    def wait_for(self, what: Callable[[], bool], seconds: float = 240.0) -> None:
        until = time.monotonic() + seconds
        while not what():
            assert time.monotonic() < until, f"in vain; {self.look()}, {len(self.calls)} calls"
            time.sleep(0.01)

    def wait_for_end(self) -> Look:
        self.wait_for(lambda: self.look().ended)
        return self.look()

    @property
    def calls(self) -> list[list[str]]:
        """The names of the tickets in each bulk call."""
        return [call.ticket_names for call in self.slot.bulk_calls]

    @property
    def held(self) -> list[str]:
        return [ticket["name"] for ticket in self.slot.tickets(self.run_id)]

    def xcom(self, key: str = "return_value", task_id: str = CREATE) -> Any:
        return self.lab.airflow.xcom(self.dag_id, self.run_id, key, task_id)

    def statuses(self) -> list[str]:
        return [result["status"] for result in self.xcom()["results"]]


def has_ended(process: psutil.Process) -> bool:
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def names(first: int, last: int) -> list[str]:
    return [f"finding {number}" for number in range(first, last)]


def kill_between_request_and_reply(lab: Lab, dag_id: str) -> Task:
    """Kill the task when the second batch of three was created and its reply is held back."""
    task = Task(lab, dag_id, 3 * BATCH, [FaultRule(kind="stall", commit=True, nth=2)])
    task.wait_for(lambda: len(task.held) == 2 * BATCH)
    task.wait_for(lambda: "created" in lab.airflow.facts(dag_id, task.run_id))
    task.killed_try = task.look().try_number
    os.kill(task.runner().pid, signal.SIGKILL)
    return task


def test_with_embedded_keys_the_retry_of_a_killed_task_completes(lab: Lab) -> None:
    task = kill_between_request_and_reply(lab, "kill_embed")
    assert task.wait_for_end().run == "success"
    assert task.look().try_number == task.killed_try + 1
    assert task.statuses() == ["created"] * 3 * BATCH
    assert sorted(task.held) == sorted(names(0, 3 * BATCH))
    assert task.calls == [names(0, 10), names(10, 20), names(20, 30)], "what was finished or found costs no call"


def test_without_embedded_keys_the_tickets_of_a_killed_task_are_named_and_not_sent_again(lab: Lab) -> None:
    task = kill_between_request_and_reply(lab, "kill_plain")
    assert task.wait_for_end().run == "failed"
    assert task.look().try_number > task.killed_try
    assert task.statuses()[:20] == ["created"] * BATCH + ["unknown"] * BATCH
    assert task.calls == [names(0, 10), names(10, 20)], "the batch that was on record to leave is not sent either"
    assert task.statuses()[20:] == ["unknown"] * BATCH
    assert task.held == names(0, 20)


def test_a_task_that_is_marked_as_failed_starts_no_further_batch_and_publishes_what_it_knows(lab: Lab) -> None:
    task = Task(lab, "kill_plain", 60 * BATCH, [FaultRule(kind="latency", seconds=0.5)])
    task.wait_for(lambda: len(task.calls) == 4)
    runner = task.runner()
    lab.airflow.set_failed(task.dag_id, task.run_id)
    task.wait_for(lambda: has_ended(runner))
    sent = len(task.calls) * BATCH
    assert 4 * BATCH <= sent < 60 * BATCH
    assert task.statuses() == ["created"] * sent + ["unsent"] * (60 * BATCH - sent)
    assert task.held == names(0, sent)
    assert [row["name"] for row in task.xcom("failed_tickets")] == names(sent, 60 * BATCH)


def test_a_try_that_outlives_its_supervisor_and_its_retry_double_no_ticket(lab: Lab) -> None:
    task = Task(lab, "kill_plain", 100 * BATCH, [FaultRule(kind="latency", seconds=0.4)])
    task.wait_for(lambda: len(task.calls) == 2)
    task.killed_try = task.look().try_number
    runner = task.runner()
    os.kill(runner.ppid(), signal.SIGKILL)
    task.wait_for(lambda: task.look().try_number > task.killed_try and has_ended(runner))
    task.slot.end_faults()
    task.wait_for_end()
    assert len(task.held) == len(set(task.held))
    told = {
        status: {r["name"] for r in task.xcom()["results"] if r["status"] == status} for status in set(task.statuses())
    }
    assert told.keys() <= {"created", "unknown"}
    assert told["created"] <= set(task.held) <= told["created"] | told.get("unknown", set())
    assert len(told.get("unknown", ())) <= 2 * BATCH, "what was in flight, and what was on record to leave next"


def test_a_task_that_gets_sigterm_leaves_no_outcome_unknown_and_its_retry_sends_the_rest(lab: Lab) -> None:
    task = Task(lab, "kill_plain", 30 * BATCH, [FaultRule(kind="latency", seconds=0.3)])
    task.wait_for(lambda: len(task.calls) == 4)
    task.killed_try = task.look().try_number
    task.runner().terminate()
    task.wait_for(lambda: task.look().try_number > task.killed_try)
    assert len(task.calls) < 30
    task.slot.end_faults()
    assert task.wait_for_end().run == "success"
    assert task.statuses() == ["created"] * 30 * BATCH
    assert task.held == names(0, 30 * BATCH)
    assert len(task.calls) == 30, "no batch was sent twice"
