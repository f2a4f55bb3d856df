"""What the operator puts on the wire, held to the contract and sent to a server that someone else made from it."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from airflow_provider_leen.sandbox.recorder import RecordedRequest
from airflow_provider_leen.sandbox.server import SandboxServer
from tests.contract.validate import request_problems
from tests.operators.dags import bulk_dag

EVERY_FIELD = [
    {"name": "by vendor ids", "project_vendor_id": "SEC", "type_vendor_id": "10034", "priority": "HIGH"},
    {"name": "by UUIDs", "project_id": "5ec00000-0000-4000-8000-000000000001", "type": "Bug"},
    {"name": "assigned", "assigned_user_id": "c0000000-0000-4000-8000-000000000001", "parent_ticket_vendor_id": "X-1"},
    {"name": "„Zürich“ 漢字 🔥", "description": "# Markdown\n\n`code`", "identifier": "scan 7/ü"},
    {"name": "old name of a field", "type_id": "10031", "status": "TODO", "assigned_user_vendor_id": "712020:x"},
    {"name": "nulls", "priority": None, "description": None, "project_id": None},
]


@pytest.fixture
def recorded(sandbox: SandboxServer, run_dag: Any) -> list[RecordedRequest]:
    """The requests for 120 tickets of all kinds, a batch taken apart among them."""
    sandbox.inject("poison", text="by UUIDs", times=2)
    run = run_dag(bulk_dag(EVERY_FIELD * 20, max_concurrent_batches=4))
    assert run.summary()["total"] == 120
    return [request for request in sandbox.requests if request.is_bulk]


def test_every_request_of_the_operator_is_one_that_the_contract_allows(recorded: list[RecordedRequest]) -> None:
    assert len(recorded) > 3
    for request in recorded:
        assert request_problems(request.body, request.headers) == []


def test_a_server_made_from_the_contract_accepts_every_request(recorded: list[RecordedRequest], prism: str) -> None:
    for request in recorded:
        headers = {name: value for name, value in request.headers.items() if name not in ("host", "content-length")}
        url = f"{prism}{request.path.removeprefix('/v1')}"
        reply = httpx.post(url, content=request.raw, headers=headers, trust_env=False)
        assert reply.status_code == 200, reply.text
