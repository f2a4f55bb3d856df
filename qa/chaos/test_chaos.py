"""A short form of the chaos test; ``make chaos`` is the long one."""

from __future__ import annotations

import random

import pytest

from qa.chaos.lab import Lab
from qa.chaos.plan import draw_plan
from qa.chaos.report import line

RUNS = 8


@pytest.mark.timeout(900)
def test_random_faults_and_disturbances_lose_double_and_overwrite_no_ticket(lab: Lab) -> None:
    seed = random.randrange(10**6)
    plans = [draw_plan(seed, number, short=True) for number in range(RUNS)]
    told: list[str] = []
    outcomes = lab.perform(plans, lambda outcome: told.append(line(outcome)))
    print(f"seed {seed}", *told, sep="\n")
    assert [line(outcome) for outcome in outcomes if outcome.problems] == []
