"""The whole way of a list without Airflow's task around it, in its own process, to measure its CPU and memory.

``python -m benchmarks.bulk COUNT held|files URL FOLDER BYTES`` creates tickets of so many bytes at a server that
answers at once, from a list that is held to results that are held, or from a file to a file, and prints what that took
as JSON.
"""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
import time
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from airflow_provider_leen.api.client import AsyncLeenClient
from airflow_provider_leen.api.settings import LeenSettings
from airflow_provider_leen.bulk.create import Creation
from airflow_provider_leen.bulk.journal import Journal, Owner
from airflow_provider_leen.bulk.ledger import Ledger
from airflow_provider_leen.bulk.results_file import write_lines
from airflow_provider_leen.bulk.sending import Batching
from airflow_provider_leen.bulk.stores import MemoryStore
from airflow_provider_leen.bulk.summary import summarise
from airflow_provider_leen.bulk.tickets import KeyScope, payload, prepare
from airflow_provider_leen.sandbox.connections import TRACKER_ID
from airflow_provider_leen.sandbox.server import API_KEY
from airflow_provider_leen.tasks.files import object_path, rows_at
from benchmarks.peak import begin_peak, peak

TICKET_BYTES = 400
DEFAULTS = {"project_vendor_id": "SEC", "type": "Task"}
# Airflow would print the lines of the log where the figures go.
logging.getLogger("airflow_provider_leen").setLevel(logging.ERROR)

SCOPE = KeyScope("dag", "run", "task", -1, "http://127.0.0.1/v1", "connection")


@dataclass(frozen=True)
class Taken:
    """What one run took.

    :param cpu: seconds of this process, all threads.
    :param seconds: by the clock.
    :param above: bytes of resident memory at the peak, above what was there before (with the list, where it is held).
    :param size: bytes of the input as JSON.
    """

    cpu: float
    seconds: float
    above: int
    size: int


def ticket(number: int, size: int = TICKET_BYTES) -> dict[str, str]:
    """Make up a ticket whose JSON has so many bytes."""
    made = {"name": f"SQL built from strings in module_{number}.py:{number % 999}", "description": ""}
    return made | {"description": f"{number} ".ljust(size - len(json.dumps(made)), "x")}


def run_apart(count: int, how: str, url: str, folder: Path, *, ticket_bytes: int = TICKET_BYTES) -> Taken:
    """Do it in a separate process."""
    command = [sys.executable, "-m", "benchmarks.bulk", str(count), how, url, str(folder), str(ticket_bytes)]
    said = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
    # Airflow may log to the same place first.
    return Taken(**json.loads(said.splitlines()[-1]))


def create(rows: Sequence[Any], url: str, *, in_flight: int = 4, batch_size: int = 50) -> Creation:
    """Create the tickets with the engine."""
    prepared = prepare(rows, DEFAULTS, SCOPE)
    settings = LeenSettings(base_url=f"{url}/v1", api_key=API_KEY, connection_id=TRACKER_ID)

    async def go() -> Creation:
        with ThreadPoolExecutor(max_workers=1) as threads:
            async with AsyncLeenClient(settings) as client:
                run = Creation(
                    client,
                    Ledger(Journal(MemoryStore(), Owner({}, 1)), threads, embedded=False),
                    prepared,
                    lambda row: payload(row, DEFAULTS),
                    Batching(batch_size, in_flight),
                )
                await run.run()
                return run

    return asyncio.run(go())


def from_held(rows: Sequence[Any], url: str) -> int:
    """Create tickets from a list, to a summary with results; return how many exist then."""
    return summarise(create(rows, url).results())["created"]


def from_files(path: str, results_path: str, url: str) -> int:
    """Create tickets from a file, and write the results into another."""
    results = create(rows_at(path), url).results()
    write_lines(object_path("results_path", results_path), results)
    return sum(result["success"] for result in results)


def measure(count: int, how: str, url: str, folder: Path, ticket_bytes: int) -> Taken:
    """Create so many tickets in this process."""
    path = folder / f"{uuid.uuid4()}.jsonl"
    with path.open("w") as file:
        size = sum(file.write(json.dumps(ticket(number, ticket_bytes)) + "\n") for number in range(count))
    rows = [ticket(number, ticket_bytes) for number in range(count)] if how == "held" else []
    # Modules and caches are not counted.
    from_held([ticket(number) for number in range(200)], url)
    begin_peak()
    before, cpu, seconds = peak(), time.process_time(), time.perf_counter()
    created = from_held(rows, url) if how == "held" else from_files(str(path), f"{path}.results", url)
    taken = Taken(time.process_time() - cpu, time.perf_counter() - seconds, peak() - before, size)
    path.unlink()
    if created != count:
        raise RuntimeError(f"{created} of {count} tickets were created.")
    return taken


if __name__ == "__main__":
    _, number, kind, where, there, length = sys.argv
    print(json.dumps(measure(int(number), kind, where, Path(there), int(length)).__dict__))
