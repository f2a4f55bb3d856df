"""Days of a register with people who change tickets: the promises always hold, and each rule of the plan is needed."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from airflow_provider_leen.bulk import plan as planning
from airflow_provider_leen.bulk.findings import History
from airflow_provider_leen.bulk.plan import Settings
from tests.bulk.days import FINDINGS, Day, Days, Undone

WHAT = ["toggle"] * 6 + ["close", "close", "reopen", "reopen", "touch", "move", "delete", "clone"]
SCANS = ["whole"] * 9 + ["partial", "broken", "empty", "none", "old", "old", "again"]
JOBS = ["done"] * 6 + [
    *("lost", "vanished", "slow", "very slow", "never", "refused", "forgotten", "unclear", "unclear, made")
]

DAYS = st.builds(
    Day,
    events=st.lists(st.tuples(st.sampled_from(WHAT), st.integers(0, len(FINDINGS) - 1)), max_size=4).map(tuple),
    scans=st.tuples(st.sampled_from(SCANS), st.sampled_from(SCANS)),
    some=st.integers(0, 30),
    job=st.sampled_from(JOBS),
    filing=st.sampled_from(["created"] * 5 + ["lost", "vanished", "rejected"]),
    is_readable=st.sampled_from([True] * 5 + [False]),
    is_synced=st.booleans(),
    crash=st.sampled_from([0] * 8 + [1, 2, 3, 4, 5, 6, 8, 10]),
    is_retried=st.booleans(),
)
SETTINGS = st.builds(
    Settings,
    on_gone=st.sampled_from(["close"] * 5 + ["keep"]),
    on_returned=st.sampled_from(["reopen"] * 4 + ["create", "keep"]),
    close_after=st.sampled_from([1, 2, 2, 3]),
    max_close_rate=st.sampled_from([0.2, 0.2, 1.0]),
    max_new=st.sampled_from([None, 4, 500]),
)
HISTORIES = given(
    wanted=SETTINGS,
    knows_ids=st.booleans(),
    can_reopen=st.sampled_from([True, True, True, False]),
    days=st.lists(DAYS, min_size=25, max_size=25),
)


def play(wanted: Settings, knows_ids: bool, can_reopen: bool, days: list[Day], kind: type[Days] = Days) -> None:
    world = kind(wanted, knows_ids=knows_ids, can_reopen=can_reopen)
    for day in days:
        world.live(day)
    world.end()


PHASES = [Phase.generate, Phase.shrink]
in_brief = settings(
    max_examples=40,
    deadline=None,
    database=None,
    derandomize=True,
    phases=PHASES,
    suppress_health_check=list(HealthCheck),
)
at_length = settings(max_examples=2000, deadline=None, phases=PHASES, suppress_health_check=list(HealthCheck))


@in_brief
@HISTORIES
def test_people_scanners_and_lost_replies_break_no_promise(**history: Any) -> None:
    play(**history)


@pytest.mark.skipif(not os.environ.get("LEEN_HISTORIES"), reason="a search of minutes; LEEN_HISTORIES=1 runs it")
@pytest.mark.timeout(3600)
@at_length
@HISTORIES
def test_two_thousand_histories_break_no_promise(**history: Any) -> None:
    play(**history)


# Each rule is needed: without it, the days break a promise


class WithoutReading(Days):
    reads = False


class WithoutScopes(Days):
    has_scopes = False


class WithoutOrder(Days):
    keeps_order = False


def missed_by_every_try(self: History, run: str, close_after: int) -> History:
    missing = (*self.missing, run)[:close_after]
    return replace(self, missing=missing, away=self.away or len(missing) >= close_after)


def history(name: str, step: Callable[..., History]) -> Callable[[pytest.MonkeyPatch], None]:
    return lambda patch: patch.setattr(History, name, step)


def always(name: str, value: Any) -> Callable[[pytest.MonkeyPatch], None]:
    return lambda patch: patch.setattr(planning, name, value)


def draft(name: str, step: Callable[..., Any]) -> Callable[[pytest.MonkeyPatch], None]:
    return lambda patch: patch.setattr(planning._Draft, name, step)


def made_of(**changes: Any) -> Callable[[pytest.MonkeyPatch], None]:
    """Change what the plan is made of."""

    def patch_it(patch: pytest.MonkeyPatch) -> None:
        make = planning._Draft.plan

        def plan_with_it(self: Any) -> Any:
            if "complete" in changes:
                self.found = replace(self.found, **changes)
            else:
                vars(self).update(changes)
            return make(self)

        patch.setattr(planning._Draft, "plan", plan_with_it)

    return patch_it


LISTED, MADE = History.listed, History.made
ABOUT_TO_CLOSE = planning._Draft.about_to_close


def reopens_whatever(self: Any, finding: Any, reading: Any) -> bool:
    return bool(reading.state == "closed" and finding.ticket == "filed" and finding.ticket_id)


def closes_on_an_empty_list(self: Any, finding: Any) -> Any:
    self.found = replace(self.found, rows=self.found.rows or {"": True})
    return ABOUT_TO_CLOSE(self, finding)


MUTANTS: dict[str, tuple[type[Days], Callable[[pytest.MonkeyPatch], None] | None]] = {
    "reading before a change": (WithoutReading, None),
    "scopes": (WithoutScopes, None),
    "refusing an older list": (WithoutOrder, None),
    "distinct runs": (Days, history("missed", missed_by_every_try)),
    "forgetting absence when the finding is listed": (
        Days,
        history("listed", lambda self: replace(LISTED(self), missing=self.missing)),
    ),
    "a whole list": (Days, made_of(complete=True)),
    "an empty list closes nothing": (Days, draft("about_to_close", closes_on_an_empty_list)),
    "the brakes": (Days, draft("brake", lambda self, made: None)),
    "nobody touched it since": (Days, always("TOUCHED_AFTER", 1e9)),
    "reopening only what we closed": (Days, draft("may_reopen", reopens_whatever)),
    "waiting for a job": (Days, made_of(running=())),
    "giving up waiting for a change": (Days, always("WAIT_FOR_CHANGE", 1e9)),
    "giving up waiting for an id": (Days, always("WAIT_FOR_ID", 1e9)),
    "seen by the try that sent it": (Days, history("made", lambda self, seen_at=None: MADE(self, seen_at or 1e9))),
    "a new ticket where reopening is refused": (Days, history("refused", lambda self, reason: self.withdrawn())),
    "what a person reopened": (Days, draft("is_a_persons", lambda self, reading, sent_at: False)),
}


GOES = BACK = (("toggle", 0),)
PERSON_CLOSES = (("reopen", 0), ("close", 0))
RARE = {
    "waiting for a job": [
        Day(),
        Day(events=GOES),
        Day(events=BACK, job="very slow", soon=(("reopen", 0),)),
        Day(events=GOES),
    ],
    "what a person reopened": [
        Day(),
        Day(events=GOES),
        Day(events=BACK, job="vanished"),
        Day(events=(*GOES, ("reopen", 0))),
    ],
    "nobody touched it since": [Day(), Day(events=GOES), Day(events=PERSON_CLOSES), Day(events=BACK)],
    "seen by the try that sent it": [Day(), Day(events=GOES, job="slow"), Day(events=PERSON_CLOSES), Day(events=BACK)],
    "a new ticket where reopening is refused": [Day(), Day(events=GOES), Day(events=BACK, job="refused")],
}
"""Days on which the promise depends on one rule, and which come by chance too seldom."""


FOUND_ONCE = {
    "a person touches what we reopened, and nobody saw us do it": [
        Day(),
        Day(events=GOES),
        Day(events=BACK, job="lost"),
        Day(events=(*GOES, ("touch", 0))),
    ],
    "our reopening takes a day, and the worker dies before it knows the job": [
        Day(),
        Day(events=GOES),
        Day(events=BACK, job="very slow", crash=3),
        Day(events=GOES),
    ],
    "we close once more, learn nothing of it, and a person reopens": [
        Day(),
        Day(events=GOES),
        Day(events=BACK),
        Day(events=GOES, job="unclear, made"),
        Day(events=(("reopen", 0),)),
    ],
    "a finding goes once more while our reopening is under way, and a person deletes its ticket": [
        Day(),
        Day(events=GOES),
        Day(events=BACK, job="very slow"),
        Day(events=(*GOES, ("delete", 0))),
        Day(events=BACK),
    ],
}
"""Days that a search has found: in the first three nobody can know more than the rules do."""


@pytest.mark.parametrize("name", FOUND_ONCE)
def test_days_that_a_search_has_found_break_no_promise(name: str) -> None:
    play(Settings(close_after=1), True, True, FOUND_ONCE[name])


@pytest.mark.parametrize("rule", RARE)
def test_a_rare_rule_is_needed(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    can_reopen = rule != "a new ticket where reopening is refused"
    history: dict[str, Any] = {
        "wanted": Settings(close_after=1),
        "knows_ids": True,
        "can_reopen": can_reopen,
        "days": RARE[rule],
    }
    play(**history)
    kind, patch = MUTANTS[rule]
    assert patch is not None
    patch(monkeypatch)
    with pytest.raises(Undone):
        play(**history, kind=kind)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("rule", sorted(MUTANTS.keys() - RARE.keys()))
def test_without_a_rule_a_promise_is_broken(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kind, patch = MUTANTS[rule]
    if patch:
        patch(monkeypatch)

    @settings(at_length, phases=[Phase.generate], database=None, derandomize=True)
    @HISTORIES
    def play_without_it(**history: Any) -> None:
        play(**history, kind=kind)

    with pytest.raises(Undone):
        play_without_it()
