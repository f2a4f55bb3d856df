"""Which tickets a sync is awaited for, and how they are recognised in Leen's list."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from airflow_provider_leen.api.client import AsyncLeenClient
from airflow_provider_leen.api.errors import LeenConfigError
from airflow_provider_leen.api.models import Ticket
from airflow_provider_leen.api.settings import LeenSettings
from airflow_provider_leen.bulk import updates
from airflow_provider_leen.bulk.lookup import Created
from airflow_provider_leen.bulk.statuses import Status
from airflow_provider_leen.bulk.summary import Summary, TicketResult, summarise
from airflow_provider_leen.bulk.sync import (
    Awaited,
    Found,
    fill_in,
    find_synced,
    read_one_summary,
    unsynced,
    vendor_names,
)
from airflow_provider_leen.bulk.table import TicketTable
from tests.support.results import result


def a_result(index: int, status: Status, ticket_id: str | None, key: str | None) -> TicketResult:
    return result(index, status, identifier=f"scan-{index}", ticket_id=ticket_id, vendor_ticket_id=key)


SUMMARY: Summary = summarise(
    [
        a_result(0, "created", None, "SEC-1"),
        a_result(1, "created", "leen-2", "SEC-2"),
        a_result(2, "rejected", None, None),
        a_result(3, "created", None, None),
        a_result(4, "existing", None, "SEC-5"),
        a_result(5, "unknown", None, "SEC-6"),
    ]
)


def test_what_exists_without_an_id_of_leens_is_waited_for() -> None:
    assert unsynced(SUMMARY) == Awaited(["SEC-1", "SEC-5"], ["scan-3"])


def test_ids_are_filled_in_where_there_are_none_and_nothing_else_changes() -> None:
    found = Found({"SEC-1": "leen-1", "SEC-2": "other", "SEC-6": "leen-6"}, {"scan-3": Created("leen-3", "SEC-3")})
    filled = fill_in(SUMMARY, found)
    assert [(entry["ticket_id"], entry["vendor_ticket_id"]) for entry in filled["results"]] == [
        ("leen-1", "SEC-1"),
        ("leen-2", "SEC-2"),
        (None, None),
        ("leen-3", "SEC-3"),
        (None, "SEC-5"),
        ("leen-6", "SEC-6"),
    ]
    no_ids = {"ticket_id": None, "vendor_ticket_id": None}
    assert [entry | no_ids for entry in filled["results"]] == [entry | no_ids for entry in SUMMARY["results"]]
    assert filled | {"results": []} == SUMMARY | {"results": []}
    assert SUMMARY["results"][0]["ticket_id"] is None


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "`results` is None"),
        ([SUMMARY, SUMMARY], "holds 2 summaries: map the sensor over them"),
        (updates.summarise([], TicketTable()), "summary of changed tickets"),
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
    assert vendor_names(Ticket(id="t", **ticket)) == names


SETTINGS = LeenSettings(base_url="https://leen.test/v1", api_key="k", connection_id="c")
SINCE = datetime(2026, 1, 5, tzinfo=UTC)

Answer = Callable[[httpx.Request], httpx.Response]


def find(answer: Answer, awaited: Awaited) -> Found:
    async def work() -> Found:
        async with AsyncLeenClient(SETTINGS, transport=httpx.MockTransport(answer)) as client:
            return await find_synced(client, awaited, SINCE)

    return asyncio.run(work())


def page(*numbers: int, cursor: str | None = None) -> httpx.Response:
    tickets = [{"id": f"leen-{n}", "url": f"https://jira.test/browse/SEC-{n}"} for n in numbers]
    return httpx.Response(200, json={"items": tickets, "next_cursor": cursor})


@pytest.mark.parametrize("filters_by_time", [True, False])
def test_tickets_are_found_in_the_list_even_where_leen_does_not_filter_it(filters_by_time: bool) -> None:
    asked: list[dict[str, str]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(dict(request.url.params))
        if "updatedSince" in request.url.params and not filters_by_time:
            return httpx.Response(422, json={"detail": [{"loc": ["query", "updatedSince"], "msg": "unexpected"}]})
        return page(1, 2, 7)

    found = find(answer, Awaited(["SEC-1", "SEC-2", "SEC-3"], []))
    assert found == Found({"SEC-1": "leen-1", "SEC-2": "leen-2"})
    # An hour earlier: clocks differ.
    assert asked == [{"updatedSince": "2026-01-04T23:00:00+00:00"}, {}][: 1 if filters_by_time else 2]


def test_no_page_is_read_after_the_last_ticket_was_found() -> None:
    asked: list[str | None] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.params.get("cursor"))
        return page(len(asked), cursor=f"page-{len(asked) + 1}")

    assert find(answer, Awaited(["SEC-1", "SEC-3", "SEC-3"], [])).by_vendor_ticket_id == {
        "SEC-1": "leen-1",
        "SEC-3": "leen-3",
    }
    assert asked == [None, "page-2", "page-3"]


@pytest.mark.parametrize(
    ("tickets", "found"),
    [
        pytest.param([{"id": "leen-1", "url": "x/SEC-1", "vendor_attributes": {"id": "SEC-2"}}], {}, id="two keys"),
        pytest.param([{"id": "leen-1", "url": "x/SEC-1"}, {"id": "LEEN-1", "url": "x/SEC-2"}], {}, id="one id twice"),
        pytest.param([{"id": "leen-1", "url": "x/SEC-1", "error": "gone"}], {}, id="it contradicts itself"),
        pytest.param(
            [{"id": " ", "url": "x/SEC-1"}, {"id": "leen-2", "url": "x/SEC-2"}], {"SEC-2": "leen-2"}, id="blank"
        ),
    ],
)
def test_a_ticket_that_may_be_two_is_not_found(tickets: list[dict[str, Any]], found: dict[str, str]) -> None:
    assert find(lambda _: httpx.Response(200, json={"items": tickets}), Awaited(["SEC-1", "SEC-2"], [])) == Found(found)


def test_one_ticket_under_two_identifiers_is_not_found() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        identifier = request.url.path.rpartition("/")[2]
        return httpx.Response(200, json={"id": "leen-1", "identifier": identifier})

    assert find(answer, Awaited([], [KEY, KEY[:-1] + "8"])) == Found()


KEY = "airflow-0123456789abcdef01234567"


@pytest.mark.parametrize(
    ("identifier", "ticket", "is_found"),
    [
        pytest.param(KEY, {}, True, id="a key is unique to the run"),
        pytest.param("scan-1", {"ticket_created_at": "2026-01-05T00:10:00Z"}, True, id="created in this run"),
        pytest.param("scan-1", {"ticket_created_at": "2026-01-04T00:10:00Z"}, False, id="yesterday's ticket"),
        pytest.param("scan-1", {}, False, id="no time proves nothing"),
        pytest.param(KEY, {"identifier": KEY.upper()}, True, id="normalised"),
        pytest.param(KEY, {"identifier": KEY[:-1]}, False, id="another identifier"),
        pytest.param(KEY, None, False, id="not there"),
    ],
)
def test_without_an_id_of_the_tracker_a_ticket_is_looked_up_by_its_identifier(
    identifier: str, ticket: dict[str, Any] | None, is_found: bool
) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        assert request.url.path == f"/v1/itsm/tickets/by-identifier/{identifier}"
        if ticket is None:
            return httpx.Response(
                404, json={"type": "not_found", "code": "ticket_not_found", "message": "no", "detail": []}
            )
        known = {"id": "leen-1", "identifier": identifier, "url": "https://jira.test/browse/SEC-1"}
        return httpx.Response(200, json=known | ticket)

    found = find(answer, Awaited([], [identifier]))
    assert found == Found({}, {identifier: Created("leen-1", "SEC-1")} if is_found else {})


def test_what_is_left_is_what_was_not_found() -> None:
    awaited = Awaited(["SEC-1", "SEC-2"], ["scan-3", "SEC-1"])
    left = awaited.without(Found({"SEC-1": "leen-1"}, {"scan-3": Created("leen-3", None)}))
    assert left == Awaited(["SEC-2"], ["SEC-1"])
    assert (len(left), left.names) == (2, ["SEC-2", "SEC-1"])
    assert not Awaited([], [])
