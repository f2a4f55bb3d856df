"""Tries of one task in the middle storey, without Airflow."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

import httpx

from airflow_provider_leen.api.client import AsyncLeenClient
from airflow_provider_leen.api.errors import LeenError, LeenLedgerError
from airflow_provider_leen.api.settings import LeenSettings
from airflow_provider_leen.bulk import stores
from airflow_provider_leen.bulk.create import Creation
from airflow_provider_leen.bulk.fitting import Fitting
from airflow_provider_leen.bulk.journal import Place
from airflow_provider_leen.bulk.sending import STOP_GRACE, Batching
from airflow_provider_leen.bulk.summary import TicketResult
from airflow_provider_leen.bulk.tickets import KeyScope, TicketRow, payload, prepare
from airflow_provider_leen.bulk.values import Value
from airflow_provider_leen.sandbox.server import SandboxServer
from tests.bulk.ledgers import Shelf, ledger_of
from tests.support import virtual_time

VENDOR = {"project_vendor_id": "SEC", "type": "Task"}
UUID = {"project_id": "5ec00000-0000-4000-8000-000000000001", "type": "Task"}
PATIENCE = {"timeout": 30.0, "settle_time": 20.0}
FINAL_AFTER = 2 * (30.0 + 10.0) + 20.0
SCOPE = KeyScope("dag", "run", "task", -1, "https://leen.example.com/v1", "connection")


def tickets(count: int) -> list[dict[str, Any]]:
    return [{"name": f"finding {number}"} for number in range(count)]


def rows_of(given: Sequence[Any], defaults: dict[str, str] = VENDOR) -> list[TicketRow]:
    return prepare(given, defaults, SCOPE)


def settings_for(base_url: str, **changes: Any) -> LeenSettings:
    usual: dict[str, Any] = PATIENCE | {"max_retries": 0, "max_retry_wait": 0.01}
    return LeenSettings(
        base_url=base_url, api_key="sandbox-key", connection_id=SandboxServer.connection_id, **usual | changes
    )


def answering(answer: Callable[[httpx.Request], Any], **changes: Any) -> AsyncLeenClient:
    """A client whose requests are answered by a function."""
    return AsyncLeenClient(
        settings_for("https://leen.example.com/v1", **changes), transport=httpx.MockTransport(answer)
    )


class Clock:
    """The time of day, and what was slept, which does not really pass.

    :param ahead: seconds by which it is ahead.
    """

    def __init__(self, ahead: float = 0.0) -> None:
        self.ahead = ahead
        self.slept = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead + self.slept

    async def sleep(self, seconds: float) -> None:
        self.slept += seconds
        await asyncio.sleep(0)


class Store(Shelf):
    """A store that the next try can read; it tells when each value was written.

    :param refuses: whether it refuses the writes of a try that was replaced, as Airflow's does.
    :param broken_from: the value, counted from 1 over all tries, from which on none can be written.
    """

    def __init__(self, *, refuses: bool = False, broken_from: int | None = None) -> None:
        super().__init__(refuses=refuses)
        self.written_at: dict[str, float] = {}
        self.broken_from = broken_from
        self.can_be_read = True

    @property
    def tries(self) -> int:
        """How many have opened."""
        return len(self.written("lease/"))

    def get(self, key: str) -> Value | None:
        if not self.can_be_read:
            raise ConnectionError("no route to the store")
        return super().get(key)

    def set(self, key: str, value: Value) -> None:
        if self.broken_from is not None and len(self.written()) + 1 >= self.broken_from:
            raise ConnectionError("no route to the store")
        super().set(key, json.loads(json.dumps(value)))
        self.written_at[key] = time.time()

    def on_record_by(self, moment: float) -> frozenset[str]:
        """The keys whose sending was on record at a moment."""
        values = [value for key, value in self.values.items() if self.written_at.get(key, moment) <= moment]
        facts = [fact for value in values for fact in value.get("facts", ())]
        return frozenset(key for name, keys, *_ in facts if name == "sent" for key in keys)


class Server(Protocol):
    """What requests are sent to."""

    @property
    def base_url(self) -> str: ...


@dataclass
class Try:
    """What one try of the task ended with.

    :param place: where it is in the ledger, for going on with it.
    """

    results: list[TicketResult]
    error: LeenError | None
    place: Place
    run: Creation

    @property
    def counts(self) -> dict[str, int]:
        return dict(Counter(self.statuses))

    @property
    def statuses(self) -> list[str]:
        return [result["status"] for result in self.results]


Meanwhile = Callable[[Creation], Any]


def run_try(
    server: Server,
    store: stores.Store,
    given: Sequence[Any],
    *,
    settings: dict[str, Any] | None = None,
    **options: Any,
) -> Try:
    """Run one try to its end.

    :param settings: those that differ from the usual ones.
    :param options: those of :func:`try_with`.
    """
    client = AsyncLeenClient(settings_for(server.base_url, **settings or {}))
    return try_with(client, store, given, **options)


def try_with(
    client: AsyncLeenClient,
    store: stores.Store,
    given: Sequence[Any],
    *,
    defaults: dict[str, str] = VENDOR,
    embedded: bool = False,
    before: Meanwhile | None = None,
    meanwhile: Meanwhile | None = None,
    host: str = "h",
    clock: Clock | None = None,
    virtual: bool = False,
    **options: Any,
) -> Try:
    """Run one try to its end, as the task does; it ends its record unless jobs are under way.

    :param before: called before the run begins.
    :param meanwhile: called in its own thread when the run begins; what it raises is raised here.
    :param embedded: whether the tickets carry their keys, so that their absence can be waited for.
    :param host: the name of the machine.
    :param clock: its clock; one of its own unless told otherwise.
    :param virtual: whether it runs in virtual time: without sockets.
    :param options: those of :class:`Creation`; 10 tickets a batch and one batch at a time unless told otherwise.
    :raises LeenLedgerError: it may publish nothing.
    """
    clock = clock or Clock()
    batching = Batching(
        options.pop("batch_size", 10), options.pop("max_concurrent_batches", 1), options.pop("stop_grace", STOP_GRACE)
    )
    options = {"sleep": clock.sleep} | options
    try_number = 1 + (store.tries if isinstance(store, Store) else 0)

    async def go() -> Try:
        with virtual_time.Inline() if virtual else ThreadPoolExecutor(1, thread_name_prefix="ledger") as threads:
            async with client:
                ledger = ledger_of(store, try_number, threads=threads, now=clock, host=host, embedded=embedded)
                rows = rows_of(given, defaults)
                run = Creation(
                    client,
                    ledger,
                    rows,
                    lambda row: payload(row, defaults, Fitting(embed_key=embedded)),
                    batching,
                    **options,
                )
                if before:
                    before(run)
                other = asyncio.to_thread(meanwhile, run) if meanwhile else asyncio.sleep(0)
                await asyncio.gather(run.run(), other)
                await run.may_publish()
                ended = Try(run.results(), run.error, ledger.place, run)
                if not run.jobs_under_way:
                    with suppress(LeenLedgerError):
                        await ledger.close()
                return ended

    return virtual_time.run(go()) if virtual else asyncio.run(go())
