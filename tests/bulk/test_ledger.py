"""The ledger: what its journal says when it is read again, when it is written, and how it refuses."""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import threading
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import ObjectStoragePath
from fsspec.implementations.memory import MemoryFileSystem  # type: ignore[import-untyped]
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_leen.api.errors import LeenLedgerError
from airflow_provider_leen.bulk.ledger import (
    NEVER,
    Created,
    FolderLedger,
    History,
    Journal,
    LedgerStore,
    MemoryLedger,
    Sent,
    TaskStateLedger,
    Value,
    replay,
)
from tests.airflow_run import AIRFLOW
from tests.bulk.runs import Store, until

A, B = (f"airflow-{letter * 24}" for letter in "ab")
AIRFLOWS_LIMIT = 64 * 1024
LOCAL = pytest.mark.skipif(AIRFLOW < (3, 0), reason="Airflow 2 has no local://, and file:// is the same")


def value(at: Any = 1.0, **entries: Any) -> Value:
    nothing: Value = {"sent": [], "created": {}, "absent": [], "gone": [], "named": {}, "jobs": {}}
    return {"v": 1, "at": at, "final_from": NEVER, "embedded": False, **nothing} | entries


@pytest.fixture
def threads() -> Iterator[Executor]:
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="ledger") as executor:
        yield executor


# What a journal says


@pytest.mark.parametrize(
    ("values", "created", "sent"),
    [
        pytest.param([], {}, {}, id="nothing"),
        pytest.param([value(7.0, sent=[A])], {}, {A: 7.0}, id="sent without an answer"),
        pytest.param([value(sent=[A]), value(created={A: ["t", "SEC-1"]})], {A: ("t", "SEC-1")}, {}, id="created"),
        pytest.param([value(sent=[A]), value(absent=[A])], {}, {}, id="refused"),
        pytest.param([value(sent=[A]), value(absent=[A]), value(9.0, sent=[A])], {}, {A: 9.0}, id="sent again"),
        pytest.param([value(sent=[A]), value(9.0, absent=[A], sent=[A])], {}, {A: 9.0}, id="absent, then sent again"),
        pytest.param([value(sent=[A]), value(gone=[A])], {}, {}, id="surely not there"),
        pytest.param([value(sent=[A]), value(9.0, gone=[A], sent=[A])], {}, {A: 9.0}, id="gone, then sent again"),
        pytest.param(
            [value(created={A: [None, "SEC-1"]}), value(created={A: ["t", "SEC-1"]})],
            {A: ("t", "SEC-1")},
            {},
            id="the later ids count",
        ),
        pytest.param(
            [value(sent=[A, B]), value(created={A: [None, None]})], {A: (None, None)}, {B: 1.0}, id="one of two"
        ),
        pytest.param([value(created={A: [None, "SEC-1"]}, sent=[B])], {A: (None, "SEC-1")}, {B: 1.0}, id="both in one"),
    ],
)
def test_a_journal_is_read_from_its_first_value_to_its_last(
    values: list[Value], created: dict[str, tuple[str, str]], sent: dict[str, float]
) -> None:
    exist = {key: Created(*ids) for key, ids in created.items()}
    expected = History(
        created=exist, sent={key: (Sent(at, NEVER, False),) for key, at in sent.items()}, values=len(values)
    )
    assert replay(values) == expected


@pytest.mark.parametrize("version", [0, 2, "1", None])
def test_a_value_of_another_release_is_refused_and_says_what_to_do(version: Any) -> None:
    with pytest.raises(LeenLedgerError, match="another release") as refusal:
        replay([value(), value(v=version)])
    assert f"version {version!r}, this one reads 1" in str(refusal.value)
    assert "start a new run" in str(refusal.value)


@pytest.mark.parametrize(
    "broken",
    [
        None,
        "text",
        ["v", 1],
        {},
        {"v": 1},
        value(created={A: ["one id only"]}),
        value(created=[A]),
        value(created={A: None}),
        value(absent=None),
        value(sent=3),
        value(sent=[A], at="yesterday"),
        value(sent=[A], at=None),
        value(sent=[A], final_from="later"),
    ],
    ids=str,
)
def test_a_value_that_makes_no_sense_is_refused_and_quoted(broken: Any) -> None:
    with pytest.raises(LeenLedgerError, match="can't be read") as refusal:
        replay([value(), broken])
    assert json.dumps(broken)[:200] in str(refusal.value)
    assert "Look into the tracker" in str(refusal.value)


