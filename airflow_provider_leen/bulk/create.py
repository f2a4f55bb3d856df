"""Creates one list of tickets, each of them once: the story of a run, from its ledger to a result for every row.

The story is five steps (:meth:`Creation.run`). What is known of a ticket is in the ledger's table and nowhere else;
each step asks the table what is left to do, and states there what it found out.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar, cast

from airflow_provider_leen.api import jobs
from airflow_provider_leen.api.client import AsyncLeenClient
from airflow_provider_leen.api.errors import (
    LeenAuthError,
    LeenConfigError,
    LeenError,
    LeenLedgerError,
    LeenNotFoundError,
    LeenStoppedError,
)
from airflow_provider_leen.api.results import Claim
from airflow_provider_leen.bulk.existing import find_existing
from airflow_provider_leen.bulk.jobs import JobCollector
from airflow_provider_leen.bulk.journal import Place
from airflow_provider_leen.bulk.ledger import Intent, Ledger
from airflow_provider_leen.bulk.lookup import Control, Created, Unsettled, final_from, project_of, settled_after
from airflow_provider_leen.bulk.sending import STOP_GRACE, Sender
from airflow_provider_leen.bulk.settle import Settler
from airflow_provider_leen.bulk.state import Ticket
from airflow_provider_leen.bulk.summary import Progress, TicketResult, counted, shown_error
from airflow_provider_leen.bulk.tickets import TicketRow
from airflow_provider_leen.bulk.work import LedgerWork

log = logging.getLogger(__name__)

Answer = TypeVar("Answer")
Body = dict[str, Any]

SECONDS_BETWEEN_PROGRESS = 1.0

_NO_USE_ASKING = (LeenAuthError, LeenConfigError, LeenNotFoundError, LeenLedgerError, LeenStoppedError)
"""What stopped the sending stops the look-ups, too."""


class CreateWork(LedgerWork[TicketRow]):
    """Creates the tickets of a batch, in the call itself or as a job of Leen's.

    :param client: the API.
    :param payload: makes the request body of a valid row.
    """

    field = "tickets"

    def __init__(
        self, client: AsyncLeenClient, ledger: Ledger, payload: Callable[[TicketRow], Body], *, as_jobs: bool
    ) -> None:
        settled = settled_after(client.settings)
        super().__init__(client, ledger, lambda row: str(row.key), as_job=as_jobs, settled_after=settled)
        self._payload = payload

    async def intend(self, items: Sequence[TicketRow]) -> Intent:
        """Put on record that tickets are about to leave, and what they are called."""
        if self._as_job:
            self.label(items)
        return await super().intend(items)

    def label(self, rows: Iterable[TicketRow]) -> None:
        """Note what the list calls tickets: it may be another one when the jobs have ended."""
        labels = {str(row.key): [row.name, row.identifier] for row in rows}
        self.table.labelled(labels, self._ledger.place.lease)

    async def call(self, items: Sequence[TicketRow]) -> Any:
        """Make one call."""
        send = self._client.send_bulk_job if self._as_job else self._client.send_bulk_create
        return await send([self._payload(row) for row in items])

    def replied(self, items: Sequence[TicketRow], reply: Any) -> str | None:
        """Note what the reply proves of each ticket, or in which job they are."""
        if not self._as_job:
            return self.claimed(items, reply)
        self.submitted(items, reply)
        return None


class Creation:
    """The creation of one list of tickets, each of them once.

    :param client: the API.
    :param ledger: the facts of this try, not yet opened.
    :param rows: all rows of the input, the invalid ones included.
    :param payload: makes the request body of a valid row.
    :param batch_size: tickets a call, 1 to 50.
    :param max_concurrent_batches: calls in flight at most; 1 keeps the order.
    :param on_unknown: what to do with tickets whose outcome is unknown: ``lookup``, ``fail`` or ``resend``.
    :param skip_existing: whether tickets whose own identifier Leen knows already are not created again.
    :param as_jobs: submit each batch as a job of Leen's, instead of waiting for its results. Jobs that have not ended
        are then in :attr:`jobs_under_way`.
    :param resume: where this try was in the ledger before it waited for its jobs: nothing is sent but what is proved
        not to exist.
    :param may_send_again: whether tickets may be sent again whose outcome is unknown, as ``on_unknown`` says.
    :param refusal: why nothing is sent at all; what earlier tries know is reported all the same.
    :param may_have_forgotten: where an earlier try may have sent tickets even if there is no record at all: since when,
        in seconds since the epoch.
    :param on_progress: is called once it is known what earlier tries did, then after batches, at most once a second;
        it must not block.
    :param stop_grace: seconds that batches in flight get to end after a stop.
    :param sleep: waits for some seconds until absence can be believed.
    """

    def __init__(
        self,
        client: AsyncLeenClient,
        ledger: Ledger,
        rows: Sequence[TicketRow],
        payload: Callable[[TicketRow], Body],
        *,
        batch_size: int,
        max_concurrent_batches: int,
        on_unknown: str = "lookup",
        skip_existing: bool = False,
        as_jobs: bool = False,
        resume: Place | None = None,
        may_send_again: bool = True,
        refusal: LeenError | None = None,
        may_have_forgotten: float | None = None,
        on_progress: Callable[[Progress], None] | None = None,
        stop_grace: float = STOP_GRACE,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.ledger = ledger
        self.stop_grace = stop_grace
        self.sent_again = False
        """Whether tickets whose outcome was unknown have been sent again."""
        self.is_open = False
        """Whether it is known what earlier tries sent."""
        self._client = client
        self._rows = rows
        self._payload = payload
        self._on_unknown = on_unknown
        self._skip_existing = skip_existing
        self._resume = resume
        self._may_send_again = may_send_again
        self._refusal = refusal
        self._may_have_forgotten = may_have_forgotten
        self._on_progress = on_progress
        self._report_again_at = 0.0
        self._as_jobs = as_jobs
        self._work = CreateWork(client, ledger, payload, as_jobs=as_jobs)
        self._sender = Sender(
            self._work,
            client.settings,
            batch_size=batch_size,
            max_concurrent_batches=max_concurrent_batches,
            on_batch=self._report_progress,
            stop_grace=stop_grace,
        )
        self._collector = JobCollector(client, ledger, jobs.results_of_create, self._identifier_of, self._created)
        self._settler = Settler(client, ledger.now, sleep)
        self._findings: dict[str, str] = {}
        """By key, what look-ups of tickets that stayed unknown found out."""
        self._by_key = {row.key: row for row in rows if row.key is not None}
        self._asking: asyncio.Task[Any] | None = None
        self._stop_reason: str | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def error(self) -> LeenError | None:
        """What ended the run early, or kept it from being run, if anything did."""
        return self._sender.halted or self._refusal

    @property
    def jobs_under_way(self) -> list[str]:
        """The jobs that have not ended, as far as is known."""
        return [job for job in self.ledger.table.open_jobs() if job not in self._collector.gone]

    async def run(self) -> None:
        """Do it all. Expected trouble is not raised but found in :attr:`error`, so that what is known is published."""
        self._loop = asyncio.get_running_loop()
        try:
            if self._stop_reason is not None:
                await self._sender.stop(self._stop_reason)
            await self._take_over()
            await self._collect_jobs()
            await self._leave_out_existing()
            await self._send()
            await self._settle()
            self._report_progress(at_last=True)
        except LeenError as error:
            await self._sender.halt(error)
        finally:
            await self._flush()
            self._loop = None

    def stop(self, reason: str) -> Future[None] | None:
        """Ask the run to stop, from any thread or signal handler: batches in flight get a short while to end."""
        self._stop_reason = reason
        loop = self._loop
        return asyncio.run_coroutine_threadsafe(self._stop(reason), loop) if loop else None

    def results(self) -> list[TicketResult]:
        """Return a result for every row, in the order of the input.

        Those of rows follow that this try sent before it waited for its jobs, and that are gone from the list since.
        """
        results = [self._result(row) for row in self._rows]
        if self._resume is not None and self.is_open:
            gone = [key for key in self.ledger.table if key not in self._by_key and self._was_in_list(key)]
            results += [self._result_of_gone(len(self._rows) + number, key) for number, key in enumerate(gone)]
        return results

    async def may_publish(self) -> None:
        """Make sure that what this try knows may be published.

        :raises LeenLedgerError: nothing is known, or a newer try speaks for the task.
        """
        if self.error is not None and not self.is_open:
            raise self.error
        await self.ledger.look()

    # The steps

    async def _take_over(self) -> None:
        """Read what earlier tries know."""
        if self._resume is None:
            await self.ledger.open(self._may_have_forgotten)
        else:
            await self.ledger.resume(self._resume)
        if self._as_jobs and self._resume is None:
            self._work.label(row for row in self._by_key.values() if self._ticket(row).status != "unsent")
        self.is_open = True
        table = self.ledger.table
        taken_over = sum(key in self._by_key and table[key].proved is not None for key in table)
        if taken_over and self._resume is None:
            log.info("Taken over from an earlier try: %d of %s.", taken_over, counted(len(self._rows), "ticket"))
        self._report_progress()
        if self._refusal is not None:
            raise self._refusal

    async def _collect_jobs(self) -> None:
        """Ask for the jobs that were submitted before."""
        submitted = {
            job: keys
            for job, keys in self.ledger.table.open_jobs().items()
            # A job of which no ticket is in the list any more may belong to another Leen connection.
            if any(key in self._by_key or self._was_in_list(key) for key in keys)
        }
        if submitted:
            await self._ask(self._collector.collect(submitted))
            await self._ask(self._fetch_ids(submitted))
            self._report_progress()

    async def _leave_out_existing(self) -> None:
        """Ask which tickets exist already, so that they are not created again."""
        to_send = self._to_send() if self._skip_existing else []
        if not to_send:
            return
        found = await self._ask(find_existing(self._client, to_send))
        self.ledger.table.existing({str(self._rows[index].key): list(ids) for index, ids in found.items()})
        log.info("Known to Leen, and not created again: %d of %s.", len(found), counted(len(to_send), "ticket"))

    async def _send(self) -> None:
        """Send what is not known to exist, and whose outcome is not unknown."""
        await self._sender.send(self._to_send())

    async def _settle(self) -> None:
        """Find out about the tickets whose outcome is unknown, and send those again that may be."""
        unsettled = self._unsettled()
        if not unsettled or self._on_unknown == "fail" or isinstance(self.error, _NO_USE_ASKING):
            return
        log.info("Looking up %s whose outcome is unknown.", counted(len(unsettled), "ticket"))
        unsettled = self._note_found(await self._ask(self._settler.look_up(unsettled)), unsettled)
        if not unsettled or self.error is not None or not self._may_send_again:
            return
        absent = unsettled if self._on_unknown == "resend" else []
        if self._on_unknown == "lookup":
            found, absent = await self._ask(self._settler.confirm_absence(unsettled, self._control))
            self._note_found(found, unsettled)
            self.ledger.table.absent([ticket.key for ticket in absent])
        if absent:
            await self._send_again([ticket.row for ticket in absent])

    def _created(self, claims: Mapping[str, Claim]) -> None:
        self.ledger.table.created({key: [claim.ticket_id, claim.vendor_ticket_id] for key, claim in claims.items()})

    async def _fetch_ids(self, submitted: Mapping[str, Sequence[str]]) -> None:
        """Fetch the ids that the jobs don't name; without them a ticket is created all the same."""
        rows = [row for keys in submitted.values() for key in keys if (row := self._by_key.get(key)) is not None]
        without = [
            self._as_unsettled(row, ticket)
            for row in rows
            if (ticket := self._ticket(row)).status == "created" and not ticket.ticket_id
        ]
        found = await self._settler.fetch_ids(without)
        self.ledger.table.created({str(self._rows[index].key): list(ids) for index, ids in found.items()})

    async def _send_again(self, rows: list[TicketRow]) -> None:
        log.info("Sending %s again.", counted(len(rows), "ticket"))
        self.sent_again = True
        await self._sender.send(rows)
        unsettled = self._unsettled()
        if unsettled and not isinstance(self.error, _NO_USE_ASKING):
            self._note_found(await self._ask(self._settler.look_up(unsettled)), unsettled)

    # What the steps ask the table

    def _ticket(self, row: TicketRow) -> Ticket:
        return self.ledger.table[str(row.key)]

    def _was_in_list(self, key: str) -> bool:
        """Say whether a ticket was in the list of this try, before it waited for its jobs."""
        label = self.ledger.table[key].label
        return label is not None and label.lease == self.ledger.place.lease

    def _to_send(self) -> list[TicketRow]:
        if self._resume is not None:
            return []
        return [row for row in self._by_key.values() if self._ticket(row).status in ("unsent", "rejected")]

    def _unsettled(self) -> list[Unsettled]:
        """Return the tickets whose outcome is unknown, but those in jobs that go on, which may still create them."""
        in_jobs = {key for job in self.jobs_under_way for key in self.ledger.table.keys_in_job(job) or ()}
        return [
            self._as_unsettled(row, ticket)
            for row in self._by_key.values()
            if (ticket := self._ticket(row)).status == "unknown" and row.key not in in_jobs
        ]

    def _as_unsettled(self, row: TicketRow, ticket: Ticket) -> Unsettled:
        body = self._payload(row)
        until = final_from(ticket.sendings, self._client.settings, self.ledger.host)
        return Unsettled(row, body["name"], project_of(body), ticket.sendings, until, ticket.named)

    def _control(self, project: str) -> Control | None:
        """Name the newest ticket in a project that carries its key and that the tracker's search must know by now."""
        settings = self._client.settings
        sent_before = self.ledger.now() - settings.settle_time - settings.timeout
        newest: tuple[float, Control] | None = None
        for row in self._by_key.values():
            ticket = self._ticket(row)
            if ticket.status != "created" or not ticket.sendings or not all(it.embedded for it in ticket.sendings):
                continue
            sent_at = max(sending.at for sending in ticket.sendings)
            is_newer = sent_at < sent_before and (newest is None or newest[0] < sent_at)
            if is_newer and project_of(self._payload(row)) == project:
                newest = sent_at, Control(str(row.key), ticket.vendor_ticket_id)
        return newest[1] if newest else None

    def _identifier_of(self, key: str) -> str | None:
        row = self._by_key.get(key)
        if row is not None:
            return row.identifier
        label = self.ledger.table[key].label
        return label.identifier if label else None

    def _note_found(self, found: dict[int, Created], asked: list[Unsettled]) -> list[Unsettled]:
        """State which tickets exist after all; return the others."""
        self.ledger.table.found({str(self._rows[index].key): list(ids) for index, ids in found.items()})
        left = [ticket for ticket in asked if self._ticket(ticket.row).status == "unknown"]
        self._findings |= {ticket.key: ticket.findings for ticket in left}
        log.info("Found: %d of %s.", len(asked) - len(left), counted(len(asked), "ticket"))
        return left

    # Asking, stopping, reporting

    async def _ask(self, question: Coroutine[Any, Any, Answer]) -> Answer:
        """Wait for an answer that a stop cuts short; batches that are sent again get their short while."""
        asking: asyncio.Task[Answer] = asyncio.create_task(question)
        self._asking = asking
        await asyncio.wait([asking])
        if asking.cancelled():
            raise LeenStoppedError(str(self._stop_reason))
        return asking.result()

    async def _stop(self, reason: str) -> None:
        if self._asking is not None:
            self._asking.cancel()
        await self._sender.stop(reason)

    async def _flush(self) -> None:
        if self.ledger.failure is not None or not self.is_open:
            return
        try:
            await self.ledger.flush()
        except LeenError as error:
            # All that was to be sent has been: failing now would only make a retry doubt what is known.
            log.warning("What came back last is not in the ledger: %s", error)

    def _report_progress(self, *, at_last: bool = False) -> None:
        now = asyncio.get_running_loop().time()
        if self._on_progress is None or (now < self._report_again_at and not at_last):
            return
        self._report_again_at = now + SECONDS_BETWEEN_PROGRESS
        counts = Counter(self._ticket(row).status for row in self._by_key.values())
        invalid = len(self._rows) - len(self._by_key)
        done = counts.total() - counts["unknown"] - counts["unsent"] + invalid
        self._on_progress({"total": len(self._rows), "done": done, "failed": counts["rejected"] + invalid})

    def _result(self, row: TicketRow) -> TicketResult:
        if row.key is None:
            return _result(row.index, row.name, row.identifier, "invalid", error=row.error)
        if not self.is_open:
            why = "Not sent in this try, and nothing is known of what earlier tries sent."
            return _result(row.index, row.name, row.identifier, "unknown", error=why)
        ticket = self._ticket(row)
        return _result(row.index, row.name, row.identifier, ticket.status, ticket, self._error_of(row.key, ticket))

    def _result_of_gone(self, index: int, key: str) -> TicketResult:
        ticket = self.ledger.table[key]
        error = f"{self._error_of(key, ticket) or ''} Its row has gone from the list.".strip()
        label = ticket.label
        assert label is not None
        return _result(index, label.name, label.identifier, ticket.status, ticket, error)

    def _error_of(self, key: str, ticket: Ticket) -> str | None:
        status = ticket.status
        if status == "unsent":
            return f"Not sent: {self.error}" if self.error else "Not sent."
        findings = self._findings.get(key) if status == "unknown" else None
        return f"{ticket.error} Looked up: {findings}" if findings else ticket.error


class _Result:
    """Makes a result of its ``__dict__``: such dicts share one table of keys, which halves the size of a long list."""

    def __init__(
        self,
        index: int,
        name: str | None,
        identifier: str | None,
        status: str,
        ticket: Ticket | None,
        error: str | None,
    ) -> None:
        self.request_index = index
        self.success = status in ("created", "existing")
        self.status = status
        self.name = name
        self.identifier = identifier
        self.ticket_id = ticket.ticket_id if ticket else None
        self.vendor_ticket_id = ticket.vendor_ticket_id if ticket else None
        self.error = shown_error(error)


def _result(
    index: int,
    name: str | None,
    identifier: str | None,
    status: str,
    ticket: Ticket | None = None,
    error: str | None = None,
) -> TicketResult:
    return cast(TicketResult, vars(_Result(index, name, identifier, status, ticket, error)))
