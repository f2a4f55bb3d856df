"""Pure decisions about one HTTP call: what a reply means, whether it is sent again, and how long to wait."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import Enum
from typing import Any, TypeGuard

from airflow_provider_leen.api.errors import (
    LeenAuthError,
    LeenConfigError,
    LeenConnectError,
    LeenError,
    LeenNotFoundError,
    LeenOutcomeUnknownError,
    LeenRateLimitError,
    LeenResponseError,
    LeenServerError,
    LeenValidationError,
)
from airflow_provider_leen.api.not_found import knows_no_such_thing
from airflow_provider_leen.api.replies import Reply
from airflow_provider_leen.api.results import speaks_of_something_done
from airflow_provider_leen.api.text import one_line

FIRST_WAIT = 1.0
"""Seconds before the first retry, if Leen names none; the wait doubles each time."""

_MAX_SAID = 300
_MOST_ENTRIES = 20
"""The most errors for each ticket, on average, that are read one by one."""


REDIRECTS = (301, 302, 307, 308)
"""Redirects that mean that nothing was done. A 303 points to the result of what was done."""

_NOTHING_DONE = (*REDIRECTS, 400, 401, 403, 404, 405, 413, 422)
"""Besides 429, the only statuses taken as proof that a write had no effect."""


class Effect(Enum):
    """The effect of a write that ended in an error."""

    NOTHING = "nothing was done, and sending it again may help"
    REFUSED = "nothing was done, and sending it again won't help"
    UNKNOWN = "it may have taken effect, or not"


def effect_of_write(error: LeenError) -> Effect:
    """Return the effect of a write that ended in ``error``.

    Leen documents only 404, 422 and 500. It is an assumption that the statuses listed here mean no effect; with any
    other status, a write may have taken effect.
    """
    if isinstance(error, LeenConnectError | LeenRateLimitError):
        return Effect.NOTHING
    if isinstance(error, LeenOutcomeUnknownError):
        return Effect.UNKNOWN
    if isinstance(error, LeenResponseError) and error.status not in _NOTHING_DONE:
        return Effect.UNKNOWN
    return Effect.REFUSED


def blames_tickets(error: LeenError) -> TypeGuard[LeenResponseError]:
    """Return whether a write was refused because of its tickets, so that other tickets may be accepted."""
    if isinstance(error, LeenNotFoundError):
        # For a write, a detail alone is not enough: only Leen's own form has a code.
        return error.unknown_to_leen and error.code is not None
    return isinstance(error, LeenValidationError)


def retry_wait(
    error: LeenError, attempt: int, *, read_only: bool, max_retries: int, max_retry_wait: float, jitter: float
) -> float | None:
    """Return how many seconds to wait before a call is sent again, or None when it must not be.

    :param error: how the last attempt ended.
    :param attempt: how many attempts were made, the last one included.
    :param read_only: the call changes nothing, so that an unknown effect is no obstacle.
    :param max_retries: the most attempts after the first.
    :param max_retry_wait: the longest single wait in seconds.
    :param jitter: a random number between 0 and 1, so that clients that failed together don't return together.
    """
    if attempt > max_retries or not _is_worth_repeating(error, read_only):
        return None
    # A wait of 0, or a date in the past (clocks differ), does not say how long to wait.
    if isinstance(error, LeenRateLimitError) and error.retry_after:
        if error.retry_after > max_retry_wait:
            return None
        # Never less than Leen asked for: the jitter is added.
        return error.retry_after + jitter * min(1.0, error.retry_after / 10)
    longest = min(max_retry_wait, FIRST_WAIT * 2.0 ** min(attempt - 1, 30))
    return longest * (0.5 + jitter / 2)


def _is_worth_repeating(error: LeenError, read_only: bool) -> bool:
    if effect_of_write(error) is Effect.NOTHING:
        return True
    return read_only and isinstance(error, LeenOutcomeUnknownError | LeenServerError)


def parse_retry_after(value: str | None, now: datetime) -> float | None:
    """Read a ``Retry-After`` header, seconds or an HTTP date, as seconds from ``now``; None if it can't be read."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            when = parsedate_to_datetime(value)
        except (ValueError, OverflowError):
            return None
        if when.tzinfo is None:
            when = when.replace(tzinfo=UTC)
        return max(0.0, (when - now).total_seconds())
    return seconds if 0 <= seconds < float("inf") else None


