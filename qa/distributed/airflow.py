"""Airflow on Celery, with several workers; it is asked by its public API."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import httpx
import psutil

from qa.support.airflow import AirflowProcesses

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
}
TASKS_PER_WORKER = 4


class CeleryAirflow(AirflowProcesses):
    """Airflow with CeleryExecutor, running while the context is open.

    :param python: the interpreter of the environment that holds Airflow and its Celery provider.
    :param database: where its database is: ``user@host:port/name``.
    :param broker: Redis's URL.
    :param connection: the Airflow connection ``leen_default``, as JSON.
    :param workers: how many.
    """

    def __init__(self, *, python: str, database: str, broker: str, connection: str, workers: int) -> None:
        super().__init__("distributed", DAGS, python=python)
        self.workers: list[psutil.Process] = []
        self._count = workers
        self._env |= {
            "PYTHONPATH": str(ROOT),
            "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"postgresql+psycopg2://{database}",
            "AIRFLOW__CELERY__BROKER_URL": broker,
            "AIRFLOW__CELERY__RESULT_BACKEND": f"db+postgresql://{database}",
            "AIRFLOW__CELERY__WORKER_CONCURRENCY": str(TASKS_PER_WORKER),
            "AIRFLOW_CONN_LEEN_DEFAULT": connection,
            **QUICK_DETECTION,
        }
        self._http = httpx.Client(base_url=self.url, timeout=30, trust_env=False)

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
        self._migrate()
        self.begin("api-server", "--workers", "1")
        self.begin("dag-processor")
        self.begin("scheduler", "--skip-serve-logs")
        for number in range(1, self._count + 1):
            self.workers.append(self.begin("celery", "worker", "-H", f"worker{number}@%h", "--skip-serve-logs"))
        until = time.monotonic() + 120
        while not self._log_in():
            if time.monotonic() > until:
                raise RuntimeError(
                    f"Airflow's API does not answer:\n{(self.home / 'api-server.log').read_text()[-2000:]}"
                )
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

    def _end(self) -> None:
        self._http.close()
        super()._end()
