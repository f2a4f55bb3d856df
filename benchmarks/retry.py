"""Retry: 5,000 tickets of which 4,950 are done; what the second try of the task takes."""

from __future__ import annotations

import statistics

from benchmarks.frame import REPEATS, Report
from benchmarks.lab import Lab, findings

TICKETS = 5000


def measure(lab: Lab) -> Report:
    report = Report()
    sandbox, path = lab.sandboxes[0], lab.file(findings(TICKETS))
    seconds, requests = [], []
    for _ in range(REPEATS):
        # Leen asks for more patience than the connection has, so that Airflow has to try again.
        sandbox.begin(kind="rate_limit", retry_after=3600, nth=TICKETS // 50)
        run_id = lab.start("retry", 0, tickets_path=path)
        look = lab.end_of(lab.airflow, "retry", run_id)
        copies = sandbox.copies()
        if (look.run, look.try_number) != ("success", 2) or copies.total() != len(copies) or len(copies) != TICKETS:
            raise RuntimeError(f"Try {look.try_number} ended as {look.run}: {copies.total()} tickets.")
        seconds.append(look.seconds or 0.0)
        requests.append(sandbox.requests() - TICKETS // 50)
    report.add("the second try", f"{statistics.median(seconds):.1f} s from its start to its end")
    most = max(requests)
    report.add("its requests", str(most), "1: the batch that was left", most == 1)
    return report
