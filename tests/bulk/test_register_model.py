"""The register's protocol, checked by a model: two runs, stopped and resumed between any two calls of the store.

Each of them may crash at any call, folding included; a third one then has to find everything in order, and leaves a
register in which a fourth one has nothing to do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_leen.bulk.register_ledger import RegisterLedger
from airflow_provider_leen.bulk.register_reading import ScopeContent
from tests.bulk.register_model import QuickRegister, RegisterModel

RUNS = [
    pytest.param(False, id="two runs, of which one waits ten minutes and takes over"),
    pytest.param(True, id="two tries, of which the newer one takes over at once"),
]


@pytest.mark.parametrize("same_task", RUNS)
def test_wherever_a_run_stops_for_another_one_no_ticket_is_doubled_lost_or_filed_again(same_task: bool) -> None:
    model = RegisterModel(same_task=same_task, switches=1)
    model.check()
    assert model.problems == set()
    assert model.states > 2_000


@pytest.mark.slow
@pytest.mark.parametrize("same_task", RUNS)
def test_wherever_runs_stop_twice_no_ticket_is_doubled_lost_or_filed_again(same_task: bool) -> None:
    model = RegisterModel(same_task=same_task, switches=2)
    model.check()
    assert model.problems == set()
    assert model.states > 10_000


@pytest.mark.slow
def test_the_same_holds_if_a_write_fails_with_an_unknown_outcome() -> None:
    model = RegisterModel(faults=1, switches=1)
    model.check()
    assert model.problems == set()
    assert model.states > 5_000


# The model can fail


class NeverLooks(QuickRegister):
    def look(self) -> None:
        return


class ReadsBeforeItTakes(QuickRegister):
    def take(self) -> Any:
        self._early = self.peek()
        return super().take()

    def read(self) -> ScopeContent:
        super().read()
        return self._early


class DeletesFirst(QuickRegister):
    def end(self, snapshot: Callable[[], bytes] | None) -> None:
        self._store.delete(f"j/{self._place.lease}-{self._place.token}/1")
        super().end(snapshot)


class LeavesWhenever(RegisterLedger):
    async def leave(self, intent: Any) -> float:
        return float("inf")


@pytest.mark.parametrize(
    ("changes", "problems"),
    [
        pytest.param({"journal": NeverLooks}, {"doubled"}, id="no look"),
        pytest.param({"journal": ReadsBeforeItTakes}, {"doubled"}, id="reads, then takes"),
        pytest.param({"journal": DeletesFirst}, {"stuck"}, id="deletes a value that still counts"),
        pytest.param({"ledger": LeavesWhenever}, {"doubled"}, id="leaves late"),
    ],
)
def test_the_model_finds_what_goes_wrong_without_one_of_the_rules(changes: dict[str, Any], problems: set[str]) -> None:
    model = RegisterModel(switches=2, **changes)
    model.check(until=frozenset(problems))
    assert model.problems >= problems
