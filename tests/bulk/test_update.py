"""Changing tickets in jobs: what is submitted, what is asked, and what is known at the end; httpx stands for Leen."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import httpx
import pytest

from airflow_provider_leen.api.client import AsyncLeenClient
from airflow_provider_leen.api.errors import (
    LeenAuthError,
    LeenStoppedError,
)
from airflow_provider_leen.api.settings import LeenSettings
from airflow_provider_leen.bulk.journal import Journal, Owner
from airflow_provider_leen.bulk.ledger import Ledger
from airflow_provider_leen.bulk.outline import read_outline
from airflow_provider_leen.bulk.sending import Batching
from airflow_provider_leen.bulk.stores import MemoryStore
from airflow_provider_leen.bulk.update import Update
from tests.support import virtual_time

IDS = [f"{number:08}-0000-4000-8000-000000000001" for number in range(50)]
NO_SUCH_JOB = httpx.Response(404, json={"type": "error", "code": "NF", "message": "Job not found", "detail": []})

Submitted = Callable[[list[str]], httpx.Response | None]


class Leen:
    """Accepts jobs and lets them end at once.

    :param submitted: answers a submission otherwise; None: it is accepted.
    :param asked: the answers to questions for jobs, one after the other; then all have ended well.
    :param holds: calls of this method get no answer.
    :param stops_at: a call of this method has the run stopped.
    """

    def __init__(
        self,
        submitted: Submitted = lambda ids: None,
        *,
        asked: Sequence[httpx.Response] = (),
        holds: str = "",
        stops_at: str = "",
        job_id: str = "job-{}",
    ) -> None:
        self.calls: list[str] = []
        self.batches: list[list[str]] = []
        self.at_once: Counter[str] = Counter()
        self.stop: Callable[[str], object] = lambda reason: None
        self._in_flight: Counter[str] = Counter()
        self._submitted, self._asked, self._holds, self._stops_at = submitted, list(asked), holds, stops_at
        self._job_id = job_id

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        method = request.method
        self.calls.append(method)
        self._in_flight[method] += 1
        self.at_once[method] = max(self.at_once[method], self._in_flight[method])
        try:
            if method == self._stops_at:
                self.stop("Stopped.")
            if method == self._holds:
                await asyncio.Event().wait()
            # All that may be in flight come this far before one of them ends.
            for _ in range(200):
                await asyncio.sleep(0)
        finally:
            self._in_flight[method] -= 1
        if method == "GET":
            return self._asked.pop(0) if self._asked else httpx.Response(200, json={"status": "SUCCESS"})
        self.batches.append(json.loads(request.content)["ticket_ids"])
        accepted = httpx.Response(202, json={"job_id": self._job_id.format(len(self.batches))})
        return self._submitted(self.batches[-1]) or accepted


def change(
    leen: Leen,
    ids: list[str],
    *,
    batch_size: int = 50,
    at_once: int = 1,
    stop_grace: float = 60.0,
    poll_interval: float = 0.001,
    before: Callable[[Update], object] = lambda update: None,
    then: Callable[[Update], Any] | None = None,
) -> Update:
    """Change tickets, in virtual time.

    :param before: is called before the run begins.
    :param then: returns the coroutine that follows the submission, instead of waiting for the jobs.
    """

    async def go() -> Update:
        settings = LeenSettings(base_url="https://leen.test/v1", api_key="secret", connection_id="c", max_retries=0)
        async with AsyncLeenClient(settings, transport=httpx.MockTransport(leen)) as client:
            journal = Journal(MemoryStore(), Owner({"task_id": "update"}, 1))
            update = Update(
                client,
                Ledger(journal, virtual_time.Inline(), embedded=False),
                ids,
                {"status": "CLOSED"},
                Batching(batch_size, at_once, stop_grace),
            )
            leen.stop = update.stop
            before(update)
            await update.submit()
            await (then(update) if then else update.wait(poll_interval, lambda: None))
            return update

    return virtual_time.run(go())


async def nothing(_: Update) -> None:
    """Don't wait for the jobs."""


def statuses(update: Update) -> dict[str, str]:
    return {key: update.ledger.table[key].status for key in update.ledger.table}


def counts(update: Update) -> dict[str, int]:
    return Counter(statuses(update).values())


def error_of(update: Update, ticket_id: str) -> str:
    return str(update.ledger.table[ticket_id].error)


def refused(detail: Any, status: int = 422) -> httpx.Response:
    return httpx.Response(status, json={"detail": detail})


def spoilt_by(*bad: str) -> Submitted:
    return lambda ids: refused("no such ticket") if set(bad) & set(ids) else None


# Submitting


