"""A server that someone else made from the contract takes what we send, and refuses what the contract forbids."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from airflow_provider_leen.sandbox.server import SandboxServer

HEADERS = {"X-API-KEY": "any", "X-CONNECTION-ID": SandboxServer.connection_id}


def post(prism: str, tickets: list[dict[str, Any]]) -> httpx.Response:
    return httpx.post(f"{prism}/itsm/tickets/bulk/sync", json={"tickets": tickets}, headers=HEADERS, trust_env=False)


def test_a_batch_of_fifty_with_every_field_is_accepted(prism: str) -> None:
    ticket = {
        "name": "SQL built from strings",
        "project_id": "5ec00000-0000-4000-8000-000000000001",
        "type": "Task",
        "type_vendor_id": "10034",
        "description": "In **orm/query.py** · zażółć",
        "status": None,
        "priority": "HIGH",
        "assigned_user_vendor_id": "712020:0a1b2c01",
        "parent_ticket_vendor_id": "SEC-101",
        "identifier": "airflow-0123456789abcdef01234567",
    }
    assert post(prism, [ticket] * 50).status_code == 200


@pytest.mark.parametrize(
    "tickets",
    [
        pytest.param([], id="no ticket"),
        pytest.param([{"name": "x"}] * 51, id="51 tickets"),
        pytest.param([{"project_vendor_id": "SEC"}], id="no name"),
        pytest.param([{"name": "x", "project_id": "SEC"}], id="a project ID that is not a UUID"),
    ],
)
def test_what_the_contract_forbids_is_refused(prism: str, tickets: list[dict[str, Any]]) -> None:
    assert post(prism, tickets).status_code == 422
