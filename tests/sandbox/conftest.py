from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from airflow_provider_leen.sandbox.server import SandboxServer

BULK = "/itsm/tickets/bulk/sync"
Post = Callable[..., httpx.Response]


@pytest.fixture
def client(sandbox: SandboxServer) -> Iterator[httpx.Client]:
    """Speaks to the sandbox with the right headers."""
    with httpx.Client(base_url=sandbox.base_url, headers=sandbox.headers, timeout=60.0, trust_env=False) as client:
        yield client


@pytest.fixture
def post(client: httpx.Client) -> Post:
    """Sends one bulk call: ``post(ticket(), ticket(name="…"))``."""

    def post(*tickets: dict[str, Any]) -> httpx.Response:
        return client.post(BULK, json={"tickets": tickets})

    return post


def ticket(**fields: Any) -> dict[str, Any]:
    return {"name": "SQL from strings", "project_vendor_id": "SEC", "type": "Task"} | fields
