"""What the runs of the chaos test are drawn from."""

from __future__ import annotations

import pytest

from qa.chaos.disturb import gap_in
from qa.chaos.plan import AFTER_THE_END, DISTURBED_SHORT, Clear, draw_plan

JOURNAL = {"lease/1": {"values": None}, "j/1-ab/1": {}, "j/1-ab/2": {}}


def test_the_same_seed_and_number_draw_the_same_run() -> None:
    assert draw_plan(7, 3) == draw_plan(7, 3)
    assert draw_plan(7, 3) != draw_plan(7, 4)


def test_many_runs_have_every_disturbance_in_an_order_that_can_be() -> None:
    plans = [draw_plan(1, number) for number in range(400)]
    assert {type(one).__name__ for plan in plans for one in plan.disturbances} == {"Kill", "Freeze", "Clear"}
    for plan in plans:
        for one in plan.disturbances[:-1]:
            assert one.after_calls != AFTER_THE_END
            assert not (isinstance(one, Clear) and one.memory != "kept"), "what has no memory is not disturbed further"


def test_the_short_form_has_each_disturbance_once() -> None:
    drawn = [draw_plan(1, number, short=True).disturbances for number in range(DISTURBED_SHORT + 2)]
    assert [len(disturbances) for disturbances in drawn] == [1] * DISTURBED_SHORT + [0, 0]
    kinds = {(type(one), one.memory if isinstance(one, Clear) else "") for [one] in drawn[:DISTURBED_SHORT]}
    assert len(kinds) == DISTURBED_SHORT


@pytest.mark.parametrize(
    ("values", "gap"),
    [
        (JOURNAL, ["j/1-ab/1"]),
        ({"lease/1": {"values": None}, "j/1-ab/1": {}}, []),
        ({"lease/1": {"values": 1}, "j/1-ab/1": {}}, ["j/1-ab/1"]),
        ({"lease/1": {"values": 0}}, []),
        ({}, []),
    ],
)
def test_a_gap_is_made_only_where_it_can_be_seen(values: dict[str, dict[str, int | None]], gap: list[str]) -> None:
    assert gap_in(values) == gap
