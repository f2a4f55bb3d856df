"""Throughput: 5,000 tickets, 200 ms a call, through an Airflow task under a scheduler, with the ledger and without."""

from __future__ import annotations

import math
import statistics

from benchmarks.frame import REPEATS, Report
from benchmarks.lab import SERVICE_TIME, Lab, Run, findings

TICKETS = 5000
BATCHES = TICKETS // 50
AT_LEAST = {"forgetful": 0.95, "durable": 0.90}
"""Of the speed that the service time allows."""

SIDE_BY_SIDE = {1: 2, 2: 2, 4: 1, 8: 1}
"""By batches in flight, how many tasks run at once without coming into each other's way."""


def measure(lab: Lab) -> Report:
    report = Report()
    path = lab.file(findings(TICKETS))
    curves: dict[str, list[tuple[float, float]]] = {kind: [] for kind in AT_LEAST}
    for in_flight, side_by_side in SIDE_BY_SIDE.items():
        dag_ids = [f"throughput_{in_flight}_{kind}" for kind in AT_LEAST] * REPEATS
        runs: list[Run] = []
        for begin in range(0, len(dag_ids), side_by_side):
            runs += lab.run(dag_ids[begin : begin + side_by_side], tickets_path=path)
        limit = limit_of(in_flight)
        for position, kind in enumerate(AT_LEAST):
            mine = runs[position :: len(AT_LEAST)]
            seconds = statistics.median(run.sending for run in mine)
            task = statistics.median(run.look.seconds or 0.0 for run in mine)
            call = statistics.median(call["finished"] - call["started"] for run in mine for call in run.calls)
            share = limit / seconds
            curves[kind].append((in_flight, TICKETS / seconds))
            report.add(
                f"{in_flight} in flight, {'with the ledger' if kind == 'durable' else 'without'}",
                f"{seconds:.2f} s, {TICKETS / seconds:.0f} tickets/s: {share:.1%} of the limit",
                f"limit {limit:.2f} s; at least {AT_LEAST[kind]:.0%} (a call took {1000 * call:.0f} ms, "
                f"the whole task {task:.1f} s)",
                share >= AT_LEAST[kind],
            )
    report.curves = {
        "limit": [(in_flight, TICKETS / limit_of(in_flight)) for in_flight in SIDE_BY_SIDE],
        "without the ledger": curves["forgetful"],
        "with the ledger": curves["durable"],
    }
    return report


def limit_of(in_flight: int) -> float:
    """Return the seconds that the server's time allows, with so many batches in flight."""
    return math.ceil(BATCHES / in_flight) * SERVICE_TIME
