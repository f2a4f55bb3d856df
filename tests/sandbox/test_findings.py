from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import httpx
import pytest

from airflow_provider_leen.sandbox.findings import LAST_SCAN, Finding, findings
from airflow_provider_leen.sandbox.server import SandboxServer
from tests.sandbox.conftest import ticket

PATH = "/v2/vulnerability_findings"


@pytest.fixture
def client(sandbox: SandboxServer) -> Iterator[httpx.Client]:
    """Speaks to the sandbox by the scanner's connection ID."""
    headers = sandbox.headers | {"X-CONNECTION-ID": sandbox.scanner_connection_id}
    with httpx.Client(base_url=sandbox.base_url, headers=headers, timeout=30, trust_env=False) as client:
        yield client


def listed(client: httpx.Client, **query: Any) -> list[dict[str, Any]]:
    """All pages of a list."""
    items: list[dict[str, Any]] = []
    while True:
        reply = client.get(client.base_url.join(PATH), params=query)
        assert reply.status_code == 200, reply.text
        page = reply.json()
        items += page["items"]
        if page["next_cursor"] is None:
            return items
        query["cursor"] = page["next_cursor"]


def test_there_are_a_few_hundred_with_dozens_that_matter_and_some_of_these_have_tickets(client: httpx.Client) -> None:
    items = listed(client, limit=50)
    assert items == [dict(finding.record) for finding in findings()]
    assert len({item["id"] for item in items}) == len(items) == 320
    grave = listed(client, severity="CRITICAL,HIGH", state="OPEN,REOPENED")
    assert 24 <= len(grave) <= 120
    assert 6 <= sum(item["ticket"] is not None for item in grave) < len(grave)


FIRST = findings()[0]
BOTH = f"{FIRST.resource_id},{findings()[-1].resource_id}"
MONTH = LAST_SCAN - timedelta(days=30)


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ({"severity": "CRITICAL"}, lambda f: f.record["severity"] == "CRITICAL"),
        ({"severity": "LOW, MEDIUM"}, lambda f: f.record["severity"] in ("LOW", "MEDIUM")),
        ({"state": "REOPENED"}, lambda f: f.record["state"] == "REOPENED"),
        ({"has_fix": "true"}, lambda f: f.record["has_fix"]),
        ({"has_fix": "false"}, lambda f: not f.record["has_fix"]),
        ({"first_seen_since": MONTH.isoformat()}, lambda f: f.first_seen >= MONTH),
        ({"last_seen_since": "2026-01-05T06:00:00"}, lambda f: f.last_seen == LAST_SCAN),
        ({"state_updated_since": MONTH.isoformat()}, lambda f: f.state_updated >= MONTH),
        ({"resourceId": FIRST.resource_id}, lambda f: f.resource_id == FIRST.resource_id),
        ({"resourceId": BOTH}, lambda f: f.resource_id in BOTH.split(",")),
        ({"ids": FIRST.record["id"]}, lambda f: f is FIRST),
        (
            {"severity": "HIGH", "state": "RESOLVED"},
            lambda f: (f.record["severity"], f.record["state"]) == ("HIGH", "RESOLVED"),
        ),
    ],
)
def test_each_filter_keeps_what_it_names(
    client: httpx.Client, query: dict[str, str], wanted: Callable[[Finding], bool]
) -> None:
    expected = [finding.record["id"] for finding in findings() if wanted(finding)]
    assert 0 < len(expected) < len(findings())
    assert [item["id"] for item in listed(client, limit=7, **query)] == expected


@pytest.mark.parametrize("query", [{"ids": "CVE-1"}, {"ids": ",".join([FIRST.record["id"]] * 101)}, {"has_fix": "?"}])
def test_a_filter_that_cant_be_read_is_refused(client: httpx.Client, query: dict[str, str]) -> None:
    reply = client.get(client.base_url.join(PATH), params=query)
    assert reply.status_code == 422


