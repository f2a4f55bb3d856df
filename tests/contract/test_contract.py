"""The contract agrees with Leen's document, and the sandbox keeps to the contract."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
import yaml  # type: ignore[import-untyped]
from hypothesis import HealthCheck, settings

from airflow_provider_leen.sandbox.server import SandboxServer
from tests.contract.validate import CONTRACT, PATH, reply_problems, request_problems

pytestmark = pytest.mark.slow

DOCUMENT = Path(__file__).parents[3] / "shared" / "leen" / "bulk-sync-endpoint.md"

PROSE = {"title", "description", "summary", "tags", "info"}

schema = schemathesis.openapi.from_dict(CONTRACT)
FEW = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
REFUSED = {401, 405, 422}  # the key; before that, the method, and a body that is no JSON at all


def without_prose(node: Any, *, names: bool = False) -> Any:
    """A document without what is only for people.

    :param names: the node maps names (of properties, say), so that ``description`` is one of them.
    """
    if isinstance(node, list):
        return [without_prose(item) for item in node]
    if not isinstance(node, dict):
        return node
    return {
        key: without_prose(value, names=key == "properties") for key, value in node.items() if names or key not in PROSE
    }


@pytest.mark.skipif(not DOCUMENT.exists(), reason="Leen's own document is not beside this checkout")
def test_the_contract_says_what_leens_document_says() -> None:
    text = DOCUMENT.read_text()
    block = text[text.index("````yaml") :].partition("\n")[2].rpartition("````")[0]
    assert without_prose(CONTRACT) == without_prose(yaml.safe_load(block))


@schema.parametrize()
@FEW
def test_the_sandbox_keeps_to_the_contract_for_any_request(
    case: schemathesis.Case[Any], sandbox_server: SandboxServer
) -> None:
    reply = case.call(base_url=sandbox_server.base_url, headers=sandbox_server.headers)
    sent = {name.lower(): value for name, value in reply.request.headers.items()}
    if all(sent.get(name.lower()) == value for name, value in sandbox_server.headers.items()):
        case.validate_response(reply)
    else:  # Leen's document has no answer to a missing key
        assert reply.status_code in REFUSED


@schema.parametrize()
@FEW
def test_no_request_gets_in_with_a_wrong_key(case: schemathesis.Case[Any], sandbox_server: SandboxServer) -> None:
    reply = case.call(base_url=sandbox_server.base_url, headers={**sandbox_server.headers, "X-API-KEY": "wrong"})
    assert reply.status_code in REFUSED


def test_the_sandboxs_reply_to_good_and_bad_tickets_keeps_to_the_contract(sandbox_server: SandboxServer) -> None:
    good = {"name": "Good", "project_vendor_id": "SEC", "type": "Task"}
    body = {"tickets": [good, {**good, "name": " "}]}
    reply = httpx.post(sandbox_server.base_url + PATH, json=body, headers=sandbox_server.headers, trust_env=False)
    assert reply.status_code == 200
    assert reply_problems(reply.json()) == []


@pytest.mark.parametrize(
    ("body", "headers", "problem"),
    [
        pytest.param({"tickets": []}, {}, "$.tickets: [] should be non-empty", id="no ticket"),
        pytest.param({"tickets": [{"name": 1}]}, {}, "$.tickets[0].name: 1 is not of type 'string'", id="a type"),
        pytest.param({"tickets": [{"name": "x", "colour": 1}]}, {}, "tickets[0]: unknown field colour", id="a field"),
        pytest.param({"tickets": [{"name": "x"}]}, {"X-API-KEY": ""}, "header X-API-KEY is missing", id="a header"),
        pytest.param({"tickets": [{"name": "x"}]}, {"Content-Type": "text/plain"}, "content type is", id="the type"),
    ],
)
def test_a_recorded_request_that_breaks_the_contract_is_reported(
    body: Any, headers: dict[str, str], problem: str
) -> None:
    good = {"X-API-KEY": "k", "X-CONNECTION-ID": "c", "Content-Type": "application/json"}
    assert any(problem in found for found in request_problems(body, good | headers))
    assert request_problems({"tickets": [{"name": "x", "project_id": None}]}, good) == []


def test_a_uuid_in_the_contract_is_checked_as_a_uuid() -> None:
    headers = {"X-API-KEY": "k", "X-CONNECTION-ID": "c", "Content-Type": "application/json"}
    assert request_problems({"tickets": [{"name": "x", "project_id": "SEC"}]}, headers)
