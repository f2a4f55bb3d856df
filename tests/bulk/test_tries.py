"""Tries that wait, overlap, or forget, against a server that counts: cases A13 to A15 and B4 to B9."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import httpx
import pytest

from airflow_provider_leen.api.errors import LeenConnectError, LeenLedgerError
from airflow_provider_leen.bulk.fitting import Fitting
from airflow_provider_leen.bulk.ledger import LEAVES_WITHIN
from airflow_provider_leen.bulk.state import CLOCK_SKEW
from airflow_provider_leen.bulk.summary import summarise
from airflow_provider_leen.bulk.tickets import payload
from airflow_provider_leen.bulk.verdict import final_error
from tests.api.wire import RawServer
from tests.bulk.ledgers import opened, sending
from tests.bulk.runs import (
    FINAL_AFTER,
    UUID,
    VENDOR,
    Clock,
    Store,
    Try,
    answering,
    rows_of,
    run_try,
    tickets,
    try_with,
)
from tests.bulk.tracker import Tracker, once, tracker
from tests.bulk.truth import Truth
from tests.support.waiting import until

# Waiting for a turn, and clocks


def test_a_batch_that_has_waited_for_its_turn_is_recorded_again_with_a_new_time() -> None:
    """A13."""
    store, clock, given = Store(), Clock(), tickets(4)
    last = rows_of(given)[3].key

    def an_hour_passes(number: int) -> None:
        if number == 1:
            until(lambda: last in store.on_record_by(math.inf))
            clock.ahead += 3600.0

    late = {2: FINAL_AFTER - 1.0}
    with tracker(clock=clock, late=late, before_reply=an_hour_passes) as known:
        ended = run_try(known, store, given, batch_size=2, embedded=True, clock=clock)
    assert ended.counts == {"created": 4}
    assert known.counts() == once(given)
    facts = [fact for fact in store.facts() if fact[0] in ("sent", "withdrawn") and last in fact[1]]
    assert [name for name, *_ in facts] == ["sent", "withdrawn", "sent"]
    _name, _keys, at, leaves_by, *_ = facts[-1]
    assert at <= known.posted_at[1] <= leaves_by


def kill_a_try(store: Store, given: list[dict[str, Any]], *, host: str, clock: Clock) -> None:
    """Leave what a try leaves that is killed right before its request leaves."""

    async def until_it_is_killed() -> None:
        ledger = await opened(store, now=clock, host=host)
        await sending(ledger, *(str(row.key) for row in rows_of(given)))

    asyncio.run(until_it_is_killed())


@pytest.mark.parametrize(
    ("host", "ahead"),
    [
        pytest.param("h", 0.0, id="A13, A14: it leaves late, connects slowly and is worked on for long"),
        pytest.param("other", CLOCK_SKEW, id="A15: and the second try's clock is a minute ahead"),
    ],
)
def test_what_comes_late_of_a_try_that_was_killed_is_not_made_twice(host: str, ahead: float) -> None:
    store, given, clock = Store(), tickets(3), Clock(ahead)
    with tracker(clock=lambda: clock() - ahead) as known:
        kill_a_try(store, given, host="h", clock=Clock())
        at = known.clock() + LEAVES_WITHIN + FINAL_AFTER - 1.0
        known.under_way = [(at, payload(row, VENDOR, Fitting(embed_key=True))) for row in rows_of(given)]
        ended = run_try(known, store, given, embedded=True, host=host, clock=clock)
    assert ended.counts == {"created": 3}
    assert known.counts() == once(given)
    assert known.posts == 0


def test_a_connection_that_takes_longer_than_allowed_carries_nothing() -> None:
    """A14: what has not connected in time never leaves."""

    def handshake_without_end(server: RawServer, connection: Any) -> None:
        server.ending.wait(30)

    store = Store()
    with RawServer(handshake_without_end) as server:
        known = Tracker(base_url=f"https://127.0.0.1:{server.port}/v1")
        ended = run_try(known, store, tickets(3), embedded=True, settings={"timeout": 0.2})
    assert isinstance(ended.error, LeenConnectError)
    assert ended.counts == {"unsent": 3}
    assert server.requests == []


# Memory that is gone


@pytest.mark.parametrize("form", [VENDOR, UUID], ids=["vendor ids", "UUIDs"])
def test_without_its_memory_a_try_sends_only_what_a_search_for_its_key_proved_absent(form: dict[str, str]) -> None:
    """B4."""
    store, given, clock = Store(), tickets(4), Clock()
    began = clock()
    with tracker(drop=(2,)) as known:
        first = run_try(known, store, given, defaults=form, batch_size=2, embedded=True, on_unknown="fail")
        assert first.counts == {"created": 2, "unknown": 2}
        store.values.clear()
        known.clock = clock
        second = run_try(
            known, store, given, defaults=form, batch_size=2, embedded=True, may_have_forgotten=began, clock=clock
        )
    assert second.counts == {"created": 4}
    assert known.counts() == once(given)
    # One at once, and one when all that an earlier try can have sent is there.
    assert len(known.searches) >= 2
    assert known.posted_at[2] - began >= LEAVES_WITHIN + CLOCK_SKEW + FINAL_AFTER


def test_without_its_memory_and_without_embedded_keys_all_is_unknown_and_the_message_claims_no_more() -> None:
    """B4."""
    store, given = Store(), tickets(4)
    began = Clock()()
    with tracker(drop=(2,)) as known:
        run_try(known, store, given, batch_size=2, on_unknown="fail")
        store.values.clear()
        # A third try finds the second one's lease, which says what was forgotten.
        for _ in range(2):
            ended = run_try(known, store, given, batch_size=2, may_have_forgotten=began)
            assert ended.counts == {"unknown": 4}
            assert "its record is gone: keep the task's state" in str(ended.results[0]["error"])
            error = str(final_error(summarise(ended.results), ended.error, None, None))
            assert error.startswith("The outcome of 4 tickets is unknown. Look for them in the tracker")
        assert known.posts == 2
        assert run_try(known, store, given, batch_size=2, on_unknown="resend").counts == {"created": 4}
    assert known.posts == 4


# Memory with a gap


def two_tries(known: Tracker, store: Store, given: list[dict[str, Any]]) -> None:
    run_try(known, store, given, batch_size=2, on_unknown="fail")
    run_try(known, store, [*given, *({"name": f"new {number}"} for number in range(4))], batch_size=2)


@pytest.mark.parametrize("number", range(7))
def test_a_value_that_is_missing_is_an_error_and_nothing_is_sent(number: int) -> None:
    """B5."""
    store, given = Store(), tickets(4)
    with tracker(drop=(2,)) as known:
        two_tries(known, store, given)
        *values, newest_lease = sorted(store.values, key=lambda key: (key == "lease/2", key))
        assert newest_lease == "lease/2"
        posts, made = known.posts, known.counts()
        store.delete(values[number % len(values)])
        with pytest.raises(LeenLedgerError, match="has a gap"):
            run_try(known, store, given, embedded=True, on_unknown="resend")
        assert (known.posts, known.counts()) == (posts, made)


# Tries that overlap


def test_where_the_store_does_not_refuse_a_try_that_was_replaced_its_newer_lease_does() -> None:
    """B1, B6: the older try sends and publishes nothing more, and overwrites nothing."""
    store, given, clock = Store(refuses=False), tickets(6), Clock()
    newer: list[Try] = []
    kept: dict[str, Any] = {}

    def replace(number: int) -> None:
        if number == 1:
            newer.append(run_try(known, store, given, batch_size=2, embedded=True, clock=clock))
            kept.update(store.values)

    with tracker(before_reply=replace, clock=clock) as known:
        with pytest.raises(LeenLedgerError, match="Another try of this task has taken over"):
            run_try(known, store, given, batch_size=2, embedded=True, clock=clock)
        assert {key: store.values[key] for key in kept} == kept
        assert newer[0].counts == {"created": 6}
        assert known.counts() == once(given)
        # And what the newer one wrote is what the next one reads.
        posts = known.posts
        assert run_try(known, store, given, batch_size=2, embedded=True).results == newer[0].results
    assert known.posts == posts


# Lists that are rewritten while the jobs are waited for


def submitted(truth: Truth, store: Store, given: list[dict[str, Any]], **options: Any) -> Try:
    usual: dict[str, Any] = {"as_jobs": True, "batch_size": 2, "on_unknown": "fail"}
    return try_with(answering(truth), store, given, **usual | options)


def test_rows_that_are_gone_after_the_wait_have_results_and_new_ones_are_unsent() -> None:
    """B7."""
    truth, store = Truth(submission=lambda number, reply: httpx.Response(500) if number == 2 else None), Store()
    given = [{"name": name} for name in ("stays", "gone", "bad, gone", "gone, too", "lost", "lost, too")]
    before = submitted(truth, store, given)
    ended = submitted(truth, store, [{"name": "new"}, given[0], {"nam": "typo"}], resume=before.place)
    assert [(result["name"], result["status"]) for result in ended.results] == [
        ("new", "unsent"),
        ("stays", "created"),
        (None, "invalid"),
        ("gone", "created"),
        ("bad, gone", "rejected"),
        ("gone, too", "created"),
        ("lost", "unknown"),
        ("lost, too", "unknown"),
    ]
    assert [result["request_index"] for result in ended.results] == list(range(8))
    assert [result["identifier"] for result in ended.results[3:]] == [row.key for row in rows_of(given)[1:]]
    assert all("Its row is gone from the list." in str(result["error"]) for result in ended.results[3:])
    assert "no such project" in str(ended.results[4]["error"])
    assert "500" in str(ended.results[6]["error"])
    assert truth.calls == 3
    assert truth.contradicts(ended) == []
    assert summarise(ended.results)["total"] == 8


def test_rows_that_an_earlier_try_had_are_no_rows_of_this_one() -> None:
    truth, store = Truth(), Store()
    submitted(truth, store, tickets(4))
    before = submitted(truth, store, tickets(6)[2:])
    ended = submitted(truth, store, tickets(6)[3:], resume=before.place)
    assert [result["name"] for result in ended.results] == ["finding 3", "finding 4", "finding 5", "finding 2"]
    assert ended.counts == {"created": 4}


def test_a_row_keeps_its_own_reason_over_a_deferral() -> None:
    """B8."""
    truth, store = Truth(), Store()
    given = [{"name": "bad one", "identifier": "CVE-1"}, {"name": "good one", "identifier": "CVE-1"}, {"nam": "typo"}]
    before = submitted(truth, store, given)
    ended = submitted(truth, store, given, resume=before.place)
    assert ended.statuses == ["rejected", "rejected", "invalid"]
    first, twin, invalid = (result["error"] for result in ended.results)
    assert first == "no such project"
    assert twin == "`identifier` 'CVE-1' is that of #0, which is rejected: no such project"
    assert invalid == before.results[2]["error"]


# A ledger that can't be read


@pytest.mark.parametrize("earlier_tries", [0, 1])
def test_a_try_that_cant_read_its_ledger_publishes_nothing_and_claims_nothing(earlier_tries: int) -> None:
    """B9."""
    store = Store()
    with tracker() as known:
        for _ in range(earlier_tries):
            run_try(known, store, tickets(3))
        store.can_be_read = False
        with pytest.raises(LeenLedgerError) as raised:
            run_try(known, store, tickets(3))
        assert known.posts == earlier_tries
    assert "it is unknown what earlier tries sent, and this one sends nothing" in str(raised.value)
    assert "tickets" not in str(raised.value)
