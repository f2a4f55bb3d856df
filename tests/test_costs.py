"""What a list of tickets costs, in things that can be counted and don't depend on how busy a machine is.

``make bench`` measures the time; this notices when the package begins to do more than it has to.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any

import httpx
import pytest

import airflow_provider_leen
from airflow_provider_leen.api.client import AsyncLeenClient
from airflow_provider_leen.bulk.create import Creation
from airflow_provider_leen.bulk.journal import Journal, Owner
from airflow_provider_leen.bulk.ledger import Ledger
from airflow_provider_leen.bulk.sending import Batching
from airflow_provider_leen.bulk.stores import TaskStateStore
from airflow_provider_leen.bulk.summary import Summary, summarise
from airflow_provider_leen.bulk.tickets import payload
from airflow_provider_leen.bulk.values import Value
from airflow_provider_leen.sandbox.server import SandboxServer
from tests.bulk.register_days import DAY, Leen, Shelf, findings, run_day
from tests.bulk.runs import UUID, VENDOR, answering, rows_of, settings_for
from tests.bulk.test_reconcile import Scope
from tests.support.airflow_run import AIRFLOW

TICKETS = 1000
DESCRIPTION = "What a scanner has to say of this one. " * 8

MOST: dict[str, float] = {
    "HTTP calls for 1,000 tickets": 20,
    "HTTP calls of a retry when 50 of them are left": 1,
    "bytes sent beyond the ticket itself, a ticket": 95,
    "bytes of the summary in XCom, a ticket": 215,
    "bytes in the ledger, a ticket": 105,
    "writes to the ledger, a batch": 1.25,
    "reads of the ledger that 1,000 tickets cost more than 50 do": 0,
    "modules that the operator imports beyond airflow.sdk": 15,
    "modules that discovery imports": 1,
    "calls of functions of the package, a ticket": 57,
    "calls for 4,000 tickets beside those for 1,000": 4.05,
}
"""What was measured when this was written, and a little more."""

REGISTER: dict[str, float] = {
    "creating calls of a day with 10,000 known findings and 100 new": 2,
    "other calls where all ids are known": 0,
    "other calls with project keys, a page of the list each": 1,
    "writes to the register, deletions included": 11,
    "reads of the register that 10,000 findings cost more than 100 do": 0,
    "bytes in the register, 1,000 tickets": 32_000,
}
"""Of a day with a register."""

RECONCILE: dict[str, int] = {
    "POST tickets/bulk/sync": 2,
    "GET passthrough/tickets/search": 1,
    "POST tickets/bulk/update": 1,
    "jobs": 1,
}
"""Requests of a day on which findings come and go, and how many jobs are asked for until they end."""

PACKAGE = str(Path(airflow_provider_leen.__file__).parent)


def given(count: int) -> list[dict[str, str]]:
    return [{"name": f"finding {number}", "description": DESCRIPTION} for number in range(count)]


class TaskState(dict[str, Value]):
    """Airflow's task state store, as far as the ledger sees it; counts what is asked of it."""

    reads = writes = 0

    def read(self, key: str) -> Value | None:
        self.reads += 1
        return self.get(key)

    def write(self, key: str, value: Value) -> None:
        self.writes += 1
        self[key] = value


def create(client: AsyncLeenClient, count: int, state: TaskState | None = None, *, try_number: int = 1) -> Summary:
    """Create tickets as the operator does, in a try of their own."""
    state = TaskState() if state is None else state
    store = TaskStateStore(state.read, state.write, state.__delitem__)

    async def go() -> Summary:
        with ThreadPoolExecutor(max_workers=1) as threads:
            async with client:
                ledger = Ledger(Journal(store, Owner({}, try_number)), threads, embedded=False)
                run = Creation(
                    client,
                    ledger,
                    rows_of(given(count)),
                    lambda row: payload(row, VENDOR),
                    Batching(50, 4),
                )
                await run.run()
                await ledger.look()
                await ledger.close()
                return summarise(run.results())

    summary = asyncio.run(go())
    assert summary["created"] == count
    return summary


