"""Performs a sequence of days on a scheduler's Airflow, and keeps the judge's book of it."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from airflow_provider_leen.bulk.register_store import folder_of
from qa.chaos.days import store
from qa.chaos.days.book import Book, Ended, Listed
from qa.chaos.days.people import do
from qa.chaos.days.plan import MAX_CLOSE_RATE, MAX_NEW, Day
from qa.chaos.days.plan import Sequence as Days
from qa.chaos.scheduler import Look, SchedulerAirflow
from qa.chaos.slot import Slot
from qa.support.processes import resume

PATIENCE = 600.0
"""Seconds after which a run that has not ended counts as hung."""

QUIET_DAYS = 10
"""So many days without people and faults must be enough for tickets and findings to be in step."""


@dataclass
class Outcome:
    """The outcome of a sequence."""

    days: Days
    runs: int = 0
    tries: int = 0
    quiet_days: int = 0
    tickets: int = 0
    events: Counter[str] = field(default_factory=Counter)
    struck: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    ended: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    seconds: float = 0.0
    logs: list[Path] = field(default_factory=list)
    story: list[str] = field(default_factory=list)


@dataclass
class _Run:
    """A run under way."""

    run_id: str
    listed: Listed
    rows: list[str]
    strikes: dict[int, Any] = field(default_factory=dict)
    noted: set[str] = field(default_factory=set)
    look: Look | None = None

    @property
    def has_ended(self) -> bool:
        return self.look is not None and self.look.ended


class Play:
    """One sequence, on one slot.

    :param prefix: makes the runs' ids unique within this Airflow.
    """

    def __init__(self, airflow: SchedulerAirflow, slot: Slot, days: Days, prefix: str = "") -> None:
        self._airflow = airflow
        self._slot = slot
        self._days = days
        self._name = f"{prefix}days-{days.seed}-{days.index}"
        self._folder = airflow.home / "days" / self._name
        self._register = self._folder / "register"
        self._scope = self._register / folder_of(days.scope)
        self._stopped: list[psutil.Process] = []
        self._past: list[_Run] = []
        self._book = Book(
            reconciles=days.kind == "reconcile",
            close_after=days.close_after,
            max_new=MAX_NEW,
            max_close_rate=MAX_CLOSE_RATE,
        )
        self.outcome = Outcome(days)

    def perform(self) -> Outcome:
        """Live through all days, and then through quiet ones."""
        started, outcome = time.monotonic(), self.outcome
        self._folder.mkdir(parents=True)
        self._slot.begin()
        try:
            for number, day in enumerate(self._days.days):
                self._live(number, day)
                if outcome.problems:
                    break
            else:
                self._be_quiet()
        finally:
            resume(self._stopped)
        self._slot.end_faults()
        outcome.faults = Counter(self._slot.strikes)
        outcome.tickets = len(self._book.tickets)
        outcome.seconds = time.monotonic() - started
        outcome.logs = [log for run in self._past for log in self._logs(run)]
        return outcome

    # A day

    def _live(self, number: int, day: Day) -> None:
        self._let_people_work(day.deeds)
        if day.is_synced:
            self._slot.sync()
        self._book.look(self._held())
        if day.lost:
            self._lose(number, day)
        self._slot.misbehave(day.rules)
        runs = [self._start(f"{number}", day, day.strikes)]
        if day.is_twice:
            self.outcome.events["two runs at once"] += 1
            runs.append(self._start(f"{number}-twin", day))
        self._follow(runs, day)
        self._slot.end_faults()
        self._judge(runs)
        if 0 < day.cleared < len(self._past):
            self._clear(self._past[-1 - day.cleared])

    def _be_quiet(self) -> None:
        """Live on without people and faults until all is in step; somebody has confirmed what the brake asks about."""
        self._book.max_close_rate = 1.0
        found = self._days.days[-1].found
        for number in range(QUIET_DAYS):
            self._slot.sync()
            self._book.look(self._held())
            run = self._start(f"quiet-{number}", Day(found))
            self._follow([run], Day(found))
            self._judge([run])
            self.outcome.quiet_days += 1
            wrong = self._book.out_of_step(found)
            if self.outcome.problems:
                return
            if run.look is not None and run.look.run == "success" and number >= self._days.close_after and not wrong:
                return
        self.outcome.problems += wrong or ["stuck: no quiet day's run succeeds"]

    def _let_people_work(self, deeds: Sequence[tuple[str, str]]) -> None:
        for action, finding in deeds:
            self._book.look(self._held())
            if key := do(action, finding, self._book, self._slot, self._days.connection_id):
                self._book.person(action, key)
                self._tell(f"a person does: {action} {key} of {finding}")
                self.outcome.events[f"person: {action}"] += 1

    def _start(self, name: str, day: Day, strikes: dict[int, Any] | None = None) -> _Run:
        run_id = f"{self._name}-{name}"
        rows = [self._days.row(finding) for finding in day.listed]
        tickets: Any = [rows, None] if day.scan == "none" else rows
        run = _Run(run_id, Listed(run_id, frozenset(day.listed), day.is_complete), list(day.listed), strikes or {})
        conf = {
            "tickets": tickets,
            "conn": self._slot.conn_id,
            "connection_id": self._days.connection_id,
            "register": self._register.as_uri() if self._days.is_url else str(self._register),
            "scope": self._days.scope,
            "deferrable": self._days.is_deferrable,
            "batch_size": self._days.batch_size,
            "close_after": self._days.close_after,
            "max_new": MAX_NEW,
            "max_close_rate": self._book.max_close_rate,
            "strikes": {str(number): vars(strike) for number, strike in run.strikes.items()},
            "notes": str(self._folder / run_id),
        }
        self._tell(f"run {name}: {day.scan}, {len(rows)} rows {sorted(day.listed)[:30]}, {conf['strikes']}")
        if day.scan != "whole":
            self.outcome.events[f"scan: {day.scan}"] += 1
        self._airflow.trigger(self._days.dag_id, run_id, conf)
        self._past.append(run)
        return run

    def _follow(self, runs: list[_Run], day: Day) -> None:
        """Wait for the end of the runs, and of all that they have begun. Who is stopped goes on after another run."""
        until = time.monotonic() + PATIENCE
        waiting: _Run | None = None
        while not all(run.has_ended for run in runs):
            if time.monotonic() > until:
                self.outcome.problems.append(f"hung: {[run.run_id for run in runs if not run.has_ended]}")
                break
            time.sleep(0.2)
            for run in runs:
                run.look = self._airflow.look(self._days.dag_id, run.run_id)
                if self._note_strikes(run) and self._stopped:
                    waiting = self._start(f"{run.run_id.rpartition('-')[2]}-taker", day)
                    self.outcome.events["stopped and overtaken"] += 1
            if waiting is not None and waiting not in runs:
                runs.append(waiting)
            if self._stopped and waiting is not None and waiting.has_ended:
                resume(self._stopped)
                self._stopped.clear()
        resume(self._stopped)
        self._stopped.clear()
        while self._slot.in_flight and time.monotonic() < until:
            time.sleep(0.1)
        for run in runs:
            look = run.look or self._airflow.look(self._days.dag_id, run.run_id)
            self.outcome.runs += 1
            self.outcome.tries += look.try_number
            self.outcome.ended[look.run] += 1

    def _note_strikes(self, run: _Run) -> bool:
        """Note who was struck; say whether somebody new was stopped."""
        is_stopped = False
        for number, strike in run.strikes.items():
            note = self._folder / f"{run.run_id}.{number}"
            if note.name in run.noted or not note.exists() or not (text := note.read_text()):
                continue
            told = json.loads(text)
            run.noted.add(note.name)
            self.outcome.struck[f"{strike.how} {told['at']}"] += 1
            self._tell(f"try {number} is struck: {strike.how} {told['at']}")
            if strike.how == "stop":
                self._stopped.append(psutil.Process(told["pid"]))
                is_stopped = True
        return is_stopped

    def _clear(self, run: _Run) -> None:
        """Clear an old run. Where a newer list was reconciled, it must change nothing."""
        self._tell(f"clears {run.run_id}")
        self.outcome.events["old run cleared"] += 1
        newer = self._past[self._past.index(run) + 1 :]
        must_not_change = self._days.kind == "reconcile" and any(it.look and it.look.run == "success" for it in newer)
        self._book.look(self._held())
        self._airflow.clear(self._days.dag_id, run.run_id)
        run.look = None
        self._follow([run], Day(()))
        self._judge([run], may_change=not must_not_change)

    # The store

    def _lose(self, number: int, day: Day) -> None:
        """Let the store lose a part. The next run must see it, and send nothing; then the register is repaired."""
        part = next((part for part in day.lost if store.losable(self._scope, part)), None)
        if part is None:
            return
        lost = store.lose(self._scope, part)
        self._tell(f"the store loses {lost}")
        self.outcome.events[f"lost: {part}"] += 1
        before = self._slot.changing_count
        run = self._start(f"{number}-lost", day)
        self._follow([run], day)
        held = self._held()
        look = run.look
        if look is None or look.run != "failed":
            self.outcome.problems.append(f"silent: {lost} is lost, and the run is {look and look.run}")
        if self._slot.changing_count != before:
            self.outcome.problems.append(f"wrong: {lost} is lost, and something was sent")
        self._add(self._book.judge(held, [], may_change=False))
        scope = ["--scope", self._days.scope]
        command = ("airflow_provider_leen", "register", "repair", "--register", str(self._register), *scope)
        repaired = self._airflow.run_module(*command)
        self._tell(f"repair: {repaired.stdout}{repaired.stderr[-500:]}")
        if repaired.returncode or "Missing" not in repaired.stdout:
            self.outcome.problems.append(f"wrong: repair says {repaired.stdout}{repaired.stderr[-500:]}")
        self._book.forget()

    # Judging

    def _judge(self, runs: Sequence[_Run], *, may_change: bool = True) -> None:
        lists = []
        for run in runs:
            seen = run.look is not None and run.look.run == "success"
            lists.append(Listed(run.run_id, run.listed.findings, run.listed.is_whole, seen))
        self._add(self._book.judge(self._held(), lists, may_change=may_change))
        last = max(runs, key=lambda run: (run.look and run.look.ended_at) or 0.0)
        for run in runs:
            self._add(self._book.judge_run(self._ended(run), run.rows, speaks=run is last))

    def _ended(self, run: _Run) -> Ended:
        summary = self._airflow.xcom(self._days.dag_id, run.run_id, "return_value")
        state = run.look.run if run.look else ""
        counts = {name: count for name, count in (summary or {}).items() if name != "results" and count}
        self._tell(f"{run.run_id} is {state} after {run.look and run.look.try_number} tries: {counts}")
        return Ended(run.run_id, state, summary, state == "success" or self._has_said(run))

    def _has_said(self, run: _Run) -> bool:
        """Return whether a try says why it failed, or was killed; on a busy machine Airflow may have ended it."""
        said = "\n".join(log.read_text() for log in self._logs(run))
        errors = [
            line for line in said.splitlines() if '"level":"error"' in line or "ERROR" in line or "Error:" in line
        ]
        self._tell(f"   {errors[-1][:600] if errors else 'no error'}")
        return bool(errors or run.noted)

    def _logs(self, run: _Run) -> list[Path]:
        return self._airflow.task_logs(self._days.dag_id, run.run_id)

    def _held(self) -> list[dict[str, Any]]:
        return self._slot.tickets(self._days.connection_id)

    def _add(self, problems: Iterator[str]) -> None:
        for problem in problems:
            self._tell(f"*** {problem}")
            self.outcome.problems.append(problem)

    def _tell(self, what: str) -> None:
        self.outcome.story.append(f"{time.strftime('%H:%M:%S')} {what}")
