"""What is sent, in which parts, and how often; httpx's transport stands for Leen."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from airflow_provider_leen.api.client import AsyncLeenClient
from airflow_provider_leen.api.errors import (
    LeenAuthError,
    LeenConnectError,
    LeenLedgerError,
    LeenRateLimitError,
    LeenResponseError,
    LeenServerError,
    LeenStoppedError,
    LeenValidationError,
)
from airflow_provider_leen.api.settings import LeenSettings
from airflow_provider_leen.bulk.ledger import Created, Journal, LedgerStore, MemoryLedger, replay
from airflow_provider_leen.bulk.sender import BatchSender
from airflow_provider_leen.bulk.tickets import TicketRow

Names = list[str]
Answer = httpx.Response | Exception | None
"""None stands for Leen's good answer."""


def rows(count: int) -> list[TicketRow]:
    return [TicketRow(index, [], f"t{index}", f"id-{index}", f"key-{index}", None) for index in range(count)]


def created(names: Sequence[str]) -> httpx.Response:
    results = [
        {"success": True, "request_index": index, "vendor_ticket_id": name.upper()} for index, name in enumerate(names)
    ]
    return httpx.Response(200, json={"total": len(names), "succeeded": len(names), "failed": 0, "results": results})


def refused(status: int, message: str = "no", detail: Any = ()) -> httpx.Response:
    return httpx.Response(status, json={"type": "error", "code": "E", "message": message, "detail": list(detail)})


class Leen:
    """Leen, as a function from the names in a call to its answer; remembers all calls."""

    def __init__(self, answer: Callable[[Names], Answer | Awaitable[Answer]]) -> None:
        self.calls: list[Names] = []
        self._answer = answer

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        names = [ticket["name"] for ticket in json.loads(request.content)["tickets"]]
        self.calls.append(names)
        answer = self._answer(names)
        answer = await answer if isinstance(answer, Awaitable) else answer
        if isinstance(answer, Exception):
            raise answer
        return created(names) if answer is None else answer


def send(
    leen: Leen,
    count: int,
    *,
    batch_size: int = 50,
    at_once: int = 1,
    store: LedgerStore | None = None,
    meanwhile: Callable[[BatchSender], Awaitable[None]] | None = None,
    **settings: Any,
) -> BatchSender:
    """Send so many tickets and return the sender with what it knows."""
    settings = {"max_retries": 3, "max_retry_wait": 0.001, "timeout": 5.0} | settings

    async def work() -> BatchSender:
        with ThreadPoolExecutor(1) as threads:
            async with AsyncLeenClient(
                LeenSettings(base_url="https://leen.test/v1", api_key="key", connection_id="connection", **settings),
                transport=httpx.MockTransport(leen),
            ) as client:
                sender = BatchSender(
                    client,
                    Journal(store or MemoryLedger(), threads),
                    lambda row: {"name": row.name},
                    batch_size=batch_size,
                    max_concurrent_batches=at_once,
                )
                sending = asyncio.create_task(sender.send(rows(count)))
                if meanwhile is not None:
                    await meanwhile(sender)
                await asyncio.wait_for(sending, 10)
                return sender

    return asyncio.run(work())


def statuses(sender: BatchSender) -> Counter[str]:
    return Counter(outcome.status for outcome in sender.outcomes.values())


def in_turn(*answers: Answer) -> Callable[[Names], Answer]:
    """These answers first, then good ones."""
    left = iter(answers)
    return lambda names: next(left, None)


# Nothing was sent


NOTHING_SENT = [
    httpx.ConnectError("refused"),
    httpx.ConnectTimeout("no answer"),
    httpx.PoolTimeout("full"),
    httpx.ProxyError("403"),
    httpx.LocalProtocolError("odd header"),
]


@pytest.mark.parametrize("failure", NOTHING_SENT, ids=lambda failure: type(failure).__name__)
def test_a_call_that_did_not_leave_is_repeated(failure: Exception) -> None:
    leen = Leen(in_turn(failure, failure))
    sender = send(leen, 2)
    assert leen.calls == [["t0", "t1"]] * 3
    assert statuses(sender) == {"created": 2}
    assert sender.halted is None


