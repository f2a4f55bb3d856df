"""What is asked about tickets without an answer, and what counts as proof."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from airflow_provider_leen.bulk.asking import LOOK_UPS_AT_ONCE
from airflow_provider_leen.bulk.lookup import Control, Created, UnknownTicket
from airflow_provider_leen.bulk.settle import FAILED_SEARCHES_BEFORE_GIVING_UP, FAILURES_BEFORE_GIVING_UP, Settler
from airflow_provider_leen.bulk.state import Sending
from tests.bulk.runs import FINAL_AFTER, Clock, answering, rows_of, tickets

SENT_AT = datetime(2026, 5, 1, 12, 0, 0, tzinfo=UTC)

Answer = Callable[[httpx.Request], httpx.Response]


def unknown_tickets(count: int, *, embedded: bool = False, **fields: str) -> list[UnknownTicket]:
    at = SENT_AT.timestamp()
    return [
        UnknownTicket(row, str(row.name), "SEC", (Sending(at, at, "h", embedded),), at + FINAL_AFTER)
        for row in rows_of([ticket | fields for ticket in tickets(count)])
    ]


def by_index(found: dict[str, Created], asked: Sequence[UnknownTicket]) -> dict[int, Created]:
    return {ticket.row.index: found[ticket.key] for ticket in asked if ticket.key in found}


def look_up(answer: Answer, asked: Sequence[UnknownTicket]) -> dict[int, Created]:
    async def go() -> dict[int, Created]:
        async with answering(answer) as client:
            return by_index(await Settler(client).look_up(asked), asked)

    return asyncio.run(go())


def confirm_absence(
    answer: Answer, asked: Sequence[UnknownTicket], control: Control | None = None, clock: Clock | None = None
) -> tuple[dict[int, Created], list[UnknownTicket]]:
    clock = clock or Clock()

    async def go() -> tuple[dict[int, Created], list[UnknownTicket]]:
        async with answering(answer) as client:
            settler = Settler(client, clock, clock.sleep)
            found, absent = await settler.confirm_absence(asked, lambda project: [control] if control else [])
            return by_index(found, asked), absent

    return asyncio.run(go())


def leens(ticket: UnknownTicket, ticket_id: str) -> dict[str, Any]:
    """The record of a ticket at Leen that fits."""
    return {
        "id": ticket_id,
        "identifier": ticket.row.identifier,
        "name": ticket.name,
        "url": "https://x.example/browse/SEC-7",
        "ticket_created_at": SENT_AT.isoformat(),
    }


def is_search(request: httpx.Request) -> bool:
    return request.url.path.endswith("/passthrough/tickets/search")


def unknown_to_leen(_: httpx.Request) -> httpx.Response:
    return httpx.Response(404, json={"type": "not_found", "code": "NOT_FOUND", "message": "No ticket.", "detail": []})


# By identifier


def test_a_ticket_that_leen_knows_is_found_with_both_ids() -> None:
    asked = unknown_tickets(2)

    def answer(request: httpx.Request) -> httpx.Response:
        (ticket,) = [ticket for ticket in asked if request.url.path.endswith(ticket.key)]
        return httpx.Response(200, json=leens(ticket, f"t-{ticket.row.index}"))

    assert look_up(answer, asked) == {0: Created("t-0", "SEC-7"), 1: Created("t-1", "SEC-7")}


@pytest.mark.parametrize(
    ("reply", "finding"),
    [
        (unknown_to_leen, "Leen does not know its identifier, but that proves nothing"),
        (
            lambda _: httpx.Response(404, json={"detail": "No ticket with that identifier"}),
            "does not know its identifier",
        ),
        (lambda _: httpx.Response(404, json={"detail": "Not Found"}), "could not be looked up"),
        (lambda _: httpx.Response(404, text="<html>nothing here</html>"), "could not be looked up"),
        (lambda _: httpx.Response(503, text="busy"), "could not be looked up"),
        (lambda _: httpx.Response(200, text="busy"), "could not be looked up"),
        (lambda _: httpx.Response(200, json=[]), "could not be looked up"),
        (
            lambda _: httpx.Response(200, json={"id": "t", "identifier": "another"}),
            "Leen was asked for the identifier",
        ),
    ],
)
def test_a_look_up_that_proves_nothing_says_why(reply: Answer, finding: str) -> None:
    (ticket,) = unknown_tickets(1)
    assert look_up(reply, [ticket]) == {}
    assert finding in ticket.findings


def test_after_eight_failures_in_a_row_leen_is_not_asked_any_more() -> None:
    asked = 0

    def answer(_: httpx.Request) -> httpx.Response:
        nonlocal asked
        asked += 1
        return httpx.Response(503)

    every = unknown_tickets(200)
    assert look_up(answer, every) == {}
    # Those that were being asked at the same time can't be called back.
    assert FAILURES_BEFORE_GIVING_UP <= asked < FAILURES_BEFORE_GIVING_UP + LOOK_UPS_AT_ONCE
    assert all("looked up in Leen" in ticket.findings for ticket in every)


def test_failures_between_answers_are_no_reason_to_give_up() -> None:
    asked = 0

    def answer(request: httpx.Request) -> httpx.Response:
        nonlocal asked
        asked += 1
        return httpx.Response(503) if asked % 4 else unknown_to_leen(request)

    look_up(answer, unknown_tickets(100))
    assert asked == 100


# By search


def keys_asked_for(request: httpx.Request, among: Sequence[UnknownTicket]) -> list[str]:
    jql = request.url.params["jql"]
    return [str(ticket.row.key) for ticket in among if str(ticket.row.key) in jql]


def issue(key: str, number: int = 1) -> dict[str, Any]:
    return {"id": str(10000 + number), "key": f"SEC-{number}", "fields": {"description": f"Text.\n\n{key}"}}


def test_a_search_that_returns_only_its_first_hits_is_asked_again_until_it_finds_nothing() -> None:
    asked = unknown_tickets(10, embedded=True)
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
    asked = unknown_tickets(3, embedded=True)

    def answer(request: httpx.Request) -> httpx.Response:
        keys = keys_asked_for(request, asked)
        incident = {"key": "OPS-1", "fields": {"description": f"Which of these exist? {', '.join(keys)}; see the log."}}
        first = [issue(keys[0])] if len(keys) == 3 else []
        return httpx.Response(200, json={"issues": [*first, incident]})

    found, absent = confirm_absence(answer, asked)
    assert found == {0: Created(None, "SEC-1")}
    assert absent == []
    assert "does not find its key, but finds other tickets, which proves nothing" in asked[1].findings


@pytest.mark.parametrize(
    "reply",
    [
        httpx.Response(503),
        httpx.Response(400, json={"detail": "no JQL here"}),
        httpx.Response(404, json={"detail": "Not Found"}),
        httpx.Response(200, text="busy"),
        httpx.Response(206, json={"issues": []}),
        httpx.Response(204),
    ],
    ids=["503", "400", "404", "no JSON", "a part", "no content"],
)
def test_a_search_that_fails_proves_nothing(reply: httpx.Response) -> None:
    (ticket,) = unknown_tickets(1, embedded=True)
    assert confirm_absence(lambda _: reply, [ticket]) == ({}, [])
    assert "The tracker could not be searched for its key" in ticket.findings


def test_after_some_failed_searches_in_a_row_the_vendor_is_not_searched_any_more() -> None:
    asked = unknown_tickets(1000, embedded=True)
    searches = 0

    def answer(_: httpx.Request) -> httpx.Response:
        nonlocal searches
        searches += 1
        return httpx.Response(503)

    assert confirm_absence(answer, asked) == ({}, [])
    assert searches == FAILED_SEARCHES_BEFORE_GIVING_UP
    assert "earlier searches failed" in asked[-1].findings


def test_the_vendor_is_searched_only_for_embedded_keys_and_only_for_what_leen_does_not_know() -> None:
    asked = unknown_tickets(4, embedded=True)
    searched: list[list[str]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        if is_search(request):
            searched.append(keys_asked_for(request, asked))
            return httpx.Response(200, json={"issues": []})
        known = request.url.path.endswith(str(asked[0].row.key))
        record = leens(asked[0], "t") | {"description": asked[0].key}
        return httpx.Response(200, json=record) if known else unknown_to_leen(request)

    assert look_up(answer, unknown_tickets(4)) == {0: Created("t", "SEC-7")}
    assert searched == []
    assert look_up(answer, asked) == {0: Created("t", "SEC-7")}
    assert searched == [[str(ticket.row.key) for ticket in asked[1:]]]


def test_of_a_ticket_that_left_without_its_key_no_search_proves_the_absence() -> None:
    with_key, without = unknown_tickets(2, embedded=True)
    without.sendings = (with_key.sendings[0]._replace(embedded=False),)
    found, absent = confirm_absence(lambda _: httpx.Response(200, json={"issues": []}), [with_key, without])
    assert (found, absent) == ({}, [with_key])


def test_a_given_identifier_is_looked_up_but_it_is_the_key_that_the_vendor_is_searched_for() -> None:
    (ticket,) = unknown_tickets(1, identifier="CVE-2026-1", embedded=True)

    def answer(request: httpx.Request) -> httpx.Response:
        if is_search(request):
            assert "CVE-2026-1" not in request.url.params["jql"]
            return httpx.Response(200, json={"issues": [issue(str(ticket.row.key), 9)]})
        yesterdays = {"id": "old", "identifier": "CVE-2026-1", "ticket_created_at": "2026-04-30T12:00:00Z"}
        return httpx.Response(200, json=yesterdays)

    assert look_up(answer, [ticket]) == {0: Created(None, "SEC-9")}
    assert "Leen has the ticket old under its identifier" in ticket.findings


# When absence is believed


def test_the_last_search_waits_for_the_ticket_that_was_sent_last(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    asked = unknown_tickets(2, embedded=True)
    clock = Clock()
    asked[0].final_from = clock() + 3600
    searched_at: list[float] = []

    def answer(_: httpx.Request) -> httpx.Response:
        searched_at.append(clock())
        return httpx.Response(200, json={"issues": []})

    _found, absent = confirm_absence(answer, asked, clock=clock)
    assert absent == asked
    assert searched_at[0] >= asked[0].final_from
    assert "The outcome of 2 tickets is unknown, and look-ups have not found them so far" in caplog.text
    assert "Waiting until" in caplog.text


def test_long_after_the_sending_the_last_search_does_not_wait() -> None:
    clock = Clock()
    confirm_absence(lambda _: httpx.Response(200, json={"issues": []}), unknown_tickets(1, embedded=True), clock=clock)
    assert clock.slept == 0


# What keeps an empty search from being believed


CONTROL = Control(f"airflow-{'c' * 24}", "SEC-99")


def tracker(*sees: tuple[str, int], blind_from: int = 10_000) -> Answer:
    """A tracker's search that sees tickets, by key and number, in searches of less than some length."""

    def answer(request: httpx.Request) -> httpx.Response:
        jql = request.url.params["jql"]
        hits = [issue(key, number) for key, number in sees if key in jql and len(jql) < blind_from]
        return httpx.Response(200, json={"data": {"results": hits}})

    return answer


