"""``airflow standalone`` and the sandbox, as a new user starts them, each in its own processes."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from airflow_provider_leen.sandbox.guard import CONTROL_HEADERS
from qa.support.airflow import environment_of_airflow
from qa.support.processes import end, free_port, started_in

ROOT = Path(__file__).resolve().parents[2]
# Behind a proxy, Airflow lies under such a path: the tab must find its way there, too.
BASE_PATH = "/team/airflow"
USERS = {"admin": "ADMIN", "viewer": "VIEWER"}
"""Each user's password is the name."""

_STARTS_WITHIN = 300

DAGS = 8
"""Those of the examples and of ``pictured.py``."""


@dataclass(frozen=True)
class Standalone:
    """An Airflow and a sandbox that run.

    :param url: where Airflow's UI is.
    :param leen: where the sandbox is.
    """

    url: str
    leen: str
    log: Path

    def misbehave(self, rule: dict[str, Any] | None) -> None:
        """Add a fault to the sandbox, or remove all."""
        _ask("DELETE" if rule is None else "POST", f"{self.leen}/_sandbox/faults", rule, CONTROL_HEADERS)

    def api(self, method: str, path: str, body: Any = None, user: str = "admin") -> Any:
        """Ask Airflow's public API."""
        token = _ask("POST", f"{self.url}/auth/token", {"username": user, "password": user})["access_token"]
        return _ask(method, f"{self.url}/api/v2/{path}", body, {"Authorization": f"Bearer {token}"})


@contextlib.contextmanager
def running() -> Iterator[Standalone]:
    """Start both, and always end both with all that they have started."""
    home = Path(tempfile.mkdtemp(prefix="leen-e2e-"))
    log = home / "standalone.log"
    processes: list[subprocess.Popen[bytes]] = []

    try:
        port = free_port()
        environment = _environment(home, port)
        for command in (("airflow_provider_leen.sandbox", "--port", "0"), ("airflow", "standalone")):
            processes.append(started_in(home, [sys.executable, "-m", *command], environment, log.name))
        lab = Standalone(f"http://127.0.0.1:{port}{BASE_PATH}", _wait(log, processes, lambda: _sandbox(log)), log)
        _wait(log, processes, lambda: _is_ready(lab))
        yield lab
    finally:
        end(processes, home)


def _environment(home: Path, port: int) -> dict[str, str]:
    passwords = home / "passwords.json"
    passwords.write_text(json.dumps({name: name for name in USERS}))
    dags = Path(shutil.copytree(ROOT / "example_dags", home / "dags"))
    shutil.copy(ROOT / "qa" / "e2e" / "pictured.py", dags)
    environment = environment_of_airflow(home, dags, port)
    return environment | {
        "AIRFLOW__API__BASE_URL": f"http://127.0.0.1:{port}{BASE_PATH}",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}{BASE_PATH}/execution/",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "False",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(f"{name}:{role}" for name, role in USERS.items()),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords),
        "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "5",
        "NO_COLOR": "1",
        # The command starts its parts by name.
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }


def _sandbox(log: Path) -> str | None:
    found = re.search(r"tickets: (http://\S+?)/\)", log.read_text(errors="replace"))
    return found.group(1) if found else None


def _is_ready(lab: Standalone) -> bool:
    try:
        health = lab.api("GET", "monitor/health")
        dags = lab.api("GET", "dags")
    except (OSError, ValueError):
        return False
    parts = ("scheduler", "dag_processor", "metadatabase")
    return all(health[part]["status"] == "healthy" for part in parts) and dags["total_entries"] >= DAGS


def _wait(log: Path, processes: list[subprocess.Popen[bytes]], look: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + _STARTS_WITHIN
    while not (found := look()):
        if time.monotonic() > deadline or any(process.poll() is not None for process in processes):
            end = "\n".join(log.read_text(errors="replace").splitlines()[-30:])
            raise RuntimeError(f"Airflow and the sandbox did not start. The end of their log:\n{end}")
        time.sleep(0.3)
    return found


def _ask(method: str, url: str, body: Any = None, headers: dict[str, str] | None = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json", **(headers or {})}, method=method)
    with urllib.request.urlopen(request, timeout=90) as reply:
        text = reply.read()
    return json.loads(text) if text else None