@pytest.mark.parametrize("max_retries", [0, 2])
def test_after_the_last_repetition_the_rest_stays_unsent(max_retries: int) -> None:
    leen = Leen(lambda names: httpx.ConnectError("refused"))
    sender = send(leen, 6, batch_size=2, max_retries=max_retries)
    assert len(leen.calls) == 1 + max_retries
    assert isinstance(sender.halted, LeenConnectError)
    assert sender.outcomes == {}


# Named, and not proved


def test_the_ids_that_a_reply_names_without_proving_them_are_kept_for_a_look_up() -> None:
    def answer(names: Names) -> Answer:
        results: list[dict[str, Any]] = [
            {"success": False, "request_index": 0, "vendor_ticket_id": "SEC-1", "error": "timed out"},
            {"success": True, "request_index": 1, "ticket_id": "u-2", "error": "timed out"},
            {"success": True, "request_index": 2, "ticket_id": "u-3", "vendor_ticket_id": "SEC-3"},
            {"success": True, "request_index": 3},
        ]
        return httpx.Response(200, json={"total": 4, "succeeded": 3, "failed": 1, "results": results})

    sender = send(Leen(answer), 4)
    named = {index: outcome.named for index, outcome in sender.outcomes.items()}
    assert named == {0: Created(None, "SEC-1"), 1: Created("u-2", None), 2: None, 3: None}
    assert [sender.outcomes[index].status for index in range(4)] == ["unknown", "unknown", "created", "unknown"]
    assert all(sender.outcomes[index].sent is not None for index in range(4))


# Refused for good


@pytest.mark.parametrize(("status", "kind"), [(401, LeenAuthError), (403, LeenAuthError), (405, LeenResponseError)])
def test_a_refusal_ends_the_sending_and_keeps_what_is_known(status: int, kind: type[Exception]) -> None:
    leen = Leen(in_turn(None, refused(status)))
    sender = send(leen, 8, batch_size=2)
    assert len(leen.calls) == 2
    assert type(sender.halted) is kind
    assert {index: outcome.status for index, outcome in sender.outcomes.items()} == {0: "created", 1: "created"}


def test_a_wait_that_is_too_long_ends_the_sending() -> None:
    leen = Leen(lambda names: httpx.Response(429, headers={"retry-after": "60"}))
    sender = send(leen, 4, batch_size=2, max_retry_wait=59)
    assert len(leen.calls) == 1
    assert isinstance(sender.halted, LeenRateLimitError)
    assert sender.halted.retry_after == 60


# Refused as a whole


@pytest.mark.parametrize("at_once", [1, 4])
@pytest.mark.parametrize("batch_size", range(1, 51))
def test_a_request_that_is_always_refused_alike_costs_at_most_fifteen_calls(batch_size: int, at_once: int) -> None:
    leen = Leen(lambda names: refused(422))
    sender = send(leen, 200, batch_size=batch_size, at_once=at_once)
    assert len(leen.calls) <= 15
    assert isinstance(sender.halted, LeenValidationError)
    assert sender.halted.status == 422
    assert 4 <= statuses(sender)["rejected"] == len(sender.outcomes) <= 8, "the rest is not sent"


def test_refusals_do_not_add_up_over_batches_that_were_accepted() -> None:
    sender = send(Leen(lambda names: None if int(names[0][1:]) % 4 == 0 else refused(422)), 40, batch_size=1)
    assert statuses(sender) == {"created": 10, "rejected": 30}
    assert sender.halted is None


def test_batches_in_flight_that_have_a_bad_ticket_each_lose_it_alone() -> None:
    bad = {f"t{number}" for number in range(3, 200, 50)}
    sender = send(Leen(lambda names: refused(422) if bad & set(names) else None), 200, at_once=4)
    assert statuses(sender) == {"created": 196, "rejected": 4}


