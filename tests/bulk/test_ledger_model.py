"""The ledger's protocol, checked by a model: two tries, stopped and resumed between any two calls of the store.

Each of them may crash at any call, and a third one then has to find everything in order.
"""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_leen.bulk.ledger import Intent, Ledger
from airflow_provider_leen.bulk.values import Value
from tests.bulk.ledger_model import Model, QuickJournal

STORES = [
    pytest.param(False, id="a store that refuses nobody"),
    pytest.param(True, id="a store that refuses the writes of a try that was replaced"),
]


@pytest.mark.parametrize("refuses", STORES)
def test_however_two_tries_overlap_no_ticket_is_doubled_or_lost_and_the_newer_one_publishes(refuses: bool) -> None:
    model = Model(refuses=refuses)
    model.check()
    assert model.problems == set()
    assert model.states > 5_000


@pytest.mark.parametrize("refuses", STORES)
def test_the_same_holds_if_a_write_fails_with_an_unknown_outcome(refuses: bool) -> None:
    model = Model(refuses=refuses, faults=1, keys="a")
    model.check()
    assert model.problems == set()
    assert model.states > 5_000


@pytest.mark.parametrize("refuses", STORES)
def test_the_same_holds_where_the_memory_is_deleted_when_the_second_try_starts(refuses: bool) -> None:
    model = Model(refuses=refuses, emptied=True, keys="a")
    model.check()
    # Where the store refuses nobody, a try may write the end into its lease just after that was deleted; the values
    # that this names are then missing, and nothing more is sent.
    assert model.problems <= (set() if refuses else {"stuck"})
    assert model.states > 1_000


# The model can fail


class NeverLooks(QuickJournal):
    def look(self) -> None:
        return


class ReadsBeforeItOpens(QuickJournal):
    def open(self, forgotten: Value | None = None) -> tuple[list[Value], Value | None]:
        first = self._store.get("lease/1")
        values = self._read(self._key(1, first["token"]), 0) if first else []
        return values, super().open(forgotten)[1]


class KeepsToItselfThatTheMemoryIsGone(QuickJournal):
    def open(self, forgotten: Value | None = None) -> tuple[list[Value], Value | None]:
        values, _ = super().open()
        return values, forgotten | {"until": self._now()} if forgotten and self.place.lease == 1 else None


class LeavesWhenever(Ledger):
    async def leave(self, intent: Intent) -> float:
        return float("inf")


@pytest.mark.parametrize(
    ("changes", "problems"),
    [
        pytest.param({"refuses": False, "journal": NeverLooks}, {"doubled", "overtaken try published"}, id="no look"),
        pytest.param({"refuses": True, "journal": NeverLooks}, {"overtaken try published"}, id="no look to publish"),
        pytest.param({"refuses": False, "journal": ReadsBeforeItOpens}, {"doubled"}, id="reads, then opens"),
        pytest.param({"refuses": False, "ledger": LeavesWhenever}, {"doubled"}, id="leaves late"),
        pytest.param({"refuses": True, "ledger": LeavesWhenever}, {"doubled"}, id="leaves late, refused writes"),
        pytest.param(
            {"refuses": True, "emptied": True, "journal": KeepsToItselfThatTheMemoryIsGone},
            {"doubled"},
            id="the third try believes an empty store",
        ),
    ],
)
def test_the_model_finds_what_goes_wrong_without_one_of_the_rules(changes: dict[str, Any], problems: set[str]) -> None:
    model = Model(**changes)
    model.check(until=frozenset(problems))
    assert model.problems >= problems
