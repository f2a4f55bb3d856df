"""A small world in which two tries of one task run in every order, stopped between any two calls of the store.

A try is the real :class:`Ledger` in a run in miniature. It is deterministic: given the answers to its calls so far, its
next call is always the same. So it is not suspended but run anew with these answers, and stops at the call after them.
A state of the world is a plain value, and all states that can be reached are visited once.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from airflow_provider_leen.api.errors import LeenLedgerError
from airflow_provider_leen.bulk.journal import Journal, Owner
from airflow_provider_leen.bulk.ledger import Ledger
from airflow_provider_leen.bulk.stores import Store, TaskStateStore
from airflow_provider_leen.bulk.values import Value

WINDOW = 5.0
"""Seconds for which a request that has left may be worked on."""

_LOOKING = ("get", "names")

Call = tuple[Any, ...]
Answer = tuple[str, Any]


class World(NamedTuple):
    """All that lasts. Dicts are tuples of pairs.

    :param made: by key, how many tickets there are.
    :param under_way: tickets of requests that have left and are not yet done.
    :param newest: the try that Airflow takes for the current one.
    :param published: by whom, and what.
    :param faults: how many more calls may fail.
    """

    values: tuple[tuple[str, str], ...] = ()
    made: tuple[tuple[str, int], ...] = ()
    under_way: tuple[str, ...] = ()
    clock: float = 100.0
    newest: int = 1
    published: tuple[tuple[int, str], ...] = ()
    faults: int = 0

    def with_value(self, key: str, value: str) -> World:
        return self._replace(values=tuple(sorted({**dict(self.values), key: value}.items())))

    def making(self, keys: tuple[str, ...]) -> World:
        made = dict(self.made)
        for key in keys:
            made[key] = made.get(key, 0) + 1
        return self._replace(made=tuple(sorted(made.items())))


class Suspended(BaseException):
    """Ends a run at the call that has no answer yet."""

    def __init__(self, call: Call) -> None:
        self.call = call


class Inline(asyncio.SelectorEventLoop):
    """A loop that calls the store at once, in its own thread."""

    def run_in_executor(  # type: ignore[override]  # its own type needs variadic generics
        self, executor: Any, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:
            future.set_exception(error)
        return future


class Folder:
    """A store that creates exclusively and refuses nobody."""

    durable = True
    refuses_overtaken_writes = False

    def __init__(self, ask: Callable[..., Any]) -> None:
        self._ask = ask

    def get(self, key: str) -> Value | None:
        found = self._ask("get", key)
        return None if found is None else dict(json.loads(found))

    def set(self, key: str, value: Value) -> None:
        self._ask("set", key, json.dumps(value, sort_keys=True))

    def create(self, key: str, value: Value) -> bool:
        return bool(self._ask("create", key, json.dumps(value, sort_keys=True)))

    def delete(self, key: str) -> None:
        raise AssertionError("a try deletes nothing")


def task_state(ask: Callable[..., Any]) -> Store:
    folder = Folder(ask)
    return TaskStateStore(folder.get, folder.set, folder.delete)


class QuickJournal(Journal):
    ahead = 1
    pauses = (0.0,)


class Past:
    """The answers that a try has had, and so where it is. The same answers are the same object."""

    def __init__(self, model: Model, number: int, answers: Sequence[Answer] = ()) -> None:
        self.number = number
        self.call = model.next_call(number, [*answers])
        self._model = model
        self._answers = answers
        self._then: dict[Answer, Past] = {}

    def then(self, answer: Answer) -> Past:
        if answer not in self._then:
            self._then[answer] = Past(self._model, self.number, [*self._answers, answer])
        return self._then[answer]


class Model:
    """What is checked: how the store behaves, and which ledger is used.

    :param refuses: whether the store refuses the writes of a try that was replaced.
    :param emptied: whether the store is emptied when the second try starts.
    :param faults: how many writes fail, done or not.
    :param keys: the tickets, each in a batch of its own.
    """

    def __init__(
        self,
        *,
        refuses: bool,
        emptied: bool = False,
        faults: int = 0,
        keys: str = "ab",
        journal: type[Journal] = QuickJournal,
        ledger: type[Ledger] = Ledger,
    ) -> None:
        self._refuses = refuses
        self._emptied = emptied
        self._faults = faults
        self._keys = keys
        self._journal = journal
        self._ledger = ledger
        self._loop = Inline()
        self._recovered: set[tuple[Any, ...]] = set()
        self.states = 0
        self.problems: set[str] = set()

    def check(self, until: frozenset[str] = frozenset()) -> None:
        """Visit all states; from each of them, both tries crashed, a third one has to put everything right.

        :param until: the problems that are enough to know.
        """
        left = [(World(faults=self._faults), Past(self, 1), Past(self, 2))]
        seen = set(left)
        while left and not (until and self.problems >= until):
            world, first, second = left.pop()
            self.states += 1
            self._judge(world)
            self._recover(world)
            following = [(changed, past, second) for changed, past in self._steps(world, first)]
            following += [(changed, first, past) for changed, past in self._steps(world, second)]
            left += [state for state in following if state not in seen]
            seen.update(following)
        self._loop.close()

    def _steps(self, world: World, past: Past, *, looks: bool = False) -> Iterator[tuple[World, Past]]:
        """Let a try make its next call, in each way in which that may end.

        There is no stop between the clock and the request that it lets leave, nor between the last look and what is
        published: that these take no time at all is what the protocol can't have.
        """
        if past.call is None:
            return
        looks = past.call[0] == "look" or (looks and past.call[0] in _LOOKING)
        for changed, answer in self._answers(world, past.number, past.call):
            after = past.then(answer)
            following = after.call[0] if after.call else ""
            if (past.call[0], following) == ("now", "send") or (looks and following in (*_LOOKING, "publish")):
                yield from self._steps(changed, after, looks=looks)
            else:
                yield changed, after

    def next_call(self, number: int, past: list[Answer]) -> Call | None:
        """Return the call that a try makes after these answers, None where it has ended."""
        answers = iter(past)

        def ask(*call: Any) -> Any:
            kind, answer = next(answers, ("", None))
            if not kind:
                raise Suspended(call)
            if kind == "error":
                raise ConnectionError(answer)
            return answer

        try:
            self._run(number, ask)
        except Suspended as suspended:
            return suspended.call
        return None

    def _answers(self, world: World, number: int, call: Call) -> Iterator[tuple[World, Answer]]:
        if number > world.newest:
            world = world._replace(newest=number, values=() if self._emptied and number == 2 else world.values)
        kind, *args = call
        if kind == "send":
            yield world.making((args[0],)), ("ok", "created")
            yield world.making((args[0],)), ("ok", "lost")
            yield world._replace(under_way=(*world.under_way, args[0])), ("ok", "lost")
            yield world, ("ok", "refused")
            return
        yield self._answer(world, number, kind, *args)
        if kind in ("set", "create") and world.faults:
            failing = world._replace(faults=world.faults - 1)
            yield failing, ("error", "not written")
            yield self._answer(failing, number, kind, *args)[0], ("error", "written all the same")

    def _answer(self, world: World, number: int, kind: str, *args: Any) -> tuple[World, Answer]:
        replaced = self._refuses and number < world.newest
        if kind == "get":
            return world, ("ok", None if replaced else dict(world.values).get(args[0]))
        if kind in ("set", "create"):
            if replaced:
                return world, ("error", "404")
            if kind == "create" and args[0] in dict(world.values):
                return world, ("ok", dict(world.values)[args[0]] == args[1])
            return world.with_value(*args), ("ok", True)
        if kind == "look":
            return world, ("ok", None)
        if kind == "now":
            return world, ("ok", world.clock)
        if kind == "wait":
            done = world.making(world.under_way)
            return done._replace(under_way=(), clock=max(world.clock, args[0])), ("ok", None)
        if kind == "search":
            return world, ("ok", tuple(key for key in args[0] if dict(world.made).get(key)))
        assert kind == "publish"
        return world._replace(published=(*world.published, (number, args[0]))), ("ok", None)

    def _run(self, number: int, ask: Callable[..., Any]) -> bool:
        store: Store = task_state(ask) if self._refuses else Folder(ask)
        owner = Owner({"task": "t"}, number)
        journal = self._journal(
            store, owner, token=f"try{number}", now=lambda: float(ask("now")), sleep=lambda _seconds: None
        )
        ledger = self._ledger(journal, None, embedded=True, host="h", now=lambda: float(ask("now")))
        since = 50.0 if self._emptied and number > 1 else None
        return self._loop.run_until_complete(run(ledger, ask, self._keys, since))

    def _recover(self, world: World) -> None:
        """Run a third try to its end, undisturbed."""
        if (before := (world.values, world.made, world.under_way, world.clock)) in self._recovered:
            return
        self._recovered.add(before)
        lasting = [world]

        def ask(*call: Any) -> Any:
            lasting[0], (kind, answer) = next(self._answers(lasting[0], 3, call))
            if kind == "error":
                raise ConnectionError(answer)
            return answer

        ended_well = self._run(3, ask)
        after = lasting[0]
        self._judge(after)
        if not ended_well:
            self.problems.add("stuck")
        elif dict(after.made) != dict.fromkeys(self._keys, 1):
            self.problems.add("lost" if len(after.made) < len(self._keys) else "doubled")

    def _judge(self, world: World) -> None:
        made = dict(world.made)
        if any(count > 1 for count in made.values()):
            self.problems.add("doubled")
        speakers = [number for number, _ in world.published]
        if speakers != sorted(speakers):
            self.problems.add("overtaken try published")
        for _, statuses in world.published:
            for key, status in json.loads(statuses).items():
                if status == "created" and not made.get(key):
                    self.problems.add("lost")


async def run(ledger: Ledger, ask: Callable[..., Any], keys: str, may_have_forgotten: float | None) -> bool:
    """One try in miniature: take over, settle, send, settle, publish. Say whether it ended well."""
    try:
        await ledger.open(may_have_forgotten)
        settle(ledger, ask, keys)
        left = [key for key in keys if ledger.table[key].status in ("unsent", "rejected")]
        # One batch ahead, as the sender does.
        ahead = await ledger.intend(left[:1]) if left else None
        for position, key in enumerate(left):
            intent, ahead = ahead, None
            if position + 1 < len(left):
                ahead = await ledger.intend([left[position + 1]])
            assert intent is not None
            await ledger.leave(intent)
            reply = ask("send", key)
            if reply == "created":
                ledger.table.created({key: [None, f"id of {key}"]})
            elif reply == "refused":
                ledger.withdraw(intent)
            else:
                ledger.table.unknown([key], "lost")
        settle(ledger, ask, keys)
        ask("look")
        await ledger.look()
        ask("publish", json.dumps({key: ledger.table[key].status for key in keys}))
        await ledger.close()
    except LeenLedgerError:
        return False
    return True


def settle(ledger: Ledger, ask: Callable[..., Any], keys: Iterable[str]) -> None:
    table = ledger.table
    unknown = [key for key in keys if table[key].status == "unknown"]
    if not unknown:
        return
    ask("wait", WINDOW + max(sending.left_by("h") for key in unknown for sending in table[key].sendings))
    found = ask("search", tuple(unknown))
    table.found({key: [None, f"id of {key}"] for key in found})
    table.absent([key for key in unknown if key not in found])