@cache
def on_the_wire() -> dict[str, float]:
    with SandboxServer() as sandbox:
        client = AsyncLeenClient(settings_for(sandbox.base_url, timeout=30.0))
        few, state = TaskState(), TaskState()
        create(client, TICKETS - 50, few)
        create(client, TICKETS, few, try_number=2)
        calls_of_retry = sandbox.count() - (TICKETS - 50) // 50
        create(client, 50, few := TaskState())
        sandbox.reset()
        summary = create(client, TICKETS, state)
        own = sum(len(json.dumps(ticket)) for ticket in given(TICKETS))
        return {
            "HTTP calls for 1,000 tickets": sandbox.count(),
            "HTTP calls of a retry when 50 of them are left": calls_of_retry,
            "bytes sent beyond the ticket itself, a ticket": (sum(len(r.raw) for r in sandbox.requests) - own)
            / TICKETS,
            "bytes of the summary in XCom, a ticket": len(json.dumps(summary)) / TICKETS,
            "bytes in the ledger, a ticket": sum(len(json.dumps(value)) for value in state.values()) / TICKETS,
            "writes to the ledger, a batch": state.writes / (TICKETS / 50),
            "reads of the ledger that 1,000 tickets cost more than 50 do": state.reads - few.reads,
        }


def function_calls(count: int) -> int:
    """Count the calls of the package's functions in this thread; the server is left out, so that they are the same."""

    def answer(request: httpx.Request) -> httpx.Response:
        tickets = json.loads(request.content)["tickets"]
        created = {"success": True, "ticket_id": None, "error": None}
        results = [
            {
                **created,
                "request_index": position,
                "identifier": ticket["identifier"],
                "vendor_ticket_id": f"SEC-{ticket['name'].rpartition(' ')[2]}",
            }
            for position, ticket in enumerate(tickets)
        ]
        return httpx.Response(
            200, json={"total": len(tickets), "succeeded": len(tickets), "failed": 0, "results": results}
        )

    client = answering(answer)
    calls = 0

    def note(frame: FrameType, event: str, _: Any) -> None:
        nonlocal calls
        calls += event == "call" and frame.f_code.co_filename.startswith(PACKAGE)

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        create(client, count)
    finally:
        sys.setprofile(before)
    return calls


@cache
def in_functions() -> dict[str, float]:
    function_calls(50)  # what happens once in a process
    of_1000, of_4000 = function_calls(1000), function_calls(4000)
    return {
        "calls of functions of the package, a ticket": of_1000 / 1000,
        "calls for 4,000 tickets beside those for 1,000": of_4000 / of_1000,
    }


def modules_of(statement: str, *, after: str) -> int:
    """Count the modules that a statement imports in a new process after another one, the package itself left out."""
    count = "len([name for name in sys.modules if name != 'airflow_provider_leen'])"
    script = f"import sys\n{after}\nbefore = {count}\n{statement}\nprint({count} - before)"
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    return int(done.stdout.splitlines()[-1])


@cache
def in_modules() -> dict[str, float]:
    # On Airflow 2 these two bring what airflow.sdk does on newer ones.
    sdk = "from airflow.providers.common.compat.sdk import BaseHook, BaseOperator"
    sdk = sdk if AIRFLOW < (3, 0) else f"import airflow.sdk\n{sdk}"
    return {
        "modules that the operator imports beyond airflow.sdk": modules_of(
            "import airflow_provider_leen.operators.leen", after=sdk
        ),
        "modules that discovery imports": modules_of(
            "from airflow_provider_leen.get_provider_info import get_provider_info\nget_provider_info()",
            after="import __future__, typing",
        ),
    }


