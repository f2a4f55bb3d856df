from __future__ import annotations

import gzip
import json
from typing import Any

import pytest

from airflow_provider_leen.api.results import results_of_reply
from airflow_provider_leen.sandbox.faults import EDITS, FaultRule
from airflow_provider_leen.sandbox.replies import Reply, error_reply, garble

NAMES = ["good", "bad apple", "good"]
LOCATED = [{"loc": ["body", "tickets", 1, "name"], "msg": "no", "type": "value_error"}]


def rule(kind: str, **fields: Any) -> FaultRule:
    return FaultRule.model_validate({"kind": kind} | fields)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("error_response", {"type": "sandbox_fault", "code": "HTTP_422", "message": "no", "detail": []}),
        ("located", {"type": "sandbox_fault", "code": "HTTP_422", "message": "no", "detail": LOCATED}),
        ("detail_text", {"detail": "no"}),
        ("detail_list", {"detail": LOCATED}),
    ],
)
def test_the_shapes_of_an_error_body(body: str, expected: dict[str, Any]) -> None:
    reply = error_reply(rule("poison", text="bad", body=body, message="no"), NAMES, now=0)
    assert reply.status == 422
    assert json.loads(reply.body) == expected
    located = error_reply(rule("status", status=422, body=body, message="no", locate=(1,)), NAMES, now=0)
    assert json.loads(located.body) == expected


def test_a_proxy_answers_in_html() -> None:
    reply = error_reply(rule("status", status=502, body="html"), [], now=0)
    assert reply.body.startswith(b"<html>")
    assert (b"content-type", b"text/html") in reply.headers


@pytest.mark.parametrize(("status", "body"), [(204, "error_response"), (503, "empty")])
def test_a_body_can_be_empty(status: int, body: str) -> None:
    assert error_reply(rule("status", status=status, body=body), [], now=0).body == b""


@pytest.mark.parametrize(
    ("status", "content"),
    [(404, {"type": "about:blank", "status": 404}), (200, {"issues": [], "errors": ["the index is being rebuilt"]})],
)
def test_a_body_can_be_given_whole(status: int, content: Any) -> None:
    reply = error_reply(rule("status", status=status, content=content), [], now=0)
    assert (reply.status, json.loads(reply.body)) == (status, content)


@pytest.mark.parametrize(
    ("fields", "header"),
    [
        ({"retry_after": 3}, (b"retry-after", b"3")),
        ({"retry_after": 0.5}, (b"retry-after", b"0.5")),
        ({"retry_after": 3, "retry_after_date": True}, (b"retry-after", b"Thu, 01 Jan 1970 00:01:03 GMT")),
        ({"kind": "status", "status": 301}, (b"location", b"/elsewhere")),
    ],
)
def test_the_headers_of_an_error(fields: dict[str, Any], header: tuple[bytes, bytes]) -> None:
    assert header in error_reply(rule(**{"kind": "rate_limit"} | fields), [], now=60).headers


@pytest.mark.parametrize(
    ("kind", "count", "indices"),
    [
        ("short", 3, [0, 1]),
        ("short", 1, []),
        ("one_based", 3, [1, 2, 3]),
        ("wrong_index", 3, [2, 1, 0]),
        ("wrong_index", 1, [2]),
    ],
)
def test_results_can_be_falsified(kind: str, count: int, indices: list[int]) -> None:
    true_reply = Reply.json(200, {"total": count, "results": [{"request_index": index} for index in range(count)]})
    spoilt = json.loads(garble(rule(kind), true_reply).body)
    assert [result["request_index"] for result in spoilt["results"]] == indices


SOUND: dict[str, Any] = {
    "total": 3,
    "succeeded": 2,
    "failed": 1,
    "results": [
        {"success": True, "request_index": 0, "identifier": "a" * 70, "vendor_ticket_id": "SEC-1", "error": None},
        {"success": False, "request_index": 1, "identifier": None, "vendor_ticket_id": None, "error": "no"},
        {"success": True, "request_index": 2, "identifier": "c", "vendor_ticket_id": "SEC-3", "error": None},
    ],
}
EDITED: dict[str, str] = {
    "short": "uuu",
    "no_first": "uuu",
    "twice": "uuu",
    "wrong_index": "uuu",
    "foreign": "uuu",
    "wrong_counts": "uuu",
    "no_counts": "uuu",
    "failed_with_id": "urs",
    "error_with_success": "urs",
    "no_ids": "urs",
    "same_id": "uus",
    "failures_only": "uuu",
    "one_based": "srs",
    "no_identifiers": "srs",
    "upper_identifiers": "srs",
    "cut_identifiers": "srs",
    "empty_errors": "srs",
}


@pytest.mark.parametrize(("kind", "statuses"), EDITED.items(), ids=EDITED)
def test_an_edited_reply_proves_what_the_table_says(kind: str, statuses: str) -> None:
    content = json.loads(garble(rule(kind), Reply.json(200, SOUND)).body)
    claims = results_of_reply(content, ["a" * 70, "b", "c"])
    assert "".join(claim.status[0] for claim in claims) == statuses


def test_a_shuffled_reply_proves_all_where_everything_is_named() -> None:
    named = SOUND | {"results": [result | {"identifier": result["identifier"] or "b"} for result in SOUND["results"]]}
    content = json.loads(garble(rule("shuffled"), Reply.json(200, named)).body)
    assert content["results"] == named["results"][::-1]
    assert [claim.status for claim in results_of_reply(content, ["a" * 70, "b", "c"])] == [
        "succeeded",
        "rejected",
        "succeeded",
    ]


def test_every_kind_that_edits_is_in_a_test() -> None:
    assert {*EDITED, "shuffled", "claims_success", "lower_case"} == set(EDITS)


@pytest.mark.parametrize(
    ("kind", "status", "results"),
    [
        ("claims_success", "SUCCESS", 3),
        ("lower_case", "failed", 3),
        ("no_first", "FAILED", 2),
        ("failures_only", "FAILED", 1),
    ],
)
def test_a_failed_job_is_edited_in_its_breakdown(kind: str, status: str, results: int) -> None:
    job = Reply.json(200, {"id": "j", "status": "FAILED", "failure_reason": SOUND})
    edited = json.loads(garble(rule(kind), job).body)
    assert edited["status"] == status
    assert len(edited["failure_reason"]["results"]) == results


def test_a_bomb_is_small_before_it_is_unpacked() -> None:
    bomb = garble(rule("bomb", megabytes=2), Reply(200))
    assert len(bomb.body) < 10_000
    assert len(gzip.decompress(bomb.body)) == 2 << 20
    assert (b"content-encoding", b"gzip") in bomb.headers


def test_an_error_of_the_app_has_no_results_to_spoil() -> None:
    refused = Reply.json(422, {"detail": []})
    assert garble(rule("short"), refused) == refused
