"""Performs one planned run on a scheduler's Airflow, and gathers the evidence."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from airflow_provider_leen.bulk.results_file import failed_path
from qa.chaos.check import Allowances, Evidence, problems
from qa.chaos.disturb import FAULTS_END_AT_TRY, Disturber, write_list
from qa.chaos.faults import GARBLING
from qa.chaos.plan import Plan
from qa.chaos.scheduler import Look, SchedulerAirflow
from qa.chaos.slot import TIMEOUT, Slot
from qa.support.pulse import Pulse

PATIENCE = 1200.0
"""Seconds after which a run that has not ended counts as hung."""


@dataclass
class Outcome:
    """The outcome of one run."""

    plan: Plan
    state: str
    tries: int
    disturbances: Counter[str]
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
        self._pulse = Pulse()
        self._files = airflow.home / "lists"
        self._tickets = self._files / f"{self._run_id}.jsonl"
        self._results = self._files / f"{self._run_id}.results.jsonl" if plan.results_in_file else None
        self._disturber = Disturber(airflow, slot, plan, self._run_id, self._tickets)

    def perform(self) -> Outcome:
        """Run it to its end, judge it."""
        plan, started = self._plan, time.monotonic()
        self._slot.begin(plan.rules)
        self._airflow.trigger(plan.dag_id, self._run_id, self._conf())
        try:
            with self._pulse:
                look = self._follow(started)
                while look.ended and self._disturber.goes_on():
                    look = self._follow(time.monotonic())
                self._disturber.come_to_rest()
        finally:
            self._disturber.end()
        self._slot.end_faults()
        before_gap, edited_at = self._disturber.calls_before_gap, self._disturber.edited_at_try
        edited = plan.edited if edited_at is not None and look.try_number > edited_at else None
        rows, fates = edited or (plan.rows, plan.fates)
        summary, failed = self._published()
        evidence = Evidence(
            rows=rows,
            fates=fates,
            before=plan.rows if edited else [],
            state=look.run,
            summary=summary,
            failed=failed,
            held=self._slot.tickets(plan.connection_id),
            doubtful=self._doubtful(),
            ended_at=look.ended_at,
            published=self._airflow.published(plan.dag_id, self._run_id) | self._written(),
            calls_into_gap=None if before_gap is None else self._slot.bulk_count - before_gap,
        )
        counts = {name: count for name, count in (evidence.summary or {}).items() if isinstance(count, int)}
        return Outcome(
            plan=plan,
            state=look.run,
            tries=look.try_number,
            disturbances=self._disturber.done,
            faults=Counter(self._slot.strikes),
            counts=counts,
            problems=problems(evidence, self._allowances()) + ([] if look.ended else ["hung: it did not end"]),
            seconds=time.monotonic() - started,
            logs=self._airflow.task_logs(plan.dag_id, self._run_id),
        )

    def _conf(self) -> dict[str, Any]:
        self._files.mkdir(exist_ok=True)
        write_list(self._tickets, self._plan.rows)
        return {
            "tickets_path": str(self._tickets),
            "results_path": str(self._results or ""),
            "conn": self._slot.conn_id,
            "connection_id": self._plan.connection_id,
            "ledger_path": self._ledger_path(),
        }

    def _ledger_path(self) -> str:
        in_folder = self._plan.ledger_in_folder or not self._airflow.has_state_store
        return str(self._airflow.ledger_folder(self._run_id)) if in_folder else ""

    def _allowances(self) -> Allowances:
        # Where a second is too short for a prompt reply, a run need not end complete; but nothing may be lost.
        slow = self._pulse.longest_stall > 0.1 * TIMEOUT
        return Allowances(
            unknown=not self._plan.embed or self._plan.fatal or self._disturber.calls_before_gap is not None or slow,
            unsent=self._plan.fatal or slow,
            unseen=bool(self._disturber.done) or self._plan.away is not None or slow,
            rejected=self._plan.may_reject,
        )

    def _xcom(self, key: str) -> Any:
        return self._airflow.xcom(self._plan.dag_id, self._run_id, key)

    def _published(self) -> tuple[dict[str, Any] | None, Any]:
        """Return the summary and the failed rows, from the files where they are there."""
        summary, failed = self._xcom("return_value"), self._xcom("failed_tickets")
        if self._results is None or summary is None:
            return summary, failed
        return summary | {"results": _lines(summary.get("results_path"))}, _lines(failed)

    def _written(self) -> dict[str, float]:
        """Return when each of the files was written, in seconds since the epoch by its name."""
        files = {"results": self._results, "failed rows": self._results and failed_path(str(self._results))}
        return {name: Path(file).stat().st_mtime for name, file in files.items() if file and Path(file).exists()}

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
            self._disturber.step(look)
            time.sleep(0.02)
        return look

    def _look(self) -> Look:
        return self._airflow.look(self._plan.dag_id, self._run_id)


def _lines(file: Any) -> list[Any]:
    # Where a try has published no file, there is nothing to read: the judge misses its rows.
    path = Path(str(file))
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def _is_clear(status: int | str | None, garbled: bool) -> bool:
    """Whether a reply proves the outcome of the tickets: all of them, or certainly none."""
    if status == 200:
        return not garbled
    return isinstance(status, int) and 400 <= status < 500 and status != 408
