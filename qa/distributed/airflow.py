"""Airflow on Celery: API server, scheduler, Dag processor and several workers, on loopback."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import psutil

from qa.chaos.processes import end, free_port, started_in
from qa.chaos.scheduler import environment_of_airflow

ROOT = Path(__file__).resolve().parents[2]
DAGS = Path(__file__).resolve().parent / "dags"

QUICK_DETECTION = {
    # A task whose worker was killed is noticed after 15 s, not after 5 minutes.
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "15",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "3",
    "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "2",
    # And one that a killed worker had taken, and not begun.
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT": "30",
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT_CHECK_INTERVAL": "5",
    "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.2",
}
TASKS_PER_WORKER = 4


class CeleryAirflow:
    """Airflow with CeleryExecutor, running while the context is open.

    :param python: the interpreter of the environment that holds Airflow and its Celery provider.
    :param database: where its database is: ``user@host:port/name``.
    :param broker: Redis's URL.
    :param connection: the Airflow connection ``leen_default``, as JSON.
    :param workers: how many.
    """

    def __init__(self, *, python: str, database: str, broker: str, connection: str, workers: int) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="leen-distributed-"))
        self.workers: list[psutil.Process] = []
        self._count = workers
        self._python = os.path.abspath(python)  # not resolved: an environment is found by the link
        self._processes: list[subprocess.Popen[bytes]] = []
        port = free_port()
        self._env = environment_of_airflow(self.home, DAGS, port) | {
            "PYTHONPATH": str(ROOT),
            "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"postgresql+psycopg2://{database}",
            "AIRFLOW__CELERY__BROKER_URL": broker,
            "AIRFLOW__CELERY__RESULT_BACKEND": f"db+postgresql://{database}",
            "AIRFLOW__CELERY__WORKER_CONCURRENCY": str(TASKS_PER_WORKER),
            "AIRFLOW_CONN_LEEN_DEFAULT": connection,
            **QUICK_DETECTION,
        }
        self._http = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30, trust_env=False)

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._end()

    def call(self, method: str, path: str, **options: Any) -> Any:
        """Ask Airflow's public API."""
        reply = self._http.request(method, f"/api/v2{path}", **options)
        if not reply.is_success:
            raise RuntimeError(f"Airflow answered {method} {path} with {reply.status_code}: {reply.text[:300]}")
        return reply.json()

    def has_dag(self, dag_id: str) -> bool:
        """Whether Airflow has read the Dag's file by now."""
        errors = self.call("GET", "/importErrors")["import_errors"]
        if errors:
            raise RuntimeError(f"A Dag file can't be imported:\n{errors[0]['stack_trace']}")
        return bool(self.call("GET", "/dags", params={"dag_id_pattern": dag_id})["dags"])

    def _start(self) -> None:
        subprocess.run(self._airflow("db", "migrate"), env=self._env, cwd=self.home, check=True, capture_output=True)
        self._begin("api-server", "--workers", "1")
        self._begin("dag-processor")
        self._begin("scheduler", "--skip-serve-logs")
        for number in range(1, self._count + 1):
            worker = self._begin("celery", "worker", "-H", f"worker{number}@%h", "--skip-serve-logs")
            self.workers.append(psutil.Process(worker.pid))
        until = time.monotonic() + 120
        while not self._log_in():
            if time.monotonic() > until:
                raise RuntimeError(f"Airflow's API does not answer:\n{self._log(0)[-2000:]}")
            time.sleep(0.3)

    def _log_in(self) -> bool:
        try:
            reply = self._http.get("/auth/token")
        except httpx.TransportError:
            return False
        if not reply.is_success:
            return False
        self._http.headers["Authorization"] = f"Bearer {reply.json()['access_token']}"
        return True

    def _begin(self, *command: str) -> subprocess.Popen[bytes]:
        process = started_in(self.home, self._airflow(*command), self._env, f"{len(self._processes)}.log")
        self._processes.append(process)
        return process

    def _log(self, number: int) -> str:
        return (self.home / f"{number}.log").read_text()

    def _airflow(self, *arguments: str) -> list[str]:
        return [self._python, "-m", "airflow", *arguments]

    def _end(self) -> None:
        self._http.close()
        end(self._processes, self.home)
