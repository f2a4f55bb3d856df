"""Airflow under a scheduler, sandboxes, and a stand-in for Jira, in their own processes; started when asked for."""

from __future__ import annotations

import json
import tempfile
import time
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from benchmarks.bulk import TICKET_BYTES, Taken, run_apart
from benchmarks.frame import REPEATS
from benchmarks.sandbox import Sandbox, sending_time
from benchmarks.servers import Server
from qa.chaos.scheduler import Look, SchedulerAirflow

DAGS = Path(__file__).resolve().parent / "dags"
SERVICE_TIME = 0.2
SANDBOXES = 6
PATIENCE = {"timeout": 5, "settle_time": 1}
"""What the Airflow connections say, so that a ticket in doubt is settled within seconds."""

AT_ONCE = 8
SECONDS_FOR_A_RUN = 1800.0


@dataclass
class Run:
    """A Dag run that has ended.

    :param look: how its task was at the end.
    :param calls: the bulk calls that its sandbox got.
    """

    look: Look
    calls: list[dict[str, Any]]

    @property
    def sending(self) -> float:
        """Seconds from the first call to the last reply."""
        return sending_time(self.calls)


class Lab:
    """All that benchmarks run on, while the context is open."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._bulk_runs: dict[tuple[int, str, int], list[Taken]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, value, traceback)

    @cached_property
    def folder(self) -> Path:
        """A folder for files."""
        return Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="leen-bench-")))

    @cached_property
    def sandboxes(self) -> list[Sandbox]:
        """Sandboxes whose calls take 200 ms."""
        first = self._stack.enter_context(Sandbox(service_time=SERVICE_TIME))
        others = [Sandbox(service_time=SERVICE_TIME, wait=first.wait) for _ in range(SANDBOXES - 1)]
        return [first, *(self._stack.enter_context(sandbox) for sandbox in others)]

    @cached_property
    def jira(self) -> Server:
        """A stand-in for Jira, whose calls take as long."""
        return self._stack.enter_context(Server("jira", SERVICE_TIME))

    @cached_property
    def leen_at_once(self) -> Server:
        """A server that creates tickets without any delay."""
        return self._stack.enter_context(Server("leen"))

    @cached_property
    def airflow(self) -> SchedulerAirflow:
        """Airflow, with connections that lead to the servers."""
        connections: dict[str, Any] = {
            "jira_bench": {"conn_type": "jira", "host": self.jira.url, "login": "me", "password": "secret"}
        }
        connections["leen_at_once"] = self.sandboxes[0].connection | {"host": f"{self.leen_at_once.url}/v1"}
        for number, sandbox in enumerate(self.sandboxes):
            host, port = sandbox.base_url.removeprefix("http://").removesuffix("/v1").split(":")
            connections[f"leen_{number}"] = sandbox.connection | {"extra": PATIENCE}
            connections[f"http_{number}"] = {"conn_type": "http", "host": host, "port": int(port), "schema": "http"}
        written = {name: json.dumps(connection) for name, connection in connections.items()}
        airflow = self._stack.enter_context(SchedulerAirflow(written, at_once=AT_ONCE, dags=DAGS))
        # The first task on a new Airflow is slow.
        self.end_of(airflow, "warm_up", self.start("warm_up", 0, airflow=airflow))
        return airflow

    def bulk_runs(self, count: int, how: str, ticket_bytes: int = TICKET_BYTES) -> list[Taken]:
        """Run the bulk storey several times, each in its own process; what was measured is not measured again."""
        wanted = count, how, ticket_bytes
        if wanted not in self._bulk_runs:
            url = self.leen_at_once.url
            self._bulk_runs[wanted] = [
                run_apart(count, how, url, self.folder, ticket_bytes=ticket_bytes) for _ in range(REPEATS)
            ]
        return self._bulk_runs[wanted]

    def start(self, dag_id: str, number: int, *, airflow: SchedulerAirflow | None = None, **conf: Any) -> str:
        """Start a Dag run that uses the sandbox (or whatever) of this number, and return its id."""
        run_id = f"{dag_id}-{uuid.uuid4()}"
        whole = {"number": number, "connection_id": str(uuid.uuid4()), **conf}
        (airflow or self.airflow).trigger(dag_id, run_id, whole)
        return run_id

    def end_of(
        self, airflow: SchedulerAirflow, dag_id: str, run_id: str, meanwhile: Callable[[], object] = lambda: None
    ) -> Look:
        """Wait until a Dag run has ended."""
        until = time.monotonic() + SECONDS_FOR_A_RUN
        while not (look := airflow.look(dag_id, run_id)).ended:
            if time.monotonic() > until:
                raise RuntimeError(f"{run_id} did not end within {SECONDS_FOR_A_RUN:.0f} s.")
            meanwhile()
            time.sleep(0.1)
        return look

    def run(self, dag_ids: Sequence[str], **conf: Any) -> list[Run]:
        """Run Dags side by side, each with a sandbox of its own, to their ends.

        :raises RuntimeError: one of them did not succeed.
        """
        airflow = self.airflow
        for sandbox, _ in zip(self.sandboxes, dag_ids, strict=False):
            sandbox.begin()
        run_ids = [self.start(dag_id, number, **conf) for number, dag_id in enumerate(dag_ids)]
        looks = [self.end_of(airflow, dag_id, run_id) for dag_id, run_id in zip(dag_ids, run_ids, strict=True)]
        for dag_id, look, run_id in zip(dag_ids, looks, run_ids, strict=True):
            if look.run != "success":
                logs = airflow.task_logs(dag_id, run_id)
                said = logs[-1].read_text()[-3000:] if logs else "It left no log."
                raise RuntimeError(f"{run_id} ended as {look.run}: {said}")
        with ThreadPoolExecutor() as threads:
            calls = threads.map(Sandbox.bulk_calls, self.sandboxes[: len(dag_ids)])
            return [Run(look, made) for look, made in zip(looks, calls, strict=True)]

    def file(self, tickets: Sequence[Any]) -> str:
        """Write tickets into a file, one on each line, and return its path."""
        path = self.folder / f"{uuid.uuid4()}.jsonl"
        path.write_text("".join(json.dumps(ticket) + "\n" for ticket in tickets))
        return str(path)


def findings(count: int, text: int = 400) -> list[dict[str, str]]:
    """Make up tickets, with descriptions of so many characters."""
    said = ("What a scanner has to say of this one. " * (text // 39 + 1))[:text]
    return [{"name": f"finding {number}", "description": said, "project_vendor_id": "SEC"} for number in range(count)]
