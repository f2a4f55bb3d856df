"""Which tickets Leen knows already: asked eight at a time, and a question that fails is no answer."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from typing import Any

import httpx
import pytest

from airflow_provider_leen.api.errors import LeenNotFoundError, LeenServerError, LeenStoppedError
from airflow_provider_leen.bulk.create import Creation
from airflow_provider_leen.bulk.summary import Progress
from airflow_provider_leen.sandbox.server import SandboxServer
from tests.bulk.runs import UUID, Store, Try, answering, run_try, try_with
from tests.bulk.truth import Truth
from tests.support.recorded import peak
from tests.support.virtual_time import now
from tests.support.waiting import until

LOOK_UP = "/v1/itsm/tickets/by-identifier/"


def findings(count: int) -> list[dict[str, Any]]:
    return [{"name": f"finding {number}", "identifier": f"CVE/2026-{number}"} for number in range(count)]


def create(sandbox: SandboxServer, given: list[dict[str, Any]], **options: Any) -> Try:
    usual: dict[str, Any] = {"defaults": UUID, "batch_size": 50}
    return run_try(sandbox, Store(), given, **usual | options)


def skip(sandbox: SandboxServer, given: list[dict[str, Any]], **options: Any) -> Try:
    return create(sandbox, given, skip_existing=True, **options)


def look_ups(sandbox: SandboxServer) -> int:
    return sandbox.count("GET", LOOK_UP)


def test_what_leen_knows_is_not_created_again_and_comes_back_with_its_ids(sandbox: SandboxServer) -> None:
    create(sandbox, findings(3))
    ended = skip(sandbox, findings(5))
    assert [result["status"] for result in ended.results] == ["existing"] * 3 + ["created"] * 2
    assert [result["vendor_ticket_id"] for result in ended.results] == [
        ticket["vendor_ticket_id"] for ticket in sandbox.tickets()
    ]
    assert [result["ticket_id"] for result in ended.results] == [ticket["ticket_id"] for ticket in sandbox.tickets()]
    assert all(result["success"] and result["error"] is None for result in ended.results)


def test_a_ticket_without_its_own_identifier_is_not_looked_up(sandbox: SandboxServer) -> None:
    ended = skip(sandbox, [{"name": "one"}, *findings(1), {"nam": "typo"}])
    assert [result["status"] for result in ended.results] == ["created", "created", "invalid"]
    assert look_ups(sandbox) == 1


def test_without_skip_nothing_is_looked_up_and_another_ticket_is_created(sandbox: SandboxServer) -> None:
    create(sandbox, findings(2))
    create(sandbox, findings(2))
    assert look_ups(sandbox) == 0
    assert len(sandbox.tickets()) == 4


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ({"kind": "status", "status": 500}, LeenServerError),
        ({"kind": "status", "status": 404, "body": "html"}, LeenNotFoundError),
    ],
    ids=["500", "404 of a proxy"],
)
def test_a_look_up_that_fails_is_not_a_no(sandbox: SandboxServer, fault: dict[str, Any], kind: type[Exception]) -> None:
    sandbox.inject(**fault, method="GET", path=LOOK_UP, nth=3)
    ended = skip(sandbox, findings(5))
    assert type(ended.error) is kind
    assert ended.counts == {"unsent": 5}
    assert sandbox.count("POST") == 0


def test_after_a_stop_nothing_more_is_asked_and_nothing_created(sandbox: SandboxServer) -> None:
    stopped: list[Future[None] | None] = []
    sandbox.inject("latency", until=lambda: stopped, method="GET", path=LOOK_UP)

    def stop_soon(run: Creation) -> None:
        until(lambda: look_ups(sandbox) == 8)
        stopped.append(run.stop("enough"))

    ended = skip(sandbox, findings(200), meanwhile=stop_soon)
    assert type(ended.error) is LeenStoppedError
    assert ended.counts == {"unsent": 200}
    assert sandbox.count("POST") == 0


def test_exactly_those_are_created_that_leen_does_not_know_and_eight_are_asked_for_at_a_time(
    sandbox: SandboxServer,
) -> None:
    create(sandbox, findings(190))
    # None of the first eight is answered before all of them are there.
    sandbox.inject("latency", until=lambda: look_ups(sandbox) >= 8, method="GET", path=LOOK_UP)
    ended = skip(sandbox, findings(200))
    assert ended.counts == {"existing": 190, "created": 10}
    assert len(sandbox.tickets()) == look_ups(sandbox) == 200
    questions = [request for request in sandbox.requests if request.path.startswith(LOOK_UP)]
    assert peak(questions) == 8


# Progress


def test_progress_is_reported_at_once_then_at_most_once_a_second_and_at_the_end() -> None:
    truth = Truth()

    async def answer(request: httpx.Request) -> httpx.Response:
        await asyncio.sleep(0.15)
        return truth(request)

    told: list[tuple[float, Progress]] = []
    given = [*findings(28), {"name": "bad"}, {"nam": "typo"}]
    try_with(
        answering(answer),
        Store(),
        given,
        batch_size=2,
        on_progress=lambda progress: told.append((now(), progress)),
        virtual=True,
    )
    assert [moment for moment, _ in told] == pytest.approx([0.0, 1.05, 2.1, 2.25])
    assert [progress["done"] for _, progress in told] == [1, 15, 29, 30]
    assert told[-1][1] == {"total": 30, "done": 30, "failed": 2}


def progress_of(sandbox: SandboxServer, given: list[dict[str, Any]], **options: Any) -> list[Progress]:
    told: list[Progress] = []
    create(sandbox, given, on_progress=told.append, **options)
    return told


def test_an_unknown_outcome_is_neither_done_nor_failed(sandbox: SandboxServer) -> None:
    sandbox.inject("lost", nth=1)
    assert progress_of(sandbox, findings(4), batch_size=2)[-1] == {"total": 4, "done": 2, "failed": 0}


def test_an_existing_ticket_is_done(sandbox: SandboxServer) -> None:
    create(sandbox, findings(3))
    assert progress_of(sandbox, findings(4), skip_existing=True)[-1] == {"total": 4, "done": 4, "failed": 0}
