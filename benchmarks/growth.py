"""Growth: time and memory from 50 to 100,000 tickets, against a server that answers at once."""

from __future__ import annotations

import math
import statistics

from benchmarks.bulk import Taken
from benchmarks.frame import Curve, Report
from benchmarks.lab import Lab

COUNTS = (50, 500, 5_000, 20_000, 100_000)
MOST = 1.1
"""The slope between the last points on a log-log plot; 1 is linear."""


def measure(lab: Lab) -> Report:
    report = Report()
    curves: dict[str, Curve] = {"CPU": [], "memory, list held": []}
    for count in COUNTS:
        taken = lab.bulk_runs(count, "held")
        cpu, memory = (statistics.median(values(taken, name)) for name in ("cpu", "above"))
        curves["CPU"].append((count, cpu))
        curves["memory, list held"].append((count, memory / 1e6))
        report.add(f"{count:,} tickets", f"{cpu:.2f} s of CPU, {memory / 1e6:.1f} MB above the list")
    for name, curve in curves.items():
        # Below 5,000 tickets the fixed costs show: the connection, the caches, the pages of the allocator.
        grows = slope([point for point in curve if point[0] >= 5_000])
        report.add(f"{name}: slope on the log-log plot from 5,000 on", f"{grows:.2f}", f"at most {MOST}", grows <= MOST)
    report.curves = curves
    return report


def values(taken: list[Taken], name: str) -> list[float]:
    """Return one figure of each run."""
    return [getattr(one, name) for one in taken]


def slope(curve: Curve) -> float:
    """Return the slope of the straight line through points on a log-log plot, by least squares."""
    xs = [math.log(x) for x, _ in curve]
    ys = [math.log(max(y, 1e-9)) for _, y in curve]
    return statistics.linear_regression(xs, ys).slope
