"""A short form of the chaos test; ``make chaos`` is the long one."""

from __future__ import annotations

import pytest

from qa.chaos.lab import Lab
from qa.chaos.plan import draw_plan
from qa.chaos.report import line

RUNS = 8
SEED = 20


@pytest.mark.timeout(900)
def test_random_faults_and_disturbances_lose_double_and_overwrite_no_ticket(lab: Lab) -> None:
    plans = [draw_plan(SEED, number, short=True) for number in range(RUNS)]
    told: list[str] = []
    outcomes = lab.perform(plans, lambda outcome: told.append(line(outcome)))
    print(f"seed {SEED}", *told, sep="\n")
    assert [line(outcome) for outcome in outcomes if outcome.problems] == []
