"""What a run does about a finding: a case for each rule, from what is known and read of its ticket."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from airflow_provider_leen.bulk.findings import Change, Finding, History
from airflow_provider_leen.bulk.plan import DAY, FindingList, Plan, Reading, Scope, Settings, plan

NOW = 100 * DAY
OPEN, CLOSED, GONE = Reading("open", NOW - DAY), Reading("closed", NOW - 5 * DAY), Reading("gone")
UNREAD = None
CLOSED_AT = NOW - 5 * DAY
BY_US: dict[str, Any] = {"closed_by": "us", "closed_at": CLOSED_AT, "missing": ("r1", "r2"), "away": True}
ON_THE_WAY = Change("closed", NOW - DAY, "job-1")
LOST = Change("closed", NOW - DAY)
LOST_LONG_AGO = Change("closed", NOW - 3 * DAY)
LOST_REOPENING = Change("open", NOW - DAY)
ENDED = Change("closed", NOW - DAY, "job-0", ended=True)


def filed(**history: Any) -> Finding:
    return Finding("X", 0, "filed", "id-1", "SEC-1", history=History(**history))


def of_list(*identifiers: str, complete: bool = True, at: float = NOW, run: str = "r9") -> FindingList:
    return FindingList(dict.fromkeys(identifiers, True), complete, run, at)


def planned(
    found: FindingList, *findings: Finding, reading: Reading | None = UNREAD, newest: float | None = None, **more: Any
) -> Plan:
    """Plan for a scope in which ``Y`` is found every day."""
    known = Scope({it.identifier: it for it in (*findings, Finding("Y", 0, "filed", "id-y", "SEC-9"))}, newest)
    expected = more.pop("expected", None)
    shown = dict.fromkeys((it.identifier for it in findings), reading)
    return plan(found, known, shown, Settings(**more), NOW, running={"job-1"}, expected=expected)


def about(made: Plan) -> tuple[str | None, str, Finding | None]:
    """Return what is done about X, why, and what of it is new."""
    actions = [it for it in made.actions if it.finding.identifier == "X"]
    return actions[0].kind if actions else None, actions[0].reason if actions else "", made.changed.get("X")


@pytest.mark.parametrize(
    ("newest", "earlier", "is_read_as"),
    [
        (CLOSED, [], CLOSED),
        (CLOSED, [GONE, CLOSED], CLOSED),
        (CLOSED, [CLOSED, OPEN, UNREAD], replace(CLOSED, is_replaced=True)),
        (CLOSED, [CLOSED, UNREAD], UNREAD),
        (OPEN, [UNREAD], OPEN),
        (UNREAD, [OPEN], UNREAD),
    ],
)
def test_a_ticket_that_is_not_open_is_read_with_the_earlier_ones_of_its_finding(
    newest: Reading | None, earlier: list[Reading | None], is_read_as: Reading | None
) -> None:
    assert Reading.of_all(newest, earlier) == is_read_as


Case = tuple[Finding | None, Reading | None, dict[str, Any], str | None, dict[str, Any] | None]

LISTED: dict[str, Case] = {
    # what is known, what is read, settings, what is done, what is new of its history (None: nothing)
    "a finding that nobody knows is filed": (None, UNREAD, {}, "create", None),
    "one that was rejected is filed again": (Finding("X"), UNREAD, {}, "create", None),
    "one whose filing is unknown is left to be settled": (Finding("X", 0, "unknown"), UNREAD, {}, "unknown", None),
    "one that has a ticket is left alone, unread": (filed(), UNREAD, {}, "keep", None),
    "one that wants no ticket is left alone": (Finding("X", 0, "unwanted"), UNREAD, {}, "keep", None),
    "one that has a ticket from elsewhere is left alone": (Finding("X", 0, "taken over"), UNREAD, {}, "keep", None),
    "one whose ticket a person closed while it stayed is left alone": (
        filed(closed_by="person"),
        UNREAD,
        {},
        "keep",
        None,
    ),
    "one whose ticket was deleted while it stayed is left alone": (filed(deleted=True), UNREAD, {}, "keep", None),
    "one that was missing once is as if it never was": (filed(missing=("r1",)), UNREAD, {}, "keep", {}),
    "one that was to be closed is to be closed no longer": (
        filed(missing=("r1", "r2"), away=True, close_since=NOW - DAY),
        OPEN,
        {},
        "keep",
        {},
    ),
    "one that is back has its ticket reopened": (
        filed(**BY_US),
        CLOSED,
        {},
        "reopen",
        BY_US | {"missing": ()},
    ),
    "… also where the tracker noted our change a little later": (
        filed(**BY_US),
        replace(CLOSED, updated_at=CLOSED_AT + 60),
        {},
        "reopen",
        BY_US | {"missing": ()},
    ),
    "… a new ticket where somebody touched it since": (
        filed(**BY_US),
        replace(CLOSED, updated_at=CLOSED_AT + 61),
        {},
        "create",
        {},
    ),
    "… a new ticket where it does not say when it was touched": (
        filed(**BY_US),
        replace(CLOSED, updated_at=None),
        {},
        "create",
        {},
    ),
    "… a new ticket where nobody saw our closing end": (
        filed(**BY_US | {"closed_at": None}),
        CLOSED,
        {},
        "create",
        {},
    ),
    "… a new ticket where a person closed it": (filed(away=True), CLOSED, {}, "create", {}),
    "… a new ticket where it was deleted": (filed(away=True), GONE, {}, "create", {}),
    "… nothing where a person has reopened an earlier ticket of it": (
        filed(**BY_US),
        replace(CLOSED, is_replaced=True),
        {},
        "keep",
        {"closed_by": "person"},
    ),
    "… a new ticket where the tracker refused to reopen it": (
        filed(**BY_US, refusal="no such transition"),
        CLOSED,
        {},
        "create",
        {},
    ),
    "… nothing where it is open already": (filed(**BY_US), OPEN, {}, "keep", {}),
    "… nothing as long as it can't be read": (filed(**BY_US), UNREAD, {}, "pending", BY_US | {"missing": ()}),
    "… and always a new ticket, if so wanted": (filed(**BY_US), CLOSED, {"on_returned": "create"}, "create", {}),
    "… but no second one beside an open ticket": (filed(**BY_US), OPEN, {"on_returned": "create"}, "keep", {}),
    "… and nothing, if so wanted": (
        filed(**BY_US),
        UNREAD,
        {"on_returned": "keep"},
        "keep",
        {"closed_by": "us", "closed_at": CLOSED_AT},
    ),
    "… unless our closing ended after it was back": (
        filed(**BY_US, late=True),
        CLOSED,
        {"on_returned": "keep"},
        "reopen",
        BY_US | {"missing": (), "late": True},
    ),
    "one that has a ticket from elsewhere gets one of ours if that is closed": (
        Finding("X", 0, "taken over", None, "OLD-1", history=History(away=True)),
        CLOSED,
        {},
        "create",
        {},
    ),
    "one whose job has not ended waits, without a successor": (
        filed(away=True, change=ON_THE_WAY),
        CLOSED,
        {},
        "pending",
        {"away": True, "change": ON_THE_WAY, "late": True},
    ),
}


@pytest.mark.parametrize("case", LISTED)
def test_a_finding_that_is_in_the_list(case: str) -> None:
    finding, reading, settings, kind, history = LISTED[case]
    made = planned(of_list("X", "Y"), *([finding] if finding else []), reading=reading, **settings)
    done, _, changed = about(made)
    assert done == kind
    assert (changed and changed.history) == (None if history is None else History(**history))
    assert not made.to_read


TWICE = ("r1", "r9")

MISSING: dict[str, Case] = {
    "one that is missing for the first time waits": (filed(), UNREAD, {}, None, {"missing": ("r9",)}),
    "one that is missing often enough has its ticket closed": (
        filed(missing=("r1",)),
        OPEN,
        {},
        "close",
        {"missing": TWICE, "away": True, "close_since": NOW},
    ),
    "… at once, if so wanted": (
        filed(),
        OPEN,
        {"close_after": 1},
        "close",
        {"missing": ("r9",), "away": True, "close_since": NOW},
    ),
    "… never, if so wanted": (
        filed(missing=("r1",)),
        UNREAD,
        {"on_gone": "keep"},
        None,
        {"missing": TWICE, "away": True},
    ),
    "… never, if it came from elsewhere": (
        Finding("X", 0, "taken over", "id-1", "OLD-1", history=History(missing=("r1",))),
        UNREAD,
        {},
        None,
        {"missing": TWICE, "away": True},
    ),
    "… not twice": (filed(**BY_US), UNREAD, {}, None, None),
    "… not if a person closed it: that is noted": (
        filed(missing=("r1",)),
        CLOSED,
        {},
        None,
        {"missing": TWICE, "away": True, "closed_by": "person"},
    ),
    "… not if it was deleted: that is noted": (
        filed(missing=("r1",)),
        GONE,
        {},
        None,
        {"missing": TWICE, "away": True, "deleted": True},
    ),
    "… not if a person reopened it, before it was listed again": (
        filed(missing=("r1", "r2"), away=True, held=True),
        UNREAD,
        {},
        None,
        None,
    ),
    "… not unread": (
        filed(missing=("r1",)),
        UNREAD,
        {},
        "pending",
        {"missing": TWICE, "away": True, "close_since": NOW},
    ),
    "the same Dag run, cleared, does not count twice": (filed(missing=("r9",)), UNREAD, {}, None, None),
    "one that Leen has not synced waits": (
        replace(filed(missing=("r1",)), ticket_id=None),
        OPEN,
        {},
        "pending",
        {"missing": TWICE, "away": True, "close_since": NOW},
    ),
    "… is rejected from the eighth day on": (
        replace(filed(missing=("r1", "r2"), away=True, close_since=NOW - 7 * DAY), ticket_id=None),
        OPEN,
        {},
        "reject",
        None,
    ),
    "… and is closed as soon as its id is known": (
        filed(missing=("r1", "r2"), away=True, close_since=NOW - 9 * DAY),
        OPEN,
        {},
        "close",
        None,
    ),
    "one whose job has not ended gets no other change": (
        filed(missing=("r1", "r2"), away=True, change=ON_THE_WAY),
        OPEN,
        {},
        "pending",
        None,
    ),
    "one whose job's end is lost waits until it shows the status": (
        filed(missing=("r1", "r2"), away=True, change=LOST),
        OPEN,
        {},
        "pending",
        None,
    ),
    "… which is then ours, unseen": (
        filed(missing=("r1", "r2"), away=True, change=LOST),
        CLOSED,
        {},
        None,
        {"missing": ("r1", "r2"), "away": True, "closed_by": "us"},
    ),
    "… or for three days: then what is read counts": (
        filed(missing=("r1", "r2"), away=True, close_since=NOW - 3 * DAY, change=LOST_LONG_AGO),
        OPEN,
        {},
        "close",
        {"missing": ("r1", "r2"), "away": True, "close_since": NOW - 3 * DAY},
    ),
    "… or not at all, where the job is known to have ended": (
        filed(missing=("r1", "r2"), away=True, close_since=NOW - DAY, change=ENDED),
        OPEN,
        {},
        "close",
        {"missing": ("r1", "r2"), "away": True, "close_since": NOW - DAY},
    ),
    "a reopening that is lost, and made by then": (
        filed(closed_by="us", closed_at=CLOSED_AT, change=LOST_REOPENING),
        replace(OPEN, updated_at=LOST_REOPENING.sent_at + 5),
        {},
        None,
        {"missing": ("r9",)},
    ),
    "… or by a person, who is not overruled": (
        filed(closed_by="us", closed_at=CLOSED_AT, change=LOST_REOPENING),
        replace(OPEN, updated_at=NOW - 60),
        {"close_after": 1},
        None,
        {"missing": ("r9",), "away": True, "held": True},
    ),
    "one that was never filed is forgotten": (Finding("X"), UNREAD, {}, None, None),
}


@pytest.mark.parametrize("case", MISSING)
def test_a_finding_that_is_missing(case: str) -> None:
    finding, reading, settings, kind, history = MISSING[case]
    assert finding is not None
    made = planned(of_list("Y"), finding, reading=reading, **settings)
    done, reason, changed = about(made)
    assert done == kind
    assert bool(reason) == (kind is not None)
    assert (changed and changed.history) == (None if history is None else History(**history))


def test_the_plan_first_lists_the_tickets_to_read() -> None:
    gone, back, kept = (replace(filed(missing=("r1",), away=it == "B"), identifier=it) for it in "GBK")
    known = Scope({it.identifier: it for it in (gone, back, kept)})
    assert plan(of_list("B", "K"), known, {}, Settings(), NOW).to_read == ("B", "G")
    assert not plan(of_list("B", "K"), known, {"B": OPEN, "G": None}, Settings(), NOW).to_read


def test_a_successor_names_the_ticket_before_it() -> None:
    done, reason, finding = about(planned(of_list("X"), filed(away=True), reading=CLOSED))
    assert (done, finding) == ("create", Finding("X", 1, follows="SEC-1"))
    assert reason == "Its finding is back. SEC-1 is not reopened: a person closed or changed it"


def test_a_row_that_cannot_be_filed_is_still_in_the_list() -> None:
    found = FindingList({"X": False}, True, "r9", NOW)
    assert about(planned(found, filed(missing=("r1",))))[0] == "keep"
    assert about(planned(found, filed(away=True), reading=CLOSED))[0] == "keep"
    assert about(planned(found))[0] == "keep"


def test_a_ticket_that_was_moved_is_renamed() -> None:
    moved = Reading("open", NOW, "OPS-7", "id-1")
    _, _, finding = about(planned(of_list("Y"), filed(missing=("r1",)), reading=moved))
    assert finding is not None
    assert finding.vendor_ticket_id == "OPS-7"


@pytest.mark.parametrize("complete", [True, False])
def test_only_a_whole_list_closes_and_counts(complete: bool) -> None:
    made = planned(of_list("Y", "new", complete=complete), filed(missing=("r1",)), reading=OPEN)
    assert made.complete is complete
    assert [it.kind for it in made.actions if it.finding.identifier != "Y"] == ["create"] + ["close"] * complete
    assert ("X" in made.changed) is complete


def test_a_closing_that_was_decided_waits_for_a_whole_list() -> None:
    decided = filed(missing=("r1", "r2"), away=True, close_since=NOW - DAY)
    assert about(planned(of_list("Y", complete=False), decided, reading=OPEN))[:2] == (
        "pending",
        "The list is not complete.",
    )


def test_an_empty_list_counts_and_closes_nothing_unless_confirmed() -> None:
    made = planned(of_list(), filed(missing=("r1",)), reading=OPEN)
    assert (about(made)[0], made.waiting, made.missing) == (None, 1, 1)
    assert made.changed["X"].history == History(missing=TWICE, away=True)
    made = planned(of_list(), filed(missing=("r1",)), reading=OPEN, max_close_rate=1.0)
    assert (about(made)[0], made.waiting) == ("close", 0)


@pytest.mark.parametrize(
    ("found", "history", "settings", "missing"),
    [
        (of_list("Y"), {}, {}, 1),
        (of_list(), {}, {}, 2),
        (of_list("X", "Y"), {}, {}, 0),
        (of_list("Y", complete=False), {}, {}, 0),
        (of_list("Y"), {"missing": ("r1",)}, {}, 0),
        (of_list("Y"), {"closed_by": "person"}, {}, 0),
        (of_list("Y"), {}, {"on_gone": "keep"}, 0),
    ],
)
def test_a_plan_counts_open_tickets_of_findings_that_are_not_missing_for_long_enough(
    found: FindingList, history: dict[str, Any], settings: dict[str, Any], missing: int
) -> None:
    assert planned(found, filed(**history), reading=OPEN, **settings).missing == missing


def test_an_older_list_is_refused_and_does_not_count() -> None:
    made = planned(of_list("new", at=NOW - 1), filed(missing=("r1",)), newest=NOW)
    assert made.refusal is not None
    assert made.refusal.kind == "older list"
    assert (made.actions, made.changed) == ((), {})
    assert planned(of_list("Y"), newest=NOW).refusal is None


def many(number: int, prefix: str = "G", **history: Any) -> list[Finding]:
    return [replace(filed(**history), identifier=f"{prefix}{index}") for index in range(number)]


@pytest.mark.parametrize(
    ("gone", "stay", "rate", "is_braked"),
    [(5, 0, 0.2, False), (6, 22, 0.2, True), (6, 24, 0.2, False), (6, 0, 1.0, False), (30, 70, 0.3, False)],
)
def test_too_many_closings_are_braked(gone: int, stay: int, rate: float, is_braked: bool) -> None:
    findings = [*many(gone, missing=("r1",)), *many(stay, "S", missing=("r1",))]
    found = of_list("Y", *(f"S{index}" for index in range(stay)), "new")
    made = planned(found, *findings, reading=OPEN, max_close_rate=rate)
    assert (made.refusal is not None) == is_braked
    if made.refusal:
        assert (made.refusal.kind, made.actions, made.to_read) == ("max_close_rate", (), ())
        assert f"{gone} of {gone + stay + 1} open tickets would be closed" in made.refusal.message
        assert made.changed.keys() == {f"S{index}" for index in range(stay)}


def test_the_brake_does_not_count_what_was_decided_before() -> None:
    decided = many(50, missing=("r1", "r2"), away=True, close_since=NOW - DAY)
    made = planned(of_list("Y"), *decided, reading=OPEN)
    assert sum(it.kind == "close" for it in made.actions) == 50


@pytest.mark.parametrize("limit", [2, 3, None])
def test_too_many_new_tickets_are_braked(limit: int | None) -> None:
    returned = replace(filed(away=True), identifier="R")
    made = planned(of_list("Y", "N1", "N2", "R"), returned, reading=CLOSED, max_new=limit)
    assert (made.refusal is not None) == (limit == 2)
    if made.refusal:
        assert made.refusal.kind == "max_new"
        assert "3 tickets would be filed, more than max_new=2 allows" in made.refusal.message
        assert "knows 2 of the list's 4 findings" in made.refusal.message


SENT = {"sent_by": "me", "changed_at": NOW}
TOLD: dict[str, tuple[tuple[str, ...], dict[str, Any], str | None, bool]] = {
    "closed by this task": (("Y",), {"closed_by": "us", **SENT, "made_by": "me"}, "closed", True),
    "closed by an earlier run, which this task has learnt": (
        ("Y",), {"closed_by": "us", "sent_by": "r8", "made_by": "me"}, "closed", False
    ),
    "closed by an earlier run, which knew it": (
        ("Y",), {"closed_by": "us", "sent_by": "r8", "made_by": "r8"}, None, False
    ),
    "under way since an earlier try": (("Y",), {"change": Change("closed", NOW, "job-1"), **SENT}, "pending", True),
    "reopened by this task": (("X", "Y"), {**SENT, "made_by": "me"}, "reopened", True),
    "reopened by an earlier run, which knew it": (("X", "Y"), {"sent_by": "r8", "made_by": "r8"}, "keep", False),
}  # fmt: skip


@pytest.mark.parametrize(("listed", "history", "kind", "is_ours"), TOLD.values(), ids=TOLD)
def test_what_a_task_did_in_earlier_tries_is_reported_and_part_of_its_plan(
    listed: tuple[str, ...], history: dict[str, Any], kind: str | None, is_ours: bool
) -> None:
    made = planned(replace(of_list(*listed), task="me"), filed(**history), reading=OPEN)
    assert about(made)[0] == kind
    assert (made.hash != planned(of_list("Y")).hash) is is_ours


def test_a_plan_is_known_by_its_hash_and_another_one_is_refused() -> None:
    known = filed(missing=("r1",))
    made = planned(of_list("Y", "new"), known, reading=OPEN)
    assert planned(of_list("Y", "new"), known, reading=OPEN, expected=made.hash) == made
    assert planned(of_list("Y"), known, reading=OPEN).hash != made.hash
    other = planned(of_list("Y", "new"), known, reading=CLOSED, expected=made.hash)
    assert other.refusal is not None
    assert (other.refusal.kind, other.actions) == ("other plan", ())
    assert "It would file 1, reopen 0 and close 0 now" in other.refusal.message


def test_a_plan_counts_what_people_ask_for() -> None:
    findings = [
        replace(filed(closed_by="person"), identifier="P"),
        Finding("U", 0, "unknown"),
        Finding("V", 0, "unknown"),
        Finding("W", 0, "unwanted"),
    ]
    made = planned(of_list("V", "W", "new"), *findings)
    assert made.closed_by_people == 1
    refusal = planned(of_list("V", "W", "new"), *findings, max_new=0).refusal
    assert refusal is not None
    assert "knows 2 of" in refusal.message


def test_the_list_comes_first_then_what_is_gone() -> None:
    made = planned(of_list("Z", "Y", "A"), *many(2, "B", missing=("r1",)), reading=OPEN)
    assert [(it.finding.identifier, it.listed) for it in made.actions] == [
        *(("Z", True), ("Y", True), ("A", True)),
        *(("B0", False), ("B1", False)),
    ]


def test_a_change_that_was_seen_to_be_made_is_not_in_the_future() -> None:
    sent = History().sent("closed", NOW + 10)
    assert sent.made(NOW + 3).changed_at == sent.made(NOW + 3).closed_at == NOW + 3
    assert sent.made(NOW + 500).changed_at == sent.made().changed_at == NOW + 10
    reopened = sent.made(NOW + 3).sent("open", NOW + 90)
    assert (reopened.made(NOW + 85).changed_at, reopened.made().changed_at) == (NOW + 85, NOW + 90)


@pytest.mark.parametrize("history", [{}, BY_US, {"change": ON_THE_WAY, "late": True, "held": True, "refusal": "no"}])
def test_a_history_is_plain_json_and_read_back(history: dict[str, Any]) -> None:
    assert History.from_json(History(**history).as_json()) == History(**history)
    assert not History().as_json()
