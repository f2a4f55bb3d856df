"""Sends a list in batches, several in flight: pace, splitting a refused batch, giving up.

The sender does not know tickets. It drives a :class:`~.work.Work`, which records, calls Leen, and notes the replies.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic

from airflow_provider_leen.api import retry
from airflow_provider_leen.api.errors import (
    LeenError,
    LeenRateLimitError,
    LeenResponseError,
    LeenServerError,
    LeenStoppedError,
)
from airflow_provider_leen.api.settings import LeenSettings
from airflow_provider_leen.bulk.isolation import Isolation, take_apart, wrong_request
from airflow_provider_leen.bulk.log_lines import BatchLog
from airflow_provider_leen.bulk.summary import counted
from airflow_provider_leen.bulk.throttle import Throttle, ThrottleClosed
from airflow_provider_leen.bulk.work import Item, Work

log = logging.getLogger(__name__)

STOP_GRACE = 3.0
"""Seconds that batches in flight get to end after a stop; Airflow kills about five seconds after SIGTERM."""

BROKEN_AFTER = 3
"""Give up after this many consecutive calls without a usable reply."""


@dataclass(frozen=True)
class Batching:
    """How a list is sent.

    :param size: items per call, 1 to 50.
    :param at_once: calls in flight at most; 1 keeps the order.
    :param stop_grace: seconds that calls in flight get to end after a stop.
    """

    size: int
    at_once: int
    stop_grace: float = STOP_GRACE


@dataclass
class Batch(Generic[Item]):
    """Items that are sent in one call: a whole batch, or a part of a batch that was split.

    :param intent: their recorded intent, if any.
    """

    items: list[Item]
    isolation: Isolation
    intent: Any = None
    attempts: int = 0


class Sender(Generic[Item]):
    """Sends items, once each. An error that stops the sending is kept in :attr:`halted`, so that results are kept.

    :param work: the work on the items.
    :param settings: timeouts and retries.
    :param on_batch: is called after each batch; it must not block.
    """

    def __init__(
        self,
        work: Work[Item],
        settings: LeenSettings,
        batching: Batching,
        on_batch: Callable[[], None] = lambda: None,
    ) -> None:
        self.halted: LeenError | None = None
        self._work = work
        self._ledger = work.ledger
        self._settings = settings
        self._batching = batching
        self._on_batch = on_batch
        self._throttle = Throttle(batching.at_once)
        self._waiting: deque[list[Item]] = deque()
        self._prepared: asyncio.Task[Batch[Item]] | None = None
        self._abandoned: list[asyncio.Task[Batch[Item]]] = []
        self._failures = 0
        self._refusals: list[str] = []
        self._suspicion = asyncio.Lock()
        self._log = BatchLog(log, 0)
        self._tasks: list[asyncio.Task[None]] = []

    async def send(self, items: Sequence[Item]) -> None:
        """Send items. On return, each was sent, or was left unsent because of :attr:`halted`."""
        size = self._batching.size
        self._waiting = deque(list(items[start : start + size]) for start in range(0, len(items), size))
        self._log = BatchLog(log, len(self._waiting))
        with self._log.folded(f"Sending {counted(len(items), 'ticket')} in {len(self._waiting)} batches"):
            workers = min(self._batching.at_once, len(self._waiting))
            self._tasks = [asyncio.create_task(self._run_worker()) for _ in range(workers)]
            ended = await asyncio.gather(*self._tasks, return_exceptions=True)
            await self._withdraw_prepared()
        for problem in ended:
            if isinstance(problem, Exception):
                raise problem

    async def halt(self, error: LeenError) -> None:
        """Start no further batch; those in flight continue."""
        if self.halted is None:
            self.halted = error
            await self._throttle.close()

    async def stop(self, reason: str) -> None:
        """Stop from outside: start no further batch, and wait a short while for those in flight."""
        await self.halt(LeenStoppedError(reason))
        running = [task for task in self._tasks if not task.done()]
        if running:
            _done, late = await asyncio.wait(running, timeout=self._batching.stop_grace)
            for task in late:
                task.cancel()

    # Workers

    async def _run_worker(self) -> None:
        parts: list[Batch[Item]] = []
        try:
            while True:
                async with self._throttle.slot() as admitted_at:
                    batch = await self._next_batch()
                    if batch is None:
                        return
                    parts += await self._send(batch, admitted_at)
                await self._send_parts(parts)
                self._conclude(batch.isolation)
        except ThrottleClosed:
            for part in parts:
                if part.intent is not None:
                    self._ledger.withdraw(part.intent)
        except LeenError as error:
            await self.halt(error)

    async def _send_parts(self, parts: list[Batch[Item]]) -> None:
        """Send the rest of a split batch, the last part first."""
        while parts:
            isolation = parts[-1].isolation
            if not isolation.request_may_be_wrong():
                await self._send_last(parts)
                continue
            # One batch finds out that the request is wrong, not all that are in flight.
            async with self._suspicion:
                while parts and isolation.request_may_be_wrong():
                    await self._send_last(parts)

    async def _send_last(self, parts: list[Batch[Item]]) -> None:
        async with self._throttle.slot() as admitted_at:
            parts += await self._send(parts.pop(), admitted_at)

    # Recording ahead: while one batch is in flight, the next one is recorded

    async def _next_batch(self) -> Batch[Item] | None:
        task = self._prepared or self._start_preparing()
        self._prepared = self._start_preparing()
        return await self._on_record(task) if task else None

    def _start_preparing(self) -> asyncio.Task[Batch[Item]] | None:
        if not self._waiting:
            return None
        items = self._waiting.popleft()
        return asyncio.create_task(self._record(Batch(items, Isolation(items, started_at=time.monotonic()))))

    async def _record(self, batch: Batch[Item]) -> Batch[Item]:
        batch.intent = await self._work.intend(batch.items)
        return batch

    async def _on_record(self, task: asyncio.Task[Batch[Item]]) -> Batch[Item]:
        """Wait until a batch is recorded; if the worker is cancelled meanwhile, it is withdrawn later."""
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            self._abandoned.append(task)
            raise

    async def _withdraw_prepared(self) -> None:
        tasks = [task for task in [self._prepared, *self._abandoned] if task is not None]
        self._prepared, self._abandoned = None, []
        for task in tasks:
            try:
                self._ledger.withdraw((await task).intent)
            except LeenError as error:
                await self.halt(error)

    # One call

    async def _send(self, batch: Batch[Item], admitted_at: float) -> list[Batch[Item]]:
        """Make one call and note its result; return what has to be sent again, the last part first."""
        if batch.intent is None:
            await self._on_record(asyncio.create_task(self._record(batch)))
        if self.halted is not None:
            return [batch]
        leaves_by = await self._ledger.leave(batch.intent)
        batch.attempts += 1
        try:
            reply = await self._work.call(batch.items, leaves_by)
        except asyncio.CancelledError:
            self._work.outcome_unknown(batch.items, "The task was stopped before Leen answered.")
            raise
        except LeenError as error:
            if retry.effect_of_write(error) is retry.Effect.UNKNOWN:
                self._work.outcome_unknown(batch.items, _sentence(error))
                await self._count_failure(error)
                return []
            return await self._after_refusal(batch, error, admitted_at)
        batch.isolation.accepted = True
        self._throttle.accept()
        if problem := self._work.replied(batch.items, reply):
            await self._count_failure(LeenResponseError(problem, status=200))
        else:
            self._failures = 0
        if self._prepared is None and not self._waiting:
            # No later batch would write the result to the record.
            await self._ledger.flush()
        return []

    async def _after_refusal(self, batch: Batch[Item], error: LeenError, admitted_at: float) -> list[Batch[Item]]:
        """Decide what to do after a call that certainly had no effect."""
        intent, batch.intent = batch.intent, None
        if not retry.blames_tickets(error):
            self._ledger.withdraw(intent)
            # Before waiting or raising: if the task dies now, these must not be recorded as sent.
            await self._ledger.flush()
            await self._slow_down(batch, error, admitted_at)
            return [batch]
        rejected, rest = take_apart(batch.items, batch.isolation, error, field=self._work.field)
        self._work.refused(intent, rejected)
        await self._ledger.flush()
        if batch.isolation.request_is_wrong(self._refusals):
            await self.halt(wrong_request(error))
        return [Batch(items, batch.isolation) for items in rest]

    async def _slow_down(self, batch: Batch[Item], error: LeenError, admitted_at: float) -> None:
        wait = retry.retry_wait(
            error,
            batch.attempts,
            read_only=False,
            max_retries=self._settings.max_retries,
            max_retry_wait=self._settings.max_retry_wait,
            jitter=random.random(),
        )
        if wait is None:
            await self.halt(error)
            return
        if isinstance(error, LeenRateLimitError):
            self._throttle.refuse(admitted_at, wait)
        else:
            self._throttle.pause(wait)
        self._log.repetition(_sentence(error), len(batch.items), wait)

    async def _count_failure(self, error: LeenError) -> None:
        self._failures += 1
        if self._failures >= BROKEN_AFTER:
            await self.halt(leen_is_broken(error))

    def _conclude(self, isolation: Isolation) -> None:
        self._refusals = isolation.last_refusals(self._refusals)
        self._log.batch_done(lambda: self._work.said(isolation.batch), isolation.started_at)
        self._on_batch()


def leen_is_broken(error: LeenError) -> LeenServerError:
    """Return the error after too many failed calls; ``error`` ended the last one."""
    status = error.status if isinstance(error, LeenResponseError) else None
    return LeenServerError(
        f"{BROKEN_AFTER} consecutive calls had no usable reply, so nothing more is sent. The last one: {error}",
        status=status,
    )


def _sentence(error: LeenError) -> str:
    text = str(error)
    return text if text.endswith((".", "!", "?")) else f"{text}."
