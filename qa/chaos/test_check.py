"""The judge of the chaos test: it must see what it is there to see."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest

from airflow_provider_leen.bulk.statuses import Status
from airflow_provider_leen.bulk.summary import TicketResult, summarise
from qa.chaos.check import Allowances, Evidence, problems
from qa.chaos.plan import Fate

ROWS = [{"name": "a"}, {"name": "b"}, {"name": "c"}, {"name": "d"}, {"name": "a"}]
FATES: list[Fate] = ["good", "refused", "invalid", "good", "good"]
STATUSES: list[Status] = ["created", "rejected", "invalid", "unknown", "created"]
OPEN = Allowances(unknown=True)


def result(index: int, status: Status) -> TicketResult:
    return {
        "request_index": index,
        "success": status == "created",
        "status": status,
        "name": str(ROWS[index]["name"]),
        "identifier": None if status == "invalid" else f"key-{index}",
        "ticket_id": None,
        "vendor_ticket_id": f"SEC-{index}" if status == "created" else None,
        "error": None if status == "created" else "because",
    }


def held(index: int, key: str = "") -> dict[str, Any]:
    return {"identifier": f"key-{index}", "vendor_ticket_id": key or f"SEC-{index}", "name": ROWS[index]["name"]}


def evidence() -> dict[str, Any]:
    """What a run leaves behind in which nothing is wrong: two tickets created, one unknown that does exist."""
    return {
        "rows": ROWS,
        "fates": FATES,
        "state": "failed",
        "summary": summarise([result(index, status) for index, status in enumerate(STATUSES)]),
        "failed": [ROWS[1], ROWS[2]],
        "held": [held(0), held(3), held(4)],
        "doubtful": ["key-0", "key-3"],
        "ended_at": 100.0,
        "published": {"return_value": 99.9, "failed_tickets": 99.8},
    }


def test_a_run_in_which_each_ticket_exists_once_and_is_reported_has_no_problem() -> None:
    assert problems(Evidence(**evidence()), OPEN) == []


def test_an_unknown_ticket_may_exist_or_not() -> None:
    seen = evidence()
    seen["held"].pop(1)
    assert problems(Evidence(**seen), OPEN) == []


Change = Callable[[dict[str, Any]], Any]


def status(seen: dict[str, Any], index: int, status: Status) -> None:
    results = list(seen["summary"]["results"])
    results[index] = result(index, status)
    seen["summary"] = summarise(results)


def green_with_a_gap(seen: dict[str, Any]) -> None:
    status(seen, 3, "created")
    seen.update(state="success", calls_into_gap=0)


WRONG: dict[str, tuple[Change, str]] = {
    "no summary": (lambda seen: seen.update(summary=None), "silent"),
    "a result is missing": (lambda seen: seen["summary"]["results"].pop(), "silent"),
    "results out of order": (lambda seen: seen["summary"]["results"].reverse(), "silent"),
    "counts that lie": (lambda seen: seen["summary"].update(created=3), "silent"),
    "created, not there": (lambda seen: seen["held"].pop(0), "lost"),
    "there twice": (lambda seen: seen["held"].append(held(0, "SEC-9")), "doubled"),
    "there twice, by another key": (lambda seen: seen["held"].append(held(0) | {"identifier": "new"}), "doubled"),
    "there, and nobody told": (lambda seen: seen["held"].append({**held(0), "identifier": "x", "name": "x"}), "silent"),
    "rejected, but there": (lambda seen: seen["held"].append(held(1)), "wrong"),
    "another ticket's id": (lambda seen: seen["held"][0].update(vendor_ticket_id="SEC-8"), "wrong"),
    "a good ticket is rejected": (lambda seen: status(seen, 0, "rejected"), "wrong"),
    "a bad ticket is created": (lambda seen: status(seen, 1, "created"), "wrong"),
    "unknown, though all was answered": (lambda seen: seen["doubtful"].remove("key-3"), "wrong"),
    "unsent, though nothing was in the way": (lambda seen: status(seen, 3, "unsent"), "incomplete"),
    "green with an unknown ticket": (lambda seen: seen.update(state="success"), "silent"),
    "failed_tickets lacks a row": (lambda seen: seen["failed"].pop(), "silent"),
    "pushed after the newest try had ended": (lambda seen: seen["published"].update(return_value=101.0), "overwritten"),
    "calls after a gap": (lambda seen: seen.update(calls_into_gap=2), "wrong"),
    "green with a gap": (green_with_a_gap, "silent"),
    "a file written after the newest try had ended": (
        lambda seen: seen["published"].update(results=101),
        "overwritten",
    ),
    "results of a list that was edited since": (lambda seen: seen.update(rows=ROWS[:4], fates=FATES[:4]), "silent"),
    "an unknown ticket is handed on": (lambda seen: seen["failed"].append(ROWS[3]), "silent"),
}


@pytest.mark.parametrize(("change", "word"), WRONG.values(), ids=WRONG)
def test_problems_are_found(change: Change, word: str) -> None:
    seen = deepcopy(evidence())
    change(seen)
    assert any(problem.startswith(word) for problem in problems(Evidence(**seen), OPEN))


def test_a_ticket_whose_row_is_gone_from_the_list_may_exist_once() -> None:
    gone = {"identifier": "key-9", "vendor_ticket_id": "SEC-9", "name": "gone"}
    seen = evidence() | {"before": [*ROWS, {"name": "gone"}]}
    seen["held"].append(gone)
    assert problems(Evidence(**seen), OPEN) == []
    seen["held"].append(gone | {"identifier": "key-10"})
    assert [problem.partition(":")[0] for problem in problems(Evidence(**seen), OPEN)] == ["doubled or lost"]


def test_with_a_gap_a_run_may_end_without_a_summary_and_only_red() -> None:
    seen = evidence() | {"summary": None, "failed": None, "published": {}, "calls_into_gap": 0}
    assert problems(Evidence(**seen), OPEN) == []
    green = problems(Evidence(**seen | {"state": "success"}), OPEN)
    assert [problem.partition(":")[0] for problem in green] == ["silent"]


def test_an_unknown_ticket_is_a_problem_where_every_ticket_can_be_found_out() -> None:
    assert any(problem.startswith("incomplete") for problem in problems(Evidence(**evidence()), Allowances()))


def test_a_run_that_failed_although_every_outcome_is_known_is_a_problem() -> None:
    seen = evidence()
    status(seen, 3, "created")
    assert any(problem.startswith("wrong") for problem in problems(Evidence(**seen), OPEN))
