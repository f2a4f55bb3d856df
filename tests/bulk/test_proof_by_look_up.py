"""Whole runs against a tracker that counts what it made: nothing is doubled, lost, or claimed without proof."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_leen.api.errors import LeenNotFoundError
from tests.bulk.runs import UUID, VENDOR, Store, Try, run_try, tickets
from tests.bulk.tracker import Tracker, once, record_of, tracker

FORMS = pytest.mark.parametrize("form", [VENDOR, UUID], ids=["vendor ids", "UUIDs"])


def own(count: int) -> list[dict[str, Any]]:
    return [{"name": f"finding {number}", "identifier": f"CVE-2026-{number}"} for number in range(count)]


def run(known: Tracker, given: list[dict[str, Any]], store: Store | None = None, **options: Any) -> Try:
    return run_try(known, store or Store(), given, **options)


# A8: a search that is empty, but


RESERVATIONS: list[Any] = [
    {"issues": [], "errors": ["the index is being rebuilt"]},
    {"issues": [], "warningMessages": ["the project SEC is hidden"]},
    {"issues": [], "total": 3},
    {"issues": [], "next_cursor": "more"},
    {"issues": [], "isLast": False},
    {"issues": [], "items": [{"key": "OPS-1"}]},
    {"data": {"issues": []}, "success": False},
    {"total": 0},
]


@FORMS
@pytest.mark.parametrize("shape", RESERVATIONS, ids=str)
def test_a_search_that_is_empty_with_a_reservation_doubles_nothing(form: dict[str, str], shape: Any) -> None:
    with tracker(lose=(1,), shape=lambda hits: shape) as known:
        ended = run(known, tickets(3), defaults=form, embedded=True)
    assert ended.counts == {"unknown": 3}
    assert known.counts() == once(tickets(3))


@pytest.mark.parametrize("embedded", [True, False], ids=["embedded", "not embedded"])
def test_a_blind_search_is_found_out_by_a_ticket_of_this_run_that_it_does_not_find(embedded: bool) -> None:
    with tracker(lose=(2,), shape=lambda hits: {"issues": []}) as known:
        ended = run(known, tickets(6), batch_size=3, embedded=embedded)
    assert ended.counts == {"created": 3, "unknown": 3}
    assert known.counts() == once(tickets(6))
    assert ("either, so this proves nothing" in str(ended.results[5]["error"])) == embedded


@FORMS
@pytest.mark.parametrize(
    "wrap",
    [
        pytest.param(lambda hits: hits, id="a bare list"),
        pytest.param(lambda hits: {"items": hits, "next_cursor": None}, id="items"),
        pytest.param(lambda hits: {"issues": hits, "total": len(hits), "startAt": 0, "maxResults": 50}, id="issues"),
        pytest.param(lambda hits: {"results": hits, "success": True, "errors": []}, id="results"),
        pytest.param(lambda hits: {"data": {"issues": hits, "isLast": True}}, id="data"),
    ],
)
def test_a_healthy_search_settles_all_in_any_wrapping(form: dict[str, str], wrap: Any) -> None:
    with tracker(drop=(2,), lose=(3,), shape=wrap) as known:
        ended = run(known, tickets(9), batch_size=3, defaults=form, embedded=True)
    assert ended.error is None
    assert ended.counts == {"created": 9}
    assert known.counts() == once(tickets(9))


# A9: a gateway's 404


@pytest.mark.parametrize(
    "gateways",
    [
        {"type": "about:blank", "title": "Not Found", "status": 404, "detail": "No such resource."},
        {"type": "error", "code": "route_not_found", "message": "No route.", "detail": []},
        {"detail": "Not Found"},
        "<html>404</html>",
    ],
    ids=str,
)
def test_a_gateways_404_is_a_failed_look_up_and_nothing_is_created(gateways: Any) -> None:
    with tracker(unknown=(404, gateways)) as known:
        ended = run(known, own(2), skip_existing=True)
    assert type(ended.error) is LeenNotFoundError
    assert ended.counts == {"unsent": 2}
    assert known.made == []


def test_leens_own_404_lets_tickets_be_created() -> None:
    with tracker() as known:
        assert run(known, own(2), skip_existing=True).counts == {"created": 2}


@pytest.mark.parametrize(
    "normalised", [lambda text: text.lower(), lambda text: f" {text} ", lambda text: text[:64]], ids=["case", "", "cut"]
)
def test_an_identifier_that_leen_normalises_is_found(normalised: Any) -> None:
    given = [{"name": "finding", "identifier": f"CVE-2026-{'X' * 80}"}]
    changed = lambda record: record | {"identifier": normalised(record["identifier"])}  # noqa: E731
    with tracker(stores=True, change=changed) as known:
        known.make(given[0], ago=86400.0)
        assert run(known, given, skip_existing=True).counts == {"existing": 1}


def test_two_identifiers_that_lead_to_one_ticket_are_not_both_existing() -> None:
    given = [{"name": f"finding {end}", "identifier": "x" * 70 + end} for end in "ab"]
    with tracker(stores=True, unknown=(200, {"id": "t", "identifier": "x" * 64})) as known:
        ended = run(known, given, skip_existing=True)
    assert "with the same ticket" in str(ended.error)
    assert ended.counts == {"unsent": 2}


# A10: another run's tickets with the same identifiers


@FORMS
@pytest.mark.parametrize("embedded", [True, False], ids=["embedded", "not embedded"])
def test_another_runs_tickets_are_never_taken_for_this_runs(form: dict[str, str], embedded: bool) -> None:
    with tracker(drop=(1,), stores=True) as known:
        for body in own(3):
            known.make(body | {"description": f"Text.\n\nairflow-{'b' * 24}"} if embedded else body, ago=61.0)
        ended = run(known, own(3), defaults=form, embedded=embedded)
    # With embedded keys the search proves that its own don't exist, so that they are sent again.
    assert ended.counts == ({"created": 3} if embedded else {"unknown": 3})
    assert len(known.made) == (6 if embedded else 3)
    assert not {result["vendor_ticket_id"] for result in ended.results} & {"SEC-1", "SEC-2", "SEC-3"}


def test_one_ticket_is_not_claimed_for_two_rows() -> None:
    given = [{"name": "finding", "identifier": "x" * 70 + end} for end in "ab"]
    with tracker(drop=(1,), stores=True, change=lambda record: record | {"identifier": "x" * 64}) as known:
        known.make(given[0], ago=-0.2)
        known.unknown = (200, known.change(record_of(known.made[0])))
        ended = run(known, given)
    assert ended.counts == {"unknown": 2}
    assert "name leen-1, SEC-1" in str(ended.results[0]["error"])


# A12: both replies are lost, and the first sending had worked


@pytest.mark.parametrize("tries", [1, 2])
def test_the_earliest_open_sending_counts(tries: int) -> None:
    with tracker(lose=(1,), drop=(2, 3), stores=True) as known:
        store = Store()
        # Leen does not show them yet.
        known.stores = False
        ended = run(known, own(2), store, on_unknown="resend")
        assert ended.counts == {"unknown": 2}
        for _ in range(tries - 1):
            run(known, own(2), store, on_unknown="resend")
        known.stores = True
        ended = run(known, own(2), store)
    assert ended.counts == {"created": 2}
    assert [result["vendor_ticket_id"] for result in ended.results] == ["SEC-1", "SEC-2"]


def test_within_one_try_the_earliest_open_sending_counts() -> None:
    with tracker(lose=(1,), drop=(2,), stores=True) as known:
        hidden = {"left": 2}

        def hide(record: dict[str, Any]) -> dict[str, Any]:
            # The first look-up gets no proof.
            hidden["left"] -= 1
            return record | ({"name": "not synced"} if hidden["left"] >= 0 else {})

        known.change = hide
        ended = run(known, own(2), on_unknown="resend")
    assert known.posts == 2
    assert ended.counts == {"created": 2}
    assert known.counts() == once(own(2))


# Ids that a contradictory reply named


@FORMS
@pytest.mark.parametrize("claim", [{"success": False, "error": "no"}, {"error": "late"}], ids=str)
def test_what_a_contradictory_reply_named_is_read_and_proved(form: dict[str, str], claim: dict[str, Any]) -> None:
    with tracker(claim=lambda result: result | claim, stores=form is UUID) as known:
        ended = run(known, tickets(3), defaults=form)
    assert ended.counts == {"created": 3}
    assert [result["vendor_ticket_id"] for result in ended.results] == ["SEC-1", "SEC-2", "SEC-3"]
    assert known.counts() == once(tickets(3))


@FORMS
def test_another_ticket_that_a_contradictory_reply_named_is_not_taken_for_it(form: dict[str, str]) -> None:
    named = {"success": False, "error": "no", "vendor_ticket_id": "SEC-1", "ticket_id": "leen-1"}
    with tracker(claim=lambda result: result | named, drop=(1,), stores=form is UUID) as known:
        known.make({"name": "old"} | form, ago=3600.0)
        store = Store()
        run(known, tickets(1), store, defaults=form, on_unknown="fail")
        ended = run(known, tickets(1), store, defaults=form, on_unknown="resend")
    # Its own is found under its identifier where Leen stores it.
    assert ended.counts == ({"created": 1} if form is UUID else {"unknown": 1})
    assert ended.results[0]["vendor_ticket_id"] == ("SEC-2" if form is UUID else None)
    assert len(known.made) == 2
