"""The ledger of one try: a table of facts, and the record of it that a later try reads.

What is to leave is on record before it leaves (:meth:`Ledger.intend`), and leaves within ten seconds of that, or is put
on record anew (:meth:`Ledger.leave`). So a later try that finds an intent without an outcome knows from when on the
request can't be under way any more.

Everything else is stated at the table and rides with the next write, together with what is about to leave next. Values
are written one after the other, in one thread: signals (a task's timeout, SIGTERM) reach only the main thread, and an
exception in the middle of a call to Airflow's supervisor shifts all later replies.
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
"""Seconds after it was put on record within which a request leaves."""

MAX_RENEWALS = 3
"""Give up after this many intents in a row that were too old once they were written."""

_FORGOTTEN = (
    "An earlier try may have sent it, but the record of that is gone: keep the task's state when you clear it, or set "
    "ledger_path."
)
_NOT_SENT = "nothing more is sent: a retry could not know of it"
_NOTHING_KNOWN = "nothing is known of what earlier tries sent, and this one sends nothing"

Result = TypeVar("Result")


@dataclass(slots=True, eq=False)
class Intent:
    """Tickets that are about to leave in one request.

    :param keys: their keys.
    :param as_job: whether they are submitted as a job.
    :param settled_after: seconds after they left from when on nothing more comes of it.
    :param leaves_by: until when they may leave; None while they are not on record.
    :param abandoned: whether nobody waits any more for them to be on record.
    """

    keys: Sequence[str]
    as_job: bool
    settled_after: float
    leaves_by: float | None = None
    abandoned: bool = False


class Ledger:
    """The facts of one try and their record. Facts are stated at :attr:`table`; sendings are stated here.

    :param journal: this try's share of the record.
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
        """Whether it is known what earlier tries sent."""
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
        """What the process that goes on after a deferral needs; call :meth:`flush` first."""
        return self._journal.place

    async def open(self, may_have_forgotten: float | None = None) -> TicketTable:
        """Take the lease, and return the table of what earlier tries know.

        :param may_have_forgotten: where an earlier try may have sent tickets even if there is no record at all: since
            when, in seconds since the epoch. Every ticket may then have been sent since.
        :raises LeenLedgerError: it can't be read, has a gap, or a newer try has opened.
        """
        forgotten = None if may_have_forgotten is None else {"since": may_have_forgotten, "embedded": self._embedded}
        return self._fill(await self._call(self._journal.open, forgotten, so=_NOTHING_KNOWN))

    async def resume(self, place: Place) -> TicketTable:
        """Go on after a deferral, and return the table of what is known; no new lease is taken.

        :raises LeenLedgerError: it can't be read, has a gap, or a newer try has opened.
        """
        return self._fill(await self._call(self._journal.resume, place, so=_NOTHING_KNOWN))

    async def intend(self, keys: Sequence[str], *, as_job: bool = False, settled_after: float = 0.0) -> Intent:
        """Put on record that these are about to leave. Follow it with :meth:`leave`, or with :meth:`withdraw`.

        Where this is cancelled, they are withdrawn.

        :raises LeenLedgerError: it can't be recorded, so they must not leave.
        """
        intent = Intent(keys, as_job, settled_after)
        await self._record(intent)
        return intent

    async def leave(self, intent: Intent) -> None:
        """Return when the request may leave at once: right before the call.

        :raises LeenLedgerError: it may not leave.
        """
        for _ in range(MAX_RENEWALS + 1):
            if self.failure is not None:
                self.withdraw(intent)
                raise self.failure
            if intent.leaves_by is not None and self.now() <= intent.leaves_by:
                return
            self.withdraw(intent)
            await self._record(intent)
        self.withdraw(intent)
        raise LeenLedgerError(
            f"The ledger takes more than {LEAVES_WITHIN:.0f} s to write what is about to be sent, so nothing more is "
            "sent. Look at its store, then clear the task."
        )

    def withdraw(self, intent: Intent, refusals: Mapping[str, str] | None = None) -> None:
        """State that an intent's tickets did not leave, or that their request surely did nothing.

        :param refusals: by key, why tickets of it were refused.
        """
        if intent.leaves_by is not None:
            intent.leaves_by = None
            refusals = refusals or {}
            self.table.refused(refusals)
            self.table.withdrawn([key for key in intent.keys if key not in refusals])

    async def flush(self) -> None:
        """Write what was stated and is not yet written.

        :raises LeenLedgerError: it can't be written.
        """
        await self._until(lambda: not self.table.pending and (self._writing is None or self._writing.done()))

    async def look(self) -> None:
        """Make sure that this try may publish. A write that failed does not keep it from that; another try does.

        :raises LeenLedgerError: a newer try has opened, or that can't be read.
        """
        await self._call(self._journal.look)

    async def close(self) -> None:
        """Write what is left, and end the record.

        :raises LeenLedgerError: it can't be written.
        """
        if self.failure is None:
            await self.flush()
        await self._call(self._journal.close)

    def _fill(self, opened: tuple[list[Value], Value | None]) -> TicketTable:
        values, forgotten = opened
        sending = None
        if forgotten is not None:
            # Whose clock the earlier try had is not known either.
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
        """Write values until a condition holds. A write goes on where who waits for it is cancelled."""
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
