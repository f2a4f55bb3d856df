"""Which tickets Leen knows already: asked eight at a time, and a question that fails is no answer."""

from __future__ import annotations

import os
import time
from itertools import pairwise
from typing import Any

import pytest

from airflow_provider_leen.api.errors import LeenNotFoundError, LeenServerError, LeenStoppedError
from airflow_provider_leen.bulk.create import Creation
from airflow_provider_leen.bulk.summary import Progress
from airflow_provider_leen.sandbox.server import SandboxServer
from tests.bulk.runs import UUID, VENDOR, Store, Try, run_try
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


def test_a_ticket_without_an_identifier_of_its_own_is_not_looked_up(sandbox: SandboxServer) -> None:
    ended = skip(sandbox, [{"name": "one"}, *findings(1), {"nam": "typo"}])
    assert [result["status"] for result in ended.results] == ["created", "created", "invalid"]
    assert look_ups(sandbox) == 1


def test_without_skip_nothing_is_looked_up_and_another_ticket_is_created(sandbox: SandboxServer) -> None:
    create(sandbox, findings(2))
    create(sandbox, findings(2))
    assert look_ups(sandbox) == 0
    assert len(sandbox.tickets()) == 4


def test_leen_does_not_know_what_was_created_with_vendor_ids(sandbox: SandboxServer) -> None:
    create(sandbox, findings(1), defaults=VENDOR)
    assert skip(sandbox, findings(1), defaults=VENDOR).counts == {"created": 1}
    assert len(sandbox.tickets()) == 2


def test_it_knows_them_when_a_job_created_them(sandbox: SandboxServer) -> None:
    create(sandbox, findings(1), defaults=VENDOR, as_jobs=True)
    assert skip(sandbox, findings(1), defaults=VENDOR).counts == {"existing": 1}
    assert len(sandbox.tickets()) == 1


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
    sandbox.inject("latency", seconds=0.2, method="GET", path=LOOK_UP)

    def stop_soon(run: Creation) -> None:
        until(lambda: look_ups(sandbox) >= 8)
        run.stop("enough")

    ended = skip(sandbox, findings(200), meanwhile=stop_soon)
    assert type(ended.error) is LeenStoppedError
    assert ended.counts == {"unsent": 200}
    assert look_ups(sandbox) < 100
    assert sandbox.count("POST") == 0


SLOW = pytest.mark.skipif("LEEN_SLOW_TESTS" not in os.environ, reason="takes 15 s; set LEEN_SLOW_TESTS")


@pytest.mark.parametrize(("known", "given"), [(380, 400), pytest.param(1_900, 2_000, marks=SLOW)])
def test_exactly_those_are_created_that_leen_does_not_know_and_eight_are_asked_for_at_a_time(
    sandbox: SandboxServer, known: int, given: int
) -> None:
    create(sandbox, findings(known))
    sandbox.inject("latency", seconds=0.05, method="GET", path=LOOK_UP)
    started = time.monotonic()
    ended = skip(sandbox, findings(given))
    seconds = time.monotonic() - started
    assert ended.counts == {"existing": known, "created": given - known}
    assert len(sandbox.tickets()) == look_ups(sandbox) == given
    questions = [request for request in sandbox.requests if request.path.startswith(LOOK_UP)]
    in_flight = [sum(q.started <= other.started < (q.finished or 0) for q in questions) for other in questions]
    assert max(in_flight) == 8
    # Together they wait for 20 s or 100 s.
    assert seconds < 16


# Progress


def progress_of(sandbox: SandboxServer, given: list[dict[str, Any]], **options: Any) -> list[tuple[float, Progress]]:
    told: list[tuple[float, Progress]] = []
    create(sandbox, given, on_progress=lambda progress: told.append((time.monotonic(), progress)), **options)
    return told


def test_progress_is_told_at_once_then_at_most_once_a_second_and_at_last(sandbox: SandboxServer) -> None:
    sandbox.inject("latency", seconds=0.15)
    given = [*findings(28), {"name": "x" * 300}, {"nam": "typo"}]
    told = progress_of(sandbox, given, batch_size=2)
    times = [moment for moment, _ in told[:-1]]
    assert len(times) >= 3
    assert all(later - earlier > 0.99 for earlier, later in pairwise(times))
    assert told[0][1] == {"total": 30, "done": 1, "failed": 1}
    assert told[-1][1] == {"total": 30, "done": 30, "failed": 2}
    done = [progress["done"] for _, progress in told]
    assert done == sorted(done)


def test_an_unknown_outcome_is_neither_done_nor_failed(sandbox: SandboxServer) -> None:
    sandbox.inject("lost", nth=1)
    assert progress_of(sandbox, findings(4), batch_size=2)[-1][1] == {"total": 4, "done": 2, "failed": 0}


def test_what_existed_is_done(sandbox: SandboxServer) -> None:
    create(sandbox, findings(3))
    assert progress_of(sandbox, findings(4), skip_existing=True)[-1][1] == {"total": 4, "done": 4, "failed": 0}
