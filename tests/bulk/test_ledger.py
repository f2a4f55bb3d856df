"""The ledger of one try: when facts are written, when a request may leave, and when nothing more may."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor

import pytest

from airflow_provider_leen.api.errors import LeenLedgerError, LeenLedgerLostError
from airflow_provider_leen.bulk.journal import Place
from airflow_provider_leen.bulk.ledger import LEAVES_WITHIN, MAX_RENEWALS
from airflow_provider_leen.bulk.stores import MemoryStore
from airflow_provider_leen.bulk.values import Value
from tests.bulk.ledgers import TASK, Clock, Shelf, ending, ledger_of, opened, sending
from tests.support.waiting import until

A, B, C = (f"airflow-{letter * 24}" for letter in "abc")
IDS = ["uuid-1", "SEC-1"]

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def threads() -> Iterator[Executor]:
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="ledger") as executor:
        yield executor


# What a later try finds


async def test_a_later_try_has_the_same_table() -> None:
    shelf = Shelf()
    first = await opened(shelf)
    await sending(first, A, B)
    first.table.created({A: IDS})
    first.table.unknown([B], "timed out")
    await first.close()
    second = await opened(shelf, 2)
    assert second.table == first.table
    await sending(second, C)
    third = await opened(shelf, 3)
    assert [third.table[key].status for key in (A, B, C)] == ["created", "unknown", "unknown"]


async def test_a_try_that_died_before_it_wrote_its_results_leaves_the_tickets_unknown() -> None:
    shelf = Shelf()
    first = await opened(shelf)
    await sending(first, A)
    first.table.created({A: IDS})
    assert (await opened(shelf, 2)).table[A].status == "unknown"


async def test_what_another_host_recorded_is_known_to_be_of_its_clock() -> None:
    shelf = Shelf()
    await sending(await opened(shelf, host="h1"), A)
    second = await opened(shelf, 2, host="h2")
    (found,) = second.table[A].sendings
    assert found.left_by(second.host) == 1000.0 + LEAVES_WITHIN + 60.0


# When facts are written


async def test_results_and_the_next_intents_share_a_write() -> None:
    shelf = Shelf()
    ledger = await opened(shelf)
    await sending(ledger, A)
    ledger.table.created({A: IDS})
    ledger.table.labelled({B: ["finding", "CVE-1"]}, 1)
    await sending(ledger, B)
    assert [[name for name, *_ in value["facts"]] for value in shelf.written()] == [
        ["sent"],
        ["created", "labelled", "sent"],
    ]


async def test_a_flush_writes_what_is_left_once() -> None:
    shelf = Shelf()
    ledger = await opened(shelf)
    ledger.table.absent([A])
    await ledger.flush()
    await ledger.flush()
    assert shelf.facts() == [["absent", [A]]]


class Gated(Shelf):
    """Holds each write back until it is let through."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Semaphore(0)
        self.waiting = 0

    def set(self, key: str, value: Value) -> None:
        self.waiting += 1
        assert self.gate.acquire(timeout=60)
        super().set(key, value)


async def test_intents_that_come_during_a_write_are_written_together_in_the_next_one(threads: Executor) -> None:
    shelf = Gated()
    ledger = await opened(shelf, threads=threads)
    first = asyncio.create_task(ledger.intend([A]))
    await asyncio.to_thread(until, lambda: shelf.waiting)
    others = [asyncio.create_task(ledger.intend([key])) for key in (B, C)]
    flushing = asyncio.create_task(ledger.flush())
    await asyncio.sleep(0)
    assert not any(task.done() for task in (first, flushing, *others))
    shelf.gate.release(2)
    await asyncio.gather(first, flushing, *others)
    assert [[fact[1] for fact in value["facts"]] for value in shelf.written()] == [[[A]], [[B], [C]]]


async def test_an_intent_whose_waiter_is_cancelled_during_the_write_is_withdrawn(threads: Executor) -> None:
    shelf = Gated()
    ledger = await opened(shelf, threads=threads)
    writing = asyncio.create_task(ledger.intend([A]))
    await asyncio.to_thread(until, lambda: shelf.waiting)
    waiting = asyncio.create_task(ledger.intend([B]))
    await asyncio.sleep(0)
    writing.cancel()
    waiting.cancel()
    await asyncio.gather(writing, waiting, return_exceptions=True)
    shelf.gate.release(2)
    await ledger.flush()
    assert [(name, keys) for name, keys, *_ in shelf.facts()] == [("sent", [A]), ("withdrawn", [A])]
    assert ledger.table[A].status == "unsent"


