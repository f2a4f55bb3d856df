"""What the sandbox answers when it is not the app that answers: error replies and garbled ones. Pure functions."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Sequence
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
    """The true reply, replaced (``garbage``, ``bomb``), or with its results changed, as :mod:`~.faults` lists.

    A reply without results is left as it is.
    """
    if rule.kind == "garbage":
        return Reply(rule.http_status, b"<!doctype html>OK", ((b"content-type", b"application/json"),))
    if rule.kind == "bomb":
        packed = gzip.compress(b" " * (rule.megabytes << 20))
        return Reply(200, packed, ((b"content-type", b"application/json"), (b"content-encoding", b"gzip")))
    content = json.loads(reply.body)
    if not isinstance(content, dict):
        return reply
    if rule.kind in ("claims_success", "lower_case"):
        status = str(content.get("status"))
        changed = "SUCCESS" if rule.kind == "claims_success" and status == "FAILED" else status
        return Reply.json(reply.status, content | {"status": changed.lower() if rule.kind == "lower_case" else changed})
    breakdown = content.get("failure_reason") if "failure_reason" in content else content
    if not isinstance(breakdown, dict) or not breakdown.get("results"):
        return reply
    _EDITS[rule.kind](breakdown)
    return Reply.json(reply.status, content)


Results = list[dict[str, Any]]


def _changing(change: Callable[[Results], Results]) -> Callable[[dict[str, Any]], None]:
    def edit(breakdown: dict[str, Any]) -> None:
        breakdown["results"] = change(breakdown["results"])

    return edit


def _to_each(change: Callable[[dict[str, Any]], dict[str, Any]]) -> Callable[[dict[str, Any]], None]:
    return _changing(lambda results: [result | change(result) for result in results])


def _to_identifiers(change: Callable[[str], str]) -> Callable[[dict[str, Any]], None]:
    return _to_each(lambda result: {"identifier": result["identifier"] and change(result["identifier"])})


def _to_first(changes: dict[str, Any]) -> Callable[[dict[str, Any]], None]:
    return _changing(lambda results: [results[0] | changes, *results[1:]])


def _failed_with_id(breakdown: dict[str, Any]) -> None:
    _to_first({"success": False, "error": "timed out"})(breakdown)
    breakdown["succeeded"] = sum(result["success"] for result in breakdown["results"])
    breakdown["failed"] = len(breakdown["results"]) - breakdown["succeeded"]


def _without_counts(breakdown: dict[str, Any]) -> None:
    for name in ("total", "succeeded", "failed"):
        breakdown.pop(name, None)


def _counting_down(results: Results) -> Results:
    last = len(results) - 1
    return [result | {"request_index": last - n if last else 2} for n, result in enumerate(results)]


def _with_the_ids_of_the_first(results: Results) -> Results:
    ids = {name: results[0].get(name) for name in ("ticket_id", "vendor_ticket_id")}
    return [results[0], *(result | ids for result in results[1:2]), *results[2:]]


_EDITS: dict[str, Callable[[dict[str, Any]], None]] = {
    "short": _changing(lambda results: results[:-1]),
    "no_first": _changing(lambda results: results[1:]),
    "twice": _changing(lambda results: [*results, results[-1]]),
    "wrong_index": _changing(_counting_down),
    "foreign": _to_each(lambda result: {"identifier": f"another-{result['request_index']}"}),
    "wrong_counts": lambda breakdown: breakdown.update(succeeded=0, failed=len(breakdown["results"])),
    "no_counts": _without_counts,
    "failed_with_id": _failed_with_id,
    "error_with_success": _to_first({"success": True, "error": "timed out"}),
    "no_ids": _to_first({"ticket_id": None, "vendor_ticket_id": None}),
    "same_id": _changing(_with_the_ids_of_the_first),
    "one_based": _to_each(lambda result: {"request_index": result["request_index"] + 1}),
    "shuffled": _changing(lambda results: results[::-1]),
    "no_identifiers": _to_each(lambda result: {"identifier": None}),
    "upper_identifiers": _to_identifiers(lambda identifier: f" {identifier} ".upper()),
    "cut_identifiers": _to_identifiers(lambda identifier: identifier[:64]),
    "empty_errors": _to_each(lambda result: {"error": result["error"] or ""}),
    "failures_only": _changing(lambda results: [result for result in results if not result["success"]]),
}


def limited() -> Reply:
    """The reply to a call over the limit."""
    content = error_body("rate_limit", "RATE_LIMITED", "Too many requests; try again in a second.")
    return Reply.json(429, content, (b"retry-after", b"1"))


def refused(problem: str) -> Reply:
    """The reply to a request that is not let in."""
    return Reply.json(403, error_body("forbidden", "FORBIDDEN", problem))