@pytest.mark.parametrize("position", [0, 1, 23, 24, 25, 26, 48, 49])
@pytest.mark.parametrize("located", [True, False], ids=["located", "not located"])
def test_one_bad_ticket_never_sinks_its_batch(position: int, located: bool) -> None:
    bad = f"t{position}"

    def answer(names: Names) -> Answer:
        if bad not in names:
            return None
        place = {"loc": ["body", "tickets", names.index(bad), "name"], "msg": "bad", "type": "value_error"}
        return refused(422, detail=[place] if located else ())

    leen = Leen(answer)
    sender = send(leen, 50)
    assert statuses(sender) == {"created": 49, "rejected": 1}
    assert sender.outcomes[position].status == "rejected"
    assert len(leen.calls) <= (2 if located else 13)
    accepted = [name for names in leen.calls if bad not in names for name in names]
    assert len(accepted) == len(set(accepted)) == 49, "each of the others was accepted once"


def test_a_lone_ticket_that_is_located_is_rejected_without_a_second_call() -> None:
    leen = Leen(lambda names: refused(422, detail=[{"loc": ["body", "tickets", 0], "msg": "bad"}]))
    sender = send(leen, 1)
    assert len(leen.calls) == 1
    assert sender.outcomes[0].error == "bad"


def test_many_bad_tickets_with_reasons_of_their_own_do_not_stop_the_others() -> None:
    def answer(names: Names) -> Answer:
        return refused(422, f"{names[0]} is bad") if any(int(name[1:]) < 10 for name in names) else None

    sender = send(Leen(answer), 50)
    assert statuses(sender) == {"created": 40, "rejected": 10}
    assert sender.halted is None


def test_four_tickets_refused_alike_are_bad_tickets_when_their_batch_has_good_ones() -> None:
    def answer(names: Names) -> Answer:
        return refused(422) if any(int(name[1:]) >= 4 for name in names) else None

    sender = send(Leen(answer), 8)
    assert statuses(sender) == {"created": 4, "rejected": 4}
    assert sender.halted is None


def test_the_order_is_kept_when_a_batch_is_taken_apart() -> None:
    leen = Leen(lambda names: refused(422) if "t5" in names and len(names) > 1 else None)
    send(leen, 16, batch_size=8)
    accepted = [name for names in leen.calls if "t5" not in names or len(names) == 1 for name in names]
    assert accepted == [f"t{index}" for index in range(16)]


# Unknown outcomes


LOST = [
    refused(500),
    refused(503),
    refused(408),
    httpx.ReadTimeout("slow"),
    httpx.WriteError("gone"),
    httpx.RemoteProtocolError("closed"),
    httpx.Response(204),
    httpx.Response(202, json={"job_id": "1"}),
    httpx.Response(200, text="<html>"),
    httpx.Response(200, json={"results": [{"success": True, "request_index": index} for index in (0, 1, 2)]}),
]


@pytest.mark.parametrize("answer", LOST, ids=repr)
def test_a_call_without_a_usable_answer_is_never_repeated(answer: Answer) -> None:
    leen = Leen(in_turn(None, answer))
    sender = send(leen, 6, batch_size=2)
    assert leen.calls == [["t0", "t1"], ["t2", "t3"], ["t4", "t5"]]
    assert statuses(sender) == {"created": 4, "unknown": 2}
    assert {sender.outcomes[2].status, sender.outcomes[3].status} == {"unknown"}
    assert sender.outcomes[2].sent is not None


@pytest.mark.parametrize("answer", [refused(503), httpx.Response(200, text="<html>")], ids=repr)
def test_three_batches_in_a_row_without_a_usable_answer_are_the_last(answer: httpx.Response) -> None:
    leen = Leen(lambda names: answer)
    sender = send(leen, 10, batch_size=2)
    assert len(leen.calls) == 3
    assert statuses(sender) == {"unknown": 6}
    assert isinstance(sender.halted, LeenServerError if answer.status_code == 503 else LeenResponseError)


def test_a_usable_answer_between_them_lets_the_sending_go_on() -> None:
    leen = Leen(in_turn(refused(503), refused(503), None, refused(503), refused(503)))
    sender = send(leen, 12, batch_size=2)
    assert len(leen.calls) == 6
    assert statuses(sender) == {"unknown": 8, "created": 4}
    assert sender.halted is None