async def test_where_the_store_refuses_overtaken_writes_a_batch_costs_one_write_and_no_read() -> None:
    shelf = Shelf(refuses=True)
    ledger = await opened(shelf)
    before = len(shelf.calls)
    await sending(ledger, A)
    ledger.table.created({A: IDS})
    await sending(ledger, B)
    assert [what for what, _ in shelf.calls[before:]] == ["set", "set"]


async def test_a_first_try_reads_one_value() -> None:
    shelf = Shelf()
    await opened(shelf)
    assert shelf.calls == [("get", "lease/1"), ("create", "lease/1")]


# When a request may leave


async def test_a_request_is_sent_within_ten_seconds_of_its_intent_or_recorded_again() -> None:
    shelf, clock = Shelf(), Clock()
    ledger = await opened(shelf, now=clock)
    intent = await ledger.intend([A])
    clock.time += LEAVES_WITHIN
    await ledger.leave(intent)
    assert len(shelf.written()) == 1
    clock.time += 0.1
    await ledger.leave(intent)
    assert [name for name, *_ in shelf.facts()] == ["sent", "withdrawn", "sent"]
    (found,) = (await opened(shelf, 2)).table[A].sendings
    assert found.leaves_by == clock.time + LEAVES_WITHIN


class Slow(Shelf):
    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.clock = clock

    def set(self, key: str, value: Value) -> None:
        super().set(key, value)
        self.clock.time += LEAVES_WITHIN + 1


async def test_a_store_that_takes_longer_than_that_ends_the_sending_at_last() -> None:
    clock = Clock()
    shelf = Slow(clock)
    ledger = await opened(shelf, now=clock)
    with pytest.raises(LeenLedgerError, match="more than 10 s to write"):
        await sending(ledger, A)
    assert len(shelf.written()) == MAX_RENEWALS + 2
    assert ledger.table[A].status == "unsent"


async def test_a_request_that_surely_did_nothing_is_withdrawn_once() -> None:
    ledger = await opened(Shelf())
    await sending(ledger, A)
    again = await ledger.intend([A])
    ledger.withdraw(again)
    ledger.withdraw(again)
    assert ledger.table[A].status == "unknown", "the first sending is still open"


# Writes that fail


async def test_a_write_whose_outcome_is_unknown_is_repeated_with_the_same_number_and_content() -> None:
    shelf = Shelf()
    ledger = await opened(shelf)
    shelf.failures = [TimeoutError("slow"), ConnectionError("gone")]
    await sending(ledger, A)
    writes = [key for what, key in shelf.calls if what == "set"]
    assert len(writes) == 3
    assert len(set(writes)) == 1
    assert len(shelf.facts()) == 1


async def test_a_write_that_fails_again_and_again_ends_the_sending_for_all_that_wait() -> None:
    shelf = Shelf()
    ledger = await opened(shelf)
    recorded = await ledger.intend([C])
    shelf.failures = [ConnectionError("no route")] * 3
    ends = await asyncio.gather(*(ending(ledger.intend([key])) for key in (A, B)))
    assert [type(end) for end in ends] == [LeenLedgerError] * 2
    assert "ConnectionError: no route" in str(ends[0])
    assert [ledger.table[key].status for key in (A, B)] == ["unsent", "unsent"]
    with pytest.raises(LeenLedgerError, match="no route"):
        await ledger.leave(recorded)
    assert ledger.table[C].status == "unsent"
    await ledger.look()
    await ledger.close()
    # What was withdrawn in memory is unknown to the next try: it can't know that.
    assert (await opened(shelf, 2)).table[C].status == "unknown"


async def test_a_store_that_cant_be_read_is_a_ledger_error_with_the_reason() -> None:
    class Unreadable(Shelf):
        def get(self, key: str) -> Value | None:
            raise ConnectionError("no route to the store")

    with pytest.raises(LeenLedgerError, match=r"ConnectionError: no route to the store"):
        await opened(Unreadable())


# A try that was replaced


