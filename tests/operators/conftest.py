from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_leen.sandbox.server import SandboxServer
from tests.contract.validate import request_problems
from tests.operators.dags import AtCall, Connect, connection
from tests.support.airflow_run import AIRFLOW


@pytest.fixture
def connect(sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch) -> Connect:
    """Sets fields of the connection ``leen_default``: ``connect(extra={"timeout": 1})``."""

    def connect(**fields: Any) -> None:
        monkeypatch.setenv("AIRFLOW_CONN_LEEN_DEFAULT", connection(sandbox, **fields))

    return connect


@pytest.fixture
def at_call(sandbox: SandboxServer) -> Iterator[AtCall]:
    """Does something as soon as the sandbox has got its n-th call: ``at_call(2, action)``."""
    over = threading.Event()
    watchers: list[threading.Thread] = []

    def at_call(number: int, action: Callable[[], Any], method: str = "POST") -> None:
        def watch() -> None:
            while not over.wait(0.002):
                if sandbox.count(method) >= number:
                    action()
                    return

        watchers.append(threading.Thread(target=watch))
        watchers[-1].start()

    yield at_call
    over.set()
    for watcher in watchers:
        watcher.join()


@pytest.fixture
def task_log(capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> Callable[[], str]:
    """What tasks have logged with their own loggers, wherever this Airflow lets it go."""
    caplog.set_level(logging.INFO)
    return lambda: capfd.readouterr().out if AIRFLOW >= (3, 0) else caplog.text


@pytest.fixture(params=["task state store", "ledger_path"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """The operator's arguments for each kind of ledger."""
    return {"ledger_path": f"file://{tmp_path}"} if request.param == "ledger_path" else {}


@pytest.fixture(autouse=True)
def _requests_keep_to_the_contract(sandbox: SandboxServer) -> Iterator[None]:
    """Whatever a test makes the operator send is what the endpoint's document allows."""
    yield
    for request in sandbox.requests:
        if request.is_bulk:
            assert request_problems(request.body, request.headers) == []
