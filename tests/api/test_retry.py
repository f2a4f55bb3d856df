from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from airflow_provider_leen.api.errors import (
    LeenAuthError,
    LeenConfigError,
    LeenConnectError,
    LeenError,
    LeenLedgerError,
    LeenNotFoundError,
    LeenOutcomeUnknownError,
    LeenRateLimitError,
    LeenResponseError,
    LeenServerError,
    LeenStoppedError,
    LeenThresholdError,
    LeenValidationError,
)
from airflow_provider_leen.api.replies import Reply, safe_from
from airflow_provider_leen.api.retry import (
    Effect,
    blames_tickets,
    effect_of_write,
    error_from_reply,
    located_tickets,
    parse_retry_after,
    retry_wait,
)

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SECRET = 'lk_"f00d"/\\x'


def reply(
    status: int, body: Any = b"", secret: str = SECRET, call: str = "POST /itsm/tickets", **headers: str
) -> LeenError:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return error_from_reply(call, Reply.of(status, named, content, safe_from(secret)), NOW)


# What a status means

STATUSES = [
    # status, exception, what a write did, is a write sent again, is a read
    (300, LeenResponseError, Effect.UNKNOWN, False, False),
    (301, LeenConfigError, Effect.REFUSED, False, False),
    (302, LeenConfigError, Effect.REFUSED, False, False),
    (303, LeenResponseError, Effect.UNKNOWN, False, False),
    (304, LeenResponseError, Effect.UNKNOWN, False, False),
    (307, LeenConfigError, Effect.REFUSED, False, False),
    (308, LeenConfigError, Effect.REFUSED, False, False),
    (400, LeenValidationError, Effect.REFUSED, False, False),
    (401, LeenAuthError, Effect.REFUSED, False, False),
    (402, LeenResponseError, Effect.UNKNOWN, False, False),
    (403, LeenAuthError, Effect.REFUSED, False, False),
    (404, LeenNotFoundError, Effect.REFUSED, False, False),
    (405, LeenResponseError, Effect.REFUSED, False, False),
    (406, LeenResponseError, Effect.UNKNOWN, False, False),
    (408, LeenResponseError, Effect.UNKNOWN, False, False),
    (409, LeenResponseError, Effect.UNKNOWN, False, False),
    (410, LeenResponseError, Effect.UNKNOWN, False, False),
    (413, LeenValidationError, Effect.REFUSED, False, False),
    (415, LeenResponseError, Effect.UNKNOWN, False, False),
    (418, LeenResponseError, Effect.UNKNOWN, False, False),
    (422, LeenValidationError, Effect.REFUSED, False, False),
    (423, LeenResponseError, Effect.UNKNOWN, False, False),
    (424, LeenResponseError, Effect.UNKNOWN, False, False),
    (425, LeenResponseError, Effect.UNKNOWN, False, False),
    (428, LeenResponseError, Effect.UNKNOWN, False, False),
    (429, LeenRateLimitError, Effect.NOTHING, True, True),
    (451, LeenResponseError, Effect.UNKNOWN, False, False),
    (499, LeenResponseError, Effect.UNKNOWN, False, False),
    (500, LeenServerError, Effect.UNKNOWN, False, True),
    (502, LeenServerError, Effect.UNKNOWN, False, True),
    (503, LeenServerError, Effect.UNKNOWN, False, True),
    (504, LeenServerError, Effect.UNKNOWN, False, True),
    (599, LeenServerError, Effect.UNKNOWN, False, True),
]


@pytest.mark.parametrize(("status", "kind", "effect", "write_again", "read_again"), STATUSES)
def test_a_status_decides_exception_effect_and_repetition(
    status: int, kind: type[LeenError], effect: Effect, write_again: bool, read_again: bool
) -> None:
    error = reply(status)
    assert type(error) is kind
    assert effect_of_write(error) is effect
    assert (wait(error, read_only=False) is not None) is write_again
    assert (wait(error, read_only=True) is not None) is read_again


# What an exception means