@cache
def with_a_register() -> dict[str, float]:
    def a_day(known: int, new: int, *, with_ids: bool) -> tuple[Leen, Shelf, dict[str, Any]]:
        values: dict[str, Any] = {}
        leen = Leen()
        usual: dict[str, Any] = {"batch_size": 50}
        run_day(leen, Shelf(values), findings(*range(known)), **usual)
        leen.clock.time += DAY
        if with_ids:
            leen.is_synced = True
            run_day(leen, Shelf(values), [], run="tuesday", **usual)
            leen.clock.time += DAY
        del leen.requests[:]
        shelf = Shelf(values)
        ended = run_day(leen, shelf, findings(*range(known + new)), run="wednesday", **usual)
        assert ended is not None
        assert ended.counts == {"existing": known, "created": new}
        return leen, shelf, values

    few, shelf_of_few, _ = a_day(100, 100, with_ids=True)
    many, shelf, values = a_day(10_000, 100, with_ids=True)
    by_key, _, _ = a_day(100, 100, with_ids=False)
    assert few.requests == many.requests, "how many are known costs no request"
    creating = [request for request in many.requests if request.startswith("POST")]
    (snapshot,) = [value for key, value in values.items() if key.startswith("snapshot/")]
    return {
        "creating calls of a day with 10,000 known findings and 100 new": len(creating),
        "other calls where all ids are known": len(many.requests) - len(creating),
        "other calls with project keys, a page of the list each": len(by_key.requests) - len(creating),
        "writes to the register, deletions included": len(shelf.writes),
        "reads of the register that 10,000 findings cost more than 100 do": shelf.calls - shelf_of_few.calls,
        "bytes in the register, 1,000 tickets": len(snapshot) / 10.1,
    }


@pytest.mark.parametrize("cost", REGISTER)
def test_a_day_with_a_register_costs_no_more_than_it_has_to(cost: str) -> None:
    assert with_a_register()[cost] <= REGISTER[cost]


def reconciling_day(sandbox: SandboxServer, folder: Path, known: int, defaults: dict[str, str]) -> Counter[str]:
    """Return the requests of a day with known findings, 100 new ones and 50 that are gone."""
    scope = Scope(sandbox, folder, defaults)
    names = [str(number) for number in range(known)]
    scope.run(*names[100:], max_new=None)
    sandbox.sync()
    scope.run(*names[:-50])
    sandbox.sync()
    before = len(sandbox.requests)
    summary = scope.run(*names[:-50], *(f"new {number}" for number in range(100)))
    assert (summary["existing"], summary["closed"], summary["created"]) == (known - 50, 50, 100)
    requests = sandbox.requests[before:]
    jobs = {request.path for request in requests if "/jobs/" in request.path}
    paths = [request for request in requests if request.path not in jobs]
    return Counter(f"{it.method} {it.path.removeprefix('/v1/itsm/')}" for it in paths) + Counter(jobs=len(jobs))


@pytest.mark.slow
def test_a_day_of_reconciling_costs_no_more_than_it_has_to(sandbox: SandboxServer, tmp_path: Path) -> None:
    assert reconciling_day(sandbox, tmp_path, 10_000, UUID) == RECONCILE


@pytest.mark.slow
def test_with_project_keys_a_day_of_reconciling_costs_a_listing_more(sandbox: SandboxServer, tmp_path: Path) -> None:
    requests = reconciling_day(sandbox, tmp_path, 1_000, VENDOR)
    pages = requests.pop("GET tickets")
    assert requests == RECONCILE
    assert 1 <= pages <= 2, "of 500 tickets each: one listing of those that have changed; all, where the test is quick"


@pytest.mark.parametrize("cost", MOST)
def test_it_costs_no_more_than_it_has_to(cost: str) -> None:
    for measure in (on_the_wire, in_functions, in_modules):
        if cost in (figures := measure()):
            assert figures[cost] <= MOST[cost]
            return
    pytest.fail("Nothing measures this.")
