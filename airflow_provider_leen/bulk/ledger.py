"""The ledger of one try: a table of facts, and its record for later tries.

Tickets are recorded before they are sent (:meth:`Ledger.intend`), and sent within ten seconds of that, or recorded
again (:meth:`Ledger.leave`). So a later try that finds an intent without an outcome knows from which time on the
request can't be running any more.

All other facts are stated at the table and written together with the next intent. Values are written one after the
other, in one thread: signals (a task's timeout, SIGTERM) reach only the main thread, and an exception during a call to
Airflow's supervisor shifts all later replies.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any, TypeVar

from airflow_provider_leen.api.errors import LeenError, LeenLedgerError
from airflow_provider_leen.bulk.journal import Journal, Place
from airflow_provider_leen.bulk.state import Sending
from airflow_provider_leen.bulk.table import TicketTable
from airflow_provider_leen.bulk.values import Value

LEAVES_WITHIN = 10.0
"""Seconds within which a request leaves after it was recorded."""

MAX_RENEWALS = 3
"""Give up after this many consecutive intents that took too long to write."""

_FORGOTTEN = (
    "An earlier try may have sent it, but its record is gone: keep the task's state when you clear it, or set "
    "ledger_path."
)
_NOT_SENT = "nothing more is sent: a retry would not know of it"
_NOTHING_KNOWN = "it is unknown what earlier tries sent, and this one sends nothing"

Result = TypeVar("Result")


@dataclass(slots=True, eq=False)
class Intent:
    """Tickets that are about to be sent in one request.

    :param keys: their keys.
    :param as_job: whether they are submitted as a job.
    :param settled_after: the seconds after which the request can have no further effect.
    :param leaves_by: until when they may leave; None while they are not recorded.
    :param abandoned: whether the caller no longer waits for them to be recorded.
    """

    keys: Sequence[str]
    as_job: bool
    settled_after: float
    leaves_by: float | None = None
    abandoned: bool = False


class Ledger:
    """The facts of one try and their record. Facts are stated at :attr:`table`, but sendings here.

    :param journal: this try's section of the record.
    :param threads: an executor of one thread, in which the store is called; None: the loop's own.
    :param embedded: whether tickets carry their keys in their descriptions.
    :param host: the name of this machine.
    :param now: the time in seconds since the epoch.
    """

    def __init__(
        self,
        journal: Journal,
        threads: Executor | None,
        *,
        embedded: bool,
        host: str | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.table = TicketTable()
        self.is_open = False
        """Whether the records of earlier tries have been read."""
        self.failure: LeenLedgerError | None = None
        """Why nothing more may be sent."""
        self.host = host or socket.gethostname()
        self._journal = journal
        self._threads = threads
        self._embedded = embedded
        self.now = now
        self._intents: list[Intent] = []
        self._writing: asyncio.Task[None] | None = None

    @property
    def place(self) -> Place:
        """The state for the process that continues after a deferral; call :meth:`flush` first."""
        return self._journal.place

    async def open(self, may_have_forgotten: float | None = None) -> TicketTable:
        """Take the lease, and return the table with the facts of earlier tries.

        :param may_have_forgotten: if an earlier try may have sent tickets without leaving a record: since when, in
            seconds since the epoch. Every ticket may then have been sent since.
        :raises LeenLedgerError: it can't be read, has a gap, or a newer try has opened.
        """
        forgotten = None if may_have_forgotten is None else {"since": may_have_forgotten, "embedded": self._embedded}
        return self._fill(await self._call(self._journal.open, forgotten, so=_NOTHING_KNOWN))

    async def resume(self, place: Place) -> TicketTable:
        """Continue after a deferral, and return the table; no new lease is taken.

        :raises LeenLedgerError: it can't be read, has a gap, or a newer try has opened.
        """
        return self._fill(await self._call(self._journal.resume, place, so=_NOTHING_KNOWN))

    async def intend(self, keys: Sequence[str], *, as_job: bool = False, settled_after: float = 0.0) -> Intent:
        """Record that tickets are about to be sent. Call :meth:`leave` or :meth:`withdraw` next.

        If this is cancelled, they are withdrawn.

        :raises LeenLedgerError: it can't be recorded, so they must not be sent.
        """
        intent = Intent(keys, as_job, settled_after)
        await self._record(intent)
        return intent

    async def leave(self, intent: Intent) -> float:
        """Return when the request may be sent, with the time by which it leaves; call this right before the call.

        :raises LeenLedgerError: it may not be sent.
        """
        for _ in range(MAX_RENEWALS + 1):
            if self.failure is not None:
                self.withdraw(intent)
                raise self.failure
            if intent.leaves_by is not None and self.now() <= intent.leaves_by:
                return intent.leaves_by
            self.withdraw(intent)
            await self._record(intent)
        self.withdraw(intent)
        raise LeenLedgerError(
            f"The ledger takes more than {LEAVES_WITHIN:.0f} s to write what is about to be sent, so nothing more is "
            "sent. Look at its store, then clear the task."
        )

    def withdraw(self, intent: Intent, refusals: Mapping[str, str] | None = None) -> None:
        """State that an intent's tickets were not sent, or that their request certainly had no effect.

        :param refusals: by key, why tickets were refused.
        """
        if intent.leaves_by is not None:
            intent.leaves_by = None
            refusals = refusals or {}
            self.table.refused(refusals)
            self.table.withdrawn([key for key in intent.keys if key not in refusals])

    async def flush(self) -> None:
        """Write the facts that are not yet written.

        :raises LeenLedgerError: it can't be written.
        """
        await self._until(lambda: not self.table.pending and (self._writing is None or self._writing.done()))

    async def look(self) -> None:
        """Check that this try may publish. It may despite a failed write, but not if another try has taken over.

        :raises LeenLedgerError: a newer try has opened, or that can't be read.
        """
        await self._call(self._journal.look)

    async def close(self) -> None:
        """Write the remaining facts, and end the record.

        :raises LeenLedgerError: it can't be written.
        """
        if self.failure is None:
            await self.flush()
        await self._call(self._journal.close)

    def _fill(self, opened: tuple[list[Value], Value | None]) -> TicketTable:
        values, forgotten = opened
        sending = None
        if forgotten is not None:
            # The earlier try's clock is unknown, too.
            leaves_by = forgotten["until"] + LEAVES_WITHIN
            sending = Sending(forgotten["since"], leaves_by, "", forgotten["embedded"], reason=_FORGOTTEN)
        self.table = TicketTable(sending)
        for value in values:
            self.table.replay(value)
        self.is_open = True
        return self.table

    async def _record(self, intent: Intent) -> None:
        self._intents.append(intent)
        try:
            await self._until(lambda: intent.leaves_by is not None)
        except asyncio.CancelledError:
            intent.abandoned = True
            self.withdraw(intent)
            raise

    async def _until(self, is_done: Callable[[], bool]) -> None:
        """Write values until a condition holds. A write continues even if its caller is cancelled."""
        while not is_done():
            if self.failure is not None:
                raise self.failure
            if self._writing is None or self._writing.done():
                self._writing = asyncio.create_task(self._write())
            await asyncio.shield(self._writing)

    async def _write(self) -> None:
        intents, self._intents = [intent for intent in self._intents if not intent.abandoned], []
        at = self.now()
        leaves_by = at + LEAVES_WITHIN
        for intent in intents:
            how = self.host, self._embedded, intent.as_job, intent.settled_after
            self.table.sent(list(intent.keys), at, leaves_by, *how)
        try:
            for value in self.table.take():
                await self._call(self._journal.append, value)
        except LeenLedgerError as error:
            self.failure = self.failure or error
        for intent in intents:
            intent.leaves_by = leaves_by
            if intent.abandoned or self.failure is not None:
                self.withdraw(intent)

    async def _call(self, function: Callable[..., Result], *args: Any, so: str = _NOT_SENT) -> Result:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, function, *args)
        except LeenError:
            raise
        except Exception as error:
            raise LeenLedgerError(
                f"The ledger could not be read or written ({type(error).__name__}: {str(error)[:300]}), so {so}. "
                "Fix the cause, then clear the task."
            ) from error