async def test_a_try_that_was_replaced_sends_writes_and_publishes_nothing_more() -> None:
    shelf = Shelf()
    older = await opened(shelf)
    await sending(older, A)
    recorded = await older.intend([B])
    await opened(shelf, 2)
    with pytest.raises(LeenLedgerError, match="taken over"):
        await older.intend([C])
    kept = json.dumps(shelf.values)
    for step in (older.leave(recorded), older.intend([A]), older.flush(), older.look(), older.close()):
        assert isinstance(await ending(step), LeenLedgerError)
    assert json.dumps(shelf.values) == kept


async def test_a_write_that_is_refused_because_the_try_was_replaced_says_that() -> None:
    shelf = Shelf(refuses=True)
    older = await opened(shelf)
    shelf.failures = [RuntimeError("404")] * 6
    # What Airflow shows a try that was replaced: nothing.
    shelf.values.clear()
    with pytest.raises(LeenLedgerError, match="taken over"):
        await older.intend([A])
    assert type(await ending(older.look())) is LeenLedgerError
    assert shelf.values == {}


@pytest.mark.parametrize("refuses", [False, True])
async def test_a_try_whose_ledger_was_deleted_ends_without_retry_since_a_retry_would_take_it_that_nothing_was_sent(
    refuses: bool,
) -> None:
    shelf = Shelf(refuses=refuses)
    ledger = await opened(shelf)
    await sending(ledger, A)
    shelf.values.clear()
    for step in (ledger.look(), ledger.intend([B]), ledger.close()):
        assert isinstance(await ending(step), LeenLedgerLostError)
    assert shelf.written("lease/") == []


async def test_a_try_whose_ledger_was_deleted_and_begun_anew_was_replaced() -> None:
    shelf = Shelf()
    older = await opened(shelf)
    shelf.values.clear()
    await opened(shelf, 2)
    error = await ending(older.look())
    assert isinstance(error, LeenLedgerError)
    assert not isinstance(error, LeenLedgerLostError)


async def test_a_try_that_opens_after_a_newer_one_stops_at_once() -> None:
    shelf = Shelf()
    await opened(shelf, 2)
    with pytest.raises(LeenLedgerError, match="taken over"):
        await opened(shelf, 1)
    assert len(shelf.written("lease/")) == 1


async def test_a_task_that_is_delivered_twice_under_one_number_overwrites_nothing() -> None:
    shelf = Shelf()
    older = await opened(shelf)
    await sending(older, A)
    newer = await opened(shelf)
    assert newer.table[A].status == "unknown"
    assert isinstance(await ending(older.intend([B])), LeenLedgerError)
    await sending(newer, B)


async def test_a_lease_that_is_taken_meanwhile_is_read_and_the_next_one_taken() -> None:
    class Raced(Shelf):
        def create(self, key: str, value: Value) -> bool:
            if key == "lease/1":
                self.values[key] = value | {"token": "rival"}
                self.values["j/1-rival/1"] = {"v": 2, "facts": [["absent", [A]]]}
            return super().create(key, value)

    shelf = Raced()
    ledger = await opened(shelf)
    assert ledger.place.lease == 2
    assert list(ledger.table) == [A]


# What is lost


async def with_three_values(*, closed: bool = True) -> Shelf:
    shelf = Shelf()
    ledger = await opened(shelf)
    for key in (A, B, C):
        await sending(ledger, key)
    if closed:
        await ledger.close()
    return shelf


def value_key(shelf: Shelf, number: int) -> str:
    return f"j/1-{shelf.values['lease/1']['token']}/{number}"


@pytest.mark.parametrize("number", [1, 2, 3])
async def test_a_value_that_is_missing_is_an_error_that_names_it(number: int) -> None:
    shelf = await with_three_values()
    del shelf.values[value_key(shelf, number)]
    with pytest.raises(LeenLedgerLostError, match=f"a gap: {value_key(shelf, number)} is missing"):
        await opened(shelf, 2)


async def test_a_lease_that_is_missing_is_an_error_that_names_it() -> None:
    shelf = await with_three_values()
    await opened(shelf, 2)
    del shelf.values["lease/1"]
    with pytest.raises(LeenLedgerLostError, match="a gap: lease/1 is missing"):
        await opened(shelf, 3)


async def test_more_values_than_the_lease_says_are_no_gap() -> None:
    shelf = await with_three_values()
    shelf.values[value_key(shelf, 4)] = {"v": 2, "facts": [["absent", [A]]]}
    assert (await opened(shelf, 2)).table[A].status == "unsent"


