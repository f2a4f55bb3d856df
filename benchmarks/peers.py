"""Peers: 250 tickets, 200 ms a call, by this package and by what people use instead, and what a disturbance leaves.

A disturbance is one of: a 502 whose tickets were made all the same (a gateway that lost the reply), a 429, and the
task's process killed between a request and its reply. Airflow tries again each time. ``JiraOperator`` is mapped, one
task a ticket; its three disturbances hit three different tickets of one run, whose rate is that of the part before.
"""

from __future__ import annotations

import os
import signal
import statistics
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from benchmarks.frame import REPEATS, Report
from benchmarks.lab import Lab
from benchmarks.sandbox import Sandbox

TICKETS = 250
PEERS = {
    "peer_leen": "LeenBulkCreateTicketsOperator, 4 in flight (its default)",
    "peer_leen_in_turn": "LeenBulkCreateTicketsOperator, batches of 50 in turn",
    "peer_http": "HttpOperator, batches of 50 in turn",
    "peer_task": "@task with httpx, batches of 50 in turn",
}
DISTURBED = ("peer_leen", "peer_http", "peer_task")
DISTURBANCES: dict[str, dict[str, Any]] = {
    "502": {"kind": "status", "status": 502, "commit": True, "nth": 3},
    "429": {"kind": "rate_limit", "retry_after": 1, "nth": 3},
    "kill": {},
}
JIRA_502, JIRA_429, JIRA_KILL = 160, 170, 180
"""The calls of JiraOperator's run that are disturbed."""


@dataclass
class Left:
    """What a run has left at the vendor."""

    created: int
    lost: int
    doubled: int

    def __str__(self) -> str:
        return f"{self.created} created, {self.lost} lost, {self.doubled} doubled"


def left_of(copies: Counter[str]) -> Left:
    """Count which tickets exist, and how often."""
    return Left(len(copies), TICKETS - len(copies), copies.total() - len(copies))


def measure(lab: Lab) -> Report:
    report = Report()
    rates = {name: _rate(report, lab, dag_id, name) for dag_id, name in PEERS.items()}
    left = _disturbed(lab)
    rates["JiraOperator, one task a ticket"] = _jira(report, lab, left)
    for (name, disturbance), what in left.items():
        report.add(
            f"{name}, after one {disturbance}",
            str(what),
            "",
            what.lost == what.doubled == 0 if "Leen" in name else None,
        )
    report.curves = {name: [(position, rate)] for position, (name, rate) in enumerate(rates.items())}
    return report


def _rate(report: Report, lab: Lab, dag_id: str, name: str) -> float:
    """Measure an undisturbed run; return its tickets a second."""
    url = lab.sandboxes[0].base_url + "/"
    runs = [lab.run([dag_id], url=url)[0] for _ in range(REPEATS)]
    seconds = statistics.median(run.sending for run in runs)
    report.add(name, f"{TICKETS / seconds:.0f} tickets/s, {len(runs[0].calls)} HTTP calls", f"{seconds:.1f} s")
    return TICKETS / seconds


# Disturbed


def _disturbed(lab: Lab) -> dict[tuple[str, str], Left]:
    """Disturb each of the Dags in each way, two Dags at a time."""
    jobs = [(dag_id, disturbance) for dag_id in DISTURBED for disturbance in DISTURBANCES]
    left: dict[tuple[str, str], Left] = {}
    for begin in range(0, len(jobs), len(lab.sandboxes)):
        some = jobs[begin : begin + len(lab.sandboxes)]
        run_ids = []
        for number, (dag_id, disturbance) in enumerate(some):
            lab.sandboxes[number].begin(**DISTURBANCES[disturbance])
            run_ids.append(lab.start(dag_id, number, url=lab.sandboxes[number].base_url + "/"))
        murderers = [
            Murderer(lab, lab.sandboxes[number], dag_id, run_ids[number])
            for number, (dag_id, disturbance) in enumerate(some)
            if disturbance == "kill"
        ]

        def meanwhile(murderers: list[Murderer] = murderers) -> None:
            for murderer in murderers:
                murderer.look()

        for number, (dag_id, disturbance) in enumerate(some):
            lab.end_of(lab.airflow, dag_id, run_ids[number], meanwhile)
            left[PEERS[dag_id], disturbance] = left_of(lab.sandboxes[number].copies())
        if not all(murderer.done for murderer in murderers):
            raise RuntimeError("A run ended before its task could be killed.")
    return left


class Murderer:
    """Kills the task of a run while one of its calls, the third say, is in flight."""

    def __init__(self, lab: Lab, sandbox: Sandbox, dag_id: str, run_id: str, at_call: int = 3) -> None:
        self.done = False
        self._sandbox = sandbox
        self._at_call = at_call
        self._instances = lambda: lab.airflow.instances(dag_id, run_id)

    def look(self) -> None:
        """Kill, if it is time."""
        if self.done:
            return
        calls = self._sandbox.bulk_calls()
        if len(calls) >= self._at_call and calls[-1]["finished"] is None:
            self.done = _kill(self._instances, lambda one: True)


def _kill(instances: Callable[[], list[dict[str, Any]]], wanted: Callable[[dict[str, Any]], bool]) -> bool:
    """Kill the process of a running task; return whether there was one."""
    for one in instances():
        if one["state"] == "running" and one["pid"] and wanted(one):
            with suppress(ProcessLookupError):
                os.kill(one["pid"], signal.SIGKILL)
                return True
    return False


# Jira


def _jira(report: Report, lab: Lab, left: dict[tuple[str, str], Left]) -> float:
    """Let JiraOperator file the tickets, disturbed three times; return its tickets a second."""
    name = "JiraOperator, one task a ticket"
    lab.jira.ask("/_begin", [JIRA_502, JIRA_429])
    run_id = lab.start("peer_jira", 0)
    killed: list[str] = []

    def kill() -> None:
        seen = lab.jira.ask("/_stats")
        if killed or len(seen["calls"]) < JIRA_KILL:
            return
        last = seen["names"][-1]
        if _kill(lambda: lab.airflow.instances("peer_jira", run_id), lambda one: f"finding {one['map_index']}" == last):
            killed.append(last)

    lab.end_of(lab.airflow, "peer_jira", run_id, kill)
    seen = lab.jira.ask("/_stats")
    copies = Counter(seen["names"])
    for disturbance, ticket in {**seen["hit"], "kill": killed[0]}.items():
        left[name, disturbance] = Left(len(copies), TICKETS - len(copies), copies[ticket] - 1)
    # Undisturbed up to here.
    calls = JIRA_502 - 1
    rate: float = (calls - 1) / (seen["calls"][calls - 1] - seen["calls"][0])
    report.add(name, f"{rate:.1f} tickets/s, a call for each", f"{TICKETS / rate:.0f} s; one run")
    return rate