def test_every_ticket_is_changed_in_jobs_with_limited_concurrency_and_polled_eight_at_a_time() -> None:
    leen = Leen()
    update = change(leen, IDS[:20], batch_size=1, at_once=3)
    assert leen.batches == [[ticket_id] for ticket_id in IDS[:20]]
    assert leen.at_once == {"POST": 3, "GET": 8}
    assert leen.calls == ["POST"] * 20 + ["GET"] * 20
    assert counts(update) == {"updated": 20}
    assert update.error is None
    assert update.jobs_under_way == {}


def test_ids_that_the_refusal_locates_are_rejected_at_once() -> None:
    def submitted(ids: list[str]) -> httpx.Response | None:
        bad = [position for position, ticket_id in enumerate(ids) if ticket_id in (IDS[3], IDS[40])]
        places = [{"loc": ["body", "ticket_ids", position], "msg": "closed"} for position in bad]
        return refused(places) if places else None

    leen = Leen(submitted)
    update = change(leen, IDS)
    assert [len(ids) for ids in leen.batches] == [50, 48]
    assert counts(update) == {"updated": 48, "rejected": 2}
    assert error_of(update, IDS[40]) == "closed"


def test_a_key_that_is_refused_ends_the_submission_and_what_was_submitted_is_waited_for() -> None:
    leen = Leen(lambda ids: None if IDS[0] in ids else httpx.Response(401))
    update = change(leen, IDS[:6], batch_size=2)
    assert isinstance(update.error, LeenAuthError)
    assert leen.calls == ["POST", "POST", "GET"]
    assert counts(update) == {"updated": 2, "unsent": 4}


def test_two_jobs_with_one_id_prove_nothing() -> None:
    leen = Leen(job_id="job")
    update = change(leen, IDS[:4], batch_size=2)
    assert counts(update) == {"unknown": 4}
    assert "the same job, job," in error_of(update, IDS[0])
    assert leen.calls == ["POST", "POST"], "nobody asks for it"


