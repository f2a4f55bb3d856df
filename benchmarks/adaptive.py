"""Adaptive concurrency: the rate that is reached where a server allows only so many calls a second."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from benchmarks.bulk import create
from benchmarks.frame import Report
from benchmarks.lab import Lab, findings
from benchmarks.sandbox import Sandbox, sending_time

CASES = ((20, 0.02, 4), (20, 0.3, 8), (50, 0.1, 8))
"""Calls a second that are allowed, seconds that a call takes, most batches in flight."""

BATCH_SIZE = 2
AT_LEAST = 0.85
MOST_REFUSED = 0.05


def measure(lab: Lab) -> Report:
    report = Report()
    with ThreadPoolExecutor(len(CASES)) as threads:
        for case, (rate, refused) in zip(CASES, threads.map(_reach, CASES), strict=True):
            allowed, service_time, in_flight = case
            report.add(
                f"{allowed} calls/s allowed, {1000 * service_time:.0f} ms a call, at most {in_flight} in flight",
                f"{rate:.1f} calls/s ({rate / allowed:.0%}), {refused:.1%} of the calls got a 429",
                f"at least {AT_LEAST:.0%}, under {MOST_REFUSED:.0%}",
                rate >= AT_LEAST * allowed and refused < MOST_REFUSED,
            )
    return report


def _reach(case: tuple[int, float, int]) -> tuple[float, float]:
    """Return the calls a second that went through, and the share of those that were refused."""
    allowed, service_time, in_flight = case
    # The limit has to be found out first, which costs a few calls of however many there are.
    calls_to_make = max(300, 20 * allowed)
    tickets = [{"type": "Task", **finding} for finding in findings(calls_to_make * BATCH_SIZE, text=20)]
    with Sandbox(service_time=service_time, calls_per_second=allowed) as sandbox:
        sandbox.begin()
        create(tickets, sandbox.base_url.removesuffix("/v1"), in_flight=in_flight, batch_size=BATCH_SIZE)
        calls = sandbox.bulk_calls()
        if len(sandbox.copies()) != len(tickets):
            raise RuntimeError(f"{len(sandbox.copies())} of {len(tickets)} tickets were created.")
    accepted = [call for call in calls if call["status"] == 200]
    return len(accepted) / sending_time(accepted), 1 - len(accepted) / len(calls)
