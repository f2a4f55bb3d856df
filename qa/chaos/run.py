"""Performs one planned run on a scheduler's Airflow, and gathers the evidence."""

from __future__ import annotations

import json
import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from qa.chaos.check import Allowances, Evidence, problems
from qa.chaos.plan import Kill, Plan
from qa.chaos.scheduler import Look, SchedulerAirflow
from qa.chaos.slot import TIMEOUT, Slot

FAULTS_END_AT_TRY = 5
"""From this try of six on everything behaves, so that a retry is left when the faults are over."""

GARBLING = ("garbage", "short", "wrong_index", "cut", "trickle")
"""Faults after which a reply counts as one with status 200, but may say nothing."""

PATIENCE = 240.0
"""Seconds after which a run that has not ended counts as hung."""


@dataclass
class Outcome:
    """What became of one run."""

    plan: Plan
    state: str
    tries: int
    kills: Counter[str]
    faults: Counter[str]
    counts: dict[str, int]
    problems: list[str]
    seconds: float
    logs: list[Path] = field(default_factory=list)


class Run:
    """One plan, on one slot.

    :param prefix: makes the run's id unique within this Airflow.
    """

    def __init__(self, airflow: SchedulerAirflow, slot: Slot, plan: Plan, prefix: str = "") -> None:
        self._airflow = airflow
        self._slot = slot
        self._plan = plan
        self._run_id = f"{prefix}{plan.seed}-{plan.index}"
        self._kills = list(plan.kills)
        self._killed: Counter[str] = Counter()
        self._victims: list[psutil.Process] = []
        self._away = plan.away
        self._met: tuple[Kill, float] | None = None

    def perform(self) -> Outcome:
        """Run it to its end, judge it."""
        plan, started = self._plan, time.monotonic()
        self._slot.begin(plan.rules)
        self._airflow.trigger(plan.dag_id, self._run_id, self._conf())
        look = self._follow(started)
        self._come_to_rest()
        self._slot.end_faults()
        evidence = Evidence(
            rows=plan.rows,
            fates=plan.fates,
            state=look.run,
            summary=self._xcom("return_value"),
            failed=self._xcom("failed_tickets"),
            held=self._slot.tickets(plan.connection_id),
            doubtful=self._doubtful(),
        )
        counts = {name: count for name, count in (evidence.summary or {}).items() if name != "results"}
        return Outcome(
            plan=plan,
            state=look.run,
            tries=look.try_number,
            kills=self._killed,
            faults=Counter(self._slot.strikes),
            counts=counts,
            problems=problems(evidence, self._allowances()) + ([] if look.ended else ["hung: it did not end"]),
            seconds=time.monotonic() - started,
            logs=self._airflow.task_logs(plan.dag_id, self._run_id),
        )

    def _conf(self) -> dict[str, Any]:
        folder = self._airflow.home / "tickets"
        folder.mkdir(exist_ok=True)
        tickets = folder / f"{self._run_id}.jsonl"
        tickets.write_text("".join(json.dumps(row) + "\n" for row in self._plan.rows))
        return {
            "tickets_path": str(tickets),
            "conn": self._slot.conn_id,
            "connection_id": self._plan.connection_id,
            "ledger_path": self._ledger_path(),
        }

    def _ledger_path(self) -> str:
        in_folder = self._plan.ledger_in_folder or not self._airflow.has_state_store
        return str(self._airflow.ledger_folder(self._run_id)) if in_folder else ""

    def _allowances(self) -> Allowances:
        return Allowances(
            unknown=not self._plan.embed or self._plan.fatal,
            unsent=self._plan.fatal,
            unseen=bool(self._killed) or self._plan.away is not None,
            rejected=self._plan.may_reject,
        )

    def _xcom(self, key: str) -> Any:
        return self._airflow.xcom(self._plan.dag_id, self._run_id, key)

    def _doubtful(self) -> Iterator[str]:
        garbled = any(rule.kind in GARBLING for rule in self._plan.rules)
        for call in self._slot.bulk_calls:
            prompt = call.finished is not None and call.finished - call.started < 0.8 * TIMEOUT
            if not prompt or not _is_clear(call.status, garbled):
                yield from (ticket["identifier"] for ticket in call.body["tickets"])

    # While it runs

    def _follow(self, started: float) -> Look:
        look = self._look()
        looked_at = time.monotonic()
        while not look.ended and time.monotonic() < started + PATIENCE:
            if time.monotonic() - looked_at > 0.2:
                look = self._look()
                looked_at = time.monotonic()
                if look.try_number >= FAULTS_END_AT_TRY:
                    self._slot.end_faults()
            self._disturb(look)
            time.sleep(0.02)
        return look

    def _look(self) -> Look:
        return self._airflow.look(self._plan.dag_id, self._run_id)

    def _disturb(self, look: Look) -> None:
        calls = self._slot.bulk_count
        if self._away and calls >= self._away[0]:
            (_, seconds), self._away = self._away, None
            self._slot.be_away(seconds)
        if not self._kills or look.task != "running" or look.try_number >= FAULTS_END_AT_TRY:
            return
        kill = self._kills[0]
        if calls < kill.after_calls:
            return
        if self._met is None:
            self._met = (kill, time.monotonic() + kill.delay)
        if time.monotonic() >= self._met[1]:
            self._met = None
            del self._kills[0]
            self._strike(kill)

    def _strike(self, kill: Kill) -> None:
        look = self._look()
        if look.task != "running" or not look.pid:
            return
        try:
            runner = psutil.Process(look.pid)
            supervisor = runner.parent()
        except psutil.NoSuchProcess:
            return
        self._victims.append(runner)
        if kill.victim != "runner" and supervisor is not None:
            os.kill(supervisor.pid, signal.SIGKILL)
        if kill.victim != "supervisor":
            os.kill(runner.pid, signal.SIGKILL)
        self._killed[kill.victim] += 1

    def _come_to_rest(self) -> None:
        """Wait until nothing can change the vendor's tickets any more: no request in flight, no try left alive."""
        until = time.monotonic() + 30
        while time.monotonic() < until:
            alive = [victim for victim in self._victims if victim.is_running() and victim.status() != "zombie"]
            if not alive and not self._slot.in_flight:
                return
            time.sleep(0.1)
        raise RuntimeError(f"run {self._run_id} does not come to rest")


def _is_clear(status: int | str | None, garbled: bool) -> bool:
    """Whether a reply says what became of the tickets: all of them, or surely none."""
    if status == 200:
        return not garbled
    return isinstance(status, int) and 400 <= status < 500 and status != 408
