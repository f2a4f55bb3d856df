"""Memory: 100,000 tickets of 400 bytes held, and lists in files through a whole task; the peak above the beginning."""

from __future__ import annotations

import statistics
from pathlib import Path

from benchmarks.bulk import TICKET_BYTES, ticket
from benchmarks.frame import REPEATS, Report
from benchmarks.lab import Lab

TICKETS = 100_000
FEW, MANY = 1_000, 30_000
"""Tickets in files. What few take is what a task takes anyway, for imports and for the batches in flight."""

MOST = 1.5
"""Times the size of the input as JSON, above the list that is held."""

LONG = 2_000
"""Bytes of a ticket that is five times as long, whose results and keys are as short."""

KEPT = 0.1
"""From a file to a file, at most this share of what tickets are longer may show: their text is not kept."""


def measure(lab: Lab) -> Report:
    report = Report()
    held = lab.bulk_runs(TICKETS, "held")
    ratio = statistics.median(taken.above / taken.size for taken in held)
    above = statistics.median(taken.above for taken in held)
    report.add(
        f"a list of {TICKETS:,} that is held, to results that are held",
        f"{above / 1e6:.0f} MB above the list, {ratio:.2f} times its {held[0].size / 1e6:.0f} MB of JSON",
        f"at most {MOST}",
        ratio <= MOST,
    )
    short, long = (_of_whole_tasks(report, lab, size) for size in (TICKET_BYTES, LONG))
    kept = (long - short) / (LONG - TICKET_BYTES)
    report.add(
        f"what shows of {LONG - TICKET_BYTES:,} bytes more in each ticket",
        f"{long - short:.0f} bytes, {kept:.0%}",
        f"at most {KEPT:.0%}",
        kept <= KEPT,
    )
    return report


def _of_whole_tasks(report: Report, lab: Lab, size: int) -> float:
    """Return the bytes that each further ticket takes in a whole task that reads from a file and writes to a file."""
    few, many = (_of_whole_task(lab, count, size) for count in (FEW, MANY))
    each = (many - few) / (MANY - FEW)
    report.add(
        f"a whole task from a file to a file, {size:,} bytes a ticket: {FEW:,} and {MANY:,} tickets",
        f"{few / 1e6:.0f} and {many / 1e6:.0f} MB: {each:.0f} bytes for each further ticket, its key and its result",
    )
    return each


def _of_whole_task(lab: Lab, count: int, size: int) -> float:
    """Return the bytes that an Airflow task takes for so many tickets of so many bytes, in files."""
    tickets = [{"project_vendor_id": "SEC", **ticket(number, size)} for number in range(count)]
    paths = [lab.file(tickets) for _ in range(REPEATS)]
    run_ids = [lab.start("memory", 0, tickets_path=path) for path in paths]
    taken = []
    for path, run_id in zip(paths, run_ids, strict=True):
        look = lab.end_of(lab.airflow, "memory", run_id)
        if look.run != "success":
            raise RuntimeError(f"The run ended as {look.run}.")
        taken.append(int(Path(f"{path}.results.peak").read_text()))
    return statistics.median(taken)
