"""Fixtures: a sandbox on a real socket, and real Airflow with a database of its own."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator

import pytest

# Before anything imports Airflow, which reads its environment once.
for name in [name for name in os.environ if name.startswith("AIRFLOW")]:
    del os.environ[name]
os.environ |= {
    "AIRFLOW_HOME": tempfile.mkdtemp(prefix="airflow-"),
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__CORE__DAGS_FOLDER": tempfile.mkdtemp(prefix="dags-"),
    "AIRFLOW__LOGGING__COLORED_CONSOLE_LOG": "False",
}

from airflow_provider_leen.sandbox.server import SandboxServer
from tests.airflow_run import AirflowRun, run


@pytest.fixture(scope="session")
def sandbox_server() -> Iterator[SandboxServer]:
    with SandboxServer(seed=1) as server:
        yield server


@pytest.fixture
def sandbox(sandbox_server: SandboxServer, monkeypatch: pytest.MonkeyPatch) -> SandboxServer:
    """The sandbox, empty and well-behaved; Airflow's connection ``leen_default`` leads to it."""
    sandbox_server.reset()
    monkeypatch.setenv("AIRFLOW_CONN_LEEN_DEFAULT", sandbox_server.airflow_conn)
    return sandbox_server


@pytest.fixture(scope="session")
def airflow_db() -> None:
    """Airflow's tables, made once for a session of tests."""
    from airflow.utils.db import initdb

    initdb()


@pytest.fixture
def run_dag(airflow_db: None) -> type[AirflowRun]:
    """Runs a Dag on real Airflow, with its real XCom and task state store: ``run_dag(dag)``."""
    return run