def test_an_empty_search_is_believed_where_the_same_search_finds_a_ticket_that_exists() -> None:
    asked = unknown_tickets(3, embedded=True)
    assert confirm_absence(tracker((CONTROL.key, 99)), asked, CONTROL) == ({}, asked)
    assert confirm_absence(tracker((CONTROL.key, 99)), asked, CONTROL._replace(vendor_ticket_id=None)) == ({}, asked)


def test_a_control_search_that_shows_not_all_it_finds_proves_no_absence() -> None:
    asked = unknown_tickets(2, embedded=True)

    def answer(request: httpx.Request) -> httpx.Response:
        is_control = CONTROL.key in request.url.params["jql"]
        hits = [issue(CONTROL.key, 99)] if is_control else []
        return httpx.Response(200, json={"issues": hits, "total": 2 * len(hits)})

    assert confirm_absence(answer, asked, CONTROL) == ({}, [])
    assert "says more than that (total: 2)" in asked[0].findings


def test_a_search_that_finds_another_ticket_with_its_key_proves_no_absence() -> None:
    assert confirm_absence(tracker((CONTROL.key, 98)), unknown_tickets(1, embedded=True), CONTROL) == ({}, [])


def test_where_people_moved_or_deleted_a_control_another_one_does() -> None:
    asked, gone = unknown_tickets(2, embedded=True), Control(f"airflow-{'d' * 24}", "SEC-100")

    async def go(*controls: Control) -> tuple[dict[str, Created], list[UnknownTicket]]:
        async with answering(tracker((CONTROL.key, 99), (gone.key, 7))) as client:
            return await Settler(client).confirm_absence(asked, lambda project: controls)

    assert asyncio.run(go(gone, CONTROL)) == ({}, asked)
    assert asyncio.run(go(gone)) == ({}, [])