# When it is written


def in_journal(store: LedgerStore, threads: Executor, act: Callable[[Journal], Awaitable[Any]]) -> Any:
    async def go() -> Any:
        journal = Journal(store, threads)
        await journal.open()
        return await act(journal)

    return asyncio.run(go())


def test_results_and_the_next_intents_share_a_write(threads: Executor) -> None:
    store = Store()

    async def act(journal: Journal) -> None:
        await journal.intend([A])
        journal.learn({A: Created("t", "SEC-1")}, [])
        await journal.intend([B])

    in_journal(store, threads, act)
    assert [(v["sent"], v["created"]) for v in store.values] == [([A], {}), ([B], {A: ["t", "SEC-1"]})]


def test_what_was_learnt_but_not_written_is_written_by_a_flush_and_only_once(threads: Executor) -> None:
    store = Store()

    async def act(journal: Journal) -> None:
        journal.learn({A: Created(None, "SEC-1")}, [B])
        await journal.flush()
        await journal.flush()

    in_journal(store, threads, act)
    assert [(v["created"], v["absent"]) for v in store.values] == [({A: [None, "SEC-1"]}, [B])]


class GatedStore(Store):
    """Holds each write back until it is let through."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Semaphore(0)
        self.waiting = 0

    def append(self, value: Value) -> None:
        self.waiting += 1
        assert self.gate.acquire(timeout=10)
        super().append(value)


def test_intents_that_come_during_a_write_leave_together_in_the_next_one(threads: Executor) -> None:
    store = GatedStore()
    keys = [f"{number:032}" for number in range(6)]

    async def act(journal: Journal) -> None:
        first = asyncio.create_task(journal.intend(keys[:1]))
        await asyncio.to_thread(until, lambda: store.waiting)
        others = [asyncio.create_task(journal.intend([key])) for key in keys[1:]]
        await asyncio.sleep(0)
        assert not any(task.done() for task in (first, *others))
        store.gate.release(2)
        await asyncio.gather(first, *others)

    in_journal(store, threads, act)
    assert [v["sent"] for v in store.values] == [keys[:1], keys[1:]]


def test_a_flush_waits_for_the_write_under_way_that_carries_what_it_is_about(threads: Executor) -> None:
    store = GatedStore()

    async def act(journal: Journal) -> None:
        intending = asyncio.create_task(journal.intend([A]))
        await asyncio.to_thread(until, lambda: store.waiting)
        flushing = asyncio.create_task(journal.flush())
        done, _pending = await asyncio.wait([flushing], timeout=0.02)
        assert not done
        store.gate.release()
        await asyncio.gather(intending, flushing)

    in_journal(store, threads, act)
    assert store.writes == 1


def test_an_intent_is_dated_not_after_what_is_on_record(threads: Executor) -> None:
    clock = iter(range(100, 200))
    store = Store()

    async def act(_: Journal) -> float:
        return (await Journal(store, threads, now=lambda: float(next(clock))).intend([A])).at

    assert in_journal(store, threads, act) <= store.values[0]["at"]


def test_it_is_on_record_from_when_on_nothing_more_comes_of_a_sending_and_whether_it_carries_its_key(
    threads: Executor,
) -> None:
    store = Store()

    async def act(_: Journal) -> None:
        await Journal(store, threads, final_after=60.0, embedded=True, now=lambda: 100.0).intend([A])
        await Journal(store, threads, final_after=60.0, now=lambda: 100.0).intend([B])

    in_journal(store, threads, act)
    assert replay(store.values).sent == {A: (Sent(100.0, 160.0, True),), B: (Sent(100.0, 160.0, False),)}


@pytest.mark.parametrize("length", [10, 36, 255])
def test_no_value_reaches_the_limit_however_long_ids_are_and_however_much_comes_at_once(
    threads: Executor, length: int
) -> None:
    store = Store()
    keys = [f"airflow-{number:024x}" for number in range(4000)]
    results = {key: Created("u" * 36, "V" * length) for key in keys[:1000]}

    async def act(journal: Journal) -> None:
        journal.learn(results, keys[1000:2000])
        await asyncio.gather(*(journal.intend(keys[start : start + 50]) for start in range(2000, 4000, 50)))

    in_journal(store, threads, act)
    assert max(len(json.dumps(v)) for v in store.values) < AIRFLOWS_LIMIT
    history = replay(store.values)
    assert history.created == results
    assert set(history.sent) == set(keys[2000:])


steps = st.lists(
    st.tuples(st.sampled_from(["intend", "created", "absent"]), st.lists(st.integers(0, 9), unique=True, max_size=5))
)


FIRST, SECOND, THIRD = (Sent(at, NEVER, False) for at in (2.0, 5.0, 8.0))


@pytest.mark.parametrize(
    ("then", "sent"),
    [
        pytest.param([], {A: (FIRST, SECOND)}, id="open"),
        pytest.param([value(absent=[A])], {A: (FIRST,)}, id="a refusal leaves the first sending open"),
        pytest.param([value(absent=[A]), value(8.0, sent=[A])], {A: (FIRST, THIRD)}, id="and once more"),
        pytest.param([value(8.0, sent=[A])], {A: (FIRST, SECOND, THIRD)}, id="all are kept"),
        pytest.param([value(absent=[A]), value(absent=[A])], {}, id="two refusals close both"),
        pytest.param([value(created={A: ["t", None]})], {}, id="created settles it"),
        pytest.param([value(gone=[A])], {}, id="proven absence settles it"),
    ],
)
def test_all_open_sendings_of_a_ticket_are_kept_and_a_refusal_closes_only_the_last(
    then: list[Value], sent: dict[str, tuple[Sent, ...]]
) -> None:
    assert replay([value(2.0, sent=[A]), value(5.0, sent=[A]), *then]).sent == sent


@pytest.mark.parametrize(
    ("then", "named"),
    [
        pytest.param([], {A: Created(None, "SEC-1")}, id="kept"),
        pytest.param([value(8.0, sent=[A])], {A: Created(None, "SEC-1")}, id="kept when it is sent again"),
        pytest.param([value(named={A: ["t", None]})], {A: Created("t", None)}, id="the later ones count"),
        pytest.param([value(created={A: ["t", None]})], {}, id="created"),
        pytest.param([value(gone=[A])], {}, id="proven absent"),
    ],
)
def test_ids_that_a_contradictory_reply_named_are_kept_while_the_outcome_is_unknown(
    then: list[Value], named: dict[str, Created]
) -> None:
    assert replay([value(sent=[A], named={A: [None, "SEC-1"]}), *then]).named == named


@pytest.mark.parametrize(
    ("values", "carrying"),
    [
        pytest.param(
            [value(2.0, sent=[A], embedded=True), value(5.0, created={A: ["t", None]})], {A: 5.0}, id="carries"
        ),
        pytest.param([value(2.0, sent=[A]), value(5.0, created={A: ["t", None]})], {}, id="left without its key"),
        pytest.param(
            [value(sent=[A]), value(sent=[A], embedded=True), value(created={A: ["t", None]})],
            {},
            id="may be the first",
        ),
        pytest.param([value(2.0, created={A: ["t", None]})], {}, id="was never seen to leave"),
    ],
)
def test_it_is_known_which_created_tickets_carry_their_keys_and_since_when(
    values: list[Value], carrying: dict[str, float]
) -> None:
    assert replay(values).carrying == carrying


@given(steps)
@settings(deadline=None)
def test_what_was_recorded_is_what_is_read_whatever_the_order(course: list[tuple[str, list[int]]]) -> None:
    store = Store()
    created: dict[str, Created] = {}
    sent: Counter[str] = Counter()

    async def act(journal: Journal) -> None:
        for number, (step, chosen) in enumerate(course):
            keys = [str(key) for key in chosen]
            if step == "intend":
                await journal.intend(keys)
                sent.update(keys)
                for key in keys:
                    created.pop(key, None)
                continue
            # What comes back is about what was sent before.
            results = {key: Created(None, str(number)) for key in keys} if step == "created" else {}
            journal.learn(results, [] if results else keys)
            created.update(results)
            for key in keys:
                sent[key] = 0 if results else max(0, sent[key] - 1)
        await journal.flush()

    with ThreadPoolExecutor(max_workers=1) as executor:
        in_journal(store, executor, act)
    history = replay(store.values)
    assert history.created == created
    assert {key: len(sendings) for key, sendings in history.sent.items()} == +sent


def test_all_calls_to_the_store_come_from_one_thread_that_is_not_the_main_one(threads: Executor) -> None:
    store = Store()

    async def act(journal: Journal) -> None:
        await asyncio.gather(journal.intend([A]), journal.intend([B]))
        journal.learn({}, [A])
        await journal.flush()

    in_journal(store, threads, act)
    assert store.threads == {"ledger_0"}


# When it can't be read or written


def test_a_store_that_cant_be_read_is_a_ledger_error_with_the_reason(threads: Executor) -> None:
    async def act(_: Journal) -> None:
        raise AssertionError("nothing may happen after that")

    with pytest.raises(LeenLedgerError, match=r"could not be read \(ConnectionError: no route to the store\)"):
        in_journal(Store(can_be_read=False), threads, act)


def test_after_a_write_that_failed_the_journal_refuses_all_and_leaves_the_store_alone(threads: Executor) -> None:
    store = Store(broken_from=2)

    async def act(journal: Journal) -> None:
        await journal.intend([A])
        with pytest.raises(LeenLedgerError, match=r"could not be written \(ConnectionError: no route to the store\)"):
            await journal.intend([B])
        store.broken_from = None
        with pytest.raises(LeenLedgerError, match="Mend the cause, then clear the task"):
            await journal.intend([B])

    in_journal(store, threads, act)
    assert store.writes == 2


def test_all_that_wait_for_a_write_that_fails_are_told(threads: Executor) -> None:
    async def act(journal: Journal) -> list[Any]:
        return await asyncio.gather(*(journal.intend([key]) for key in (A, B, "c")), return_exceptions=True)

    assert [type(end) for end in in_journal(Store(broken_from=1), threads, act)] == [LeenLedgerError] * 3


# Stores


def test_the_task_state_store_is_numbered_on_from_try_to_try() -> None:
    kept: dict[str, Any] = {"another": "task's own"}
    first = TaskStateLedger(kept.get, kept.__setitem__)
    assert first.open() == []
    first.append(value(sent=[A]))
    first.append(value(absent=[A]))
    second = TaskStateLedger(kept.get, kept.__setitem__)
    assert second.open() == [value(sent=[A]), value(absent=[A])]
    second.append(value(sent=[B]))
    assert TaskStateLedger(kept.get, kept.__setitem__).open() == [value(sent=[A]), value(absent=[A]), value(sent=[B])]
    assert len(kept) == 4


def test_memory_forgets() -> None:
    memory = MemoryLedger()
    memory.append(value(sent=[A]))
    assert not memory.remembers
    assert memory.open() == []


@pytest.fixture(params=["path", "file", pytest.param("local", marks=LOCAL), "memory"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    if request.param == "path":
        return tmp_path / "deep" / "ledger"
    if request.param == "memory":
        store = importlib.import_module("airflow.io.store" if AIRFLOW < (3, 0) else "airflow.sdk.io")
        store.attach("memory", fs=MemoryFileSystem())
        return ObjectStoragePath(f"memory://{uuid.uuid4().hex}/ledger")
    return ObjectStoragePath(f"{request.param}://{tmp_path}/deep/ledger")


def written(values: list[Value]) -> list[Value]:
    """The values that say something, without the openings of tries."""
    return [v for v in values if v["sent"] or v["created"] or v["absent"]]


def test_a_folder_gives_the_next_try_what_the_earlier_ones_wrote_in_order(folder: Any) -> None:
    first = FolderLedger(folder, 1)
    assert written(first.open()) == []
    for number in range(12):
        first.append(value(float(number), sent=[A]))
    second = FolderLedger(folder, 2)
    assert [v["at"] for v in written(second.open())] == [float(number) for number in range(12)]
    second.append(value(created={A: [None, "SEC-1"]}))
    third = written(FolderLedger(folder, 12).open())
    assert len(third) == 13
    assert replay(third).created == {A: Created(None, "SEC-1")}


def test_a_task_that_is_delivered_twice_under_one_number_overwrites_nothing(folder: Any) -> None:
    first = FolderLedger(folder, 1)
    first.open()
    first.append(value(sent=[A]))
    again = FolderLedger(folder, 1)
    assert written(again.open()) == [value(sent=[A])]
    again.append(value(absent=[A]))
    assert written(FolderLedger(folder, 2).open()) == [value(sent=[A]), value(absent=[A])]


def test_a_try_is_stopped_by_one_that_opened_while_it_ran(folder: Any, threads: Executor) -> None:
    older, newer = FolderLedger(folder, 1), FolderLedger(folder, 2)

    async def act(journal: Journal) -> None:
        await journal.intend([A])
        # What the older one may already have sent is known to the newer one ...
        assert replay(newer.open()).sent.keys() == {A}
        # ... and it sends nothing more.
        with pytest.raises(LeenLedgerError, match="A later try of this task has taken over"):
            await journal.intend([B])

    in_journal(older, threads, act)
    newer.append(value(sent=[B]))


def test_a_try_that_writes_its_intents_after_the_newer_one_has_opened_does_not_send_them(
    folder: Any, threads: Executor
) -> None:
    older, newer = FolderLedger(folder, 9), FolderLedger(folder, 10)

    async def act(journal: Journal) -> None:
        assert replay(newer.open()).sent == {}
        with pytest.raises(LeenLedgerError, match="taken over"):
            await journal.intend([A])

    in_journal(older, threads, act)
    assert replay(FolderLedger(folder, 11).open()).sent == {}, "nobody need doubt what did not leave"


def test_a_try_that_opens_after_a_newer_one_stops_at_once(folder: Any) -> None:
    FolderLedger(folder, 2).open()
    with pytest.raises(LeenLedgerError, match="taken over"):
        FolderLedger(folder, 1).open()


def test_a_file_that_is_no_ledgers_is_refused(folder: Any, threads: Executor) -> None:
    FolderLedger(folder, 1).open()
    with (folder / "0001-000000.json").open("w") as file:
        file.write('{"v": 1, "sent": [')

    async def act(_: Journal) -> None:
        raise AssertionError("nothing may happen after that")

    with pytest.raises(LeenLedgerError, match=r"could not be read \(JSONDecodeError"):
        in_journal(FolderLedger(folder, 2), threads, act)


@pytest.mark.parametrize("plant", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")], ids=["pipe", "link"])
def test_what_others_have_put_among_its_files_holds_nothing_up_and_is_refused(
    plant: Callable[[Path], None], tmp_path: Path, threads: Executor
) -> None:
    FolderLedger(tmp_path, 1).open()
    plant(tmp_path / "0001-000001.json")

    async def act(_: Journal) -> None:
        raise AssertionError("nothing may happen after that")

    with pytest.raises(LeenLedgerError, match=r"could not be read .* no regular file"):
        in_journal(FolderLedger(tmp_path, 2), threads, act)


def test_its_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    ledger = FolderLedger(tmp_path / "task", 1)
    ledger.open()
    ledger.append(value(sent=[A]))
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "task").iterdir()} == {0o600}


@pytest.mark.parametrize("scheme", ["", "file://", pytest.param("local://", marks=LOCAL)])
def test_a_try_that_dies_while_it_writes_leaves_no_half_file(
    scheme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = ObjectStoragePath(f"{scheme}{tmp_path}") if scheme else tmp_path
    first = FolderLedger(folder, 1)
    first.open()

    def die(*_: Any) -> None:
        raise OSError("died here")

    with monkeypatch.context() as dying:
        dying.setattr(os, "replace", die)
        with pytest.raises(OSError, match="died here"):
            first.append(value(sent=[A]))
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".json"] == ["0001-000000.json"]
    assert written(FolderLedger(folder, 2).open()) == []