EXCEPTIONS = [
    (LeenConnectError("x"), Effect.NOTHING, True, True),
    (LeenOutcomeUnknownError("x"), Effect.UNKNOWN, False, True),
    (LeenConfigError("x"), Effect.REFUSED, False, False),
    (LeenLedgerError("x"), Effect.REFUSED, False, False),
    (LeenStoppedError("x"), Effect.REFUSED, False, False),
    (LeenThresholdError("x"), Effect.REFUSED, False, False),
    (LeenResponseError("x", status=200), Effect.UNKNOWN, False, False),
    (LeenResponseError("x"), Effect.UNKNOWN, False, False),
]


@pytest.mark.parametrize(
    ("error", "effect", "write_again", "read_again"), EXCEPTIONS, ids=[type(row[0]).__name__ for row in EXCEPTIONS]
)
def test_an_exception_without_a_reply_decides_effect_and_repetition(
    error: LeenError, effect: Effect, write_again: bool, read_again: bool
) -> None:
    assert effect_of_write(error) is effect
    assert (wait(error, read_only=False) is not None) is write_again
    assert (wait(error, read_only=True) is not None) is read_again


# How long to wait


def wait(
    error: LeenError,
    attempt: int = 1,
    *,
    read_only: bool = False,
    max_retries: int = 3,
    max_retry_wait: float = 120.0,
    jitter: float = 0.0,
) -> float | None:
    return retry_wait(
        error, attempt, read_only=read_only, max_retries=max_retries, max_retry_wait=max_retry_wait, jitter=jitter
    )


@pytest.mark.parametrize(
    ("attempt", "least", "most"), [(1, 0.5, 1), (2, 1, 2), (3, 2, 4), (7, 32, 64), (8, 60, 120), (5000, 60, 120)]
)
def test_a_wait_doubles_up_to_the_longest_and_jitter_takes_at_most_half_of_it(
    attempt: int, least: float, most: float
) -> None:
    error = LeenConnectError("x")
    assert wait(error, attempt, max_retries=9999, jitter=0.0) == least
    assert wait(error, attempt, max_retries=9999, jitter=1.0) == most


@pytest.mark.parametrize(("max_retries", "attempts"), [(0, 1), (1, 2), (3, 4)])
def test_after_max_retries_repetitions_a_call_is_not_sent_again(max_retries: int, attempts: int) -> None:
    waits = [wait(LeenConnectError("x"), attempt, max_retries=max_retries) for attempt in range(1, attempts + 1)]
    assert None not in waits[:-1]
    assert waits[-1] is None


def test_no_wait_is_longer_than_max_retry_wait() -> None:
    assert wait(LeenConnectError("x"), 3, max_retry_wait=0.01, jitter=1.0) == 0.01
    assert wait(LeenConnectError("x"), 3, max_retry_wait=0, jitter=1.0) == 0


@pytest.mark.parametrize(
    ("retry_after", "jitter", "seconds"),
    [
        pytest.param(5.0, 0.0, 5.0, id="as said"),
        pytest.param(5.0, 1.0, 5.5, id="a tenth more with jitter"),
        pytest.param(60.0, 1.0, 61.0, id="a second more at most"),
        pytest.param(0.5, 0.0, 0.5, id="less than a second"),
        pytest.param(120.0, 0.0, 120.0, id="just as long as allowed"),
        pytest.param(120.5, 0.0, None, id="longer than allowed"),
        pytest.param(0.0, 0.0, 0.5, id="a date in the past, or 0"),
        pytest.param(None, 1.0, 1.0, id="nothing said"),
    ],
)
@pytest.mark.parametrize("read_only", [False, True])
def test_a_429_waits_as_long_as_leen_says(
    retry_after: float | None, jitter: float, seconds: float | None, read_only: bool
) -> None:
    error = LeenRateLimitError("x", retry_after=retry_after)
    assert wait(error, jitter=jitter, read_only=read_only) == seconds


def http_date(seconds: float) -> str:
    return format_datetime(NOW + timedelta(seconds=seconds), usegmt=True)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("", None),
        ("0", 0.0),
        ("7", 7.0),
        (" 7 ", 7.0),
        ("0.5", 0.5),
        ("-1", None),
        ("nan", None),
        ("inf", None),
        ("1e999", None),
        ("soon", None),
        ("7 s", None),
        (http_date(90), 90.0),
        (http_date(-90), 0.0),
        ("Sun, 01 Mar 2026 12:00:30 -0000", 30.0),
        ("Sun, 01 Mar 2026 13:00:30 +0100", 30.0),
        ("Sun Mar  1 12:00:30 2026", 30.0),
        ("Sun, 31 Feb 2026 12:00:00 GMT", None),
        ("Sun, 01 Mar 2026 99:00:00 GMT", None),
        ("Sun, 01 Mar 99999999999 12:00:00 GMT", None),
        ("Sun, 01 Mar 2026 12:00:00 +99999999999999999", None),
    ],
)
def test_retry_after_is_read_as_seconds_or_as_a_date(value: str | None, seconds: float | None) -> None:
    assert parse_retry_after(value, NOW) == seconds


