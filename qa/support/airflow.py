"""A whole Airflow in its own processes, with a home of its own, which always end with the harness."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Self

import psutil

from qa.support.processes import end, free_port, started_in


def environment_of_airflow(home: Path, dags: Path, port: int) -> dict[str, str]:
    """Return the environment variables of an Airflow with a home of its own, whose API is on this port of loopback."""
    # Not measured by coverage, either: it would slow down every process of Airflow.
    foreign = ("AIRFLOW", "COVERAGE", "COV_CORE", "PYTEST")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    return inherited | {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/execution/",
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__BASE_URL": f"http://127.0.0.1:{port}",
        "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_hex(32),
        "AIRFLOW__LOGGING__COLORED_CONSOLE_LOG": "False",
        "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.2",
    }


class AirflowProcesses:
    """An Airflow that runs while the context is open; what runs, a subclass says in :meth:`_start`.

    :param name: of its home folder.
    :param dags: the folder of the Dags.
    :param python: the interpreter of the environment that holds Airflow, default this one.
    """

    def __init__(self, name: str, dags: Path, *, python: str = sys.executable) -> None:
        self.home = Path(tempfile.mkdtemp(prefix=f"leen-{name}-"))
        self._python = os.path.abspath(python)  # not resolved: an environment is found by the link
        self._env = environment_of_airflow(self.home, dags, free_port())
        self._processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    @property
    def url(self) -> str:
        """Where its API and UI are."""
        return self._env["AIRFLOW__API__BASE_URL"]

    def begin(self, *command: str) -> psutil.Process:
        """Start one of Airflow's commands, which ends with the harness if not before."""
        started = started_in(self.home, self._airflow(*command), self._env, f"{command[0]}.log")
        self._processes.append(started)
        return psutil.Process(started.pid)

    def _start(self) -> None:
        raise NotImplementedError

    def _migrate(self) -> None:
        subprocess.run(self._airflow("db", "migrate"), env=self._env, cwd=self.home, check=True, capture_output=True)

    def run_module(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a module in Airflow's own environment, as ``python -m`` does."""
        return subprocess.run(
            [self._python, "-m", *command], env=self._env, cwd=self.home, capture_output=True, text=True, check=False
        )

    def _airflow(self, *arguments: str) -> list[str]:
        return [self._python, "-m", "airflow", *arguments]

    def _end(self) -> None:
        end(self._processes, self.home)