def error_from_reply(call: str, reply: Reply, now: datetime) -> LeenError:
    """Turn a reply that is not a success into its exception.

    Two shapes of body are read: Leen's ``ErrorResponse`` (``type``, ``code``, ``message``, ``detail``) and FastAPI's
    ``detail`` as text or list. Anything else, such as an HTML page from a proxy, is quoted in short.

    :param call: the method and path, for the message.
    :param reply: what came.
    :param now: the time, for a ``Retry-After`` that is a date.
    """
    status, headers = reply.status, reply.headers
    content = reply.content if isinstance(reply.content, dict) else {}
    said = _what_it_says(reply)
    text = _sentence(f"{call} was answered with HTTP {status}{': ' + said if said else ''}")
    claims_nothing = not call.startswith("GET ") and (status == 429 or status in _NOTHING_DONE)
    if claims_nothing and speaks_of_something_done(reply.content):
        return LeenOutcomeUnknownError(
            f"{text} The reply contradicts itself: its status means that nothing was done, its body the opposite."
        )
    if status in REDIRECTS:
        return LeenConfigError(
            f"{text} Redirects are not followed: correct the Base URL of the Airflow connection"
            f"{_redirect_target(headers)}."
        )
    facts: dict[str, Any] = {
        "status": status,
        "type": _text_of(content, "type"),
        "code": _text_of(content, "code"),
        "detail": content.get("detail"),
        "request_id": headers.get("x-request-id"),
    }
    if status in (401, 403):
        return LeenAuthError(f"{text} Check the API key and the Leen connection ID of the Airflow connection.", **facts)
    if status == 404:
        return LeenNotFoundError(
            f"{text} Check the Base URL and the Leen connection ID of the Airflow connection.",
            unknown_to_leen=knows_no_such_thing(content, call),
            **facts,
        )
    if status in (400, 413, 422):
        return LeenValidationError(text, **facts)
    if status == 429:
        retry_after = parse_retry_after(headers.get("retry-after"), now)
        if retry_after:
            text = f"{text} Leen asks to wait {retry_after:.0f} s."
        return LeenRateLimitError(text, retry_after=retry_after, **facts)
    if status >= 500:
        return LeenServerError(text, **facts)
    return LeenResponseError(text, **facts)


def is_unknown_to_leen(error: LeenNotFoundError) -> bool:
    """Return whether a 404 is Leen's own, rather than a missing route or a proxy's page."""
    return error.unknown_to_leen


def located_tickets(detail: Any, count: int, field: str = "tickets") -> dict[int, str]:
    """Find which tickets of a refused bulk call an error's ``detail`` blames, as position -> problem.

    FastAPI locates an error as ``{"loc": ["body", "tickets", 3, "name"], "msg": "…"}``. Empty if any entry can't be
    located: the request as a whole may be wrong then.

    :param detail: the error's.
    :param count: how many tickets were sent.
    :param field: the field of the request that held them.
    """
    if not isinstance(detail, list) or len(detail) > _MOST_ENTRIES * count:
        return {}
    found: dict[int, str] = {}
    for entry in detail:
        position, place = _place_in(field, entry)
        if position is None or position >= count:
            return {}
        what = one_line(str(entry.get("msg") or "refused"), _MAX_SAID)
        message = f"{place}: {what}" if place else what
        found[position] = f"{found[position]}; {message}" if position in found else message
    return found


def _place_in(field: str, entry: Any) -> tuple[int | None, str]:
    place = entry.get("loc") if isinstance(entry, dict) else None
    if not isinstance(place, list) or field not in place:
        return None, ""
    position, *rest = place[place.index(field) + 1 :] or [None]
    if type(position) is not int or position < 0:
        return None, ""
    return position, ".".join(str(part) for part in rest)


def _text_of(content: dict[str, Any], name: str) -> str | None:
    value = content.get(name)
    return value if isinstance(value, str) else None


def _what_it_says(reply: Reply) -> str:
    content = reply.content
    if not isinstance(content, dict):
        return one_line(reply.quote if content is None else json.dumps(content), _MAX_SAID)
    message, detail = content.get("message"), content.get("detail")
    parts = [str(message)] if message else []
    if isinstance(detail, str):
        parts.append(detail)
    elif isinstance(detail, list):
        parts += [_detail_line(entry) for entry in detail[:3]]
    return one_line("; ".join(part for part in parts if part) or json.dumps(content), _MAX_SAID)


def _detail_line(entry: Any) -> str:
    if not isinstance(entry, dict):
        return str(entry)
    place = entry.get("loc")
    where = ".".join(str(part) for part in place) if isinstance(place, list) else ""
    what = str(entry.get("msg") or entry.get("message") or json.dumps(entry, default=str))
    return f"{where}: {what}" if where else what


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?", "…")) else f"{text}."


def _redirect_target(headers: Mapping[str, str]) -> str:
    target = headers.get("location", "").split("?")[0]
    return f" (it points to {one_line(target, 120)})" if target else ""
