from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from airflow_provider_leen.sandbox.faults import BULK_PATH, FaultRule, Faults, Limiter, matches, parse_fault, strikes


def rule(kind: str = "lost", **fields: Any) -> FaultRule:
    return FaultRule.model_validate({"kind": kind} | fields)


@pytest.mark.parametrize(
    ("fields", "method", "path", "names", "expected"),
    [
        ({}, "POST", BULK_PATH, [], True),
        ({}, "GET", BULK_PATH, [], False),
        ({}, "POST", "/v1/itsm/tickets", [], False),
        ({"method": None, "path": "/v1"}, "GET", "/v1/itsm/users", [], True),
        ({"method": "get", "path": "/v1"}, "GET", "/v1/itsm/users", [], True),
        ({"kind": "poison", "text": "bad"}, "POST", BULK_PATH, ["good", "a bad one"], True),
        ({"kind": "poison", "text": "bad"}, "POST", BULK_PATH, ["good"], False),
    ],
)
def test_a_rule_is_about_some_requests_only(
    fields: dict[str, Any], method: str, path: str, names: list[str], expected: bool
) -> None:
    assert matches(rule(**fields), method, path, names) is expected


@pytest.mark.parametrize(
    ("fields", "seen", "struck", "draw", "expected"),
    [
        ({}, 1, 0, 0.99, True),
        ({"rate": 0.3}, 1, 0, 0.29, True),
        ({"rate": 0.3}, 1, 0, 0.3, False),
        ({"rate": 0.0}, 1, 0, 0.0, False),
        ({"nth": 2}, 1, 0, 0.0, False),
        ({"nth": 2}, 2, 0, 0.0, True),
        ({"nth": (1, 3)}, 3, 1, 0.0, True),
        ({"times": 2}, 3, 1, 0.0, True),
        ({"times": 2}, 3, 2, 0.0, False),
        ({"times": 0}, 1, 0, 0.0, False),
    ],
)
def test_when_a_rule_strikes(fields: dict[str, Any], seen: int, struck: int, draw: float, expected: bool) -> None:
    assert strikes(rule(**fields), seen=seen, struck=struck, draw=draw) is expected


def test_latencies_add_up_and_of_the_others_the_first_wins() -> None:
    faults = Faults()
    for kind in ("latency", "lost", "garbage", "latency"):
        faults.add(rule(kind))
    assert [chosen.kind for chosen in faults.choose("POST", BULK_PATH, [])] == ["latency", "lost", "latency"]
    assert faults.struck == {"latency": 2, "lost": 1}


def test_a_rule_counts_requests_from_when_it_was_added() -> None:
    faults = Faults()
    faults.add(rule("garbage", times=1))
    faults.choose("POST", BULK_PATH, [])
    faults.add(rule("lost", nth=2))
    assert [len(faults.choose("POST", BULK_PATH, [])) for _ in range(3)] == [0, 1, 0]
    assert faults.describe()[1] == {"kind": "lost", "nth": 2, "seen": 3, "struck": 1}


def test_the_same_seed_gives_the_same_course() -> None:
    def course(faults: Faults) -> list[int]:
        faults.add(rule(rate=0.5))
        return [len(faults.choose("POST", BULK_PATH, [])) for _ in range(40)]

    faults = Faults(seed=7)
    first = course(faults)
    assert course(Faults(seed=7)) == first
    assert 0 < sum(first) < 40
    faults.reset()
    assert course(faults) == first


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"kind": "poison"}, "text belongs to the kind poison, which needs it"),
        ({"kind": "lost", "text": "x"}, "text belongs to the kind poison"),
        ({"kind": "short", "commit": False}, "the tickets are always made"),
        ({"kind": "latency", "commit": True}, "commit makes no sense for latency"),
        ({"kind": "lost", "rate": 2}, "less than or equal to 1"),
        ({"kind": "lsot"}, "Input should be"),
        ({"kind": "lost", "ratio": 1}, "Extra inputs are not permitted"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        FaultRule.model_validate(fields)


@pytest.mark.parametrize(
    ("kind", "commits"),
    [("lost", False), ("stall", False), ("status", False), ("cut", True), ("garbage", True), ("short", True)],
)
def test_each_fault_has_a_default_for_whether_tickets_are_created(kind: str, commits: bool) -> None:
    assert rule(kind).commits is commits


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("lost", {"kind": "lost", "rate": 1.0}),
        ("lost-after:0.25", {"kind": "lost", "rate": 0.25, "commit": True}),
        ("503:0.1", {"kind": "status", "status": 503, "rate": 0.1}),
        ("500-after", {"kind": "status", "status": 500, "rate": 1.0, "commit": True}),
    ],
)
def test_the_command_lines_form_of_a_fault(text: str, expected: dict[str, Any]) -> None:
    assert parse_fault(text).model_dump(exclude_unset=True) == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("lsot", "'lsot' is not a fault: write KIND or KIND:RATE, with a status or one of latency,"),
        ("99", "is not a fault"),
        ("poison", "is not a fault"),
        ("lost:2", "the rate in 'lost:2' must be a number from 0 to 1"),
        ("lost:often", "must be a number from 0 to 1"),
        ("latency-after", "latency has no -after"),
    ],
)
def test_a_fault_that_cant_be_read_is_refused_with_a_reason(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_fault(text)


def test_the_limiter_allows_so_many_calls_in_any_one_second() -> None:
    limiter = Limiter(2)
    assert [limiter.allows(now) for now in (0.0, 0.5, 0.9, 1.0, 1.4, 1.5)] == [True, True, False, True, False, True]
    assert all(Limiter().allows(0.0) for _ in range(100))
