"""One list over several tries: taking over, settling, sending again, stopping, and a ledger that breaks."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_leen.api.errors import LeenLedgerError, LeenServerError, LeenStoppedError
from airflow_provider_leen.bulk.create import Creation
from airflow_provider_leen.bulk.state import CLOCK_SKEW
from airflow_provider_leen.bulk.stores import MemoryStore
from airflow_provider_leen.bulk.summary import Progress, summarise
from airflow_provider_leen.bulk.verdict import final_error
from airflow_provider_leen.sandbox.recorder import RecordedRequest
from airflow_provider_leen.sandbox.server import SandboxServer
from tests.bulk.runs import UUID, VENDOR, Clock, Store, run_try, tickets
from tests.support.recorded import bulk_calls, none_is_double
from tests.support.waiting import until


def sent(request: RecordedRequest) -> set[str]:
    """The identifiers of the tickets that a bulk call carries."""
    return {ticket["identifier"] for ticket in request.body["tickets"]}


def searches(sandbox: SandboxServer) -> int:
    return sandbox.count("GET", "/v1/itsm/passthrough/tickets/search")


def look_ups(sandbox: SandboxServer) -> int:
    return sandbox.count("GET", "/v1/itsm/tickets/by-identifier/")


def ids_by_name(sandbox: SandboxServer) -> dict[str, str]:
    return {ticket["name"]: ticket["vendor_ticket_id"] for ticket in sandbox.tickets()}


# The ledger, written


@pytest.mark.parametrize("at_once", [1, 4])
def test_no_ticket_leaves_before_it_is_on_record_and_a_batch_costs_one_write(
    sandbox: SandboxServer, at_once: int
) -> None:
    store = Store()
    ended = run_try(sandbox, store, tickets(400), max_concurrent_batches=at_once)
    assert ended.counts == {"created": 400}
    for call in bulk_calls(sandbox):
        assert sent(call) <= store.on_record_by(call.started)
    batches = len(bulk_calls(sandbox))
    assert batches == 40
    # The last results have no intents to go with; what comes at the same time shares a write.
    assert len(store.written()) <= batches + at_once + 1
    assert store.threads == {"ledger_0"}


def test_at_the_end_all_results_are_recorded_so_that_the_next_try_asks_nothing(sandbox: SandboxServer) -> None:
    store = Store()
    first = run_try(sandbox, store, tickets(25), max_concurrent_batches=2)
    calls = sandbox.count()
    again = run_try(sandbox, store, tickets(25))
    assert sandbox.count() == calls
    assert again.results == first.results


# Taking over


def test_a_later_try_sends_what_is_left_and_its_results_cover_all_rows_in_order(
    sandbox: SandboxServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    store = Store()
    given = [*tickets(20), {"no name": "x"}, {"name": "y", "priority": "URGENT"}, {"name": "last"}]
    sandbox.inject("status", status=405, nth=2)
    first = run_try(sandbox, store, given)
    assert first.counts == {"created": 10, "unsent": 12, "invalid": 1}
    second = run_try(sandbox, store, given)
    assert second.counts == {"created": 21, "rejected": 1, "invalid": 1}
    assert [result["request_index"] for result in second.results] == list(range(23))
    assert [result["name"] for result in second.results[:20]] == [ticket["name"] for ticket in given[:20]]
    assert second.results[:10] == first.results[:10]
    assert "Taken over from an earlier try: 10 of 23 tickets." in caplog.text
    assert [len(call.body["tickets"]) for call in bulk_calls(sandbox)] == [10, 10, 10, 2]
    # Rejected and invalid tickets are tried again, and no others.
    third = run_try(sandbox, store, given)
    assert third.results == second.results
    assert [call.ticket_names for call in bulk_calls(sandbox)][4:] == [["y"]]
    assert none_is_double(sandbox)


def test_a_list_that_has_changed_sends_what_is_new_only(sandbox: SandboxServer) -> None:
    store = Store()
    run_try(sandbox, store, tickets(6))
    changed = [{"name": "new"}, *reversed(tickets(6)[2:]), {"name": "finding 2"}]
    ended = run_try(sandbox, store, changed)
    assert ended.counts == {"created": 6}
    # The second "finding 2" equals the first, but is another ticket.
    assert [call.ticket_names for call in bulk_calls(sandbox)][1:] == [["new", "finding 2"]]
    assert Counter(ticket["name"] for ticket in sandbox.tickets())["finding 2"] == 2


def test_a_row_with_the_identifier_of_an_earlier_one_gets_its_outcome(
    sandbox: SandboxServer,
) -> None:
    store = Store()
    told: list[Progress] = []
    given = [
        {"name": "made", "identifier": "a"},
        {"name": "refused", "identifier": "b", "priority": "URGENT"},
        {"name": "its twin", "identifier": "a"},
        {"name": "its other twin", "identifier": "a", "priority": "URGENT"},
        {"name": "twin of the refused", "identifier": "b"},
        {"name": "invalid", "identifier": "c", "typ": "Bug"},
        {"name": "twin of the invalid", "identifier": "c"},
    ]
    ended = run_try(sandbox, store, given, on_progress=told.append)
    assert ended.statuses == ["created", "rejected", "existing", "existing", "rejected", "invalid", "invalid"]
    made, refused, twin, other, follower, *_ = ended.results
    assert twin == {**made, "request_index": 2, "name": "its twin", "status": "existing"}
    assert other["vendor_ticket_id"] == made["vendor_ticket_id"]
    assert follower["error"] == f"`identifier` 'b' is that of #1, which is rejected: {refused['error']}"
    assert sorted(ticket["name"] for ticket in sandbox.tickets()) == ["made"]
    assert told[-1] == {"total": 7, "done": 7, "failed": 4}
    # A later try knows it, and sends the first of two again, never the second.
    again = run_try(sandbox, store, given)
    assert again.results == ended.results
    assert [call.ticket_names for call in bulk_calls(sandbox)] == [["made", "refused"], ["refused"]]


def test_a_row_that_follows_one_of_unknown_outcome_is_unknown_and_what_is_found_is_existing(
    sandbox: SandboxServer,
) -> None:
    store = Store()
    given = [{"name": "lost", "identifier": "a"}, {"name": "its twin", "identifier": "a"}]
    sandbox.inject("lost", nth=1, commit=True)
    assert run_try(sandbox, store, given, defaults=UUID, on_unknown="fail").statuses == ["unknown", "unknown"]
    assert run_try(sandbox, store, given, defaults=UUID).statuses == ["created", "existing"]
    assert len(sandbox.tickets()) == 1


# Settling: tickets that carry their key


def test_what_is_lost_again_when_it_is_sent_again_stays_unknown_until_the_next_try(sandbox: SandboxServer) -> None:
    store = Store()
    sandbox.inject("lost", nth=(1, 2))
    first = run_try(sandbox, store, tickets(3), embedded=True)
    assert first.counts == {"unknown": 3}
    second = run_try(sandbox, store, tickets(3), embedded=True)
    assert second.counts == {"created": 3}
    assert len(bulk_calls(sandbox)) == 3
    assert none_is_double(sandbox)


# Settling: tickets that don't


def test_without_embedded_keys_leen_is_asked_and_what_it_does_not_know_stays_unknown_at_once(
    sandbox: SandboxServer,
) -> None:
    sandbox.inject("lost", nth=1, commit=True)
    given = [{"name": "in leen", **UUID}, {"name": "in the vendor only", **VENDOR}]
    clock = Clock()
    ended = run_try(sandbox, Store(), given, defaults={}, clock=clock)
    assert clock.slept == 0
    known, unknown = ended.results
    assert known["status"] == "created"
    assert known["vendor_ticket_id"] == ids_by_name(sandbox)["in leen"]
    assert known["ticket_id"] == sandbox.tickets()[0]["ticket_id"]
    assert unknown["status"] == "unknown"
    assert "its reply was lost" in str(unknown["error"])
    assert "Looked up: Leen does not know its identifier, but that proves nothing" in str(unknown["error"])
    assert (len(bulk_calls(sandbox)), look_ups(sandbox), searches(sandbox)) == (1, 2, 0)


def test_fail_never_asks(sandbox: SandboxServer) -> None:
    sandbox.inject("lost", nth=1, commit=True)
    ended = run_try(sandbox, Store(), tickets(3), defaults=UUID, on_unknown="fail", embedded=True)
    assert ended.counts == {"unknown": 3}
    assert sandbox.count() == 1


def test_resend_asks_then_sends_again_what_was_not_found(sandbox: SandboxServer) -> None:
    sandbox.inject("lost", nth=1, commit=True)
    given = [{"name": "in leen", **UUID}, {"name": "in the vendor only", **VENDOR}]
    ended = run_try(sandbox, Store(), given, defaults={}, on_unknown="resend")
    assert ended.counts == {"created": 2}
    both, again = (call.ticket_names for call in bulk_calls(sandbox))
    assert both == ["in leen", "in the vendor only"]
    assert again == ["in the vendor only"]
    # As the docs say, this may create a ticket twice.
    assert Counter(ticket["name"] for ticket in sandbox.tickets()) == {"in leen": 1, "in the vendor only": 2}


@pytest.mark.parametrize("status", [401, 409, 422, 429])
def test_what_resend_could_not_send_again_is_as_unknown_as_before(sandbox: SandboxServer, status: int) -> None:
    store = Store()
    sandbox.inject("lost", nth=1, commit=True)
    run_try(sandbox, store, tickets(3), on_unknown="fail")
    sandbox.inject("status", status=status, retry_after=60)
    assert run_try(sandbox, store, tickets(3), on_unknown="resend").counts == {"unknown": 3}
    sandbox.end_faults()
    assert run_try(sandbox, store, tickets(3), on_unknown="fail").counts == {"unknown": 3}
    assert len(sandbox.tickets()) == 3


def test_where_leen_is_broken_nothing_is_sent_again_in_this_try(sandbox: SandboxServer) -> None:
    sandbox.inject("status", status=503, times=3)
    ended = run_try(sandbox, Store(), tickets(50), embedded=True)
    assert ended.counts == {"unknown": 30, "unsent": 20}
    assert isinstance(ended.error, LeenServerError)
    assert len(bulk_calls(sandbox)) == 3
    assert searches(sandbox) == 1


# Memory


def test_without_a_memory_an_own_identifier_is_found_where_it_was_made_since_the_run_started(
    sandbox: SandboxServer,
) -> None:
    given = [{"name": "finding", "identifier": "CVE-2026-1"}]
    before = time.time()
    run_try(sandbox, MemoryStore(), given, defaults=UUID)
    after = time.time()
    found = run_try(sandbox, MemoryStore(), given, defaults=UUID, may_have_forgotten=before + CLOCK_SKEW)
    assert found.counts == {"created": 1}
    later = after + CLOCK_SKEW + 0.1
    of_another_run = run_try(sandbox, MemoryStore(), given, defaults=UUID, may_have_forgotten=later)
    assert of_another_run.counts == {"unknown": 1}


# A ledger that breaks


@pytest.mark.parametrize("at_once", [1, 3])
@pytest.mark.parametrize("broken_from", range(1, 9))
def test_wherever_the_ledger_breaks_no_further_ticket_leaves_and_none_is_lost_or_doubled(
    sandbox: SandboxServer, broken_from: int, at_once: int
) -> None:
    store = Store(broken_from=broken_from)
    sandbox.inject("latency", seconds=0.02)
    first = run_try(sandbox, store, tickets(70), max_concurrent_batches=at_once)
    # What was in flight is reported, and only what was sent is in the tracker.
    assert first.counts.get("created", 0) == len(sandbox.tickets())
    assert first.counts.keys() <= {"created", "unsent"}
    for call in bulk_calls(sandbox):
        assert sent(call) <= store.on_record_by(call.started)
    if first.counts.get("unsent"):
        assert isinstance(first.error, LeenLedgerError)
        assert "no route to the store" in str(first.error)
    store.broken_from = None
    second = run_try(sandbox, store, tickets(70), embedded=False)
    assert second.counts.get("created", 0) + second.counts.get("unknown", 0) == 70
    in_tracker = {ticket["identifier"] for ticket in sandbox.tickets()}
    not_in_tracker = {result["identifier"] for result in second.results} - in_tracker
    assert none_is_double(sandbox)
    # What was recorded as about to be sent can't be distinguished from what was sent.
    assert not_in_tracker <= {result["identifier"] for result in second.results if result["status"] == "unknown"}


def test_a_ledger_that_fails_at_the_very_end_does_not_fail_a_finished_run(sandbox: SandboxServer) -> None:
    ended = run_try(sandbox, Store(broken_from=2), tickets(5))
    assert ended.counts == {"created": 5}
    assert final_error(summarise(ended.results), ended.error, 0, None) is None


# Stopping


def stop_when(condition: Callable[[], Any]) -> Callable[[Creation], Any]:
    def meanwhile(run: Creation) -> None:
        until(condition)
        asked = run.stop("The task was stopped.")
        if asked is not None:
            asked.result(60)

    return meanwhile


def stop_at(sandbox: SandboxServer, number: int) -> Callable[[Creation], Any]:
    """Stop when so many bulk calls have arrived; none is answered before that."""
    runs: list[Creation] = []
    sandbox.inject("latency", until=lambda: runs and runs[0].error)
    stop = stop_when(lambda: len(bulk_calls(sandbox)) == number)

    def meanwhile(run: Creation) -> None:
        runs.append(run)
        stop(run)

    return meanwhile


@pytest.mark.parametrize("commit", [True, False])
def test_calls_that_do_not_end_within_the_grace_are_left_unknown(sandbox: SandboxServer, commit: bool) -> None:
    sandbox.inject("stall", commit=commit, nth=2)
    store = Store()
    meanwhile = stop_when(lambda: len(bulk_calls(sandbox)) == 2)
    first = run_try(sandbox, store, tickets(40), meanwhile=meanwhile, embedded=True, stop_grace=0.2)
    assert first.counts == {"created": 10, "unknown": 10, "unsent": 20}
    assert first.results[10]["error"] == "The task was stopped before Leen answered."
    assert searches(sandbox) == look_ups(sandbox) == 0
    second = run_try(sandbox, store, tickets(40), embedded=True)
    assert second.counts == {"created": 40}
    assert {result["name"]: result["vendor_ticket_id"] for result in second.results} == ids_by_name(sandbox)
    assert none_is_double(sandbox)


def test_a_stop_before_the_run_begins_is_kept_and_what_earlier_tries_did_is_reported(
    sandbox: SandboxServer,
) -> None:
    store = Store()
    run_try(sandbox, store, tickets(3))
    ended = run_try(sandbox, store, tickets(5), before=lambda run: run.stop("The task was stopped."))
    assert ended.counts == {"created": 3, "unsent": 2}
    assert isinstance(ended.error, LeenStoppedError)
    assert len(bulk_calls(sandbox)) == 1


def test_a_stop_ends_the_wait_for_the_last_search(sandbox: SandboxServer) -> None:
    async def sleep(_seconds: float) -> None:
        waiting.set()
        await asyncio.Event().wait()

    waiting = threading.Event()
    sandbox.inject("lost", nth=1)
    ended = run_try(sandbox, Store(), tickets(3), embedded=True, sleep=sleep, meanwhile=stop_when(waiting.is_set))
    assert ended.counts == {"unknown": 3}
    assert isinstance(ended.error, LeenStoppedError)
    assert str(ended.error) == "The task was stopped."


def test_a_stop_gives_what_is_sent_again_its_grace_too(sandbox: SandboxServer) -> None:
    store = Store()
    sandbox.inject("lost", nth=(1, 2))
    assert run_try(sandbox, store, tickets(20), on_unknown="fail").counts == {"unknown": 20}
    sandbox.end_faults()
    ended = run_try(sandbox, store, tickets(20), on_unknown="resend", meanwhile=stop_at(sandbox, 3))
    assert ended.counts == {"created": 10, "unknown": 10}
    assert len(bulk_calls(sandbox)) == 3


def test_a_stop_after_the_end_is_of_no_consequence(sandbox: SandboxServer) -> None:
    kept: list[Creation] = []
    ended = run_try(sandbox, Store(), tickets(3), meanwhile=kept.append)
    assert kept[0].stop("The task was stopped.") is None
    assert ended.counts == {"created": 3}