# Stopping


def test_a_stop_lets_calls_in_flight_end_and_starts_no_other() -> None:
    under_way, go_on = asyncio.Event(), asyncio.Event()

    async def answer(names: Names) -> Answer:
        under_way.set()
        await go_on.wait()
        return None

    async def stop(sender: BatchSender) -> None:
        await under_way.wait()
        stopping = asyncio.create_task(sender.stop("enough"))
        await asyncio.sleep(0)
        go_on.set()
        await stopping

    leen = Leen(answer)
    sender = send(leen, 6, batch_size=2, meanwhile=stop)
    assert leen.calls == [["t0", "t1"]]
    assert statuses(sender) == {"created": 2}
    assert isinstance(sender.halted, LeenStoppedError)


def test_a_call_that_does_not_end_soon_after_a_stop_is_left_as_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow_provider_leen.bulk.sender.STOP_GRACE", 0.01)
    under_way = asyncio.Event()

    async def answer(names: Names) -> Answer:
        under_way.set()
        await asyncio.Event().wait()
        return None

    async def stop(sender: BatchSender) -> None:
        await under_way.wait()
        await sender.stop("enough")

    sender = send(Leen(answer), 6, batch_size=2, meanwhile=stop)
    assert statuses(sender) == {"unknown": 2}
    assert "stopped" in str(sender.outcomes[0].error)


# The ledger


class Kept(MemoryLedger):
    """Keeps the values, and fails when it is told to."""

    def __init__(self, leen: Leen | None = None, fail_at: int | None = None) -> None:
        self.values: list[dict[str, Any]] = []
        self.calls_before: list[int] = []
        self._leen = leen
        self._fail_at = fail_at

    def append(self, value: dict[str, Any]) -> None:
        if len(self.values) + 1 == self._fail_at:
            raise OSError("disk full")
        self.values.append(value)
        self.calls_before.append(len(self._leen.calls) if self._leen else 0)


def test_a_ticket_is_on_record_as_sent_whenever_it_leaves() -> None:
    store = Kept()
    answers = in_turn(httpx.ConnectError("refused"), refused(422), refused(429))

    def answer(names: Names) -> Answer:
        assert {f"key-{name[1:]}" for name in names} <= set(replay(store.values).sent)
        return answers(names)

    sender = send(Leen(answer), 20, batch_size=2, at_once=3, store=store)
    assert statuses(sender) == {"created": 20}


def test_what_is_on_record_at_the_end_is_what_happened() -> None:
    store = Kept()
    answers = in_turn(None, refused(500), refused(422), None, refused(422))
    sender = send(Leen(answers), 8, batch_size=2, store=store)
    history = replay(store.values)
    by_status = {
        status: {f"key-{index}" for index, outcome in sender.outcomes.items() if outcome.status == status}
        for status in ("created", "unknown", "rejected")
    }
    assert by_status["rejected"]
    assert set(history.created) == by_status["created"]
    assert set(history.sent) == by_status["unknown"]


@pytest.mark.parametrize("fail_at", [1, 2, 3])
def test_a_ledger_that_can_not_be_written_stops_the_sending(fail_at: int) -> None:
    leen = Leen(lambda names: None)
    sender = send(leen, 20, batch_size=2, store=Kept(fail_at=fail_at))
    assert isinstance(sender.halted, LeenLedgerError)
    assert "disk full" in str(sender.halted)
    assert len(leen.calls) < fail_at
    assert statuses(sender)["created"] == 2 * len(leen.calls)


def test_a_batch_that_was_prepared_and_not_sent_is_not_left_as_sent() -> None:
    store = Kept()
    sender = send(Leen(lambda names: refused(401)), 8, batch_size=2, store=store)
    assert isinstance(sender.halted, LeenAuthError)
    on_record = replay(store.values).sent
    # What was put on record last is taken back with the run's last write, which is not the sender's.
    assert set(on_record) <= {"key-2", "key-3"}
