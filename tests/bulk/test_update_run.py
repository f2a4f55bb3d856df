"""Changing tickets in jobs: what a refusal of a whole job makes of its tickets."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections import Counter
from collections.abc import Callable
from typing import Any
from uuid import UUID

import httpx
import pytest

from airflow_provider_leen.api.client import AsyncLeenClient
from airflow_provider_leen.api.errors import LeenServerError, LeenStoppedError, LeenValidationError
from airflow_provider_leen.api.settings import LeenSettings
from airflow_provider_leen.api.sync_client import LeenClient
from airflow_provider_leen.bulk.update_run import UpdateRun
from airflow_provider_leen.bulk.updates import in_batches

SETTINGS = LeenSettings(base_url="https://leen.test/v1", api_key="secret", connection_id="c", max_retries=0)
IDS = [f"{number:08}-0000-4000-8000-000000000001" for number in range(50)]

Refuse = Callable[[list[str]], Any]


def submit(refuse: Refuse, ids: list[str], size: int, status: int = 422) -> tuple[UpdateRun, list[list[str]]]:
    """Submit jobs to a Leen that refuses some: those for which ``refuse`` gives a detail."""
    sent: list[list[str]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(json.loads(request.content)["ticket_ids"])
        detail = refuse(sent[-1])
        if detail is not None:
            return httpx.Response(status, json={"detail": detail})
        return httpx.Response(202, json={"job_id": f"job-{len(sent)}"})

    with LeenClient(SETTINGS, transport=httpx.MockTransport(answer)) as client:
        run = UpdateRun(client.aio)
        client.run(run.submit(in_batches(ids, size), {"status": "CLOSED"}))
    return run, sent


def statuses(run: UpdateRun) -> dict[str, int]:
    return dict(Counter(outcome.status for outcome in run.outcomes.values()))


def unless_without(bad: set[str]) -> Refuse:
    return lambda ids: "no such ticket" if bad & set(ids) else None


@pytest.mark.parametrize("position", [0, 17, 49])
def test_one_bad_id_is_found_by_halving_and_all_others_are_submitted_once(position: int) -> None:
    run, sent = submit(unless_without({IDS[position]}), IDS, 50)
    assert run.halted is None
    assert [ticket_id for ticket_id, outcome in run.outcomes.items() if outcome.status == "rejected"] == [IDS[position]]
    submitted = [ticket_id for ids in run.jobs.values() for ticket_id in ids]
    assert sorted(submitted) == [ticket_id for ticket_id in IDS if ticket_id != IDS[position]]
    assert len(sent) <= 14


def test_ids_that_the_refusal_locates_are_rejected_at_once() -> None:
    def refuse(ids: list[str]) -> Any:
        bad = [position for position, ticket_id in enumerate(ids) if ticket_id in (IDS[3], IDS[40])]
        return [{"loc": ["body", "ticket_ids", position], "msg": "closed"} for position in bad] or None

    run, sent = submit(refuse, IDS, 50)
    assert [len(ids) for ids in sent] == [50, 48]
    assert (run.outcomes[IDS[3]].status, run.outcomes[IDS[40]].error) == ("rejected", "closed")


def test_a_batch_gets_a_line_with_its_jobs_however_often_it_was_taken_apart(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    submit(unless_without({IDS[21]}), IDS[:40], 20)
    assert [message.partition(" (")[0] for message in caplog.messages] == [
        "Batch 1 of 2: 20 submitted",
        "Batch 2 of 2: 1 rejected, 19 submitted",
    ]
    assert caplog.messages[0].endswith(" s): job-1")
    assert caplog.messages[1].endswith(" s): job-6, job-8, job-9, …")


def test_a_job_for_each_ticket_is_no_flood_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    ids = [str(UUID(int=number)) for number in range(1000)]
    run, sent = submit(lambda _: None, ids, 1)
    assert len(run.jobs) == len(sent) == 1000
    assert caplog.messages[0] == "::group::Changing 1000 tickets in 1000 batches"
    assert len(caplog.messages) == 1 + 100 + 1
    assert caplog.messages[-1] == "::endgroup::"


def test_one_job_id_for_two_batches_proves_nothing_of_either() -> None:
    jobs = iter(["a", "b", "a", "a"])

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            return httpx.Response(200, json={"status": "SUCCESS"})
        return httpx.Response(202, json={"job_id": next(jobs)})

    with LeenClient(SETTINGS, transport=httpx.MockTransport(answer)) as client:
        run = UpdateRun(client.aio)
        client.run(run.submit(in_batches(IDS[:8], 2), {"status": "CLOSED"}))
        assert list(run.jobs) == ["b"]
        client.run(run.ask())
    assert [run.outcomes[ticket_id].status for ticket_id in IDS[:8]] == ["unknown"] * 2 + ["updated"] * 2 + [
        "unknown"
    ] * 4
    assert "one and the same job, a" in str(run.outcomes[IDS[0]].error)


@pytest.mark.parametrize("status", [409, 425, 451, 499, 303, 206])
def test_a_status_that_does_not_say_that_nothing_was_done_leaves_a_job_unknown(status: int) -> None:
    run, sent = submit(lambda ids: "what?" if IDS[0] in ids else None, IDS[:4], 2, status)
    assert statuses(run) == {"unknown": 4}
    assert len(run.jobs) == 1
    assert len(sent) == 2


@pytest.mark.parametrize("size", [50, 3, 1])
@pytest.mark.parametrize("status", [400, 413, 422])
def test_what_is_wrong_with_every_id_is_the_request(size: int, status: int) -> None:
    run, sent = submit(lambda _: "no such status", IDS, size, status)
    assert isinstance(run.halted, LeenValidationError)
    assert run.halted.status == status
    assert statuses(run)["rejected"] == 4
    assert set(statuses(run)) <= {"rejected", "unsent"}
    assert len(sent) <= 15


def test_a_refused_batch_leaves_no_later_one_unsent() -> None:
    run, _ = submit(unless_without(set(IDS[:2])), IDS[:6], 2)
    assert run.halted is None
    assert statuses(run) == {"rejected": 2, "unknown": 4}
    assert run.unknown == IDS[2:6]


def test_after_three_submissions_without_an_answer_nothing_more_is_sent() -> None:
    run, sent = submit(lambda _: "down", IDS[:5], 1, 503)
    assert isinstance(run.halted, LeenServerError)
    assert statuses(run) == {"unknown": 3}
    assert len(sent) == 3


# Asking, and being stopped


class Leen:
    """Accepts jobs and lets them end at once; may hold calls back, and stop the run when one has come."""

    def __init__(self, *, hold: str = "", stop_at: str = "", delay: float = 0.0, status: str = "SUCCESS") -> None:
        self.run = UpdateRun(AsyncLeenClient(SETTINGS, transport=httpx.MockTransport(self.answer)))
        self.calls: list[str] = []
        self.in_flight = self.peak = 0
        self._hold, self._stop_at, self._delay, self._status = hold, stop_at, delay, status

    async def answer(self, request: httpx.Request) -> httpx.Response:
        self.calls.append(request.method)
        self.in_flight += 1
        self.peak = max(self.peak, self.in_flight)
        try:
            if request.method == self._stop_at:
                self.run.stop("Stopped.")
            await asyncio.sleep(3600 if request.method == self._hold else self._delay)
        finally:
            self.in_flight -= 1
        if request.method == "POST":
            return httpx.Response(202, json={"job_id": f"job-{len(self.calls)}"})
        return httpx.Response(200, json={"status": self._status})

    def change(self, ids: list[str], *, poll_interval: float = 0.01) -> UpdateRun:
        async def change() -> None:
            await self.run.submit(in_batches(ids, 1), {"status": "CLOSED"})
            await self.run.wait(poll_interval, lambda: None)

        asyncio.run(change())
        return self.run


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow_provider_leen.bulk.update_run.STOP_GRACE", 0.1)


def test_jobs_are_asked_for_eight_at_a_time() -> None:
    leen = Leen(delay=0.001)
    run = leen.change(IDS[:20])
    assert run.jobs == {}
    assert leen.calls == ["POST"] * 20 + ["GET"] * 20
    assert leen.peak == 8


@pytest.mark.usefixtures("_impatient")
def test_a_submission_that_a_stop_cuts_short_is_an_unknown_outcome_and_nothing_more_is_sent() -> None:
    leen = Leen(hold="POST", stop_at="POST")
    run = leen.change(IDS[:3])
    assert isinstance(run.halted, LeenStoppedError)
    assert run.outcomes == {IDS[0]: ("unknown", "the task ended while it was being sent")}
    assert leen.calls == ["POST"]


@pytest.mark.usefixtures("_impatient")
def test_a_job_that_was_being_asked_for_at_a_stop_is_still_named() -> None:
    leen = Leen(hold="GET", stop_at="GET")
    run = leen.change(IDS[:1])
    assert isinstance(run.halted, LeenStoppedError)
    assert run.jobs == {"job-1": IDS[:1]}
    assert run.outcomes == {IDS[0]: ("unknown", "the task ended before its job job-1")}


def test_calls_in_flight_at_a_stop_may_end_and_jobs_are_asked_for_once_more() -> None:
    leen = Leen(stop_at="POST", delay=0.02)
    run = leen.change(IDS[:3])
    assert isinstance(run.halted, LeenStoppedError)
    assert statuses(run) == {"updated": 1}
    assert leen.calls == ["POST", "GET"]


def test_a_stop_ends_the_pause_between_two_rounds() -> None:
    leen = Leen(stop_at="GET", status="RUNNING")
    started = time.monotonic()
    run = leen.change(IDS[:1], poll_interval=3600)
    assert isinstance(run.halted, LeenStoppedError)
    assert run.jobs.keys() == {"job-1"}
    assert time.monotonic() - started < 2


def test_a_run_that_is_stopped_before_it_starts_sends_nothing_and_the_first_reason_stays() -> None:
    leen = Leen()
    leen.run.stop("Stopped.")
    leen.run.stop("Stopped again.")
    assert str(leen.change(IDS[:3]).halted) == "Stopped."
    assert leen.calls == []
