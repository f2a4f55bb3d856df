from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_leen.sandbox.server import SandboxServer
from tests.operators.dags import Connect, connection


@pytest.fixture
def connect(sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch) -> Connect:
    """Sets fields of the connection ``leen_default``: ``connect(extra={"timeout": 1})``."""

    def connect(**fields: Any) -> None:
        monkeypatch.setenv("AIRFLOW_CONN_LEEN_DEFAULT", connection(sandbox, **fields))

    return connect