def test_a_batch_gets_one_line_in_the_log_however_often_it_was_split(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    change(Leen(spoilt_by(IDS[21])), IDS[:40], batch_size=20, then=nothing)
    assert [message.partition(" (")[0] for message in caplog.messages] == [
        "Batch 1 of 2: 20 submitted",
        "Batch 2 of 2: 19 submitted, 1 rejected",
    ]


# Waiting


def test_running_jobs_are_polled_again() -> None:
    leen = Leen(asked=[httpx.Response(200, json={"status": "RUNNING"})] * 3)
    rounds: list[int] = []
    update = change(
        leen,
        IDS[:4],
        batch_size=2,
        then=lambda update: update.wait(0.001, lambda: rounds.append(len(update.jobs_under_way))),
    )
    assert rounds == [2, 1, 0]
    assert counts(update) == {"updated": 4}


def ended(status: str, reason: Any = None) -> httpx.Response:
    return httpx.Response(200, json={"status": status, "failure_reason": reason})


def breakdown(*results: dict[str, Any]) -> dict[str, Any]:
    succeeded = sum(result["success"] for result in results)
    counted = {"total": len(results), "succeeded": succeeded, "failed": len(results) - succeeded}
    return counted | {"results": [{"request_index": index, **result} for index, result in enumerate(results)]}


FIRST = {"success": True, "ticket_id": IDS[0]}
SECOND = {"success": False, "ticket_id": IDS[1], "error": "closed"}


@pytest.mark.parametrize(
    ("job", "proved", "said"),
    [
        (ended("SUCCESS"), ["updated", "updated"], ""),
        (ended("FAILED", breakdown(FIRST, SECOND)), ["updated", "rejected"], "closed"),
        (
            ended("SUCCESS", breakdown(FIRST, SECOND)),
            ["unknown", "unknown"],
            "Job job-1 ended with status SUCCESS. It ended",
        ),
        (ended("FAILED", breakdown(FIRST)), ["unknown", "unknown"], "Job job-1 ended with status FAILED. "),
        (ended("FAILED", "lost"), ["unknown", "unknown"], "Job job-1 ended with status FAILED: lost. "),
    ],
    ids=["success", "partial", "A6: a success with failures", "incomplete", "no breakdown"],
)
def test_a_job_that_has_ended_says_how_each_ticket_fared(job: httpx.Response, proved: list[str], said: str) -> None:
    update = change(Leen(asked=[job]), IDS[:2])
    assert list(statuses(update).values()) == proved
    assert update.jobs_under_way == {}
    if said:
        assert error_of(update, IDS[1]).startswith(said)


def test_a_job_that_leen_no_longer_knows_is_not_waited_for() -> None:
    update = change(Leen(asked=[NO_SUCH_JOB]), IDS[:4], batch_size=2)
    assert statuses(update) == dict(zip(IDS, ["unknown"] * 2 + ["updated"] * 2, strict=False))
    assert "Leen no longer knows job job-1" in error_of(update, IDS[0])
    assert update.error is None


@pytest.mark.parametrize(
    "reply",
    [httpx.Response(200, text='{"status": NaN}'), httpx.Response(200, json={"id": "another", "status": "SUCCESS"})],
    ids=["no JSON", "another job"],
)
def test_a_job_of_which_no_reply_can_be_read_is_not_waited_for(reply: httpx.Response) -> None:
    update = change(Leen(asked=[reply] * 20), IDS[:2], batch_size=2)
    assert set(statuses(update).values()) == {"unknown"}
    assert "Its job job-1 could not be read" in error_of(update, IDS[0])
    assert update.jobs_under_way == {}


def test_a_job_that_cannot_be_polled_now_is_polled_again() -> None:
    leen = Leen(asked=[httpx.Response(503), httpx.Response(503)])
    update = change(leen, IDS[:4], batch_size=2)
    assert counts(update) == {"updated": 4}
    assert update.error is None


def test_a_key_that_is_refused_ends_the_waiting_and_the_jobs_stay_named() -> None:
    update = change(Leen(asked=[httpx.Response(401)] * 2), IDS[:4], batch_size=2)
    assert isinstance(update.error, LeenAuthError)
    assert update.jobs_under_way == {"job-1": IDS[:2], "job-2": IDS[2:4]}
    assert counts(update) == {"unknown": 4}


def test_another_process_continues_with_what_was_recorded() -> None:
    leen = Leen(asked=[httpx.Response(200, json={"status": "RUNNING"})])
    first = change(leen, IDS[:4], batch_size=2, then=nothing)
    update = resumed(leen, first, IDS[:4])
    assert leen.calls == ["POST", "POST", "GET", "GET"], "each job is asked for once"
    assert statuses(update) == dict(zip(IDS, ["unknown"] * 2 + ["updated"] * 2, strict=False))
    assert update.jobs_under_way == {"job-1": IDS[:2]}


def test_a_list_that_is_another_one_after_the_wait_leaves_its_tickets_unknown() -> None:
    leen = Leen()
    update = resumed(leen, change(leen, IDS[:4], then=nothing), IDS[1:4])
    assert leen.calls == ["POST"]
    assert set(statuses(update).values()) == {"unknown"}
    assert "has changed since" in error_of(update, IDS[1])


def resumed(leen: Leen, before: Update, ids: list[str]) -> Update:
    """Go on in another process."""

    async def go_on() -> Update:
        settings = LeenSettings(base_url="https://leen.test/v1", api_key="secret", connection_id="c")
        async with AsyncLeenClient(settings, transport=httpx.MockTransport(leen)) as client:
            ledger = Ledger(Journal(MemoryStore(), Owner({"task_id": "update"}, 1)), None, embedded=False)
            update = Update(client, ledger, ids, {"status": "CLOSED"}, Batching(2, 1))
            await update.resume(read_outline(json.loads(json.dumps(before.outline()._asdict()))))
            return update

    return asyncio.run(go_on())


# Being stopped


def test_a_job_that_was_being_asked_for_at_a_stop_is_still_named() -> None:
    leen = Leen(holds="GET", stops_at="GET")
    update = change(leen, IDS[:1], stop_grace=0.05)
    assert isinstance(update.error, LeenStoppedError)
    assert update.jobs_under_way == {"job-1": IDS[:1]}
    assert "job job-1" in error_of(update, IDS[0])


def test_calls_in_flight_at_a_stop_may_end_and_jobs_are_polled_once_more() -> None:
    leen = Leen(stops_at="POST")
    update = change(leen, IDS[:3], batch_size=1)
    assert isinstance(update.error, LeenStoppedError)
    assert counts(update) == {"updated": 1, "unsent": 1}
    assert leen.calls == ["POST", "GET"]


def test_a_stop_ends_the_pause_between_two_rounds() -> None:
    leen = Leen(stops_at="GET", asked=[httpx.Response(200, json={"status": "RUNNING"})] * 9)
    update = change(leen, IDS[:1], poll_interval=3600)
    assert isinstance(update.error, LeenStoppedError)
    assert update.jobs_under_way.keys() == {"job-1"}
    assert leen.calls.count("GET") <= 2


def test_a_run_that_is_stopped_before_it_starts_sends_nothing_and_the_first_reason_stays() -> None:
    def stop(update: Update) -> None:
        update.stop("Stopped.")
        update.stop("Stopped again.")

    leen = Leen()
    assert str(change(leen, IDS[:3], before=stop).error) == "Stopped."
    assert leen.calls == []
