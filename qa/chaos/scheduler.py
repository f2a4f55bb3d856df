"""Airflow under a scheduler: starts runs, sees how they are, marks, clears and forgets."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import psutil

from qa.chaos.bridge import CREATE
from qa.support.airflow import AirflowProcesses
from tests.support.airflow_home import DATABASE, home_in

HERE = Path(__file__).resolve().parent

QUICK_DETECTION = {
    # A killed supervisor is noticed after 10 s, not after 5 minutes; less, and a busy machine loses tries by itself.
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "10",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "1",
    "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
    # A killed triggerer's triggers go to another one after 3 s, not after half a minute.
    "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "1",
    "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "3",
}
QUICK_DETECTION_2 = {
    "AIRFLOW__SCHEDULER__SCHEDULER_ZOMBIE_TASK_THRESHOLD": "10",
    "AIRFLOW__SCHEDULER__ZOMBIE_DETECTION_INTERVAL": "1",
    "AIRFLOW__SCHEDULER__LOCAL_TASK_JOB_HEARTBEAT_SEC": "1",
    # Airflow 2 trusts SQLite with one task at a time, unless it is told that this is a test.
    "_AIRFLOW__SKIP_DATABASE_EXECUTOR_COMPATIBILITY_CHECK": "1",
    "SQLALCHEMY_SILENCE_UBER_WARNING": "1",
}


@dataclass(frozen=True)
class Look:
    """How a Dag run and one of its task instances are at one moment."""

    run: str
    task: str | None
    try_number: int
    pid: int | None
    seconds: float | None
    ended_at: float | None = None

    @property
    def ended(self) -> bool:
        return self.run in ("success", "failed")


class SchedulerAirflow(AirflowProcesses):
    """Airflow with scheduler and LocalExecutor, running while the context is open.

    :param python: the interpreter of the environment that holds Airflow, default this one.
    :param connections: Airflow's connections: id -> JSON.
    :param database: an SQLite file with that Airflow's tables, to be copied; None (default) to make them.
    :param at_once: how many tasks may run at the same time.
    :param dags: the folder of the Dags.
    :param settings: environment variables of all its processes, which override those of the harness.
    """

    def __init__(
        self,
        connections: dict[str, str],
        *,
        python: str = sys.executable,
        database: Path | None = None,
        at_once: int = 8,
        dags: Path = HERE / "dags",
        settings: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        super().__init__("chaos", dags, python=python)
        self._env |= {
            "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
            "AIRFLOW__CORE__PARALLELISM": str(at_once),
            **{f"AIRFLOW_CONN_{name.upper()}": value for name, value in connections.items()},
        }
        self._database = database
        self._settings = settings
        self._bridge: subprocess.Popen[str] | None = None
        self._asking = threading.Lock()
        self.version = ""

    def trigger(self, dag_id: str, run_id: str, conf: dict[str, Any]) -> None:
        """Start a Dag run, as soon as Airflow knows the Dag."""
        until = time.monotonic() + 180
        while not self._ask("trigger", dag_id, run_id, conf):
            if time.monotonic() > until:
                raise RuntimeError(f"Airflow does not know the Dag {dag_id}; its logs are in {self.home}.")
            time.sleep(0.5)

    def look(self, dag_id: str, run_id: str, task_id: str = CREATE) -> Look:
        """See how a run is."""
        seen = self._ask("look", dag_id, run_id, task_id)
        return Look(seen["run"], seen["task"], seen["try"], seen["pid"], seen["seconds"], seen["ended_at"])

    def instances(self, dag_id: str, run_id: str, task_id: str = CREATE) -> list[dict[str, Any]]:
        """See how all instances of a mapped task are: ``map_index``, ``state``, ``try`` and ``pid`` of each."""
        found: list[dict[str, Any]] = self._ask("instances", dag_id, run_id, task_id)
        return found

    def set_failed(self, dag_id: str, run_id: str) -> None:
        """Mark the creating task of a run as failed from outside."""
        self._ask("set_failed", dag_id, run_id)

    def clear(self, dag_id: str, run_id: str) -> None:
        """Clear the creating task of a run, at once marked as failed if it runs."""
        self._ask("clear", dag_id, run_id)

    def published(self, dag_id: str, run_id: str) -> dict[str, float]:
        """See when the creating task of a run has pushed what is there, in seconds since the epoch by key."""
        found: dict[str, float] = self._ask("published", dag_id, run_id)
        return found

    def start_triggerer(self) -> psutil.Process:
        """Start a triggerer, which ends with the harness if not before."""
        return self.begin("triggerer", "--skip-serve-logs")

    def xcom(self, dag_id: str, run_id: str, key: str, task_id: str = CREATE) -> Any:
        """Read what a task of a run has pushed."""
        return self._ask("pushed", dag_id, run_id, key, task_id)

    def ledger(self, dag_id: str, run_id: str) -> dict[str, Any]:
        """Read what a run has remembered, by key: in its folder, or in the task state store."""
        if files := self._ledger_files(run_id):
            return {key: json.loads(file.read_text()) for key, file in files.items()}
        values: dict[str, Any] = self._ask("ledger", dag_id, run_id) if self.has_state_store else {}
        return values

    def facts(self, dag_id: str, run_id: str) -> set[str]:
        """Return the names of the facts that a run has remembered."""
        values = self.ledger(dag_id, run_id).values()
        return {fact[0] for value in values for fact in value.get("facts", ())}

    def forget(self, dag_id: str, run_id: str, keys: Collection[str]) -> None:
        """Delete some of what a run has remembered."""
        if files := self._ledger_files(run_id):
            for key in keys:
                files[key].unlink()
        elif self.has_state_store:
            self._ask("forget", dag_id, run_id, list(keys))

    def _ledger_files(self, run_id: str) -> dict[str, Path]:
        # One folder, named by a hash, for each task instance.
        return {
            file.relative_to(folder).with_suffix("").as_posix(): file
            for folder in self.ledger_folder(run_id).glob("*")
            for file in folder.glob("**/[!.]*.json")
        }

    def ledger_folder(self, run_id: str) -> Path:
        """A ``ledger_path`` for one run."""
        return self.home / "ledgers" / run_id

    @property
    def has_state_store(self) -> bool:
        """Whether this Airflow (3.3 and newer) can remember for a task."""
        return tuple(map(int, self.version.split(".")[:2])) >= (3, 3)

    def task_logs(self, dag_id: str, run_id: str) -> list[Path]:
        """The log files of a run's tries, in order."""
        return sorted((self.home / "logs").glob(f"dag_id={dag_id}/run_id={run_id}/**/*.log"))

    # Starting and ending

    def _start(self) -> None:
        asked = [self._python, "-c", "from importlib.metadata import version; print(version('apache-airflow'))"]
        self.version = subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip()
        is_2 = self.version.startswith("2.")
        self._env |= QUICK_DETECTION_2 if is_2 else QUICK_DETECTION
        if is_2:
            # A process for each task: of a fixed number, Airflow 2 replaces none that is killed.
            self._env["AIRFLOW__CORE__PARALLELISM"] = "0"
        self._env |= self._settings
        if self._database is None:
            self._migrate()
        else:
            home_in(self.home, self._database)
        with sqlite3.connect(self.home / DATABASE) as database:
            # Readers and the one writer don't lock each other out.
            database.execute("PRAGMA journal_mode = WAL")
        commands = [["scheduler", "--skip-serve-logs"]]
        if not is_2:
            commands = [["api-server", "--workers", "1"], ["dag-processor"], *commands]
        for command in commands:
            self.begin(*command)
        with (self.home / "bridge.log").open("wb") as log:
            self._bridge = subprocess.Popen(
                [self._python, str(HERE / "bridge.py")],
                env=self._env,
                cwd=self.home,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )

    def _end(self) -> None:
        try:
            if self._bridge is not None:
                # Closing the pipes fails where a question is half asked.
                with contextlib.suppress(OSError), self._bridge:
                    self._bridge.kill()
        finally:
            super()._end()

    def _ask(self, name: str, *arguments: Any) -> Any:
        bridge = self._bridge
        assert bridge is not None
        assert bridge.stdin is not None
        assert bridge.stdout is not None
        with self._asking:
            bridge.stdin.write(json.dumps([name, arguments]) + "\n")
            bridge.stdin.flush()
            line = bridge.stdout.readline()
        if not line:
            raise RuntimeError(f"The bridge to Airflow broke:\n{(self.home / 'bridge.log').read_text()[-2000:]}")
        answer = json.loads(line)
        if "error" in answer:
            raise RuntimeError(f"Airflow could not be asked ({name}): {answer['error']}")
        return answer["value"]
