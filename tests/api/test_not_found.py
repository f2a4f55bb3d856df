"""Leen's own 404 for an unknown ticket, distinguished from a missing route and a gateway's page."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import pytest

from airflow_provider_leen.api.errors import LeenNotFoundError
from airflow_provider_leen.api.replies import Reply
from airflow_provider_leen.api.retry import error_from_reply, is_unknown_to_leen

LEENS_OWN = {"type": "not_found", "code": "NOT_FOUND", "message": "No ticket with this identifier.", "detail": []}


def is_unknown(body: Any, asked: str = "CVE-2026-1") -> bool:
    call = f"GET /itsm/tickets/by-identifier/{quote(asked, safe='')}"
    error = error_from_reply(call, Reply(404, {}, body), datetime.now(UTC))
    assert isinstance(error, LeenNotFoundError)
    return is_unknown_to_leen(error)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(LEENS_OWN, id="Leen's own"),
        pytest.param(LEENS_OWN | {"detail": [{"msg": "unknown"}]}, id="with a detail"),
        pytest.param(LEENS_OWN | {"detail": "unknown"}, id="with a detail that is a text"),
        pytest.param(LEENS_OWN | {"detail": None}, id="with an empty detail"),
        pytest.param(LEENS_OWN | {"message": "Not Found"}, id="in few words"),
        pytest.param(LEENS_OWN | {"request_id": "r-1"}, id="with a field more"),
        pytest.param({"detail": "Ticket not found"}, id="a detail of its own"),
    ],
)
def test_leens_own_404_says_that_it_knows_no_such_ticket(body: Any) -> None:
    assert is_unknown(body)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param({"detail": "Not Found"}, id="FastAPI's missing route"),
        pytest.param({"detail": "not found."}, id="the same, spelt otherwise"),
        pytest.param({"detail": " "}, id="a blank detail"),
        pytest.param({"detail": ["Ticket not found"]}, id="a list"),
        pytest.param({"detail": "Ticket not found", "status": 404}, id="a detail and something else"),
        pytest.param({"detail": "Cannot GET /v1/itsm/tickets/by-identifier/CVE-2026-1"}, id="the path is quoted"),
        pytest.param({"detail": "There is no connection with this ID"}, id="a detail about the connection"),
        pytest.param({"code": "NOT_FOUND"}, id="only a code"),
        pytest.param({"message": "no Route matched with those values"}, id="Kong"),
        pytest.param({"type": "about:blank", "title": "Not Found", "status": 404, "detail": "No."}, id="RFC 9457"),
        pytest.param(LEENS_OWN | {"type": "about:blank"}, id="RFC 9457 in Leen's form"),
        pytest.param(LEENS_OWN | {"code": "route_not_found"}, id="a route by its code"),
        pytest.param(LEENS_OWN | {"code": "RouteNotFound"}, id="a route in another case"),
        pytest.param(LEENS_OWN | {"message": "No such endpoint."}, id="an endpoint"),
        pytest.param(LEENS_OWN | {"message": "The requested URL was not found."}, id="a URL"),
        pytest.param(LEENS_OWN | {"message": "The path does not exist."}, id="a path"),
        pytest.param(LEENS_OWN | {"type": "connection_not_found"}, id="a connection"),
        pytest.param(LEENS_OWN | {"detail": [{"msg": "no healthy upstream"}]}, id="in the detail"),
        pytest.param({k: v for k, v in LEENS_OWN.items() if k != "detail"}, id="without a detail"),
        pytest.param(LEENS_OWN | {"code": ""}, id="without a code"),
        pytest.param(LEENS_OWN | {"type": 404}, id="a type that is a number"),
        pytest.param({}, id="an empty object"),
        pytest.param(None, id="nothing, or a proxy's page"),
        pytest.param(["Ticket not found"], id="no object"),
    ],
)
def test_another_404_says_nothing_about_a_ticket(body: Any) -> None:
    assert not is_unknown(body)


@pytest.mark.parametrize("asked", ["CVE-1/endpoint-7", "src/path/Route.java:12", 'the "connection" rule', "50 % path"])
def test_what_was_asked_for_may_be_called_anything(asked: str) -> None:
    assert is_unknown(LEENS_OWN | {"message": f"No ticket with identifier '{asked}'."}, asked)
    assert is_unknown({"detail": f"No ticket {quote(asked, safe='')}"}, asked)


@pytest.mark.parametrize("asked", ["o", "route", "th"])
def test_a_requested_word_is_not_removed_from_other_words(asked: str) -> None:
    assert not is_unknown(LEENS_OWN | {"message": "No route with this path."}, asked)
