from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest

from airflow_provider_leen.sandbox.findings import LAST_SCAN, Finding, findings

PATH = "/v2/vulnerability_findings"


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


def test_v2_wants_both_headers_and_is_recorded(client: httpx.Client, sandbox: Any) -> None:
    assert httpx.get(f"{sandbox.url}{PATH}", trust_env=False).status_code == 401
    assert [request.path for request in sandbox.requests] == [PATH]