def test_v2_wants_both_headers_and_is_recorded(sandbox: SandboxServer) -> None:
    assert httpx.get(f"{sandbox.url}{PATH}", trust_env=False).status_code == 401
    assert [request.path for request in sandbox.requests] == [PATH]


Text = (str, type(None))
Number = (int, type(None))
CODE = {"file_path": Text, "start_line_number": Number, "end_line_number": Number, "url": Text}
DOCUMENTED = {
    "id": str,
    "title": Text,
    "description": Text,
    "analytic_output": Text,
    "severity": Text,
    "state": Text,
    "type": Text,
    "first_seen": Text,
    "last_seen": Text,
    "ticket": {"uid": Text, "url": Text, "status": Text},
    "has_fix": bool,
    "remediation": Text,
    "product": {"vendor_name": Text, "name": Text},
    "analytic": {"type": Text, "uid": Text, "name": Text, "url": Text},
    "resource_related": {
        "affected_code": CODE,
        "affected_image": Text,
        "affected_os": Text,
        "affected_package": {"name": Text, "version": Text},
        "port": Number,
        "protocol": Text,
        "service": Text,
    },
    "vendor_data": {"vendor": Text, "report_type": Text, "scanner": {"id": Text, "vendor": Text, "name": Text}},
    "vulnerabilities": [{"uid": Text, "published": Text, "last_modified": Text, "status": Text}],
}
"""The example on Leen's page, as types."""


def problems(value: Any, documented: Any, path: str = "") -> list[str]:
    """Where a value is not of the documented type. Null is no value."""
    if isinstance(documented, list):
        assert isinstance(value, list), path
        return [problem for item in value for problem in problems(item, documented[0], f"{path}[]")]
    if not isinstance(documented, dict):
        return [] if isinstance(value, documented) else [f"{path}: {value!r}"]
    if value is None:
        return []
    if not isinstance(value, dict) or value.keys() != documented.keys():
        return [f"{path}: {value!r}"]
    return [problem for name in documented for problem in problems(value[name], documented[name], f"{path}.{name}")]


def test_a_finding_has_the_fields_and_types_of_leens_page_and_each_is_filled_somewhere(client: httpx.Client) -> None:
    items = listed(client, limit=500)
    assert [problem for item in items for problem in problems(item, DOCUMENTED)] == []
    assert {name for item in items for name, value in item.items() if value} == DOCUMENTED.keys()
    places = DOCUMENTED["resource_related"]
    assert isinstance(places, dict)
    assert {name for item in items for name, value in item["resource_related"].items() if value} == places.keys()


# Findings are a scanner's, tickets a tracker's


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/itsm/tickets/bulk/sync"),
        ("POST", "/v1/itsm/tickets/bulk"),
        ("GET", "/v1/itsm/projects"),
        ("GET", "/v1/itsm/tickets/by-identifier/CVE-1"),
        ("GET", "/v1/itsm/passthrough/tickets/search?jql=key=SEC-1"),
    ],
)
def test_a_scanners_connection_has_no_tickets(
    client: httpx.Client, sandbox: SandboxServer, method: str, path: str
) -> None:
    client.headers["X-CONNECTION-ID"] = sandbox.scanner_connection_id.upper()
    reply = client.request(method, sandbox.url + path, json={"tickets": [ticket()]} if method == "POST" else None)
    assert (reply.status_code, reply.json()["type"]) == (404, "connection_not_found")
    assert sandbox.connection_id in reply.json()["message"]
    assert sandbox.tickets() == []


def test_a_trackers_connection_has_no_findings(client: httpx.Client, sandbox: SandboxServer) -> None:
    client.headers["X-CONNECTION-ID"] = sandbox.connection_id
    reply = client.get(client.base_url.join(PATH))
    assert (reply.status_code, reply.json()["type"]) == (404, "connection_not_found")
    assert sandbox.scanner_connection_id in reply.json()["message"]
