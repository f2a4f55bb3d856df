"""Random days of the whole story against the sandbox: people at work, lost replies, runs that die."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest

from airflow_provider_leen.bulk.plan import DAY
from airflow_provider_leen.sandbox.server import SandboxServer
from tests.bulk.runs import UUID, VENDOR
from tests.bulk.test_reconcile import CREATES, UPDATES, Killed, Scope, dies_at

FINDINGS = [f"f{number}" for number in range(8)]


class World:
    """Days of a scope; what people did is remembered by the name of the ticket."""

    def __init__(self, sandbox: SandboxServer, folder: Path, chance: random.Random) -> None:
        self.sandbox = sandbox
        self.chance = chance
        self.scope = Scope(sandbox, folder, chance.choice([UUID, VENDOR]))
        self.present = set(FINDINGS[:6])
        self.left_alone: set[str] = set()
        self.day = 0

    def live(self) -> None:
        self.begin()
        for _ in range(self.chance.randrange(3)):
            self.act()
        if self.chance.random() < 0.5:
            self.sandbox.sync()
        path = self.chance.choice([None, None, CREATES, UPDATES])
        if path:
            self.sandbox.inject("lost", path=path, times=1, commit=self.chance.random() < 0.5)
        listed = sorted(self.present)
        if self.chance.random() < 0.2:
            self.run(listed, dies_at_write=self.chance.randrange(1, 6))
        self.run(listed)
        self.sandbox.end_faults()
        self.look()

    def begin(self) -> None:
        self.day += 1
        self.scope.ahead = self.day * DAY

    def act(self) -> None:
        finding = self.chance.choice(FINDINGS)
        tickets = [it for it in self.sandbox.tickets() if it["name"] == f"Finding {finding}"]
        what = self.chance.choice(["toggle"] * 5 + ["close", "reopen", "edit", "move", "delete", "clone"])
        if what == "toggle":
            self.present ^= {finding}
        elif tickets:
            ticket, people = tickets[-1], self.sandbox.people
            key, is_open = ticket["vendor_ticket_id"], ticket["status"] != "CLOSED"
            if (what == "close" and not is_open) or (what == "reopen" and is_open):
                return
            self.left_alone.add(finding)
            if what == "edit":
                people.edit(key, {"priority": "LOW"})
            elif what == "move":
                people.move(key, "APP" if key.startswith("SEC") else "SEC")
            else:
                getattr(people, what)(key)

    def run(self, listed: list[str], *, dies_at_write: int = 0) -> None:
        closed_before = self.closed()
        during = dies_at(dies_at_write) if dies_at_write else None
        try:
            self.scope.run(*listed, day=self.day, max_close_rate=1.0, during=during)
        except Killed:
            self.scope.ahead += 700.0  # Nobody has signed its lease for ten minutes.
        newly = Counter(self.closed()) - Counter(closed_before)
        assert not {name.removeprefix("Finding ") for name in newly} & set(listed), "never closed while it is listed"

    def closed(self) -> list[str]:
        return [it["name"] for it in self.sandbox.tickets() if it["status"] == "CLOSED"]

    def look(self) -> None:
        for name, number in Counter(self.scope.open()).items():
            finding = name.removeprefix("CLONE - ").removeprefix("Finding ")
            assert number == 1 or finding in self.left_alone, f"{finding} has {number} open tickets"

    def end(self) -> None:
        for _ in range(10):
            self.begin()
            self.sandbox.sync()
            self.scope.run(*sorted(self.present), day=self.day, max_close_rate=1.0)
            assert self.scope.error is None
        untouched = set(FINDINGS) - self.left_alone
        is_open = {name.removeprefix("Finding ") for name in self.scope.open()}
        assert is_open & untouched == self.present & untouched


def play(sandbox: SandboxServer, folder: Path, patch: pytest.MonkeyPatch, seed: int, days: int) -> None:
    world = World(sandbox, folder, random.Random(seed))
    for clock in (sandbox._store, sandbox._store.leen):
        patch.setattr(clock, "_clock", world.scope.now)
    for _ in range(days):
        world.live()
    world.end()


def test_days_with_people_and_lost_replies_end_with_a_ticket_for_each_finding(
    sandbox: SandboxServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    play(sandbox, tmp_path, monkeypatch, 1, 10)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(2, 22))
def test_many_such_days(sandbox: SandboxServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    play(sandbox, tmp_path, monkeypatch, seed, 20)
