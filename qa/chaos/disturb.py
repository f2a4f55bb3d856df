"""Disturbs the tries of one run as its plan says: kills them, lets them overlap, clears them, deletes their state."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from qa.chaos.plan import AFTER_THE_END, Clear, Disturbance, Freeze, Kill, Plan
from qa.chaos.scheduler import Look, SchedulerAirflow
from qa.chaos.slot import Slot
from qa.support.processes import kill, resume

FAULTS_END_AT_TRY = 5
"""From this try of six on everything behaves, so that a retry is left when the faults are over."""

REST = 180.0
"""Seconds within which a try that was ended must be gone."""


@dataclass
class _Frozen:
    processes: list[psutil.Process]
    try_number: int
    until_the_end: bool


class Disturber:
    """What happens to one run from outside.

    :param run_id: of the Dag run that performs the plan.
    :param tickets: the file that holds the run's list.
    """

    def __init__(self, airflow: SchedulerAirflow, slot: Slot, plan: Plan, run_id: str, tickets: Path) -> None:
        self.done: Counter[str] = Counter()
        """What was done, by name."""
        self.edited_at_try: int | None = None
        """The newest try when the list was edited: those after it have another one."""
        self.calls_before_gap: int | None = None
        """How many bulk calls there were when a value was taken out of the ledger."""
        self._airflow = airflow
        self._slot = slot
        self._run = (plan.dag_id, run_id)
        self._edited, self._tickets = plan.edited, tickets
        self._todo: list[Disturbance] = list(plan.disturbances)
        self._away = plan.away
        self._due_at: float | None = None
        self._frozen: list[_Frozen] = []
        self._runners: list[psutil.Process] = []

    def step(self, look: Look) -> None:
        """Do what is due; call this repeatedly while the run continues."""
        if self._away and self._slot.bulk_count >= self._away[0]:
            (_, seconds), self._away = self._away, None
            self._slot.be_away(seconds)
        self._wake(look)
        if not self._todo or look.task != "running" or look.try_number >= FAULTS_END_AT_TRY:
            return
        due = self._todo[0]
        if due.after_calls == AFTER_THE_END or self._slot.bulk_count < due.after_calls:
            return
        self._due_at = self._due_at or time.monotonic() + due.delay
        if time.monotonic() >= self._due_at:
            self._due_at = None
            del self._todo[0]
            self._strike(due)

    def goes_on(self) -> bool:
        """Return whether the run continues after its end, because it was cleared now."""
        self._wake(None)
        due = self._todo.pop() if self._todo else None
        self._todo = []
        if not isinstance(due, Clear) or due.after_calls != AFTER_THE_END:
            return False
        self.come_to_rest()
        self._clear(due)
        return True

    def come_to_rest(self) -> None:
        """Wait until nothing can change the vendor's tickets any more: no request in flight, no old try alive."""
        self._wake(None)
        until = time.monotonic() + REST
        while any(map(_is_alive, self._runners)) or self._slot.in_flight:
            if time.monotonic() > until:
                raise RuntimeError(f"run {self._run[1]} does not come to rest")
            time.sleep(0.1)

    def end(self) -> None:
        """Continue everything that is stopped."""
        for frozen in self._frozen:
            resume(frozen.processes)

    def _strike(self, due: Disturbance) -> None:
        look = self._airflow.look(*self._run)
        if look.task != "running" or not look.pid:
            return
        try:
            runner = psutil.Process(look.pid)
            supervisor = runner.parent()
        except psutil.NoSuchProcess:
            return
        self._runners.append(runner)
        match due:
            case Clear():
                self._clear(due)
                return
            case Kill(victim=victim):
                killed = {"runner": [runner], "supervisor": [supervisor], "both": [supervisor, runner]}[victim]
                kill(process for process in killed if process is not None)
            case Freeze():
                self._freeze(due, runner, supervisor, look.try_number)
        self._edit(look.try_number)
        self.done[due.name] += 1

    def _edit(self, newest: int) -> None:
        """Edit the list, once; a reader meanwhile sees the old or the new one."""
        if self._edited is not None:
            write_list(self._tickets, self._edited[0])
            self._edited, self.edited_at_try = None, newest
            self.done["list edited"] += 1

    def _freeze(self, due: Freeze, runner: psutil.Process, supervisor: psutil.Process | None, number: int) -> None:
        runner.suspend()
        stopped = [runner]
        if supervisor is not None:
            if due.orphaned:
                supervisor.kill()
            else:
                supervisor.suspend()
                stopped.append(supervisor)
        self._frozen.append(_Frozen(stopped, number, due.until_the_end))

    def _wake(self, look: Look | None) -> None:
        """Let frozen tries go on that overlap with a newer one; all of them at the end of the run."""
        for frozen in list(self._frozen):
            overlaps = look is None or (look.try_number > frozen.try_number and look.task == "running")
            if look is None or look.ended or (overlaps and not frozen.until_the_end):
                resume(frozen.processes)
                self._frozen.remove(frozen)

    def _clear(self, due: Clear) -> None:
        self._edit(self._airflow.look(*self._run).try_number)
        if due.memory == "kept":
            self._airflow.clear(*self._run)
        else:
            self._airflow.set_failed(*self._run)
            self.come_to_rest()
            self._tamper(due.memory == "gone")
            self._airflow.clear(*self._run)
        self.done[due.name] += 1

    def _tamper(self, gone: bool) -> None:
        values = self._airflow.ledger(*self._run)
        keys = list(values) if gone else gap_in(values)
        self._airflow.forget(*self._run, keys)
        if keys and not gone:
            self.calls_before_gap = self._slot.bulk_count


def write_list(file: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write a list of tickets in one go."""
    new = file.with_suffix(".new")
    new.write_text("".join(json.dumps(row) + "\n" for row in rows))
    new.replace(file)


def gap_in(values: Mapping[str, Any]) -> list[str]:
    """Return a key whose loss a later try can see: one before another, or one that the lease counts; none else."""
    for key in sorted(values):
        if match := re.fullmatch(r"j/(\d+)-(\w+)/(\d+)", key):
            lease, token, number = match.groups()
            follows = f"j/{lease}-{token}/{int(number) + 1}" in values
            if follows or (values[f"lease/{lease}"]["values"] or 0) >= int(number):
                return [key]
    return []


def _is_alive(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
