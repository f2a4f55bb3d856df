"""Keeps slow stores from delaying other pages.

All of Airflow's pages share forty threads. Files are read in separate threads: a few for each store, each with a time
limit. A thread that a dead store blocks keeps its slot, but other stores have their own.
"""

from __future__ import annotations

import asyncio
import io
import threading
import time
from collections.abc import Callable, Hashable, Iterable
from concurrent.futures import Future, InvalidStateError
from contextlib import ExitStack, suppress
from typing import Any, TypeVar

Result = TypeVar("Result")


class BusyError(Exception):
    """Others are reading from the store, and did not finish in time."""


class Slots:
    """Runs slow work in separate threads, only a few at once for each store.

    :param at_once: how many for one store.
    :param wait: how long a request waits for its turn, in seconds.
    """

    def __init__(self, at_once: int, wait: float) -> None:
        self._at_once = at_once
        self._wait = wait
        self._slots: dict[Hashable, threading.BoundedSemaphore] = {}

    async def run(self, stores: Iterable[Hashable], work: Callable[[], Result], until: float) -> Result:
        """Return the result of some work.

        :param stores: those that it reads from.
        :param until: when to stop waiting for it, by ``time.monotonic()``. The thread then ends by itself.
        :raises BusyError: all slots of one of the stores are taken.
        :raises TimeoutError: the work did not end in time.
        """
        done: Future[Result] = Future()
        with ExitStack() as slots:
            for store in stores:
                slots.callback((await self._slot(store, until)).release)
            held = slots.pop_all()
        try:
            # A daemon: unlike threads of the standard library's pools, one that hangs must not block the server's exit.
            threading.Thread(target=_settle, args=(done, work, held), name="leen-tab", daemon=True).start()
        except RuntimeError:  # no more threads
            held.close()
            raise BusyError from None
        async with asyncio.timeout(max(0.0, until - time.monotonic())):
            return await asyncio.wrap_future(done)

    async def _slot(self, store: Hashable, until: float) -> threading.BoundedSemaphore:
        if time.monotonic() > until:
            raise TimeoutError
        slot = self._slots.setdefault(store, threading.BoundedSemaphore(self._at_once))
        until = min(until, time.monotonic() + self._wait)
        while not slot.acquire(blocking=False):
            if time.monotonic() > until:
                raise BusyError
            await asyncio.sleep(0.05)
        return slot


def _settle(done: Future[Result], work: Callable[[], Result], slots: ExitStack) -> None:
    outcome: Any
    settle: Callable[[Any], None]
    with slots:
        try:
            outcome, settle = work(), done.set_result
        except BaseException as error:
            outcome, settle = error, done.set_exception
    # The caller may have stopped waiting.
    with suppress(InvalidStateError):
        settle(outcome)


class Limited(io.RawIOBase):
    """A file that is read to a limit of bytes and of time.

    :param file: opened for reading bytes; closed with this one.
    :param until: the end, by ``time.monotonic()``.
    :param max_bytes: the most that is read.
    """

    def __init__(self, file: Any, until: float, max_bytes: int) -> None:
        self._file = file
        self._until = until
        self._left = max_bytes
        self._max_bytes = max_bytes

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read what comes next.

        :raises OSError: it is too large.
        :raises TimeoutError: it takes too long.
        """
        if time.monotonic() > self._until:
            raise TimeoutError("it takes too long")
        block: bytes = self._file.read(len(buffer))
        self._left -= len(block)
        if self._left < 0:
            raise OSError(f"it has more than {self._max_bytes // 1_000_000} MB")
        buffer[: len(block)] = block
        return len(block)

    def close(self) -> None:
        """Close the file."""
        if not self.closed:
            super().close()
            self._file.close()