# What the body of an error says

ERROR_RESPONSE = {
    "type": "auth",
    "code": "KEY_EXPIRED",
    "message": "The key is too old.",
    "detail": [{"hint": "renew"}],
}


@pytest.mark.parametrize(
    ("body", "said", "facts"),
    [
        pytest.param(
            ERROR_RESPONSE,
            'HTTP 409: The key is too old.; {"hint": "renew"}.',
            {"type": "auth", "code": "KEY_EXPIRED", "detail": [{"hint": "renew"}]},
            id="Leen's ErrorResponse",
        ),
        pytest.param(
            ERROR_RESPONSE | {"detail": []}, "HTTP 409: The key is too old.", {"detail": []}, id="without details"
        ),
        pytest.param(
            {"detail": "Gone away"}, "HTTP 409: Gone away.", {"detail": "Gone away", "type": None}, id="FastAPI, text"
        ),
        pytest.param(
            {"detail": [{"loc": ["body", "tickets", 3, "name"], "msg": "Field required", "type": "missing"}]},
            "HTTP 409: body.tickets.3.name: Field required.",
            {"code": None},
            id="FastAPI, list",
        ),
        pytest.param(
            {"detail": [{"message": "one"}, "two", 3, {"msg": "not told"}]}, "HTTP 409: one; two; 3.", {}, id="odd list"
        ),
        pytest.param(
            {"message": "No", "detail": {"why": "odd"}}, "HTTP 409: No.", {"detail": {"why": "odd"}}, id="odd detail"
        ),
        pytest.param({"detail": {"why": "odd"}}, '409: {"detail": {"why": "odd"}}.', {}, id="an object as detail"),
        pytest.param({"error": "quota"}, 'HTTP 409: {"error": "quota"}.', {"type": None}, id="another shape"),
        pytest.param(
            {"type": 5, "code": None, "message": ["x"]}, "['x']", {"type": None, "code": None}, id="wrong types"
        ),
        pytest.param({}, "HTTP 409: {}.", {"detail": None}, id="an empty object"),
        pytest.param(["no", "object"], 'HTTP 409: ["no", "object"].', {"detail": None}, id="a list"),
        pytest.param(b"", "was answered with HTTP 409.", {"detail": None}, id="nothing"),
        pytest.param(
            b"<html>\n  <h1>Bad   Gateway</h1>\n</html>",
            "HTTP 409: <html> <h1>Bad Gateway</h1> </html>.",
            {},
            id="HTML",
        ),
        pytest.param(b"\xff\xfe\x00", "HTTP 409: ", {}, id="no text"),
        pytest.param(b"[" * 100_000, "HTTP 409: [[[", {}, id="nested too deeply"),
        pytest.param({"message": "half \ud800"}, "HTTP 409: half \ufffd", {}, id="half a surrogate pair"),
        pytest.param({"message": "two\nlines"}, "HTTP 409: two lines.", {}, id="a line break"),
    ],
)
def test_both_shapes_of_an_error_are_read_and_others_are_quoted(body: Any, said: str, facts: dict[str, Any]) -> None:
    error = reply(409, body)
    assert isinstance(error, LeenResponseError)
    assert said in str(error)
    assert str(error).startswith("POST /itsm/tickets was answered with HTTP 409")
    assert error.message == str(error)
    assert {name: getattr(error, name) for name in facts} == facts


def test_a_page_of_something_in_between_is_quoted_in_short() -> None:
    error = reply(502, b"<html>" + b"blah " * 100_000)
    assert len(str(error)) < 400
    assert str(error).endswith("…")


def test_an_error_carries_status_and_request_id() -> None:
    error = reply(500, ERROR_RESPONSE, x_request_id="req-7")
    assert isinstance(error, LeenServerError)
    assert (error.status, error.request_id) == (500, "req-7")


