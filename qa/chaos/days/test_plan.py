"""What the days are drawn from, and what a store may lose."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from qa.chaos.days.plan import MAX_NEW, WRITES, Part, draw_sequence
from qa.chaos.days.store import losable


def test_the_same_seed_and_number_draw_the_same_days() -> None:
    assert draw_sequence(7, 3) == draw_sequence(7, 3)
    assert draw_sequence(7, 3) != draw_sequence(7, 4)


def test_fifty_sequences_have_everything_and_strike_at_each_write_in_turn() -> None:
    sequences = [draw_sequence(1, number) for number in range(50)]
    days = [day for sequence in sequences for day in sequence.days]
    assert {(it.kind, it.is_deferrable) for it in sequences} == {
        ("create", False),
        ("create", True),
        ("reconcile", False),
    }
    assert {it.is_url for it in sequences} == {False, True}
    assert {day.scan for day in days} == {"whole", "half", "empty", "none", "flood"}
    assert {action for day in days for action, _ in day.deeds} == {"close", "reopen", "edit", "move", "delete", "clone"}
    assert {strike.how for day in days for strike in day.strikes.values()} == {"kill", "stop", "both"}
    assert {day.strikes[1].write for day in days if day.strikes} == set(range(1, WRITES + 1))
    assert any(day.lost for day in days)
    assert any(day.is_twice for day in days)
    assert any(day.cleared for day in days)
    assert all(len(day.found) <= MAX_NEW for day in days)


STORE = {
    "head/3": {"snapshot": "2-a"},
    "snapshot/2-a": {},
    "lease/4": {"token": "b", "values": 1},
    "j/4-b/1": {},
    "lease/5": {"token": "c", "values": None},
    "j/5-c/1": {},
    "j/5-c/2": {},
}


@pytest.mark.parametrize(
    ("part", "wanted"),
    [
        ("head", ["head/3"]),
        ("snapshot", ["snapshot/2-a"]),
        ("lease", ["lease/4"]),
        # The last value of a run that was killed is known to nobody else.
        ("value", ["j/4-b/1", "j/5-c/1"]),
    ],
)
def test_what_is_lost_is_something_whose_loss_can_be_known(part: Part, wanted: list[str], tmp_path: Path) -> None:
    for key, value in STORE.items():
        file = tmp_path / f"{key}.{'jsonl.gz' if key.startswith('snapshot') else 'json'}"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(value))
    names = [str(file.relative_to(tmp_path)).partition(".")[0] for file in losable(tmp_path, part)]
    assert names == wanted