async def test_a_value_that_is_written_while_it_is_looked_for_is_no_gap() -> None:
    shelf = await with_three_values(closed=False)
    late = value_key(shelf, 2)
    value = shelf.values.pop(late)

    class Late(Shelf):
        def get(self, key: str) -> Value | None:
            found = super().get(key)
            if key == late:
                self.values[late] = value
            return found

    racing = Late()
    racing.values = shelf.values
    assert len((await opened(racing, 2)).table) == 3


@pytest.mark.parametrize(
    ("lease", "message"),
    [({"v": 1}, "another release"), ({"v": 2}, "can't be read"), ({"v": 2, "task": TASK}, "can't be read")],
)
async def test_a_lease_that_is_none_is_refused(lease: Value, message: str) -> None:
    shelf = Shelf()
    shelf.values["lease/1"] = lease
    with pytest.raises(LeenLedgerError, match=message):
        await opened(shelf, 2)


async def test_a_lease_of_a_try_that_died_while_it_wrote_it_is_passed_over() -> None:
    shelf = Shelf()
    shelf.values["lease/1"] = {}
    ledger = await opened(shelf, 2)
    assert (ledger.place.lease, len(ledger.table)) == (2, 0)


# Memory that is gone


async def test_without_any_record_every_ticket_may_have_been_sent_since_the_run_began() -> None:
    shelf, clock = Shelf(), Clock()
    ledger = ledger_of(shelf, 2, now=clock)
    table = await ledger.open(may_have_forgotten=0.0)
    assert [sending.at for sending in ledger.table["any"].sendings] == [0.0]
    assert table[A].status == "unknown"
    (found,) = table[A].sendings
    assert (found.at, found.left_by("h"), found.embedded) == (0.0, 1000.0 + LEAVES_WITHIN + 60.0, True)


async def test_the_next_try_which_finds_a_record_knows_that_too() -> None:
    shelf = Shelf()
    second = ledger_of(shelf, 2)
    (await second.open(may_have_forgotten=500.0)).absent([A])
    await second.flush()
    third = await opened(shelf, 3)
    assert [sending.at for sending in third.table["any"].sendings] == [500.0]
    assert [third.table[key].status for key in (A, B)] == ["unsent", "unknown"]


@pytest.mark.parametrize("died", [{}, None], ids=["while it wrote its lease", "not at all"])
async def test_only_a_try_that_had_a_lease_proves_that_there_is_a_record(died: Value | None) -> None:
    shelf = Shelf()
    if died is None:
        await opened(shelf, 1)
    else:
        shelf.values["lease/1"] = died
    ledger = ledger_of(shelf, 2)
    await ledger.open(may_have_forgotten=500.0)
    assert [sending.at for sending in ledger.table["any"].sendings] == ([] if died is None else [500.0])


async def test_a_ledger_in_memory_lasts_for_one_try() -> None:
    first = await opened(MemoryStore())
    await sending(first, A)
    await first.look()
    await first.close()
    second = ledger_of(MemoryStore(), 2)
    assert (await second.open(may_have_forgotten=500.0))[A].status == "unknown"


# Across a deferral


async def test_the_process_that_continues_after_a_deferral_takes_no_new_lease() -> None:
    shelf = Shelf()
    before = await opened(shelf)
    await sending(before, A)
    before.table.submitted([A], "job-1")
    await before.flush()
    after = ledger_of(shelf)
    assert await after.resume(Place(**json.loads(json.dumps(vars(before.place))))) == before.table
    await sending(after, B)
    await after.close()
    assert len(shelf.written("lease/")) == 1
    assert len((await opened(shelf, 2)).table) == 2


async def test_it_stops_where_another_try_has_opened_meanwhile_or_a_value_is_lost() -> None:
    shelf = Shelf()
    before = await opened(shelf)
    await sending(before, A)
    lost = Shelf()
    lost.values = {key: value for key, value in shelf.values.items() if not key.startswith("j/")}
    with pytest.raises(LeenLedgerError, match="gap"):
        await ledger_of(lost).resume(before.place)
    await opened(shelf, 2)
    with pytest.raises(LeenLedgerError, match="taken over"):
        await ledger_of(shelf).resume(before.place)
