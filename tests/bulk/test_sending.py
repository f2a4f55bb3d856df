"""What is sent, in which batches, and how often: the sender drives a work in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from airflow_provider_leen.api.errors import (
    LeenAuthError,
    LeenConnectError,
    LeenError,
    LeenLedgerError,
    LeenOutcomeUnknownError,
    LeenRateLimitError,
    LeenResponseError,
    LeenServerError,
    LeenStoppedError,
    LeenValidationError,
)
from airflow_provider_leen.bulk.sending import Sender
from tests.bulk.sender import Answer, Leen, Names, in_turn, names, refused, send, spoilt_by

DOWN = LeenConnectError("refused")
BUSY = LeenRateLimitError("slower", status=429)
LOST = LeenOutcomeUnknownError("no reply came")
BROKEN = LeenServerError("broken", status=503)


# How many, and in which order


@pytest.mark.parametrize("at_once", [1, 3])
def test_every_item_is_sent_once_in_full_batches_with_limited_concurrency(at_once: int) -> None:
    async def answer(names: Names) -> Answer:
        # All that may be in flight come this far before one of them ends.
        for _ in range(20):
            await asyncio.sleep(0)
        return None

    leen = Leen(answer)
    ended: list[int] = []
    sender = send(leen, 23, batch_size=5, at_once=at_once, on_batch=lambda: ended.append(len(leen.known)))
    assert [len(call) for call in leen.calls] == [5, 5, 5, 5, 3]
    assert [name for call in leen.calls for name in call] == names(*range(23))
    assert leen.at_once == at_once
    assert leen.statuses() == {"created": 23}
    assert len(ended) == 5
    assert ended[-1] == 23
    assert sender.halted is None
    assert leen.unflushed == [], "what came back last is on record, too"


def test_nothing_to_send_is_no_call_and_no_write() -> None:
    leen = Leen(lambda names: None, fails_at=1)
    assert send(leen, 0).halted is None
    assert leen.calls == []


# Nothing was sent


@pytest.mark.parametrize("failure", [DOWN, BUSY], ids=["down", "busy"])
def test_a_call_that_did_nothing_is_repeated(failure: LeenError) -> None:
    leen = Leen(in_turn(failure, failure))
    sender = send(leen, 2)
    assert leen.calls == [["t0", "t1"]] * 3
    assert leen.statuses() == {"created": 2}
    assert leen.on_record == {"t0": 1, "t1": 1}
    assert sender.halted is None


def test_while_a_repetition_is_waited_for_it_is_not_on_record_as_sent() -> None:
    class Watched(Leen):
        async def flush(self) -> None:
            seen.append(dict(self.on_record))
            await super().flush()

    seen: list[dict[str, int]] = []
    send(Watched(in_turn(DOWN)), 1)
    assert seen[0] == {"t0": 0}


@pytest.mark.parametrize("max_retries", [0, 2])
def test_after_the_last_repetition_the_rest_stays_unsent(max_retries: int) -> None:
    leen = Leen(lambda names: DOWN)
    sender = send(leen, 6, batch_size=2, max_retries=max_retries)
    assert len(leen.calls) == 1 + max_retries
    assert sender.halted is DOWN
    assert leen.known == {}
    assert leen.on_record.total() == 0


def test_a_wait_that_is_too_long_ends_the_sending() -> None:
    leen = Leen(lambda names: LeenRateLimitError("slower", status=429, retry_after=60))
    sender = send(leen, 4, batch_size=2, max_retry_wait=59)
    assert len(leen.calls) == 1
    assert isinstance(sender.halted, LeenRateLimitError)
    assert sender.halted.retry_after == 60


@pytest.mark.parametrize(
    "refusal", [LeenAuthError("no", status=401), LeenResponseError("no", status=405)], ids=["401", "405"]
)
def test_a_refusal_that_no_ticket_caused_ends_the_sending_and_keeps_what_is_known(refusal: LeenError) -> None:
    leen = Leen(in_turn(None, refusal))
    sender = send(leen, 8, batch_size=2)
    assert len(leen.calls) == 2
    assert sender.halted is refusal
    assert leen.known.keys() == {"t0", "t1"}
    assert +leen.on_record == {"t0": 1, "t1": 1}, "what was prepared meanwhile is taken back, too"


def test_batches_in_flight_end_when_another_is_refused_and_none_follows() -> None:
    all_in_flight = asyncio.Event()
    senders: list[Sender[str]] = []

    async def keep(sender: Sender[str]) -> None:
        senders.append(sender)

    async def answer(names: Names) -> Answer:
        if len(leen.calls) == 4:
            all_in_flight.set()
        await all_in_flight.wait()
        if names[0] == "t0":
            return LeenAuthError("no", status=401)
        while senders[0].halted is None:
            await asyncio.sleep(0)
        return None

    leen = Leen(answer)
    send(leen, 20, batch_size=2, at_once=4, meanwhile=keep)
    assert len(leen.calls) == 4
    assert leen.statuses() == {"created": 6}
    assert +leen.on_record == dict.fromkeys(names(*range(2, 8)), 1)


# Refused as a whole


@pytest.mark.parametrize("at_once", [1, 4])
@pytest.mark.parametrize("batch_size", range(1, 51))
def test_a_request_that_is_always_refused_with_the_same_message_costs_at_most_fifteen_calls(
    batch_size: int, at_once: int
) -> None:
    leen = Leen(lambda names: refused())
    sender = send(leen, 200, batch_size=batch_size, at_once=at_once)
    assert len(leen.calls) <= 15
    assert isinstance(sender.halted, LeenValidationError)
    assert sender.halted.status == 422
    assert 4 <= leen.statuses()["rejected"] == len(leen.known) <= 8, "the rest is not sent"
    assert leen.on_record.total() == 0


def test_refusals_do_not_add_up_over_batches_that_were_accepted() -> None:
    leen = Leen(lambda names: None if int(names[0][1:]) % 4 == 0 else refused())
    assert send(leen, 40, batch_size=1).halted is None
    assert leen.statuses() == {"created": 10, "rejected": 30}


def test_batches_in_flight_that_have_a_bad_ticket_each_lose_it_alone() -> None:
    leen = Leen(spoilt_by(*names(3, 53, 103, 153)))
    assert send(leen, 200, at_once=4).halted is None
    assert leen.statuses() == {"created": 196, "rejected": 4}


@pytest.mark.parametrize("position", [0, 1, 23, 24, 25, 26, 48, 49])
@pytest.mark.parametrize("located", [True, False], ids=["located", "not located"])
def test_one_bad_ticket_never_fails_its_batch(position: int, located: bool) -> None:
    bad = f"t{position}"

    def answer(names: Names) -> Answer:
        if bad not in names:
            return None
        return refused(bad=[names.index(bad)] if located else [])

    leen = Leen(answer)
    send(leen, 50)
    assert leen.statuses() == {"created": 49, "rejected": 1}
    assert leen.known[bad] == ("rejected", "name: bad" if located else "no")
    assert len(leen.calls) <= (2 if located else 13)
    accepted = [name for names in leen.calls if bad not in names for name in names]
    assert len(accepted) == len(set(accepted)) == 49, "each of the others was accepted once"


def test_a_lone_ticket_that_is_located_is_rejected_without_a_second_call() -> None:
    leen = Leen(lambda names: refused(bad=[0]))
    send(leen, 1)
    assert len(leen.calls) == 1
    assert leen.known == {"t0": ("rejected", "name: bad")}


def test_many_bad_tickets_with_different_reasons_do_not_stop_the_others() -> None:
    def answer(names: Names) -> Answer:
        return refused(f"{names[0]} is bad") if any(int(name[1:]) < 10 for name in names) else None

    leen = Leen(answer)
    assert send(leen, 50).halted is None
    assert leen.statuses() == {"created": 40, "rejected": 10}


def test_four_tickets_refused_with_the_same_message_are_bad_tickets_when_their_batch_has_good_ones() -> None:
    leen = Leen(spoilt_by(*names(4, 5, 6, 7)))
    assert send(leen, 8).halted is None
    assert leen.statuses() == {"created": 4, "rejected": 4}


def test_the_order_is_kept_when_a_batch_is_split() -> None:
    leen = Leen(lambda names: refused() if "t5" in names and len(names) > 1 else None)
    send(leen, 16, batch_size=8)
    accepted = [name for names in leen.calls if "t5" not in names or len(names) == 1 for name in names]
    assert accepted == names(*range(16))


def test_a_part_that_has_to_wait_is_retried_and_its_siblings_are_sent_once() -> None:
    answers = in_turn(refused(), BUSY, None, refused())

    leen = Leen(answers)
    send(leen, 4)
    assert leen.calls == [names(0, 1, 2, 3), names(0, 1), names(0, 1), names(2, 3), names(2), names(3)]
    assert leen.statuses() == {"created": 4}


# Unknown outcomes


@pytest.mark.parametrize(
    "answer",
    [LOST, BROKEN, LeenResponseError("busy", status=408), "It names no ticket."],
    ids=["lost", "503", "408", "proves nothing"],
)
def test_a_call_without_a_usable_answer_is_never_repeated(answer: Answer) -> None:
    leen = Leen(in_turn(None, answer))
    sender = send(leen, 6, batch_size=2)
    assert leen.calls == [names(0, 1), names(2, 3), names(4, 5)]
    assert leen.statuses() == {"created": 4, "unknown": 2}
    assert leen.known["t2"] == leen.known["t3"]
    assert leen.known["t2"][1].rstrip(".") == str(answer).rstrip(".")
    assert leen.on_record == dict.fromkeys(names(*range(6)), 1), "they stay on record as sent"
    assert sender.halted is None


@pytest.mark.parametrize(
    ("answer", "status"), [(LOST, None), (BROKEN, 503), ("It is HTML.", 200)], ids=["lost", "503", "HTML"]
)
def test_three_batches_in_a_row_without_a_usable_answer_are_the_last(answer: Answer, status: int | None) -> None:
    leen = Leen(lambda names: answer)
    sender = send(leen, 10, batch_size=2)
    assert len(leen.calls) == 3
    assert leen.statuses() == {"unknown": 6}
    assert isinstance(sender.halted, LeenServerError)
    assert sender.halted.status == status
    assert "3 consecutive calls had no usable reply" in str(sender.halted)


def test_a_usable_answer_between_them_lets_the_sending_continue() -> None:
    leen = Leen(in_turn(LOST, LOST, None, LOST, LOST))
    sender = send(leen, 12, batch_size=2)
    assert len(leen.calls) == 6
    assert leen.statuses() == {"unknown": 8, "created": 4}
    assert sender.halted is None


# Stopping


def test_a_stop_lets_calls_in_flight_end_and_starts_no_other() -> None:
    under_way, go_on = asyncio.Event(), asyncio.Event()

    async def answer(names: Names) -> Answer:
        under_way.set()
        await go_on.wait()
        return None

    async def stop(sender: Sender[str]) -> None:
        await under_way.wait()
        stopping = asyncio.create_task(sender.stop("enough"))
        await asyncio.sleep(0)
        go_on.set()
        await stopping

    leen = Leen(answer)
    sender = send(leen, 6, batch_size=2, meanwhile=stop)
    assert leen.calls == [["t0", "t1"]]
    assert leen.statuses() == {"created": 2}
    assert +leen.on_record == {"t0": 1, "t1": 1}
    assert isinstance(sender.halted, LeenStoppedError)
    assert str(sender.halted) == "enough"


def test_a_call_that_does_not_end_within_the_grace_is_left_as_unknown() -> None:
    under_way = asyncio.Event()

    async def answer(names: Names) -> Answer:
        under_way.set()
        await asyncio.Event().wait()
        return None

    async def stop(sender: Sender[str]) -> None:
        await under_way.wait()
        await sender.stop("enough")

    leen = Leen(answer)
    send(leen, 6, batch_size=2, meanwhile=stop, stop_grace=0.01)
    assert leen.known == dict.fromkeys(names(0, 1), ("unknown", "The task was stopped before Leen answered."))
    assert +leen.on_record == {"t0": 1, "t1": 1}, "what was prepared is taken back"


def test_what_is_recorded_during_a_stop_is_withdrawn() -> None:
    writing, go_on = asyncio.Event(), asyncio.Event()

    class Slow(Leen):
        async def intend(self, items: Sequence[str]) -> Names:
            writing.set()
            await go_on.wait()
            return await super().intend(items)

    async def stop(sender: Sender[str]) -> None:
        await writing.wait()
        await sender.stop("enough")
        go_on.set()

    leen = Slow(lambda names: None)
    sender = send(leen, 6, batch_size=2, meanwhile=stop, stop_grace=0.01)
    assert isinstance(sender.halted, LeenStoppedError)
    assert leen.calls == []
    assert set(leen.on_record) == set(names(0, 1, 2, 3)), "they were put on record"
    assert leen.on_record.total() == 0


def test_a_stop_ends_the_wait_for_a_repetition() -> None:
    asked_to_wait = asyncio.Event()

    class Watched(Leen):
        async def flush(self) -> None:
            await super().flush()
            asked_to_wait.set()

    async def stop(sender: Sender[str]) -> None:
        await asked_to_wait.wait()
        await sender.stop("enough")

    leen = Watched(lambda names: LeenRateLimitError("slower", status=429, retry_after=3600))
    sender = send(leen, 2, meanwhile=stop, max_retry_wait=3600)
    assert isinstance(sender.halted, LeenStoppedError)
    assert len(leen.calls) == 1
    assert leen.on_record.total() == 0


def test_a_sender_that_was_stopped_before_sends_nothing() -> None:
    async def stop(sender: Sender[str]) -> None:
        await sender.stop("enough")

    leen = Leen(lambda names: None)
    sender = send(leen, 6, batch_size=2, meanwhile=stop)
    assert isinstance(sender.halted, LeenStoppedError)
    assert leen.calls == []
    assert leen.on_record.total() == 0


# The record


@pytest.mark.parametrize("at_once", [1, 3])
def test_a_ticket_is_on_record_as_sent_whenever_it_leaves(at_once: int) -> None:
    leen = Leen(in_turn(DOWN, refused(), BUSY))
    send(leen, 20, batch_size=2, at_once=at_once)
    assert leen.statuses() == {"created": 20}
    assert leen.on_record == dict.fromkeys(names(*range(20)), 1)


def test_the_next_batch_is_put_on_record_while_one_is_in_flight() -> None:
    seen: list[Names] = []

    async def answer(names: Names) -> Answer:
        for _ in range(20):
            await asyncio.sleep(0)
        seen.append(sorted(+leen.on_record))
        return None

    leen = Leen(answer)
    send(leen, 6, batch_size=2)
    assert seen == [names(0, 1, 2, 3), names(*range(6)), names(*range(6))]


@pytest.mark.parametrize("fails_at", [1, 2, 3])
@pytest.mark.parametrize("at_once", [1, 3])
def test_a_record_that_cant_be_written_stops_the_sending(fails_at: int, at_once: int) -> None:
    leen = Leen(lambda names: None, fails_at=fails_at)
    sender = send(leen, 20, batch_size=2, at_once=at_once)
    assert isinstance(sender.halted, LeenLedgerError)
    assert "disk full" in str(sender.halted)
    assert len(leen.calls) < fails_at
    assert leen.statuses() == ({"created": 2 * len(leen.calls)} if leen.calls else {})
    assert len(+leen.on_record) == 2 * len(leen.calls)


@pytest.mark.parametrize("at_once", [1, 3])
def test_after_a_batch_that_must_not_be_sent_nothing_is_sent(at_once: int) -> None:
    class Late(Leen):
        async def leave(self, intent: Names) -> None:
            if "t2" in intent:
                self.withdraw(intent)
                raise LeenLedgerError("a newer try has taken over")

    leen = Late(lambda names: None)
    sender = send(leen, 20, batch_size=2, at_once=at_once)
    assert isinstance(sender.halted, LeenLedgerError)
    assert "t2" not in leen.known
    assert leen.statuses()["created"] == 2 * len(leen.calls) <= 2 * at_once
    assert set(+leen.on_record) == leen.known.keys()
