"""The API key is nowhere: not in logs at debug level, in Airflow's database (XCom, rendered fields), in exceptions."""

from __future__ import annotations

import json
import socket
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from airflow_provider_leen.sandbox.server import SandboxServer
from tests.support.airflow_home import home_in, python_in


@dataclass
class DebugRun:
    """What ``debug_run.py`` left: what it printed, and Airflow's home with database and logs."""

    key: str
    output: str
    home: Path

    def lines_with(self, text: str) -> list[str]:
        return [line for line in self.output.splitlines() if text in line]


@pytest.fixture(scope="module")
def debug_run(tmp_path_factory: pytest.TempPathFactory, migrated_database: Path) -> Iterator[DebugRun]:
    key = f"key-{uuid.uuid4().hex}"
    home = home_in(tmp_path_factory.mktemp("airflow"), migrated_database)
    with SandboxServer(api_key=key) as good, SandboxServer(api_key=key) as refusing, socket.socket() as silent:
        refusing.inject("status", status=401, method=None, path="/", message=f"{key} is not valid")
        silent.bind(("127.0.0.1", 0))
        gone = json.loads(good.airflow_conn) | {
            "host": f"http://127.0.0.1:{silent.getsockname()[1]}/v1",
            "extra": {"max_retries": 1, "max_retry_wait": 0.01},
        }
        connections = {"LEEN_DEFAULT": good.airflow_conn, "REFUSING": refusing.airflow_conn, "GONE": json.dumps(gone)}
        environment = {f"AIRFLOW_CONN_{name}": connection for name, connection in connections.items()}
        environment["AIRFLOW__LOGGING__LOGGING_LEVEL"] = "DEBUG"
        output = python_in(home, "-m", "tests.operators.debug_run", **environment)
        assert {ticket["name"] for ticket in good.tickets()} >= {"{{ conn.leen_default.password }}"}
        yield DebugRun(key, output, home)


def test_the_runs_ended_as_they_were_meant_to(debug_run: DebugRun) -> None:
    demo, refusing, gone, templates = debug_run.lines_with("OUTCOME")
    assert "'reconcile': 'success'" in demo
    assert "'gate': 'success'" in demo
    assert "'create': 'failed'" in refusing
    assert "'create': 'failed'" in gone
    assert "'through_text': 'success'" in templates
    assert "'by_kwargs': 'success'" in templates
    assert "*** is not valid" in debug_run.output, "the echo of the key is what was to be hidden"
    assert "nothing was sent" in debug_run.output
    assert debug_run.lines_with("httpcore"), "the log was at debug level"


def test_the_key_is_in_no_line_that_was_printed_or_logged(debug_run: DebugRun) -> None:
    # Airflow's in-process supervisor logs at debug level what it is told to mask; its own business.
    leaks = [line for line in debug_run.lines_with(debug_run.key) if "MaskSecret(" not in line]
    assert [line.replace(debug_run.key, "<KEY>")[:300] for line in leaks] == []


def test_the_key_is_in_no_file_of_airflow_neither_database_nor_log(debug_run: DebugRun) -> None:
    files = [path for path in debug_run.home.rglob("*") if path.is_file()]
    # What the scanner's report holds went through XCom and the rendered fields, so that they are in the database.
    assert any(b"{{ conn.leen_default.password }}" in path.read_bytes() for path in files)
    assert [path.name for path in files if debug_run.key.encode() in path.read_bytes()] == []
