"""Many machines in one: ``python -m qa.distributed``.

CeleryExecutor with two workers, Redis and PostgreSQL; 20 mapped operators with 500 tickets each share a pool; one
worker is killed on the way. Every ticket must exist once, and the gate must count them all.
"""

from __future__ import annotations

import json
import signal
import sys
from contextlib import ExitStack
from importlib.metadata import version
from typing import Any

from airflow_provider_leen.sandbox.server import SandboxServer
from qa.distributed import services
from qa.distributed.airflow import CeleryAirflow
from qa.distributed.run import BY_PATH, DAG_ID, Evidence, perform, perform_by_path, problems
from qa.distributed.sizes import CONCURRENT_BATCHES, LISTS, POOL_SLOTS, TICKETS
from qa.support.environment import environment

LATENCY = 0.5
"""Seconds that each call takes, so that a task lasts for a while."""

PATIENCE = {"timeout": 5, "settle_time": 2}
"""What the Airflow connection says, so that the second try need not wait for long."""

# What the database keeps of each task. Text that repeats itself is compressed there.
STORED = """
SELECT dag_id, task_id || ': XCom ' || key, count(*), sum(octet_length(value::text)), sum(pg_column_size(value))
FROM xcom GROUP BY dag_id, task_id, key
UNION ALL
SELECT dag_id, task_id || ': task state store', count(*), sum(octet_length(value)), sum(pg_column_size(value))
FROM task_state_store GROUP BY dag_id, task_id
ORDER BY 1 DESC, 2
"""


def main() -> int:
    # So that `kill` ends what was started, as Ctrl-C does.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        services.install_missing()
    except services.Missing as missing:
        print(f"*** {missing}", file=sys.stderr)
        return 1
    # Celery 5.7 breaks the Celery provider 3.26.
    airflow = f"apache-airflow[celery,postgres]=={version('apache-airflow')}"
    python = environment("celery", airflow, "celery<5.7", pinned=True)
    print("--- starting PostgreSQL, Redis, and Airflow with two Celery workers", flush=True)
    with ExitStack() as stack:
        database = stack.enter_context(services.postgres())
        broker = stack.enter_context(services.redis())
        sandbox = stack.enter_context(SandboxServer(latency=LATENCY))
        connection = json.dumps(json.loads(sandbox.airflow_conn) | {"extra": PATIENCE})
        started = CeleryAirflow(
            python=python, database=database.address, broker=broker, connection=connection, workers=2
        )
        evidence = perform(stack.enter_context(started), sandbox)
        found = problems(evidence)
        tickets = started.home / "tickets.jsonl"
        tickets.write_text("".join(f'{{"name": "From a file {n}", "project_vendor_id": "SEC"}}\n' for n in range(1000)))
        if (state := perform_by_path(started, tickets)) != "success":
            found.append(f"the run with files ended as {state}")
        _report(evidence, database.ask(STORED))
    print("\n".join(f"*** {problem}" for problem in found) or "All as it must be.")
    return 1 if found else 0


def _report(seen: Evidence, stored: list[list[Any]]) -> None:
    print(
        f"{LISTS} operators with {TICKETS} tickets each: {seen.state} after {seen.seconds:.0f} s, {seen.calls} calls\n"
        f"tickets: {len(seen.copies)} different ones, {seen.copies.total()} in all; the gate: {seen.gate}\n"
        f"in flight: {seen.peak_in_flight} at most, of {POOL_SLOTS} slots x {CONCURRENT_BATCHES} batches\n"
        f"killed with their worker: {sorted(seen.killed)}; "
        f"tried again: {sorted(index for index, tries in seen.tries.items() if tries > 1)}"
    )
    print("stored for 1,000 tickets:")
    thousands = {DAG_ID: LISTS * TICKETS / 1000, BY_PATH: 1}
    for dag_id, name, values, size, compressed in stored:
        of = thousands[dag_id]
        print(
            f"  {dag_id:<16} {name:<30} {int(values) / of:6.1f} values {int(size) / of / 1000:7.1f} kB, "
            f"{int(compressed) / of / 1000:.1f} kB on disk"
        )


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
