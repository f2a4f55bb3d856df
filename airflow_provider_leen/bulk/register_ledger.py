"""The ledger of a run with a register: waits for the lease, renews it, and writes a snapshot at its end."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Executor

from airflow_provider_leen.api.errors import LeenError, LeenLedgerError
from airflow_provider_leen.bulk.journal import Place
from airflow_provider_leen.bulk.ledger import LEAVES_WITHIN, Intent, Ledger
from airflow_provider_leen.bulk.register_journal import RegisterJournal, shown_owner
from airflow_provider_leen.bulk.register_reading import ScopeContent
from airflow_provider_leen.bulk.register_table import RegisterTable
from airflow_provider_leen.bulk.snapshot import pack, unpack
from airflow_provider_leen.bulk.state import Sending

log = logging.getLogger(__name__)

SIGNS_EVERY = 60.0
"""Seconds between two renewals of the lease."""

WAITS_AT_MOST = 900.0
"""Seconds for which a run waits for another one."""

LOOKS_EVERY = 5.0
"""Seconds between two checks of another run's lease."""

_LOST = "Some records of the register are lost, so it may have been sent."


class RegisterLedger(Ledger):
    """The facts of one run of a scope, and their record. Tickets always carry their keys.

    :param journal: this run's section of the record.
    :param threads: an executor of one thread, in which the store is called; None: the loop's own.
    :param host: the name of this machine.
    :param now: the time in seconds since the epoch.
    :param pause: waits some seconds.
    :param waits: seconds to wait for another run.
    :param on_wait: gets the name of the run that it waits for.
    """

    table: RegisterTable

    def __init__(
        self,
        journal: RegisterJournal,
        threads: Executor | None,
        *,
        host: str | None = None,
        now: Callable[[], float] = time.time,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
        waits: float = WAITS_AT_MOST,
        on_wait: Callable[[str], None] = log.info,
    ) -> None:
        super().__init__(journal, threads, embedded=True, host=host, now=now)
        self.table = RegisterTable("")
        self.changes = False
        """Whether the facts differ from the snapshot that counts."""
        self.register = journal
        self._pause = pause
        self._waits = waits
        self._on_wait = on_wait
        self._signing: asyncio.Task[None] | None = None

    async def open(self, may_have_forgotten: float | None = None) -> RegisterTable:
        """Wait for the lease, take it, and return the table.

        :param may_have_forgotten: not used: a register does not depend on Airflow's state.
        :raises LeenConfigError: the scope belongs to another connection or mapped instance.
        :raises LeenLedgerError: it can't be read, has a gap, or another run holds it for too long.
        """
        await self._take()
        reading = await self._call(self.register.read)
        is_new = reading.head is None and reading.snapshot is None and not any(values for _, values in reading.journals)
        if is_new and self.register.identity.scope:
            log.warning("The %s is new: it knows no finding.", self.register.shown_scope)
        return self._begin(reading)

    async def resume(self, place: Place) -> RegisterTable:
        """Continue after a deferral, and return the table; no new lease is taken.

        :raises LeenLedgerError: it can't be read, has a gap, or a newer run has opened.
        """
        return self._begin(await self._call(self.register.resume_reading, place))

    async def intend(self, keys: Sequence[str], *, as_job: bool = False, settled_after: float = 0.0) -> Intent:
        """Record that tickets are about to be sent, and their findings; see :meth:`Ledger.intend`."""
        self.table.enter(keys)
        return await super().intend(keys, as_job=as_job, settled_after=settled_after)

    async def close(self) -> None:
        """Write the remaining facts and a snapshot, and release the lease.

        :raises LeenLedgerError: it can't be written, or a newer run has opened.
        """
        if self._signing is not None:
            self._signing.cancel()
        if self.failure is None:
            await self.flush()
        changes = self.changes or self.place.values > 0 or bool(self.register.gaps)
        await self._call(self.register.end, self._pack if changes else None)

    def _pack(self) -> bytes:
        header = {"scope": self.register.identity.scope, "scope_id": self.table.scope_id, "task": self.register.task}
        return pack(header, self.table.records())

    async def _take(self) -> None:
        waited, last = 0.0, ""
        while (holder := await self._call(self.register.take)) is not None:
            if waited >= self._waits:
                raise LeenLedgerError(
                    f"The {self.register.shown_scope} is in use by {shown_owner(holder)}, so nothing was sent. Run "
                    "this task again when that run has ended."
                )
            if last != (last := holder["token"]):
                self._on_wait(f"Waiting: the {self.register.shown_scope} is in use by {shown_owner(holder)}.")
            await self._pause(LOOKS_EVERY)
            waited += LOOKS_EVERY

    def _begin(self, reading: ScopeContent) -> RegisterTable:
        try:
            self.table = fill(reading, self.register.scope_id, self.register.task)
        except LeenLedgerError as error:
            if not self.register.repairs:
                self.register.give_up()
                raise
            self.register.gaps.append(f"the snapshot ({error})")
            self.table = fill(reading._replace(snapshot=None), self.register.scope_id, self.register.task)
        self.is_open = True
        self.changes = any(values for _, values in reading.journals)
        self._signing = asyncio.create_task(self._sign())
        return self.table

    async def _sign(self) -> None:
        while True:
            await asyncio.sleep(SIGNS_EVERY)
            try:
                if not await self._call(self.register.sign):
                    return
            except LeenError as error:
                log.warning("The lease could not be renewed; retrying: %s", error)


def fill(reading: ScopeContent, scope_id: str, task: dict[str, object] | None) -> RegisterTable:
    """Return the table of a scope.

    :param task: the task whose tickets are ``created`` rather than ``existing``; None for no task.
    :raises LeenLedgerError: it can't be read.
    """
    head = reading.head or {}
    gap = head.get("gap")
    lost = None
    if gap is not None:
        lost = Sending(gap["since"], gap["until"] + LEAVES_WITHIN, "", True, reason=_LOST)
    table = RegisterTable(scope_id, lost)
    if reading.snapshot is not None:
        header, records = unpack(reading.snapshot)
        for record in records:
            # The head may be of a later run that changed nothing.
            table.restore(record, is_own=header["task"] == task)
    for lease, values in reading.journals:
        table.reads_others = lease["task"] != task
        for value in values:
            table.replay(value)
    table.reads_others = False
    return table
