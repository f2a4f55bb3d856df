"""The sender, driven in virtual time with a work in memory."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, cast

from airflow_provider_leen.api.errors import LeenError, LeenLedgerError, LeenValidationError
from airflow_provider_leen.api.settings import LeenSettings
from airflow_provider_leen.bulk.sending import Batching, Sender
from airflow_provider_leen.bulk.work import Work
from tests.support import virtual_time

Names = list[str]
Answer = LeenError | str | None
"""None: all are created. A text: the reply came, and proves nothing."""


def refused(message: str = "no", status: int = 422, bad: Sequence[int] = ()) -> LeenValidationError:
    detail = [{"loc": ["body", "items", position, "name"], "msg": "bad"} for position in bad]
    return LeenValidationError(message, status=status, detail=detail)


def in_turn(*answers: Answer) -> Callable[[Names], Answer]:
    """These answers first, then good ones."""
    left = iter(answers)
    return lambda names: next(left, None)


def spoilt_by(*bad: str) -> Callable[[Names], Answer]:
    return lambda names: refused() if set(bad) & set(names) else None


class Leen:
    """A work on names, and its Leen: a function from the names in a call to its answer.

    :param answer: may be a coroutine function; a call that is cancelled has no answer.
    :param fails_at: the write to the record, counted from 1, from which on all fail.
    """

    field = "items"

    def __init__(self, answer: Callable[[Names], Answer | Awaitable[Answer]], fails_at: int | None = None) -> None:
        self.calls: list[Names] = []
        self.on_record: Counter[str] = Counter()
        """How many sendings of each name are on record, and not taken back."""
        self.known: dict[str, tuple[str, str]] = {}
        """By name, its status and why."""
        self.at_once = 0
        self.unflushed: list[str] = []
        """What was noted and is not on record yet."""
        self._answer = answer
        self._writes = 0
        self._fails_at = fails_at
        self._in_flight = 0

    def statuses(self) -> dict[str, int]:
        return Counter(status for status, _why in self.known.values())

    @property
    def ledger(self) -> Leen:
        return self

    async def intend(self, items: Sequence[str]) -> Names:
        await self._write()
        self.on_record.update(items)
        return list(items)

    async def leave(self, intent: Names) -> None:
        if self._fails_at is not None and self._writes >= self._fails_at:
            self.withdraw(intent)
            raise LeenLedgerError("disk full")

    def withdraw(self, intent: Names) -> None:
        self.on_record.subtract(intent)
        self.unflushed += intent

    async def call(self, items: Sequence[str], leaves_by: float | None) -> list[str]:
        names = list(items)
        assert all(self.on_record[name] for name in names), "it is on record before it leaves"
        self.calls.append(names)
        self._in_flight += 1
        self.at_once = max(self.at_once, self._in_flight)
        try:
            answer = self._answer(names)
            answer = await answer if isinstance(answer, Awaitable) else answer
        finally:
            self._in_flight -= 1
        if isinstance(answer, LeenError):
            raise answer
        return [answer] if answer else []

    def replied(self, items: Sequence[str], reply: list[str]) -> str | None:
        self._note(items, "unknown" if reply else "created", "".join(reply))
        return reply[0] if reply else None

    def outcome_unknown(self, items: Sequence[str], reason: str) -> None:
        self._note(items, "unknown", reason)

    def refused(self, intent: Names, rejected: Sequence[tuple[str, str]]) -> None:
        self.withdraw(intent)
        for name, reason in rejected:
            self._note([name], "rejected", reason)

    async def flush(self) -> None:
        await self._write()

    def said(self, items: Sequence[str]) -> str:
        return ", ".join(items)

    def _note(self, names: Sequence[str], status: str, reason: str) -> None:
        assert not self.known.keys() & set(names), "each name ends once"
        self.known |= dict.fromkeys(names, (status, reason))
        self.unflushed += names

    async def _write(self) -> None:
        self._writes += 1
        await asyncio.sleep(0)
        if self._fails_at is not None and self._writes >= self._fails_at:
            raise LeenLedgerError("disk full")
        self.unflushed = []


Meanwhile = Callable[[Sender[str]], Awaitable[None]]


def send(
    leen: Leen,
    count: int,
    *,
    batch_size: int = 50,
    at_once: int = 1,
    meanwhile: Meanwhile | None = None,
    stop_grace: float = 60.0,
    on_batch: Callable[[], None] = lambda: None,
    **settings: Any,
) -> Sender[str]:
    """Send t0, t1 and so on; return the sender."""
    settings = {"max_retries": 3, "max_retry_wait": 0.001} | settings

    async def work() -> Sender[str]:
        sender = Sender[str](
            cast("Work[str]", leen),
            LeenSettings(base_url="https://leen.test/v1", api_key="key", connection_id="connection", **settings),
            Batching(batch_size, at_once, stop_grace),
            on_batch,
        )
        sending = asyncio.create_task(sender.send([f"t{number}" for number in range(count)]))
        if meanwhile is not None:
            await meanwhile(sender)
        await sending
        return sender

    return virtual_time.run(work())


def names(*numbers: int) -> Names:
    return [f"t{number}" for number in numbers]
