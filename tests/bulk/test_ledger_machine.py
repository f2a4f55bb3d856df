"""Table and ledger under random stories: what a later try finds is what was known, whenever the try before it died."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from airflow_provider_leen.bulk.ledger import Intent, Ledger
from airflow_provider_leen.bulk.stores import MemoryStore
from tests.bulk.ledgers import Clock, Shelf, ledger_of

Result = TypeVar("Result")
KEYS = [f"airflow-{letter * 24}" for letter in "abcde"]
LOOKED_UP = KEYS[3:]
"""Of these it is learnt elsewhere that they exist; the others go on being sent."""
some_keys = st.lists(st.sampled_from(KEYS), unique=True, min_size=1, max_size=3)
looked_up = st.lists(st.sampled_from(LOOKED_UP), unique=True, min_size=1)
ids = st.sampled_from([[None, None], ["uuid-1", None], ["uuid-1", "SEC-1"], [None, "SEC-2"], ["uuid-3", "SEC-3"]])
texts = st.text(max_size=20)
OUTCOMES = ("created", "refused", "nothing done", "lost", "lost", "job")
MAY_BE_SENT = ("unsent", "rejected")


class Tries(RuleBasedStateMachine):
    """One try after another; each may end or die, or be replaced while it runs."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.clock = Clock()
        self.shelf = Shelf()
        self.tries = 0
        self.intents: list[Intent] = []
        self.jobs = 0
        self.made: set[str] = set()
        """Keys of tickets that may exist: a request left, and nothing shows that it did nothing."""
        self.ledger: Ledger

    def wait_for(self, coroutine: Coroutine[Any, Any, Result]) -> Result:
        return self.loop.run_until_complete(coroutine)

    @initialize()
    def first_try(self) -> None:
        self.opens()

    def opens(self) -> None:
        self.tries += 1
        self.intents = []
        self.ledger = ledger_of(self.shelf, self.tries, now=self.clock, host=f"host{self.tries % 2}")
        self.wait_for(self.ledger.open())

    # What a sender does

    @rule(keys=some_keys, as_job=st.booleans())
    def plans(self, keys: list[str], as_job: bool) -> None:
        self.intends(keys, as_job)

    def intends(self, keys: list[str], as_job: bool) -> None:
        busy = {key for intent in self.intents for key in intent.keys}
        if left := [key for key in keys if key not in busy]:
            self.intents.append(self.wait_for(self.ledger.intend(left, as_job=as_job)))

    @rule(keys=some_keys, late=st.booleans(), outcome=st.sampled_from(OUTCOMES), reason=texts)
    def sends(self, keys: list[str], late: bool, outcome: str, reason: str) -> None:
        if not self.intents:
            self.intends(keys, outcome == "job")
        intent = self.intents.pop(0)
        self.clock.time += 30.0 if late else 1.0
        self.wait_for(self.ledger.leave(intent))
        keys, table = list(intent.keys), self.ledger.table
        before = self.made & set(keys)
        self.made |= set(keys)
        if outcome == "created":
            table.created({key: [None, f"ours-{key}"] for key in keys})
        elif outcome == "refused":
            table.refused(dict.fromkeys(keys, reason))
        elif outcome == "nothing done":
            self.ledger.withdraw(intent)
        elif outcome == "lost":
            table.unknown(keys, reason)
        else:
            self.jobs += 1
            table.submitted(keys, f"job-{self.jobs}")
        if outcome in ("refused", "nothing done"):
            self.made -= set(keys) - before

    @precondition(lambda self: self.intents)
    @rule()
    def withdraws(self) -> None:
        self.ledger.withdraw(self.intents.pop())

    # What is learnt elsewhere

    @rule(key=st.sampled_from(LOOKED_UP), pair=ids, fact=st.sampled_from(["created", "found", "existing"]))
    def learns_of_ids(self, key: str, pair: list[str | None], fact: str) -> None:
        getattr(self.ledger.table, fact)({key: pair})

    @rule(keys=looked_up, named=st.lists(st.sampled_from(["SEC-1", "SEC-2", "SEC-9"]), max_size=3))
    def reads_a_contradiction(self, keys: list[str], named: list[str]) -> None:
        self.ledger.table.named(dict.fromkeys(keys, named))

    @rule(keys=looked_up)
    def makes_a_change(self, keys: list[str]) -> None:
        self.ledger.table.changed(keys)

    @rule(keys=some_keys)
    def proves_absence(self, keys: list[str]) -> None:
        busy = {key for intent in self.intents for key in intent.keys}
        left = [key for key in keys if key not in busy]
        self.ledger.table.absent(left)
        self.made -= set(left)

    @precondition(lambda self: self.ledger.table.open_jobs())
    @rule(refuses=st.booleans())
    def asks_for_a_job(self, refuses: bool) -> None:
        job, keys = next(iter(self.ledger.table.open_jobs().items()))
        if not refuses:
            self.ledger.table.job_ended(keys, job, self.clock.time, self.ledger.host)
            return
        self.ledger.table.refused(dict.fromkeys(keys, "no"), job)
        self.made -= {key for key in keys if not self.ledger.table[key].sendings}

    @rule(keys=some_keys, label=texts)
    def labels(self, keys: list[str], label: str) -> None:
        self.ledger.table.labelled({key: [label, None] for key in keys}, 1)

    # How a try ends

    @rule(closes=st.booleans())
    def ends(self, closes: bool) -> None:
        while self.intents:
            self.withdraws()
        self.wait_for(self.ledger.close() if closes else self.ledger.flush())
        known = self.ledger.table
        self.opens()
        assert self.ledger.table == known

    @rule()
    def dies(self) -> None:
        self.opens()

    @rule()
    def defers(self) -> None:
        self.intents = []
        self.wait_for(self.ledger.flush())
        known, place = self.ledger.table, self.ledger.place
        self.ledger = ledger_of(self.shelf, self.tries, now=self.clock, host=self.ledger.host)
        assert self.wait_for(self.ledger.resume(place)) == known

    @invariant()
    def what_may_exist_is_never_taken_for_unsent(self) -> None:
        if self.tries:
            assert not [key for key in self.made if self.ledger.table[key].status in MAY_BE_SENT]

    def teardown(self) -> None:
        self.loop.close()


Tries.TestCase.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
TestTries = Tries.TestCase


def test_a_memory_that_keeps_nothing_has_the_same_table_meanwhile() -> None:
    async def go() -> None:
        ledger = ledger_of(MemoryStore())
        table = await ledger.open()
        await ledger.leave(await ledger.intend(KEYS))
        table.created({KEYS[0]: [None, "SEC-1"]})
        await ledger.close()
        assert table.pending == []
        assert [table[key].status for key in KEYS[:2]] == ["created", "unknown"]

    asyncio.run(go())
