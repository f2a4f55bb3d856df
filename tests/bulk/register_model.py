"""The small world of the ledger's model, with two runs of a register in it, folding and releasing included.

A run waits for another one by letting ten minutes pass: then the other, which may only be slow, is taken over.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from typing import Any

from airflow_provider_leen.api.errors import LeenLedgerError
from airflow_provider_leen.bulk.journal import Owner
from airflow_provider_leen.bulk.register_journal import STALE_AFTER, RegisterJournal
from airflow_provider_leen.bulk.register_ledger import RegisterLedger
from airflow_provider_leen.bulk.register_reading import Identity
from airflow_provider_leen.bulk.register_table import Entry
from tests.bulk.ledger_model import Answer, Call, Folder, Model, Past, World, settle

IDENTITY = Identity("s", "https://leen.example.com/v1", "connection")
FINDING = "finding"


class Shelves(Folder):
    """A store that can also list and delete."""

    def delete(self, key: str) -> None:
        self._ask("delete", key)

    def names(self, folder: str) -> list[str]:
        return list(self._ask("names", folder))

    def read(self, key: str) -> bytes | None:
        found = self._ask("get", key)
        return None if found is None else base64.b64decode(found)

    def write(self, key: str, content: bytes) -> None:
        self._ask("set", key, base64.b64encode(content).decode())

    def remove(self, key: str) -> None:
        if not key.startswith("j/"):
            self._ask("delete", key)


class QuickRegister(RegisterJournal):
    pauses = (0.0,)


class RegisterModel(Model):
    """What is checked, with a register.

    :param same_task: whether the second run is a newer try of the first one's task, which takes over at once.
    :param switches: how often the one that runs is stopped for the other one.
    """

    def __init__(
        self,
        *,
        same_task: bool = False,
        faults: int = 0,
        switches: int = 3,
        journal: type[RegisterJournal] = QuickRegister,
        ledger: type[RegisterLedger] = RegisterLedger,
    ) -> None:
        super().__init__(refuses=False, faults=faults, keys="a")
        self._same_task = same_task
        self._switches = switches
        self._register = journal
        self._register_ledger = ledger

    def check(self, until: frozenset[str] = frozenset()) -> None:
        """Visit the states after each write of one of the two runs.

        One runs, stops before any call, the other one runs, and so on, as often as ``switches`` says. What both only
        read comes in any order to the same: so who has stopped is let go on only once the other one has written.
        """
        start = Past(self, 1), Past(self, 2)
        left = [(World(faults=self._faults, newest=0), start, active, self._switches) for active in (0, 1)]
        seen = set(left)
        while left and not (until and self.problems >= until):
            world, pasts, active, switches = left.pop()
            self.states += 1
            self._judge(world)
            self._recover(world)
            following = [
                (after, _pair(active, wrote, pasts[1 - active]), active, switches)
                for after, wrote in self._writes(world, pasts[active])
            ]
            if switches or pasts[active].call is None:
                following += [
                    (after, _pair(active, stopped, wrote), 1 - active, max(switches - 1, 0))
                    for stopped in self._reads(world, pasts[active])
                    for after, wrote in self._writes(world, pasts[1 - active])
                ]
            left += set(following) - seen
            seen.update(following)
        self._loop.close()

    def _reads(self, world: World, past: Past) -> list[Past]:
        """Return where a run may be before it writes."""
        places = [past]
        for place in places:
            places += [after for changed, after in self._steps(world, place) if changed == world]
        return places

    def _writes(self, world: World, past: Past) -> list[tuple[World, Past]]:
        """Let a run write, after whatever it reads before that."""
        return [step for place in self._reads(world, past) for step in self._steps(world, place) if step[0] != world]

    def _answer(self, world: World, number: int, kind: str, *args: Any) -> tuple[World, Answer]:
        if kind == "delete":
            return world._replace(values=tuple(pair for pair in world.values if pair[0] != args[0])), ("ok", None)
        if kind == "names":
            beginning = f"{args[0]}/"
            found = {key.removeprefix(beginning).split("/")[0] for key, _ in world.values if key.startswith(beginning)}
            return world, ("ok", tuple(sorted(found)))
        if kind == "pause":
            return world._replace(clock=world.clock + STALE_AFTER), ("ok", None)
        if kind == "publish":
            return world._replace(published=(*world.published, args)), ("ok", None)
        return super()._answer(world, number, kind, *args)

    def _answers(self, world: World, number: int, call: Call) -> Iterator[tuple[World, Answer]]:
        # Here the numbers don't show which one is the newest.
        for changed, answer in super()._answers(world._replace(newest=number), number, call):
            yield changed._replace(newest=0), answer

    def _run(self, number: int, ask: Callable[..., Any]) -> bool:
        task = {"dag_id": "d", "run_id": "1" if self._same_task and number == 2 else str(number), "task_id": "t"}
        journal = self._register(
            Shelves(ask),
            Owner(task, 2 if self._same_task and number == 2 else 1),
            IDENTITY,
            token=f"run{number}",
            now=lambda: float(ask("now")),
            sleep=lambda _seconds: None,
        )
        # The same in both runs where both are the first.
        journal.scope_id = "scope"

        async def pause(_seconds: float) -> None:
            ask("pause")

        ledger = self._register_ledger(journal, None, host="h", now=lambda: float(ask("now")), pause=pause)
        return self._loop.run_until_complete(run(ledger, ask))

    def _recover(self, world: World) -> None:
        """Let both crash; a third run has to put everything right, and a fourth has nothing to do."""
        if (before := (world.values, world.made, world.under_way, world.clock)) in self._recovered:
            return
        self._recovered.add(before)
        world, ended_well, _sent = self._alone(3, world)
        if not ended_well:
            self.problems.add("stuck")
            return
        if dict(world.made) != {"a": 1}:
            self.problems.add("lost" if not world.made else "doubled")
            return
        world, ended_well, sent = self._alone(4, world)
        if not ended_well or sent:
            self.problems.add("filed again the next day")
        kinds = sorted(key.partition("/")[0] for key, _ in world.values)
        if kinds != ["head", "snapshot"]:
            self.problems.add("left behind")

    def _alone(self, number: int, world: World) -> tuple[World, bool, bool]:
        lasting, sent = [world], []

        def ask(*call: Any) -> Any:
            if call[0] == "send":
                sent.append(call)
            lasting[0], (kind, answer) = next(self._answers(lasting[0], number, call))
            if kind == "error":
                raise ConnectionError(answer)
            return answer

        ended_well = self._run(number, ask)
        return lasting[0], ended_well, bool(sent)


def _pair(active: int, its: Past, others: Past) -> tuple[Past, Past]:
    return (others, its) if active else (its, others)


async def run(ledger: RegisterLedger, ask: Callable[..., Any]) -> bool:
    """One run in miniature: take over, settle, send, settle, publish, fold. Say whether it ended well."""
    try:
        table = await ledger.open()
        key = table.key_for(FINDING)
        table.announced[key] = Entry(FINDING, 0, "SEC")
        settle_as_a(ledger, ask, key)
        if table[key].status in ("unsent", "rejected"):
            intent = await ledger.intend([key])
            await ledger.leave(intent)
            reply = ask("send", "a")
            if reply == "created":
                table.created({key: [None, "SEC-1"]})
            elif reply == "refused":
                ledger.withdraw(intent)
            else:
                table.unknown([key], "lost")
        settle_as_a(ledger, ask, key)
        ask("look")
        await ledger.look()
        ask("publish", ledger.place.lease, json.dumps({"a": table[key].status}))
        await ledger.close()
    except LeenLedgerError:
        return False
    finally:
        if ledger._signing is not None:
            ledger._signing.cancel()
    return True


def settle_as_a(ledger: RegisterLedger, ask: Callable[..., Any], key: str) -> None:
    """Settle with the tracker, which calls the ticket ``a``."""

    def asked(kind: str, *args: Any) -> Any:
        return [key for _ in ask("search", ("a",))] if kind == "search" else ask(kind, *args)

    settle(ledger, asked, [key])