@pytest.mark.parametrize(
    ("status", "hint"),
    [
        (401, "Check the API key and the Leen connection ID"),
        (403, "Check the API key and the Leen connection ID"),
        (404, "Check the Base URL and the Leen connection ID"),
        (307, "correct the Base URL"),
    ],
)
def test_an_error_that_a_person_must_fix_says_where(status: int, hint: str) -> None:
    text = str(reply(status, ERROR_RESPONSE | {"detail": []}))
    assert "The key is too old. " in text
    assert hint in text


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 413, 422, 429, 301, 308])
@pytest.mark.parametrize(
    "body",
    [
        {"total": 2, "succeeded": 1, "failed": 1, "results": [{"success": True}, {"success": False}]},
        {"succeeded": 1, "failed": 1},
        {"results": [{"success": False, "vendor_ticket_id": "SEC-1"}]},
        {"detail": {"results": [{"success": True, "ticket_id": "u-1"}]}},
        [{"success": True}],
        {"job_id": "j-1"},
        {"id": "u-1", "name": "n", "ticket_created_at": "2026-03-01T12:00:00Z"},
    ],
)
def test_a_refusal_that_says_that_something_was_done_is_an_unknown_outcome(status: int, body: Any) -> None:
    error = error_from_reply("POST /itsm/tickets/bulk/sync", Reply(status, {}, body), NOW)
    assert effect_of_write(error) is Effect.UNKNOWN
    assert not isinstance(error_from_reply("GET /itsm/tickets", Reply(status, {}, body), NOW), LeenOutcomeUnknownError)


@pytest.mark.parametrize(
    "body",
    [
        {"total": 2, "succeeded": 0, "failed": 2, "results": [{"success": False, "vendor_ticket_id": None}] * 2},
        {"success": False, "error": "no"},
        {"detail": [{"loc": ["body", "ticket_ids", 0], "msg": "unknown", "ticket_id": "u-1"}]},
        {"detail": [{"loc": ["body", "tickets", 0], "msg": "wrong", "input": {"success": True, "job_id": "j-1"}}]},
        {"job_id": None, "message": "no job"},
        "succeeded",
    ],
)
def test_a_refusal_that_is_nothing_else_is_one(body: Any) -> None:
    error = error_from_reply("POST /itsm/tickets/bulk/sync", Reply(422, {}, body), NOW)
    assert effect_of_write(error) is Effect.REFUSED


def test_a_redirect_says_where_to_but_not_with_which_query() -> None:
    text = str(reply(302, location="https://elsewhere.example/login?token=abc"))
    assert "https://elsewhere.example/login" in text
    assert "abc" not in text


@pytest.mark.parametrize(("header", "seconds"), [("30", 30.0), (http_date(30), 30.0), ("rubbish", None)])
def test_a_429_carries_how_long_leen_asks_to_wait(header: str, seconds: float | None) -> None:
    error = reply(429, ERROR_RESPONSE, retry_after=header)
    assert isinstance(error, LeenRateLimitError)
    assert error.retry_after == seconds
    assert ("Leen asks to wait 30 s." in str(error)) is (seconds is not None)


@pytest.mark.parametrize("status", [302, 401, 404, 409, 422, 429, 500])
@pytest.mark.parametrize(
    "body",
    [
        pytest.param(
            {"type": SECRET, "code": SECRET, "message": f"The key {SECRET} is bad", "detail": SECRET}, id="text"
        ),
        pytest.param({"detail": [{"loc": ["header", SECRET], "msg": SECRET, "input": {SECRET: [SECRET]}}]}, id="list"),
        pytest.param({"headers": {"X-API-KEY": SECRET}}, id="another shape"),
        pytest.param(f"<p>{SECRET}</p>".encode(), id="HTML"),
    ],
)
def test_a_key_that_the_server_echoes_is_struck_out(status: int, body: Any) -> None:
    error = reply(status, body, x_request_id=SECRET, location=f"https://elsewhere.example/{SECRET}")
    shown = f"{error!s} {error!r} {error.args} {vars(error)}"
    for form in (SECRET, json.dumps(SECRET)[1:-1], repr(SECRET)[1:-1], "f00d"):
        assert form not in shown
    assert "***" in shown


