"""Every day: 10,000 known findings and 100 new ones, with a register and without, and what a kill leaves; its growth.

Without a register, one asks Leen for each identifier, or keeps a file of what was filed. The task is killed on a day of
its own, between its second request and the reply.
"""

from __future__ import annotations

import statistics
import time
import uuid
from typing import Any

from airflow_provider_leen.bulk.register_ledger import fill
from airflow_provider_leen.bulk.register_reading import ScopeContent
from airflow_provider_leen.bulk.register_table import RegisterTable, key_of
from airflow_provider_leen.bulk.snapshot import pack
from benchmarks.frame import REPEATS, Report
from benchmarks.lab import Lab, findings
from benchmarks.peers import Murderer
from benchmarks.sandbox import sending_time

KNOWN, NEW = 10_000, 100
WAYS = {
    "daily_register": ("LeenBulkCreateTicketsOperator with a register", REPEATS),
    "daily_file": ("@task with httpx and a JSON file of what was filed", REPEATS),
    "daily_lookup": ('LeenBulkCreateTicketsOperator with if_exists="skip"', 1),
}
MOST_BESIDE_CALLS = 2.0
"""Seconds that a day with a register may take beside its creating calls."""


def measure(lab: Lab) -> Report:
    report = Report()
    for dag_id, (name, repeats) in WAYS.items():
        days = _Days(lab, dag_id)
        days.live(KNOWN)
        taken = [days.live(NEW) for _ in range(repeats)]
        seconds, beside, requests = map(statistics.median, zip(*taken, strict=True))
        limit, holds = ("one run" if repeats == 1 else "", None)
        if dag_id == "daily_register":
            limit, holds = f"at most {MOST_BESIDE_CALLS:.0f} s beside them", beside <= MOST_BESIDE_CALLS
        report.add(
            name, f"{requests:.0f} requests; {seconds:.1f} s, {beside:.1f} s beside the creating calls", limit, holds
        )
        days.live(NEW, is_killed=True)
        doubled = days.sandbox.copies().total() - len(days.sandbox.copies())
        report.add(f"{name}, after a kill", f"{doubled} doubled", "", doubled == 0 if holds is not None else None)
    for count in (1_000, 10_000, 100_000):
        _add_size(report, count)
    return report


class _Days:
    """Days of one Dag, each with the findings of the day before and new ones."""

    def __init__(self, lab: Lab, dag_id: str) -> None:
        self.sandbox = lab.sandboxes[0]
        self._lab = lab
        self._dag_id = dag_id
        self._memory = lab.folder / str(uuid.uuid4())
        self._count = 0
        self.sandbox.begin()

    def live(self, new: int, *, is_killed: bool = False) -> tuple[float, float, int]:
        """Run a day; return its seconds, those beside its creating calls, and its requests."""
        before, calls_before = self.sandbox.requests(), len(self.sandbox.bulk_calls())
        self._count += new
        if is_killed:
            # Its tickets are made, and its reply never comes.
            self.sandbox.misbehave(kind="stall", commit=True, nth=2, times=1)
        rows = [row | {"identifier": f"rule/{row['name']}"} for row in findings(self._count)]
        conf: dict[str, Any] = {
            "tickets_path": self._lab.file(rows),
            "memory": str(self._memory),
            "url": f"{self.sandbox.base_url}/",
            "connection_id": self.sandbox.connection["login"],
        }
        run_id = self._lab.start(self._dag_id, 0, **conf)
        murderer = Murderer(self._lab, self.sandbox, self._dag_id, run_id, calls_before + 2)
        look = self._lab.end_of(self._lab.airflow, self._dag_id, run_id, murderer.look if is_killed else lambda: None)
        if look.run != "success" or len(self.sandbox.copies()) != self._count or murderer.done != is_killed:
            raise RuntimeError(f"{run_id} ended as {look.run}, with {len(self.sandbox.copies())} tickets.")
        seconds = look.seconds or 0.0
        calls = self.sandbox.bulk_calls()[calls_before:]
        return seconds, seconds - sending_time(calls), self.sandbox.requests() - before


def _add_size(report: Report, count: int) -> None:
    """Fold a register that knows so many tickets, and read it."""
    table = RegisterTable("0123456789abcdef")
    keys = {key_of(table.scope_id, f"rule/finding {n}", 0): n for n in range(count)}
    table.entered({key: [f"rule/finding {n}", 0, "SEC"] for key, n in keys.items()})
    table.sent(list(keys), time.time(), time.time(), "host", True, False, 0.0)
    table.created({key: [str(uuid.uuid4()), f"SEC-{n}"] for key, n in keys.items()})
    started = time.perf_counter()
    snapshot = pack({"scope_id": table.scope_id, "task": None}, table.records())
    folded = time.perf_counter()
    known = fill(ScopeContent(None, snapshot, []), table.scope_id, None)
    read = time.perf_counter()
    assert len(list(known.all_known())) == count
    report.add(
        f"a register of {count:,} tickets",
        f"{len(snapshot) / count:.0f} kB for 1,000 tickets; folded in {folded - started:.2f} s, read in "
        f"{read - folded:.2f} s",
    )
