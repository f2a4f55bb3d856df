"""Memory: 100,000 tickets of 400 bytes, the peak above what was held before, in a process of its own."""

from __future__ import annotations

import statistics

from benchmarks.bulk import TICKET_BYTES, Taken
from benchmarks.frame import Report
from benchmarks.lab import Lab

TICKETS = 100_000
IN_FILES = 50_000
MOST = 1.5
"""Times the size of the input as JSON, above the list that is held."""

LONG = 2_000
"""Bytes of a ticket that is five times as long, whose results and keys are as short."""

ALIKE = 1.1
"""From a file to a file, long tickets may take so many times the memory of short ones: their text is not kept."""


def measure(lab: Lab) -> Report:
    report = Report()
    held = lab.bulk_runs(TICKETS, "held")
    ratio = statistics.median(taken.above / taken.size for taken in held)
    report.add(
        f"a list of {TICKETS:,} that is held, to results that are held",
        f"{_median_mb(held):.0f} MB above the list, {ratio:.2f} times its {held[0].size / 1e6:.0f} MB of JSON",
        f"at most {MOST}",
        ratio <= MOST,
    )
    short, long = (lab.bulk_runs(IN_FILES, "files", size) for size in (TICKET_BYTES, LONG))
    report.add(
        f"{IN_FILES:,} through files (tickets_path, results_path), {short[0].size / 1e6:.0f} MB of JSON",
        f"{_median_mb(short):.0f} MB, {1e6 * _median_mb(short) / IN_FILES:.0f} bytes a ticket: keys and results",
    )
    growth = _median_mb(long) / _median_mb(short)
    report.add(
        f"the same with tickets five times as long, {long[0].size / 1e6:.0f} MB of JSON",
        f"{_median_mb(long):.0f} MB, {growth:.2f} times as much",
        f"at most {ALIKE}",
        growth <= ALIKE,
    )
    return report


def _median_mb(runs: list[Taken]) -> float:
    return statistics.median(taken.above for taken in runs) / 1e6
