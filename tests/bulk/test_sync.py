"""Which tickets a sync is awaited for, and how they are recognised in Leen's list."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from airflow_provider_leen.api.client import AsyncLeenClient
from airflow_provider_leen.api.errors import LeenConfigError
from airflow_provider_leen.api.settings import LeenSettings
from airflow_provider_leen.bulk.summary import Summary, TicketResult, summarise
from airflow_provider_leen.bulk.sync import fill_in, find_synced, read_one_summary, unsynced, vendor_names


def result(index: int, status: Any, ticket_id: str | None, key: str | None) -> TicketResult:
    return {
        "request_index": index,
        "success": status in ("created", "existing"),
        "status": status,
        "name": f"finding {index}",
        "identifier": f"scan-{index}",
        "ticket_id": ticket_id,
        "vendor_ticket_id": key,
        "error": None if status == "created" else "so",
    }


SUMMARY: Summary = summarise(
    [
        result(0, "created", None, "SEC-1"),
        result(1, "created", "leen-2", "SEC-2"),
        result(2, "rejected", None, None),
        result(3, "created", None, None),
        result(4, "existing", None, "SEC-5"),
        result(5, "unknown", None, "SEC-6"),
    ]
)


def test_what_exists_without_an_id_of_leens_is_waited_for() -> None:
    assert unsynced(SUMMARY) == ["SEC-1", "SEC-5"]


def test_ids_are_filled_in_where_there_are_none_and_nothing_else_changes() -> None:
    filled = fill_in(SUMMARY, {"SEC-1": "leen-1", "SEC-2": "other", "SEC-6": "leen-6"})
    assert [entry["ticket_id"] for entry in filled["results"]] == ["leen-1", "leen-2", None, None, None, "leen-6"]
    unfilled = [entry | {"ticket_id": None} for entry in filled["results"]]
    assert unfilled == [entry | {"ticket_id": None} for entry in SUMMARY["results"]]
    assert filled | {"results": []} == SUMMARY | {"results": []}
    assert SUMMARY["results"][0]["ticket_id"] is None


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "`results` is None"),
        ([SUMMARY, SUMMARY], "holds 2 summaries: map the sensor over them"),
        (SUMMARY | {"results": [], "results_path": "s3://results.jsonl"}, "results are in a file"),
    ],
)
def test_what_is_not_one_summary_is_refused(value: Any, said: str) -> None:
    with pytest.raises(LeenConfigError, match=said):
        read_one_summary(value)


def test_one_summary_may_come_in_a_list_or_be_empty() -> None:
    assert read_one_summary([SUMMARY]) == SUMMARY
    assert read_one_summary(summarise([]))["total"] == 0


@pytest.mark.parametrize(
    ("ticket", "names"),
    [
        ({"url": "https://jira.test/browse/SEC-1"}, {"SEC-1"}),
        ({"vendor_attributes": {"id": "SEC-1", "data": {"id": "10001"}}}, {"SEC-1", "10001"}),
        ({"vendor_attributes": {"id": "10001", "data": {"key": "SEC-1"}}}, {"SEC-1", "10001"}),
        ({"url": "https://jira.test/browse/SEC-1/", "vendor_attributes": {"id": "10001"}}, {"SEC-1", "10001"}),
        ({"url": None, "vendor_attributes": None}, set()),
        ({"vendor_attributes": {"id": 7, "data": "SEC-1"}}, set()),
        ({"identifier": "SEC-1", "name": "SEC-1"}, set()),
    ],
)
def test_a_ticket_is_recognised_wherever_its_key_is(ticket: dict[str, Any], names: set[str]) -> None:
    assert vendor_names(ticket) == names


@pytest.mark.parametrize("filters_by_time", [True, False])
def test_tickets_are_found_in_the_list_even_where_leen_does_not_filter_it(filters_by_time: bool) -> None:
    asked: list[dict[str, str]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(dict(request.url.params))
        if "updatedSince" in request.url.params and not filters_by_time:
            return httpx.Response(422, json={"detail": [{"loc": ["query", "updatedSince"], "msg": "unexpected"}]})
        tickets = [{"id": f"leen-{n}", "url": f"https://jira.test/browse/SEC-{n}"} for n in (1, 2, 7)]
        return httpx.Response(200, json={"items": tickets, "next_cursor": None})

    settings = LeenSettings(base_url="https://leen.test/v1", api_key="k", connection_id="c")

    async def find() -> dict[str, str]:
        async with AsyncLeenClient(settings, transport=httpx.MockTransport(answer)) as client:
            return await find_synced(client, ["SEC-1", "SEC-2", "SEC-3"], datetime(2026, 1, 5, tzinfo=UTC))

    assert asyncio.run(find()) == {"SEC-1": "leen-1", "SEC-2": "leen-2"}
    assert asked == [{"updatedSince": "2026-01-05T00:00:00+00:00"}, {}][: 1 if filters_by_time else 2]
