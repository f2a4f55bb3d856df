"""CPU: 50,000 tickets of 400 bytes against a server that answers at once, what each costs the client, and where."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from typing import Any

from airflow_provider_leen.api.content import encode
from airflow_provider_leen.api.replies import Reply, safe_from
from airflow_provider_leen.api.results import results_of_reply
from airflow_provider_leen.bulk.summary import summarise
from airflow_provider_leen.bulk.tickets import payload, prepare
from airflow_provider_leen.bulk.validation import field_problems, missing_fields
from benchmarks.bulk import DEFAULTS, SCOPE, create, ticket
from benchmarks.frame import REPEATS, Report, median_of
from benchmarks.lab import Lab
from benchmarks.servers import leen

TICKETS = 50_000
MOST = 60.0
"""Microseconds a ticket, all in all."""

TICKETS_FOR_A_PART = 10_000


def measure(lab: Lab) -> Report:
    report = Report()
    held, files = (
        1e6 * statistics.median(taken.cpu for taken in lab.bulk_runs(TICKETS, how)) / TICKETS
        for how in ("held", "files")
    )
    parts = _parts(lab)
    for name, microseconds in parts.items():
        report.add(name, f"{microseconds:.1f} µs")
    report.add(
        "HTTP, event loop, ledger in memory: the rest", f"{held - sum(parts.values()) + parts['reading']:.1f} µs"
    )
    total = held + parts["reading"]
    report.add(
        "in all, reading from JSON included", f"{total:.1f} µs", f"at most {MOST:.0f} µs a ticket", total <= MOST
    )
    more = "no limit: what is spared in memory is read twice and written twice"
    report.add("in all, with tickets_path and results_path", f"{files:.1f} µs", more)
    return report


def _parts(lab: Lab) -> dict[str, float]:
    """Measure what each step costs by itself, in microseconds a ticket."""
    rows = [ticket(number) for number in range(TICKETS_FOR_A_PART)]
    text = json.dumps(rows)
    merged = [DEFAULTS | row for row in rows]
    prepared = prepare(rows, DEFAULTS, SCOPE)
    batches = [prepared[start : start + 50] for start in range(0, len(prepared), 50)]
    requests = [encode({"tickets": [payload(row, DEFAULTS) for row in batch]}) for batch in batches]
    replies = [json.dumps(leen("", request).body).encode() for request in requests]
    safe = safe_from("lk_live_" + 40 * "0")
    run = create(rows, lab.leen_at_once.url)
    validation = _cost(lambda: [([*field_problems(body)], [*missing_fields(body)]) for body in merged])
    return {
        "reading": _cost(lambda: json.loads(text)),
        "validation": validation,
        "keys and rows": _cost(lambda: prepare(rows, DEFAULTS, SCOPE)) - validation,
        "encoding": _cost(
            lambda: [encode({"tickets": [payload(row, DEFAULTS) for row in batch]}) for batch in batches]
        ),
        "decoding": _cost(
            lambda: [results_of_reply(Reply.of(200, {}, reply, safe).content, [None] * 50) for reply in replies]
        ),
        "results": _cost(lambda: summarise(run.results())),
    }


def _cost(work: Callable[[], Any]) -> float:
    def once() -> float:
        started = time.process_time()
        work()
        return time.process_time() - started

    return 1e6 * median_of(once, 2 * REPEATS + 1) / TICKETS_FOR_A_PART
