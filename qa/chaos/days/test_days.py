"""A short form of the days; ``make days`` is the long one."""

from __future__ import annotations

import pytest

from qa.chaos.days.plan import draw_sequence
from qa.chaos.days.play import Play
from qa.chaos.days.report import line
from qa.chaos.lab import Lab

SEED, SEQUENCES = 364977, 2


@pytest.mark.timeout(900)
def test_days_with_a_kill_people_and_two_runs_at_once_break_no_promise(lab: Lab) -> None:
    sequences = [draw_sequence(SEED, number, short=True) for number in range(SEQUENCES)]
    outcomes = lab.share(sequences, lambda slot, days: Play(lab.airflow, slot, days).perform(), lambda _: None)
    print(*map(line, outcomes), sep="\n")
    assert [[line(it), *it.story] for it in outcomes if it.problems] == []
    assert all(it.struck for it in outcomes), "a try was killed in each of them"
