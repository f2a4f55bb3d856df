"""Tries of one task in the middle storey, without Airflow, against the sandbox."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import httpx
from airflow_provider_leen.bulk.runner import BulkRun

from airflow_provider_leen.api.client import AsyncLeenClient
from airflow_provider_leen.api.errors import LeenError
from airflow_provider_leen.api.settings import LeenSettings
from airflow_provider_leen.bulk.ledger import Journal, LedgerStore, Value
from airflow_provider_leen.bulk.lookup import final_after
from airflow_provider_leen.bulk.summary import TicketResult
from airflow_provider_leen.bulk.tickets import KeyScope, TicketRow, payload, prepare
from airflow_provider_leen.sandbox.server import SandboxServer

VENDOR = {"project_vendor_id": "SEC", "type": "Task"}
UUID = {"project_id": "5ec00000-0000-4000-8000-000000000001", "type": "Task"}
TIMEOUT, SETTLE_TIME = 0.4, 0.2
FINAL_AFTER = 4 * TIMEOUT + SETTLE_TIME
SCOPE = KeyScope("dag", "run", "task", -1, "https://leen.example.com/v1", "connection")


def tickets(count: int) -> list[dict[str, Any]]:
    return [{"name": f"finding {number}"} for number in range(count)]


def rows_of(given: Sequence[Any], defaults: dict[str, str] = VENDOR) -> list[TicketRow]:
    return prepare(given, defaults, SCOPE)


def settings_for(base_url: str, **changes: Any) -> LeenSettings:
    quick: dict[str, Any] = {
        "timeout": TIMEOUT,
        "settle_time": SETTLE_TIME,
        "max_retries": 0,
        "max_retry_wait": 0.01,
    }
    return LeenSettings(
        base_url=base_url, api_key="sandbox-key", connection_id=SandboxServer.connection_id, **quick | changes
    )


def answering(answer: Callable[[httpx.Request], httpx.Response], **changes: Any) -> AsyncLeenClient:
    """A client whose requests are answered by a function."""
    return AsyncLeenClient(
        settings_for("https://leen.example.com/v1", **changes), transport=httpx.MockTransport(answer)
    )


@dataclass
class Store:
    """A ledger store that the next try can read, as Airflow's is; it tells what was written and when.

    :param values: what was written, as JSON would bring it back.
    :param written_at: when each write had ended, in seconds since the epoch.
    :param broken_from: the write, counted from 1 over all tries, from which on all fail.
    :param can_be_read: whether the next try can read it.
    """

    remembers = True
    values: list[Value] = field(default_factory=list)
    written_at: list[float] = field(default_factory=list)
    threads: set[str] = field(default_factory=set)
    broken_from: int | None = None
    can_be_read: bool = True
    writes: int = 0

    def open(self) -> list[Value]:
        self.threads.add(threading.current_thread().name)
        if not self.can_be_read:
            raise ConnectionError("no route to the store")
        return list(self.values)

    def append(self, value: Value) -> None:
        self.threads.add(threading.current_thread().name)
        self.writes += 1
        if self.broken_from is not None and self.writes >= self.broken_from:
            raise ConnectionError("no route to the store")
        self.values.append(json.loads(json.dumps(value)))
        self.written_at.append(time.time())

    def on_record_by(self, moment: float) -> set[str]:
        """The keys whose sending was on record at a moment."""
        written = zip(self.values, self.written_at, strict=True)
        return {key for value, at in written if at <= moment for key in value["sent"]}


@dataclass
class Try:
    """What one try of the task ended with."""

    results: list[TicketResult]
    error: LeenError | None

    @property
    def counts(self) -> dict[str, int]:
        return dict(Counter(result["status"] for result in self.results))


Meanwhile = Callable[[BulkRun], Any]


def run_try(
    sandbox: SandboxServer,
    store: LedgerStore,
    given: Sequence[Any],
    *,
    defaults: dict[str, str] = VENDOR,
    before: Meanwhile | None = None,
    meanwhile: Meanwhile | None = None,
    settings: dict[str, Any] | None = None,
    embedded: bool = False,
    as_jobs: bool = False,
    **options: Any,
) -> Try:
    """Run one try to its end.

    :param before: called before the run begins.
    :param meanwhile: called in a thread of its own when the run begins; what it raises is raised here.
    :param embedded: whether the tickets carry their keys. Only then can their absence be waited for, and only then is
        the timeout short.
    :param options: those of :class:`BulkRun`; 10 tickets a batch and one batch at a time unless told otherwise.
    """
    options = {"batch_size": 10, "max_concurrent_batches": 1} | options
    rows = rows_of(given, defaults)
    used = settings_for(sandbox.base_url, **({} if embedded else {"timeout": 30.0}) | (settings or {}))

    async def go() -> Try:
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="ledger") as threads:
            async with AsyncLeenClient(used) as client:
                run = BulkRun(
                    client,
                    Journal(store, threads, final_after=final_after(used, as_job=as_jobs), embedded=embedded),
                    rows,
                    lambda row: payload(row, defaults, embed_key=embedded),
                    as_jobs=as_jobs,
                    **options,
                )
                if before:
                    before(run)
                other = asyncio.to_thread(meanwhile, run) if meanwhile else asyncio.sleep(0)
                await asyncio.gather(run.run(), other)
                return Try(run.results(), run.error)

    return asyncio.run(go())