NO_TICKET = {"type": "not_found", "code": "NOT_FOUND", "message": "There is no such ticket.", "detail": []}


@pytest.mark.parametrize(
    ("body", "blamed"),
    [
        pytest.param(NO_TICKET, True, id="Leen's own"),
        pytest.param(NO_TICKET | {"detail": "No such project"}, True, id="Leen's own, with a text as detail"),
        pytest.param({"detail": "There is no such project"}, False, id="nothing but a detail"),
        pytest.param(NO_TICKET | {"code": "route_not_found"}, False, id="a route"),
        pytest.param(NO_TICKET | {"message": "Connection not found"}, False, id="a connection"),
        pytest.param({"type": "about:blank", "title": "Not Found", "detail": "no"}, False, id="a gateway's"),
        pytest.param(b"<html>404</html>", False, id="a proxy's page"),
        pytest.param(b"", False, id="nothing"),
    ],
)
def test_tickets_are_to_blame_for_a_404_in_leens_own_form_only(body: Any, blamed: bool) -> None:
    assert blames_tickets(reply(404, body)) is blamed


@pytest.mark.parametrize("status", [400, 401, 403, 405, 409, 413, 422, 429, 500])
def test_tickets_are_to_blame_where_the_request_was_read_and_refused(status: int) -> None:
    assert blames_tickets(reply(status, ERROR_RESPONSE)) is (status in (400, 413, 422))


# Which tickets a refusal is about


def located(*place: Any, msg: Any = "bad") -> dict[str, Any]:
    return {"loc": list(place), "msg": msg}


@pytest.mark.parametrize(
    ("detail", "found"),
    [
        pytest.param([located("body", "tickets", 3, "name")], {3: "name: bad"}, id="a field of a ticket"),
        pytest.param([located("tickets", 0, "a", 1, "b")], {0: "a.1.b: bad"}, id="a nested field"),
        pytest.param([located("body", "tickets", 0)], {0: "bad"}, id="a whole ticket"),
        pytest.param(
            [
                located("body", "tickets", 0, "a"),
                located("body", "tickets", 2, "b"),
                located("body", "tickets", 0, "c"),
            ],
            {0: "a: bad; c: bad", 2: "b: bad"},
            id="several",
        ),
        pytest.param([located("body", "tickets", 0, msg=None)], {0: "refused"}, id="without a message"),
        pytest.param([located("body", "tickets", 0, msg=5)], {0: "5"}, id="a message that is no text"),
        pytest.param([located("body", "tickets")], {}, id="the list as a whole"),
        pytest.param([located("body", "tickets", "0")], {}, id="a position as text"),
        pytest.param([located("body", "tickets", True)], {}, id="a truth value"),
        pytest.param([located("body", "tickets", -1)], {}, id="a negative position"),
        pytest.param([located("body", "tickets", 5)], {}, id="a position behind the end"),
        pytest.param([located("header", "x-api-key")], {}, id="elsewhere"),
        pytest.param([located("body", "tickets", 0), located("body")], {}, id="one that can't be located"),
        pytest.param([{"msg": "bad"}], {}, id="without a place"),
        pytest.param([{"loc": "body.tickets.0", "msg": "bad"}], {}, id="a place as text"),
        pytest.param(["bad"], {}, id="texts"),
        pytest.param([], {}, id="empty"),
        pytest.param([located("body", "tickets", 0)] * 101, {}, id="more errors than there can be"),
        pytest.param(
            [located("body", "tickets", 0, msg="x" * 1000)], {0: f"{'x' * 299}…"}, id="a message that is too long"
        ),
        pytest.param("bad", {}, id="a text"),
        pytest.param({"loc": ["body", "tickets", 0]}, {}, id="an object"),
        pytest.param(None, {}, id="nothing"),
    ],
)
def test_a_refusal_locates_tickets_only_where_all_of_it_does(detail: Any, found: dict[int, str]) -> None:
    assert located_tickets(detail, 5) == found


def test_the_ids_of_tickets_are_located_in_their_own_field() -> None:
    detail = [located("body", "ticket_ids", 3)]
    assert located_tickets(detail, 5, "ticket_ids") == {3: "bad"}
    assert located_tickets(detail, 5) == {}
