"""Days of a register: a store that can be killed at any write, a Leen that counts what it truly made, and runs."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import httpx

from airflow_provider_leen.api.client import AsyncLeenClient
from airflow_provider_leen.api.errors import LeenError, LeenLedgerError
from airflow_provider_leen.bulk.fitting import Fitting
from airflow_provider_leen.bulk.journal import Owner, Place
from airflow_provider_leen.bulk.lookup import Created
from airflow_provider_leen.bulk.register import RegisterCreation, refuse_without_identifier
from airflow_provider_leen.bulk.register_journal import RegisterJournal
from airflow_provider_leen.bulk.register_ledger import RegisterLedger
from airflow_provider_leen.bulk.register_reading import Identity
from airflow_provider_leen.bulk.register_store import RegisterStore
from airflow_provider_leen.bulk.sending import Batching
from airflow_provider_leen.bulk.summary import TicketResult
from airflow_provider_leen.bulk.tickets import payload, prepare
from airflow_provider_leen.bulk.values import Value
from tests.bulk.runs import SCOPE, VENDOR, settings_for
from tests.bulk.tracker import UNKNOWN, issue_of, record_of

DAY = 86_400.0
MONDAY = 4_000_000_000.0
"""To come: a request whose time to leave is long over is not sent."""
IDENTITY = Identity("", "https://leen.example.com/v1", "connection")


class Killed(BaseException):
    """The process is gone."""


class Shelf:
    """A store in memory. A process that uses it can be killed at one of its writes.

    :param values: what it holds, shared by all processes.
    :param dies_at: the write, counted from 1, at which the process is killed.
    :param does_it: whether that write is done all the same.
    """

    durable = True
    refuses_overtaken_writes = False

    def __init__(self, values: dict[str, Any], dies_at: int | None = None, *, does_it: bool = False) -> None:
        self.values = values
        self.writes: list[str] = []
        self.calls = 0
        self.is_dead = False
        self._dies_at = dies_at
        self._does_it = does_it

    def get(self, key: str) -> Value | None:
        self._call()
        value: Value | None = self.values.get(key)
        return value

    def set(self, key: str, value: Value) -> None:
        self._write(key, json.loads(json.dumps(value)))

    def create(self, key: str, value: Value) -> bool:
        if key not in self.values:
            self._write(key, json.loads(json.dumps(value)))
        return bool(self.values[key] == value)

    def delete(self, key: str) -> None:
        self._write(key, None)

    def names(self, folder: str) -> list[str]:
        self._call()
        beginning = f"{folder}/"
        return sorted({key[len(beginning) :].split("/")[0] for key in self.values if key.startswith(beginning)})

    def read(self, key: str) -> bytes | None:
        self._call()
        content: bytes | None = self.values.get(key)
        return content

    def write(self, key: str, content: bytes) -> None:
        self._write(key, content)

    def remove(self, key: str) -> None:
        if key in self.values:
            self._write(key, None)

    def _call(self) -> None:
        if self.is_dead:
            raise Killed
        self.calls += 1

    def _write(self, key: str, value: Any) -> None:
        self._call()
        self.writes.append(key)
        self.is_dead = len(self.writes) == self._dies_at
        if not self.is_dead or self._does_it:
            if value is None:
                self.values.pop(key, None)
            else:
                self.values[key] = value
        if self.is_dead:
            raise Killed


class Clock:
    """A time that passes when somebody waits."""

    def __init__(self) -> None:
        self.time = MONDAY

    def __call__(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.time += seconds
        await asyncio.sleep(0)


@dataclass
class Leen:
    """Leen and the tracker behind it. They know of identifiers only what was synced, as with vendor IDs.

    :param lost: whether the reply to the next post is lost, its tickets made (``after``) or not (``before``).
    """

    clock: Clock = field(default_factory=Clock)
    lost: str = ""
    made: list[dict[str, Any]] = field(default_factory=list)
    refused: set[str] = field(default_factory=set)
    requests: list[str] = field(default_factory=list)
    is_synced: bool = False
    meanwhile: Callable[[], None] | None = None
    """What happens once the tickets of the next post are made, before its reply."""

    def counts(self) -> dict[str, int]:
        """How many tickets there are of each finding."""
        return dict(Counter(ticket["body"]["identifier"] for ticket in self.made))

    def __call__(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        self.requests.append(f"{request.method} {path}")
        if request.method == "POST":
            return self._post(json.loads(request.content)["tickets"])
        if path.endswith("/search"):
            keys = re.findall(r"airflow-[0-9a-f]{24}", request.url.params["jql"])
            hits = [issue_of(t) for t in self.made if any(key in t["body"]["description"] for key in keys)]
            return httpx.Response(200, json={"issues": hits})
        if path.endswith("/itsm/tickets"):
            since = datetime.fromisoformat(request.url.params["updatedSince"]).timestamp()
            shown = [record_of(t) | {"url": None} for t in self.made if self.is_synced and t["at"] >= since]
            return httpx.Response(200, json={"items": shown, "next_cursor": None})
        return httpx.Response(404, json=UNKNOWN)

    def _post(self, bodies: Sequence[dict[str, Any]]) -> httpx.Response:
        lost, self.lost = self.lost, ""
        if lost == "before":
            raise httpx.ReadError("lost")
        results = []
        for index, body in enumerate(bodies):
            result = {"success": False, "request_index": index, "identifier": body["identifier"], "ticket_id": None}
            if body["identifier"] in self.refused:
                results.append(result | {"vendor_ticket_id": None, "error": "no such type"})
                continue
            number = len(self.made) + 1
            self.made.append({"body": body, "id": f"leen-{number}", "key": f"SEC-{number}", "at": self.clock()})
            results.append(result | {"success": True, "vendor_ticket_id": f"SEC-{number}", "error": None})
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile:
            # In its own thread: this one has a running loop.
            other = threading.Thread(target=meanwhile)
            other.start()
            other.join()
        if lost:
            raise httpx.ReadError("lost")
        failed = sum(not result["success"] for result in results)
        counts = {"total": len(results), "succeeded": len(results) - failed, "failed": failed}
        return httpx.Response(200, json=counts | {"results": results})


@dataclass
class Ended:
    """What a run ended with."""

    results: list[TicketResult]
    error: LeenError | None
    run: RegisterCreation
    place: Place

    @property
    def counts(self) -> dict[str, int]:
        return dict(Counter(result["status"] for result in self.results))


def findings(*numbers: int) -> list[dict[str, str]]:
    return [{"name": f"finding {number}", "identifier": f"scanner:{number}"} for number in numbers]


def run_day(
    leen: Leen,
    store: Shelf | RegisterStore,
    given: Sequence[Mapping[str, Any]],
    *,
    run: str = "monday",
    try_number: int = 1,
    scope: str = "",
    known: Mapping[str, Created] | None = None,
    **options: Any,
) -> Ended | None:
    """Run one try to its end; None where it was killed.

    :raises LeenLedgerError: it may publish nothing.
    """

    def is_dead() -> bool:
        return isinstance(store, Shelf) and store.is_dead

    async def go() -> Ended:
        def answer(request: httpx.Request) -> httpx.Response:
            if is_dead():
                raise httpx.ConnectError("the process is gone")
            return leen(request)

        settings = settings_for(IDENTITY.base_url)
        async with AsyncLeenClient(settings, transport=httpx.MockTransport(answer)) as client:
            owner = Owner({"dag_id": "d", "run_id": run, "task_id": "t", "map_index": -1}, try_number)
            journal = RegisterJournal(
                store, owner, IDENTITY._replace(scope=scope), now=leen.clock, sleep=lambda _seconds: None
            )
            ledger = RegisterLedger(journal, None, host="h", now=leen.clock, pause=leen.clock.sleep)
            fitting = Fitting(embed_key=True)
            rows = prepare(given, VENDOR, SCOPE, fitting)
            refuse_without_identifier(rows)
            creation = RegisterCreation(
                client,
                ledger,
                rows,
                lambda row: payload(row, VENDOR, fitting),
                Batching(options.pop("batch_size", 2), 1),
                known=known,
                sleep=leen.clock.sleep,
                **options,
            )
            await creation.run()
            await creation.may_publish()
            ended = Ended(creation.results(), creation.error, creation, ledger.place)
            await ledger.close()
            return ended

    try:
        return asyncio.run(go())
    except Killed:
        return None
    except LeenLedgerError:
        if is_dead():
            return None
        raise


def kinds(values: Mapping[str, Any]) -> list[str]:
    return sorted(key.partition("/")[0] for key in values)
