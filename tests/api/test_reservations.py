"""What a reply of the search found, and which of them says plainly that there is nothing."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_leen.api.reservations import errors_in, read_search

JIRAS = {"expand": "schema,names", "startAt": 0, "maxResults": 50, "total": 0, "issues": []}


@pytest.mark.parametrize(
    "content",
    [
        pytest.param([], id="a bare list"),
        pytest.param({"items": [], "next_cursor": None, "previous_cursor": None}, id="Leen's page"),
        pytest.param(JIRAS, id="Jira's page"),
        pytest.param(
            JIRAS | {"names": {"summary": "Summary"}, "schema": {"summary": {"type": "string"}}}, id="expanded"
        ),
        pytest.param({"issues": [], "isLast": True, "nextPageToken": None}, id="Jira's newer page"),
        pytest.param({"issues": [], "nextPageToken": ""}, id="an empty token"),
        pytest.param({"results": []}, id="results"),
        pytest.param({"tickets": []}, id="tickets"),
        pytest.param({"data": []}, id="data"),
        pytest.param({"data": {"issues": [], "total": 0}}, id="wrapped"),
        pytest.param({"data": {"search": {"results": []}}, "errors": []}, id="wrapped twice"),
        pytest.param({"success": True, "status": "ok", "code": 0, "message": "OK", "result": {"items": []}}, id="said"),
        pytest.param({"status": 200, "data": {"items": []}}, id="with a status"),
        pytest.param(
            {"issues": [], "errors": {}, "errorMessages": [], "warningMessages": [""], "warnings": None, "error": ""},
            id="errors that are none",
        ),
        pytest.param({"issues": [], "items": []}, id="two empty lists"),
        pytest.param({"issues": [], "hasMore": False, "partial": False, "more": None}, id="no more"),
        pytest.param({"issues": [], "total": "0"}, id="a count as text"),
        pytest.param({"issues": [], "meta": {"request_id": "r-1", "took_ms": 12, "vendor": "JIRA"}}, id="of the call"),
        pytest.param({"items": [], "pagination": {"limit": 50, "offset": 0, "total": 0, "page": 1}}, id="of the page"),
        pytest.param({"content": None, "items": [], "last": True, "first": True, "empty": True}, id="Spring's flags"),
    ],
)
def test_a_reply_that_plainly_reports_nothing_is_empty_in_any_wrapping(content: Any) -> None:
    assert read_search(content).is_empty


@pytest.mark.parametrize(
    "extra",
    [
        {"errors": ["the index is being rebuilt"]},
        {"errors": {"jql": "ignored"}},
        {"errors": "the index is being rebuilt"},
        {"error": {"message": "no"}},
        {"warnings": ["partial"]},
        {"errorMessages": ["no permission for the project SEC"]},
        {"warningMessages": ["the value 'SEC' does not exist"]},
        {"warning_messages": ["the value 'SEC' does not exist"]},
        {"success": False},
        {"ok": 0},
        {"complete": False},
        {"status": "partial"},
        {"status": 503},
        {"message": "The vendor did not answer."},
        {"total": 3},
        {"total": -1},
        {"count": 1},
        {"Total_Count": 1},
        {"next_cursor": "abc"},
        {"nextPageToken": "abc"},
        {"previous_cursor": "abc"},
        {"isLast": False},
        {"is_last": False},
        {"isLast": "false"},
        {"hasMore": True},
        {"startAt": 50},
        {"page": 2},
        {"partial": True},
        {"timed_out": True},
        {"items": [{"key": "SEC-1"}]},
        {"items": [None]},
        {"items": [{}]},
        {"unavailable": ["jira"]},
        {"data": {"errors": ["no"]}},
        {"meta": {"page": {"total": 1}}},
        {"note": "results may be late"},
        {"maxResults": {"warnings": ["cut"]}},
        {"limit": [1]},
        {"limit": 0},
        {"maxResults": "0"},
        {"page": {"per_page": -1}},
    ],
    ids=str,
)
def test_a_reply_that_says_more_is_not(extra: dict[str, Any]) -> None:
    reply = read_search({"issues": []} | extra)
    assert not reply.is_empty
    assert reply.hits or reply.reservations


@pytest.mark.parametrize(
    "content",
    [
        None,
        "busy",
        0,
        {},
        {"total": 0},
        {"issues": None},
        {"issues": {}},
        {"issues": "none"},
        {"data": {}},
        {"errors": []},
        {"matches": []},
        {"issues": {"SEC-1": {"key": "SEC-1"}}},
    ],
    ids=str,
)
def test_a_reply_without_a_list_of_hits_is_not_empty(content: Any) -> None:
    assert not read_search(content).is_empty


def test_nesting_without_end_is_a_reservation() -> None:
    content: Any = {"issues": []}
    for _ in range(200):
        content = {"data": content}
    assert not read_search(content).is_empty


@pytest.mark.parametrize(
    "content",
    [
        [{"key": "SEC-1"}],
        {"issues": [{"key": "SEC-1"}], "total": 1},
        {"data": {"issues": [{"key": "SEC-1"}]}},
        {"items": [], "results": [{"key": "SEC-1"}]},
        {"issues": [{"key": "SEC-1"}], "errors": ["slow"]},
    ],
    ids=str,
)
def test_hits_are_found_wherever_they_are(content: Any) -> None:
    assert read_search(content).hits == [{"key": "SEC-1"}]


@pytest.mark.parametrize(
    ("record", "number"),
    [
        ({}, 0),
        ({"errors": [], "warnings": None, "success": True, "error": ""}, 0),
        ({"error": "stale"}, 1),
        ({"errorMessages": ["stale"]}, 1),
        ({"success": False}, 1),
        ({"success": "false", "warnings": {"a": "b"}}, 2),
        ({"tags": ["error"], "active": False}, 0),
    ],
)
def test_a_ticket_may_contradict_itself(record: dict[str, Any], number: int) -> None:
    assert len(errors_in(record)) == number


HITS = [{"key": "SEC-1"}, {"key": "SEC-2"}]


@pytest.mark.parametrize(
    ("extra", "is_whole"),
    [
        ({}, True),
        ({"total": 2}, True),
        ({"total": "2", "count": 2, "totalPages": 1, "startAt": 0, "maxResults": 50, "isLast": True}, True),
        ({"page": {"total_count": 2, "number": 0}}, True),
        ({"total": 3}, False),
        ({"total": 0}, True),
        ({"total": 1}, False),
        ({"totalPages": 2}, False),
        ({"startAt": 2}, False),
        ({"isLast": False}, False),
        ({"nextPageToken": "x"}, False),
        ({"warningMessages": ["cut"]}, False),
    ],
    ids=str,
)
def test_hits_are_complete_if_their_number_is_the_reported_one(extra: dict[str, Any], is_whole: bool) -> None:
    reply = read_search({"issues": HITS} | extra)
    assert reply.hits == HITS
    assert (not reply.reservations) is is_whole
