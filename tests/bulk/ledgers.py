"""Ledgers over a store in memory that lasts from try to try, as a folder does."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from typing import Any, TypeVar

from airflow_provider_leen.bulk.journal import Journal, Owner
from airflow_provider_leen.bulk.ledger import Ledger
from airflow_provider_leen.bulk.stores import Store
from airflow_provider_leen.bulk.values import Value

Result = TypeVar("Result")
TASK = {"dag_id": "dag", "run_id": "run", "task_id": "task", "map_index": -1}


class Shelf:
    """A store that counts its calls and fails on demand."""

    durable = True

    def __init__(self, *, refuses: bool = False) -> None:
        self.refuses_overtaken_writes = refuses
        self.values: dict[str, Value] = {}
        self.calls: list[tuple[str, str]] = []
        self.threads: set[str] = set()
        self.failures: list[Exception | None] = []
        """What the next writes raise, None for one that works."""

    def get(self, key: str) -> Value | None:
        self._note("get", key)
        return self.values.get(key)

    def set(self, key: str, value: Value) -> None:
        self._note("set", key)
        if self.failures and (failure := self.failures.pop(0)) is not None:
            raise failure
        self.values[key] = value

    def create(self, key: str, value: Value) -> bool:
        self._note("create", key)
        return self.values.setdefault(key, value) == value

    def delete(self, key: str) -> None:
        self._note("delete", key)
        self.values.pop(key, None)

    def written(self, kind: str = "j/") -> list[Value]:
        return [value for key, value in self.values.items() if key.startswith(kind)]

    def facts(self) -> list[list[Any]]:
        return [fact for value in self.written() for fact in value["facts"]]

    def _note(self, what: str, key: str) -> None:
        self.calls.append((what, key))
        self.threads.add(threading.current_thread().name)


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.time = 1000.0

    def __call__(self) -> float:
        return self.time


def ledger_of(
    store: Store,
    try_number: int = 1,
    *,
    threads: Executor | None = None,
    now: Callable[[], float] | None = None,
    host: str = "h",
    embedded: bool = True,
) -> Ledger:
    now = now or Clock()
    journal = Journal(store, Owner(TASK, try_number), now=now, sleep=lambda _seconds: None)
    return Ledger(journal, threads, embedded=embedded, host=host, now=now)


async def opened(store: Store, try_number: int = 1, **more: Any) -> Ledger:
    ledger = ledger_of(store, try_number, **more)
    await ledger.open()
    return ledger


async def sending(ledger: Ledger, *keys: str) -> None:
    """Send tickets as the sender does, without a reply."""
    await ledger.leave(await ledger.intend(list(keys)))


async def ending(awaitable: Awaitable[Result]) -> Result | Exception:
    try:
        return await awaitable
    except Exception as error:
        return error