def test_the_control_is_searched_for_in_a_search_of_the_same_form_which_is_as_long() -> None:
    asked = unknown_tickets(20, embedded=True)
    assert confirm_absence(tracker((CONTROL.key, 99), blind_from=500), asked, CONTROL) == ({}, [])


def test_what_only_the_control_search_finds_exists() -> None:
    asked = unknown_tickets(3, embedded=True)
    searches = 0

    def answer(request: httpx.Request) -> httpx.Response:
        nonlocal searches
        searches += 1
        hits = [issue(CONTROL.key, 99), issue(asked[1].key, 7)] if searches == 2 else []
        return httpx.Response(200, json={"issues": hits})

    assert confirm_absence(answer, asked, CONTROL) == ({1: Created(None, "SEC-7")}, [asked[0], asked[2]])


def test_each_project_is_searched_with_its_own_control() -> None:
    asked = unknown_tickets(4, embedded=True)
    asked[1].project = asked[3].project = "APP"
    searched: list[list[int]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        keys = keys_asked_for(request, asked)
        searched.append([ticket.row.index for ticket in asked if ticket.key in keys])
        hits = [issue(CONTROL.key, 99)] if CONTROL.key in request.url.params["jql"] else []
        return httpx.Response(200, json={"issues": hits})

    async def go() -> tuple[dict[str, Created], list[UnknownTicket]]:
        async with answering(answer) as client:
            return await Settler(client).confirm_absence(asked, {"SEC": [CONTROL], "APP": []}.__getitem__)

    assert asyncio.run(go()) == ({}, [asked[0], asked[2], asked[1], asked[3]])
    assert searched == [[0, 2], [0, 2], [1, 3]]


# By an id that a contradictory reply named


def named(*ids: str) -> UnknownTicket:
    (ticket,) = unknown_tickets(1)
    ticket.named = ids
    return ticket


def leen_and_tracker(record: dict[str, Any] | None, hits: list[Any]) -> Answer:
    def answer(request: httpx.Request) -> httpx.Response:
        if is_search(request):
            assert request.url.params["jql"] == 'key = "SEC-7"'
            return httpx.Response(200, json={"issues": hits})
        if record is None or "by-identifier" in request.url.path:
            return unknown_to_leen(request)
        assert request.url.path.endswith("/itsm/tickets/t")
        return httpx.Response(200, json=record)

    return answer


ISSUE = {"key": "SEC-7", "fields": {"summary": "finding 0", "created": SENT_AT.isoformat(), "description": "Text."}}


@pytest.mark.parametrize(
    ("ids", "is_at_leen", "hits", "found"),
    [
        pytest.param(("t", "SEC-7"), True, [], Created("t", "SEC-7"), id="read from Leen"),
        pytest.param(("SEC-7",), False, [ISSUE], Created(None, "SEC-7"), id="named by the vendor's id alone"),
        pytest.param(("t", "SEC-7"), False, [ISSUE], Created(None, "SEC-7"), id="unknown to Leen, in the tracker"),
    ],
)
def test_a_ticket_that_a_reply_named_is_read_wherever_it_is(
    ids: tuple[str, ...], is_at_leen: bool, hits: list[Any], found: Created
) -> None:
    ticket = named(*ids)
    record = leens(ticket, "t") if is_at_leen else None
    assert look_up(leen_and_tracker(record, hits), [ticket]) == {0: found}


@pytest.mark.parametrize(
    ("hits", "finding"),
    [
        ([], "named SEC-7, but it can't be found"),
        ([ISSUE | {"key": "SEC-8"}], "it can't be found"),
        ([ISSUE, ISSUE], "it can't be found"),
        ([ISSUE | {"fields": ISSUE["fields"] | {"summary": "another"}}], "it has another name"),  # type: ignore[operator]
        ([ISSUE | {"fields": {"summary": "finding 0"}}], "it does not say when it was created"),
    ],
)
def test_what_a_reply_named_and_is_another_ticket_or_none_stays_unknown(hits: list[Any], finding: str) -> None:
    ticket = named("SEC-7")
    assert look_up(leen_and_tracker(None, hits), [ticket]) == {}
    assert finding in ticket.findings
