"""What the sandbox answers when it is not the app that answers: error replies and garbled ones. Pure functions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from email.utils import formatdate
from typing import Any

from airflow_provider_leen.sandbox.faults import FaultRule


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole HTTP reply."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[bytes, bytes], ...] = ()

    @classmethod
    def json(cls, status: int, content: Any, *headers: tuple[bytes, bytes]) -> Reply:
        """A reply whose body is JSON."""
        return cls(status, json.dumps(content).encode(), ((b"content-type", b"application/json"), *headers))


def error_body(type: str, code: str, message: str, detail: Sequence[dict[str, Any]] = ()) -> dict[str, Any]:
    """Leen's ``ErrorResponse``."""
    return {"type": type, "code": code, "message": message, "detail": list(detail)}


def error_reply(rule: FaultRule, names: Sequence[str], *, now: float) -> Reply:
    """The reply of a rule that answers with an error (``status``, ``rate_limit``, ``poison``).

    :param names: the names of the request's tickets.
    :param now: seconds since 1970, for a ``Retry-After`` date.
    """
    status = rule.http_status
    headers = _headers(rule, now)
    if rule.body == "empty" or status in (204, 304):
        return Reply(status, b"", headers)
    if rule.content is not None:
        return Reply.json(status, rule.content, *headers)
    message = rule.message or f"The sandbox was told to answer with {status}."
    if rule.body == "html":
        page = f"<html><head><title>{status}</title></head><body><h1>{status}</h1><p>{message}</p></body></html>"
        return Reply(status, page.encode(), ((b"content-type", b"text/html"), *headers))
    poisonous = [index for index, name in enumerate(names) if rule.text is not None and rule.text in name]
    located = [
        {"loc": ["body", "tickets", index, "name"], "msg": message, "type": "value_error"}
        for index in (rule.locate or poisonous)
    ]
    content: dict[str, Any]
    if rule.body == "detail_text":
        content = {"detail": message}
    elif rule.body == "detail_list":
        content = {"detail": located}
    else:
        content = error_body("sandbox_fault", f"HTTP_{status}", message, located if rule.body == "located" else ())
    return Reply.json(status, content, *headers)


def _headers(rule: FaultRule, now: float) -> tuple[tuple[bytes, bytes], ...]:
    headers: list[tuple[bytes, bytes]] = []
    if rule.retry_after is not None:
        seconds = rule.retry_after
        text = formatdate(now + seconds, usegmt=True) if rule.retry_after_date else f"{seconds:g}"
        headers.append((b"retry-after", text.encode()))
    if 300 <= rule.http_status < 400:
        headers.append((b"location", b"/elsewhere"))
    return tuple(headers)


def garble(rule: FaultRule, reply: Reply) -> Reply:
    """The true reply to a bulk call, spoilt by ``garbage``, ``short``, ``wrong_index`` or ``one_based``.

    A reply without results is left as it is.
    """
    if rule.kind == "garbage":
        return Reply(rule.http_status, b"<!doctype html>OK", ((b"content-type", b"application/json"),))
    content = json.loads(reply.body)
    results = content.get("results") if isinstance(content, dict) else None
    if not results:
        return reply
    if rule.kind == "short":
        content["results"] = results[:-1]
    elif rule.kind == "wrong_index":
        for result in results:
            result["request_index"] = len(results) - 1 - result["request_index"] if len(results) > 1 else 2
    else:
        for result in results:
            result["request_index"] += 1
    return Reply.json(reply.status, content)


def limited() -> Reply:
    """The reply to a call over the limit."""
    content = error_body("rate_limit", "RATE_LIMITED", "Too many requests; try again in a second.")
    return Reply.json(429, content, (b"retry-after", b"1"))


def refused(problem: str) -> Reply:
    """The reply to a request that is not let in."""
    return Reply.json(403, error_body("forbidden", "FORBIDDEN", problem))
