"""What is asked about tickets without an answer, and what counts as proof."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import unquote

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_leen.api.models import Ticket
from airflow_provider_leen.bulk.asking import LOOK_UPS_AT_ONCE
from airflow_provider_leen.bulk.ledger import Created, Sent
from airflow_provider_leen.bulk.settle import (
    FAILED_SEARCHES_BEFORE_GIVING_UP,
    FAILURES_BEFORE_GIVING_UP,
    MAX_JQL,
    Settler,
    Unsettled,
    absence_after,
    in_searches,
    is_this_ticket,
    jql_for,
    read_hit,
    vendor_ticket_id,
)
from airflow_provider_leen.sandbox.jql import compile_jql
from airflow_provider_leen.sandbox.store import words
from tests.bulk.runs import ABSENCE_AFTER, answering, rows_of, settings_for, tickets

KEY = f"airflow-{'a1' * 12}"
SENT_AT = datetime(2026, 5, 1, 12, 0, 0, tzinfo=UTC)

Answer = Callable[[httpx.Request], httpx.Response]


def unsettled(count: int, *, embedded: bool = False, **fields: str) -> list[Unsettled]:
    return [
        Unsettled(row, sent(SENT_AT.timestamp(), embedded), SENT_AT.timestamp())
        for row in rows_of([ticket | fields for ticket in tickets(count)])
    ]


def sent(at: float, embedded: bool = True) -> Sent:
    return Sent(at, at + ABSENCE_AFTER if embedded else None)


def look_up(answer: Answer, asked: Sequence[Unsettled]) -> dict[int, Created]:
    async def go() -> dict[int, Created]:
        async with answering(answer) as client:
            return await Settler(client).look_up(asked)

    return asyncio.run(go())


def confirm_absence(answer: Answer, asked: Sequence[Unsettled]) -> tuple[dict[int, Created], list[Unsettled]]:
    async def go() -> tuple[dict[int, Created], list[Unsettled]]:
        async with answering(answer) as client:
            return await Settler(client).confirm_absence(asked)

    return asyncio.run(go())


def is_search(request: httpx.Request) -> bool:
    return request.url.path.endswith("/passthrough/tickets/search")


def unknown_to_leen(_: httpx.Request) -> httpx.Response:
    return httpx.Response(404, json={"type": "not_found", "code": "NOT_FOUND", "message": "No ticket.", "detail": []})


# By identifier


@pytest.mark.parametrize(
    ("created_at", "proven"),
    [
        pytest.param("2026-05-01T12:00:01+00:00", True, id="just after"),
        pytest.param("2026-05-01T12:00:01Z", True, id="in UTC by its letter"),
        pytest.param("2026-05-01T14:00:01.123456+0200", True, id="in another zone"),
        pytest.param("2026-05-01T11:59:00+00:00", True, id="earlier by the clocks' skew"),
        pytest.param("2026-05-01T11:58:59+00:00", False, id="earlier by more"),
        pytest.param("2026-04-30T12:00:01+00:00", False, id="yesterday's"),
        pytest.param("2026-05-01T13:00:01+02:00", False, id="an hour before, in another zone"),
        pytest.param("2026-05-01T12:00:01", False, id="without an offset"),
        pytest.param("2026-05-01", False, id="a day only"),
        pytest.param("1777636801", False, id="a number"),
        pytest.param("just now", False, id="words"),
        pytest.param("", False, id="empty"),
        pytest.param(None, False, id="nothing"),
    ],
)
def test_under_a_given_identifier_only_a_ticket_that_was_created_after_the_sending_is_ours(
    created_at: str | None, proven: bool
) -> None:
    (row,) = rows_of([{"name": "finding", "identifier": "CVE-2026-1"}])
    ticket = Ticket(id="t", identifier="CVE-2026-1", ticket_created_at=created_at)
    assert is_this_ticket(ticket, row, SENT_AT.timestamp()) is proven


def test_under_a_key_any_ticket_is_ours_since_no_other_run_has_that_key() -> None:
    (row,) = rows_of([{"name": "finding"}])
    assert is_this_ticket(Ticket(id="t", identifier=row.key), row, SENT_AT.timestamp())


@pytest.mark.parametrize("identifier", [None, "", "cve-2026-1", "CVE-2026-1 ", "CVE-2026-10"])
def test_another_identifier_is_another_ticket(identifier: str | None) -> None:
    (row,) = rows_of([{"name": "finding", "identifier": "CVE-2026-1"}])
    ticket = Ticket(id="t", identifier=identifier, ticket_created_at=(SENT_AT + timedelta(seconds=1)).isoformat())
    assert not is_this_ticket(ticket, row, SENT_AT.timestamp())


@pytest.mark.parametrize(
    ("ticket", "vendor_id"),
    [
        ({"url": "https://acme.atlassian.net/browse/SEC-101"}, "SEC-101"),
        ({"url": "https://acme.atlassian.net/browse/SEC-101/", "vendor_attributes": {"id": "10101"}}, "SEC-101"),
        ({"url": "https://acme.service-now.com/x?sys_id=1", "vendor_attributes": {"id": "INC001"}}, "INC001"),
        ({"url": None, "vendor_attributes": {"id": "10101"}}, "10101"),
        ({"vendor_attributes": {"id": 7}}, None),
        ({"vendor_attributes": None}, None),
        ({}, None),
    ],
)
def test_the_vendors_id_is_read_from_where_a_ticket_may_have_it(ticket: dict[str, Any], vendor_id: str | None) -> None:
    assert vendor_ticket_id(ticket) == vendor_id


def test_a_ticket_that_leen_knows_is_found_with_both_ids() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        identifier = request.url.path.rsplit("/", 1)[-1]
        return httpx.Response(200, json={"id": "t", "identifier": identifier, "url": "https://x.example/browse/SEC-7"})

    assert look_up(answer, unsettled(2)) == {0: Created("t", "SEC-7"), 1: Created("t", "SEC-7")}


@pytest.mark.parametrize("identifier", ["a/b", "../tickets", "50 % & more?", "ä#1", "a%2Fb"])
def test_an_identifier_goes_into_the_path_fully_quoted(identifier: str) -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.raw_path.decode())
        return unknown_to_leen(request)

    look_up(answer, unsettled(1, identifier=identifier))
    (path,) = asked
    begin, _, quoted = path.rpartition("/")
    assert begin == "/v1/itsm/tickets/by-identifier"
    assert unquote(quoted) == identifier


@pytest.mark.parametrize(
    ("reply", "finding"),
    [
        (unknown_to_leen, "Leen does not know its identifier, which proves nothing"),
        (
            lambda _: httpx.Response(404, json={"detail": "No ticket with that identifier"}),
            "does not know its identifier",
        ),
        (lambda _: httpx.Response(404, json={"detail": "Not Found"}), "could not be asked"),
        (lambda _: httpx.Response(404, text="<html>nothing here</html>"), "could not be asked"),
        (lambda _: httpx.Response(503, text="busy"), "could not be asked"),
        (lambda _: httpx.Response(200, text="busy"), "could not be asked"),
        (lambda _: httpx.Response(200, json=[]), "could not be asked"),
        (
            lambda _: httpx.Response(200, json={"id": "t", "identifier": "another"}),
            "nothing shows that it is of this run",
        ),
    ],
)
def test_what_is_no_proof_is_told(reply: Answer, finding: str) -> None:
    (ticket,) = unsettled(1)
    assert look_up(reply, [ticket]) == {}
    assert finding in ticket.findings


def test_after_eight_failures_in_a_row_leen_is_not_asked_any_more() -> None:
    asked = 0

    def answer(_: httpx.Request) -> httpx.Response:
        nonlocal asked
        asked += 1
        return httpx.Response(503)

    every = unsettled(200)
    assert look_up(answer, every) == {}
    # Those that were being asked at the same time can't be called back.
    assert FAILURES_BEFORE_GIVING_UP <= asked < FAILURES_BEFORE_GIVING_UP + LOOK_UPS_AT_ONCE
    assert all("could not be asked" in ticket.findings for ticket in every)


def test_failures_between_answers_are_no_reason_to_give_up() -> None:
    asked = 0

    def answer(request: httpx.Request) -> httpx.Response:
        nonlocal asked
        asked += 1
        return httpx.Response(503) if asked % 4 else unknown_to_leen(request)

    look_up(answer, unsettled(100))
    assert asked == 100


# By search


@pytest.mark.parametrize(
    ("hit", "ids"),
    [
        pytest.param(
            {"id": "10001", "key": "SEC-1", "fields": {"description": f"Text.\n\n{KEY}"}},
            Created(None, "SEC-1"),
            id="Jira's issue",
        ),
        pytest.param({"key": "SEC-1", "fields": {"description": KEY}}, Created(None, "SEC-1"), id="the key alone"),
        pytest.param(
            {"key": "SEC-1", "fields": {"description": f"Text.\r\n\r\n {KEY} \n"}}, Created(None, "SEC-1"), id="blanks"
        ),
        pytest.param(
            {"key": "SEC-1", "fields": {"description": f"<p>Text.</p><p>{KEY}</p>"}}, Created(None, "SEC-1"), id="HTML"
        ),
        pytest.param(
            {
                "key": "SEC-1",
                "fields": {
                    "description": {
                        "type": "doc",
                        "version": 1,
                        "content": [
                            {"type": "paragraph", "content": [{"type": "text", "text": "Text."}]},
                            {"type": "paragraph", "content": [{"type": "text", "text": KEY}]},
                            {"type": "paragraph", "content": [{"type": "hardBreak"}]},
                            {"type": "paragraph"},
                        ],
                    }
                },
            },
            Created(None, "SEC-1"),
            id="Atlassian's document format",
        ),
        pytest.param(
            {"id": "t", "description": f"Text.\n\n{KEY}", "url": "https://x.example/browse/SEC-1"},
            Created("t", "SEC-1"),
            id="Leen's ticket",
        ),
        pytest.param({"key": "SEC-1", "fields": {"summary": KEY, "description": "Text."}}, None, id="in the summary"),
        pytest.param({"key": "SEC-1", "fields": {"description": f"Is {KEY} there?"}}, None, id="a mention"),
        pytest.param(
            {"key": "SEC-1", "fields": {"description": f"Unknown: (identifier {KEY})"}}, None, id="a quoted log"
        ),
        pytest.param({"key": "SEC-1", "fields": {"description": f"Unknown: {KEY}"}}, None, id="a mention at the end"),
        pytest.param({"key": "SEC-1", "fields": {"description": f"{KEY}\n\nText."}}, None, id="in the first line"),
        pytest.param({"key": "SEC-1", "fields": {"description": f"Text.\n\n{KEY}0"}}, None, id="a longer key"),
        pytest.param({"key": "SEC-1", "fields": {"description": None}}, None, id="no description"),
        pytest.param({"key": "SEC-1"}, None, id="no fields"),
        pytest.param({"id": "t"}, None, id="an id only"),
        pytest.param({"key": "SEC-1", "fields": [KEY]}, None, id="odd fields"),
        pytest.param(KEY, None, id="a text"),
        pytest.param(None, None, id="nothing"),
    ],
)
def test_a_hit_counts_where_its_descriptions_last_line_is_the_key(hit: Any, ids: Created | None) -> None:
    assert read_hit(hit) == ({} if ids is None else {KEY: ids})


@given(st.lists(st.text(max_size=300).map(lambda text: f"k{text}"), max_size=60))
def test_searches_hold_all_keys_in_order_and_none_is_too_long(keys: list[str]) -> None:
    searches = list(in_searches(keys))
    assert [key for search in searches for key in search] == keys
    assert all(0 < len(jql_for(search)) <= MAX_JQL for search in searches)


def test_a_search_is_as_full_as_it_may_be() -> None:
    sizes = [len(search) for search in in_searches([KEY] * 1000)]
    assert len(set(sizes[:-1])) == 1
    assert len(jql_for([KEY] * (sizes[0] + 1))) > MAX_JQL


@given(st.text(min_size=1, max_size=100).filter(lambda text: words(text).strip()))
def test_whatever_a_key_holds_it_is_one_phrase_in_the_search(text: str) -> None:
    assert compile_jql(jql_for([text])).parameters == (words(text),)


def keys_asked_for(request: httpx.Request, among: Sequence[Unsettled]) -> list[str]:
    jql = request.url.params["jql"]
    return [str(ticket.row.key) for ticket in among if str(ticket.row.key) in jql]


def issue(key: str, number: int = 1) -> dict[str, Any]:
    return {"id": str(10000 + number), "key": f"SEC-{number}", "fields": {"description": f"Text.\n\n{key}"}}


def test_a_search_that_returns_only_its_first_hits_is_asked_again_until_it_finds_nothing() -> None:
    asked = unsettled(10, embedded=True)
    existing = {str(ticket.row.key) for ticket in asked[:8]}
    searches: list[int] = []

    def answer(request: httpx.Request) -> httpx.Response:
        keys = keys_asked_for(request, asked)
        searches.append(len(keys))
        hits = [issue(key) for key in keys if key in existing][:3]
        return httpx.Response(200, json={"issues": hits})

    found, absent = confirm_absence(answer, asked)
    assert sorted(found) == list(range(8))
    assert [ticket.row.index for ticket in absent] == [8, 9]
    assert searches == [10, 7, 4, 2]


def test_hits_that_are_not_about_the_keys_prove_nothing_of_those_not_found() -> None:
    asked = unsettled(3, embedded=True)

    def answer(request: httpx.Request) -> httpx.Response:
        keys = keys_asked_for(request, asked)
        incident = {"key": "OPS-1", "fields": {"description": f"Which of these exist? {', '.join(keys)}; see the log."}}
        first = [issue(keys[0])] if len(keys) == 3 else []
        return httpx.Response(200, json={"issues": [*first, incident]})

    found, absent = confirm_absence(answer, asked)
    assert found == {0: Created(None, "SEC-1")}
    assert absent == []
    assert "The vendor's search does not find its key" in asked[1].findings


@pytest.mark.parametrize(
    "reply",
    [
        httpx.Response(503),
        httpx.Response(400, json={"detail": "no JQL here"}),
        httpx.Response(404, json={"detail": "Not Found"}),
        httpx.Response(200, text="busy"),
        httpx.Response(200, json={"total": 0}),
    ],
    ids=["503", "400", "404", "no JSON", "no list"],
)
def test_a_search_that_fails_proves_nothing(reply: httpx.Response) -> None:
    (ticket,) = unsettled(1, embedded=True)
    assert confirm_absence(lambda _: reply, [ticket]) == ({}, [])
    assert "The vendor could not be searched for its key" in ticket.findings


def test_after_some_failed_searches_in_a_row_the_vendor_is_not_searched_any_more() -> None:
    asked = unsettled(1000, embedded=True)
    searches = 0

    def answer(_: httpx.Request) -> httpx.Response:
        nonlocal searches
        searches += 1
        return httpx.Response(503)

    assert confirm_absence(answer, asked) == ({}, [])
    assert searches == FAILED_SEARCHES_BEFORE_GIVING_UP
    assert "the searches before it failed" in asked[-1].findings


def test_the_vendor_is_searched_only_for_embedded_keys_and_only_for_what_leen_does_not_know() -> None:
    asked = unsettled(4, embedded=True)
    searched: list[list[str]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        if is_search(request):
            searched.append(keys_asked_for(request, asked))
            return httpx.Response(200, json={"issues": []})
        known = request.url.path.endswith(str(asked[0].row.key))
        return (
            httpx.Response(200, json={"id": "t", "identifier": asked[0].row.key}) if known else unknown_to_leen(request)
        )

    assert look_up(answer, unsettled(4)) == {0: Created("t", None)}
    assert searched == []
    assert look_up(answer, asked) == {0: Created("t", None)}
    assert searched == [[str(ticket.row.key) for ticket in asked[1:]]]


def test_of_a_ticket_that_left_without_its_key_no_search_proves_the_absence() -> None:
    with_key, without = unsettled(2, embedded=True)
    without.sent = sent(SENT_AT.timestamp(), embedded=False)
    found, absent = confirm_absence(lambda _: httpx.Response(200, json={"issues": []}), [with_key, without])
    assert (found, absent) == ({}, [with_key])


def test_a_given_identifier_is_looked_up_but_it_is_the_key_that_the_vendor_is_searched_for() -> None:
    (ticket,) = unsettled(1, identifier="CVE-2026-1", embedded=True)

    def answer(request: httpx.Request) -> httpx.Response:
        if is_search(request):
            assert "CVE-2026-1" not in request.url.params["jql"]
            return httpx.Response(200, json={"issues": [issue(str(ticket.row.key), 9)]})
        yesterdays = {"id": "old", "identifier": "CVE-2026-1", "ticket_created_at": "2026-04-30T12:00:00Z"}
        return httpx.Response(200, json=yesterdays)

    assert look_up(answer, [ticket]) == {0: Created(None, "SEC-9")}
    assert "Leen has the ticket old under its identifier" in ticket.findings


# When absence is believed


def test_absence_is_believed_two_timeouts_and_the_settle_time_after_the_sending() -> None:
    settings = settings_for("https://leen.example.com/v1", timeout=120.0, settle_time=60.0)
    assert absence_after(settings) == 2 * 120.0 + 60.0


def test_the_last_search_waits_for_the_ticket_that_was_sent_last(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    asked = unsettled(2, embedded=True)
    asked[0].sent = sent(time.time())
    searched_at: list[float] = []

    def answer(_: httpx.Request) -> httpx.Response:
        searched_at.append(time.time())
        return httpx.Response(200, content=json.dumps({"issues": []}))

    _found, absent = confirm_absence(answer, asked)
    assert absent == asked
    assert searched_at[0] >= asked[0].sent.at + ABSENCE_AFTER
    assert "2 tickets sent without an answer and not found so far" in caplog.text
    assert "Waiting until" in caplog.text


def test_long_after_the_sending_the_last_search_does_not_wait() -> None:
    started = time.monotonic()
    confirm_absence(lambda _: httpx.Response(200, json={"issues": []}), unsettled(1, embedded=True))
    assert time.monotonic() - started < 0.5
