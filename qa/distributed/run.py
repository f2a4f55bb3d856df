"""One Dag run on two workers, one of which is killed on the way; everything is judged from outside."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from airflow_provider_leen.sandbox.server import SandboxServer
from qa.distributed.airflow import CeleryAirflow
from qa.distributed.sizes import CONCURRENT_BATCHES, LISTS, POOL, POOL_SLOTS, TICKETS
from qa.support.processes import descendants, kill

DAG_ID = "leen_distributed"
BY_PATH = "leen_by_path"
RUN_ID = "once"
RUN = f"/dags/{DAG_ID}/dagRuns/{RUN_ID}"

KILL_AFTER = LISTS * TICKETS // 50 // 4
"""Calls, a quarter of all, after which a worker is killed as soon as it has tasks that are under way."""

PATIENCE = 400.0
"""Seconds after which a run that has not ended counts as hung."""


ENDED = ("success", "failed")


@dataclass
class Evidence:
    """What can be seen from outside after the run.

    :param killed: the map indexes of the tasks that were running in the killed worker.
    :param tries: by map index, how many tries the operator needed.
    :param gate: what the gate has returned.
    :param copies: by name, how many tickets the vendor holds.
    """

    state: str
    killed: set[int]
    tries: dict[int, int]
    gate: dict[str, Any] | None
    copies: Counter[str]
    calls: int
    peak_in_flight: int
    seconds: float


def problems(seen: Evidence) -> list[str]:
    """Say what is not as it must be."""
    total = LISTS * TICKETS
    most = POOL_SLOTS * CONCURRENT_BATCHES
    doubled = sum(count - 1 for count in seen.copies.values())
    again = {map_index for map_index, tries in seen.tries.items() if tries > 1}
    counts = {name: (seen.gate or {}).get(name) for name in ("total", "succeeded", "created", "failed")}
    checks = {
        f"the run ended as {seen.state}": seen.state == "success",
        f"{total - len(seen.copies)} tickets are lost": len(seen.copies) == total,
        f"{doubled} tickets exist twice": doubled == 0,
        f"the gate counted {counts}": counts == {"total": total, "succeeded": total, "created": total, "failed": 0},
        f"{seen.peak_in_flight} requests were in flight, more than {most}": seen.peak_in_flight <= most,
        "no task was running in the killed worker": bool(seen.killed),
        f"killed: {sorted(seen.killed)}, tried again: {sorted(again)}": again == seen.killed,
    }
    return [problem for problem, is_fine in checks.items() if not is_fine]


def perform(airflow: CeleryAirflow, sandbox: SandboxServer) -> Evidence:
    """Run the Dag to its end, and kill the first worker on the way."""
    airflow.call("POST", "/pools", json={"name": POOL, "slots": POOL_SLOTS, "include_deferred": False})
    _wait_until(lambda: airflow.has_dag(DAG_ID), 120, "Airflow does not find the Dag")
    started = time.monotonic()
    _start(airflow, DAG_ID)
    killed: set[int] = set()

    def is_over() -> bool:
        if not killed and len(sandbox.requests) >= KILL_AFTER:
            killed.update(_kill_worker(airflow))
        return _state(airflow, DAG_ID) in ENDED

    _wait_until(is_over, PATIENCE, "the run does not end")
    return Evidence(
        state=_state(airflow, DAG_ID),
        killed=killed,
        tries={task["map_index"]: task["try_number"] for task in _tasks(airflow)},
        gate=_gate(airflow),
        copies=Counter(ticket["name"] for ticket in sandbox.tickets()),
        calls=sum(request.is_bulk for request in sandbox.requests),
        peak_in_flight=sandbox.peak_in_flight,
        seconds=time.monotonic() - started,
    )


def perform_by_path(airflow: CeleryAirflow, tickets: Path) -> str:
    """Run the Dag whose tickets and results are in files; return how it ended."""
    _start(airflow, BY_PATH, tickets_path=str(tickets))
    _wait_until(lambda: _state(airflow, BY_PATH) in ENDED, PATIENCE, "the run with files does not end")
    return _state(airflow, BY_PATH)


def _kill_worker(airflow: CeleryAirflow) -> set[int]:
    """Kill the first worker with all that it has started, if operators run in it and none is just being handed out.

    :return: the map indexes of the tasks that died; none when it was no moment to kill, and nothing happened.
    """
    family = _frozen(airflow.workers[0])
    pids = {process.pid for process in family}
    tasks = _tasks(airflow)
    victims = {task["map_index"] for task in tasks if task["state"] == "running" and task["pid"] in pids}
    # A task that the worker has taken from the queue and not begun would be tried again, too, half a minute later.
    if not victims or any(task["state"] == "queued" for task in tasks):
        for process in family:
            process.resume()
        return set()
    kill(family)
    return victims


def _frozen(worker: psutil.Process) -> list[psutil.Process]:
    """Stop a worker and all that it has started, so that it starts nothing more; task processes leave its group."""
    frozen: list[psutil.Process] = []
    while new := [process for process in descendants([worker.pid]) if process not in frozen]:
        for process in new:
            process.suspend()
        frozen += new
    return frozen


def _tasks(airflow: CeleryAirflow) -> list[dict[str, Any]]:
    path = f"{RUN}/taskInstances"
    found: list[dict[str, Any]] = airflow.call("GET", path, params={"limit": 100})["task_instances"]
    return [task for task in found if task["task_id"] == "create" and task["map_index"] >= 0]


def _start(airflow: CeleryAirflow, dag_id: str, **conf: str) -> None:
    run = {"dag_run_id": RUN_ID, "logical_date": None, "conf": conf}
    airflow.call("POST", f"/dags/{dag_id}/dagRuns", json=run)


def _state(airflow: CeleryAirflow, dag_id: str) -> str:
    return str(airflow.call("GET", f"/dags/{dag_id}/dagRuns/{RUN_ID}")["state"])


def _gate(airflow: CeleryAirflow) -> dict[str, Any] | None:
    path = f"{RUN}/taskInstances/gate/xcomEntries"
    if not airflow.call("GET", path)["total_entries"]:
        return None
    value: dict[str, Any] = airflow.call("GET", f"{path}/return_value", params={"deserialize": True})["value"]
    return value


def _wait_until(condition: Callable[[], bool], seconds: float, problem: str) -> None:
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            raise RuntimeError(f"{problem} ({seconds:.0f} s).")
        time.sleep(0.3)
