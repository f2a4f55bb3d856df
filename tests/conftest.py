"""Fixtures: a sandbox on a real socket, and real Airflow with a database of its own."""

from __future__ import annotations

import atexit
import base64
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

# Before anything imports Airflow, which reads its environment once.
for name in [name for name in os.environ if name.startswith("AIRFLOW")]:
    del os.environ[name]
home = tempfile.mkdtemp(prefix="airflow-")
atexit.register(shutil.rmtree, home, ignore_errors=True)
os.environ |= {
    "AIRFLOW_HOME": home,
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    # Without, every older Airflow warns of it.
    "AIRFLOW__CORE__FERNET_KEY": base64.b64encode(bytes(32)).decode(),
    "AIRFLOW__CORE__DAGS_FOLDER": home,
    "AIRFLOW__LOGGING__COLORED_CONSOLE_LOG": "False",
}

from airflow_provider_leen.sandbox.server import SandboxServer  # noqa: E402
from tests.airflow_run import AirflowRun, run  # noqa: E402


@pytest.fixture(scope="session")
def sandbox_server() -> Iterator[SandboxServer]:
    with SandboxServer(seed=1) as server:
        yield server


def let_late_requests_end(server: SandboxServer, seconds: float = 2.0) -> None:
    """Wait for what a task that was stopped has left under way: its tickets would be in the next test."""
    deadline = time.monotonic() + seconds
    while any(request.finished is None for request in server.requests) and time.monotonic() < deadline:
        time.sleep(0.01)


@pytest.fixture
def sandbox(sandbox_server: SandboxServer, monkeypatch: pytest.MonkeyPatch) -> SandboxServer:
    """The sandbox, empty and well-behaved; Airflow's connection ``leen_default`` leads to it."""
    let_late_requests_end(sandbox_server)
    sandbox_server.reset()
    monkeypatch.setenv("AIRFLOW_CONN_LEEN_DEFAULT", sandbox_server.airflow_conn)
    return sandbox_server


@pytest.fixture(scope="session")
def airflow_db() -> None:
    """Airflow's tables, made once for a session of tests."""
    from airflow.utils.db import initdb

    initdb()


@pytest.fixture
def run_dag(airflow_db: None) -> Callable[..., AirflowRun]:
    """Runs a Dag on real Airflow, with its real XCom and task state store: ``run_dag(dag)``."""
    return run


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """The tests that share Airflow under a scheduler go to one worker, which starts it once.

    (``--dist loadgroup`` does nothing with pytest 9.2 and xdist 3.8.)
    """
    from xdist.scheduler import LoadScopeScheduling

    class OneLab(LoadScopeScheduling):  # type: ignore[misc]  # it has no types
        def _split_scope(self, nodeid: str) -> str:
            return "lab" if nodeid.startswith("tests/chaos/") else nodeid

    return OneLab(config, log)
