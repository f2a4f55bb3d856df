"""Creates one list of tickets, each once: the steps of a run, from reading its ledger to a result for every row.

There are five steps (:meth:`Creation.run`). All facts about a ticket are in the ledger's table and nowhere else: each
step reads from it what is left to do, and records there what it finds out.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any, ClassVar

from airflow_provider_leen.api import jobs
from airflow_provider_leen.api.client import AsyncLeenClient
from airflow_provider_leen.api.errors import FINAL, LeenError
from airflow_provider_leen.api.models import Job
from airflow_provider_leen.api.results import Claim
from airflow_provider_leen.bulk.existing import find_existing
from airflow_provider_leen.bulk.journal import Place
from airflow_provider_leen.bulk.ledger import Intent, Ledger
from airflow_provider_leen.bulk.lookup import Created, UnknownTicket, settled_after
from airflow_provider_leen.bulk.run import Run
from airflow_provider_leen.bulk.sending import Batching
from airflow_provider_leen.bulk.settle import Settler
from airflow_provider_leen.bulk.summary import Progress, TicketResult, counted
from airflow_provider_leen.bulk.ticket_list import Payload, TicketList
from airflow_provider_leen.bulk.tickets import TicketRow
from airflow_provider_leen.bulk.work import Work

log = logging.getLogger(__name__)

SECONDS_BETWEEN_PROGRESS = 1.0


class CreateWork(Work[TicketRow]):
    """Creates the tickets of a batch, by the call itself or by a job of Leen's.

    :param client: the API.
    :param ledger: the facts of this try.
    :param payload: makes the request body of a valid row.
    :param identifier_of: returns the identifier with which a key's ticket was sent.
    """

    field = "tickets"

    def __init__(
        self,
        client: AsyncLeenClient,
        ledger: Ledger,
        payload: Payload,
        identifier_of: Callable[[str], str | None],
        *,
        as_jobs: bool,
    ) -> None:
        patience = settled_after(client.settings)
        super().__init__(client, ledger, attrgetter("key"), as_job=as_jobs, settled_after=patience)
        self._payload = payload
        self._identifier_of = identifier_of

    async def intend(self, items: Sequence[TicketRow]) -> Intent:
        """Record that tickets are about to be sent, and for a job their names."""
        if self._as_job:
            self.label(items)
        return await super().intend(items)

    def label(self, rows: Iterable[TicketRow]) -> None:
        """Record the tickets' names: the list may have changed when the jobs have ended."""
        labels = {str(row.key): [row.name, row.identifier] for row in rows}
        self.table.labelled(labels, self.ledger.place.lease)

    async def call(self, items: Sequence[TicketRow], leaves_by: float) -> Any:
        """Make one call."""
        send = self.client.send_bulk_job if self._as_job else self.client.send_bulk_create
        return await send([self._payload(row) for row in items], leaves_by=leaves_by)

    def replied(self, items: Sequence[TicketRow], reply: Any) -> str | None:
        """Record what the reply proves about each ticket, or which job they are in."""
        if not self._as_job:
            return self.claimed(items, reply)
        self.submitted(items, reply)
        return None

    def claims_of_job(self, job: Job, keys: Sequence[str]) -> list[Claim]:
        """Read what a finished job proves about its tickets."""
        return jobs.results_of_create(job, list(map(self._identifier_of, keys)))

    def succeeded(self, claims: Mapping[str, Claim]) -> None:
        """Record which tickets were created."""
        self.table.created({key: [claim.ticket_id, claim.vendor_ticket_id] for key, claim in claims.items()})


class Creation(Run):
    """Creates one list of tickets, each once.

    :param client: the API.
    :param ledger: the facts of this try, not yet opened.
    :param rows: all rows of the input, the invalid ones included.
    :param payload: makes the request body of a valid row.
    :param on_unknown: what to do with tickets whose outcome is unknown: ``lookup``, ``fail`` or ``resend``.
    :param skip_existing: whether tickets whose own identifier Leen already knows are not created again.
    :param as_jobs: submit each batch as a job of Leen's, instead of waiting for its results. Jobs that are still
        running are then in :attr:`jobs_under_way`.
    :param resume: this try's position in the ledger before it waited for its jobs: only tickets that are proved not to
        exist are sent.
    :param may_send_again: whether tickets with an unknown outcome may be sent again, as ``on_unknown`` says.
    :param refusal: why nothing is sent at all; the results of earlier tries are still reported.
    :param may_have_forgotten: if an earlier try may have sent tickets without leaving a record: since when, in seconds
        since the epoch.
    :param on_progress: is called once the ledger is read, then after batches, at most once a second; it must not block.
    :param sleep: waits some seconds until an empty search counts as proof.
    """

    list_class: ClassVar[type[TicketList]] = TicketList
    known_from: ClassVar[str] = "an earlier try"
    labelled: ClassVar[tuple[str, ...]] = ("unknown", "created", "existing", "rejected")
    """The statuses of tickets that get a result even if their rows are gone from the list after a wait for jobs."""

    def __init__(
        self,
        client: AsyncLeenClient,
        ledger: Ledger,
        rows: Sequence[TicketRow],
        payload: Payload,
        batching: Batching,
        *,
        on_unknown: str = "lookup",
        skip_existing: bool = False,
        as_jobs: bool = False,
        resume: Place | None = None,
        may_send_again: bool = True,
        refusal: LeenError | None = None,
        may_have_forgotten: float | None = None,
        on_progress: Callable[[Progress], None] | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        tickets = self.list_class(rows, ledger, payload, client.settings)
        work = CreateWork(client, ledger, payload, tickets.identifier_of, as_jobs=as_jobs)
        super().__init__(work, batching, on_batch=self._report_progress)
        self.sent_again = False
        """Whether tickets with an unknown outcome have been sent again."""
        self._client = client
        self._tickets = tickets
        self._work = work
        self._settler = Settler(client, ledger.now, sleep)
        self._on_unknown = on_unknown
        self._skip_existing = skip_existing
        self._as_jobs = as_jobs
        self._resume = resume
        self._may_send_again = may_send_again
        self._refusal = refusal
        self._may_have_forgotten = may_have_forgotten
        self._on_progress = on_progress
        self._report_again_at = 0.0

    @property
    def error(self) -> LeenError | None:
        """The error that ended the run early, or prevented it, if any."""
        return super().error or self._refusal

    async def run(self) -> None:
        """Run all steps."""
        try:
            async with self._running():
                await self._story()
                self._report_progress(at_last=True)
        finally:
            await self._flush()

    async def _story(self) -> None:
        await self._take_over()
        await self._collect_jobs()
        await self._leave_out_existing()
        await self._send()
        await self._settle()

    def results(self) -> list[TicketResult]:
        """Return a result for every row, in the order of the input.

        Then follow the results of rows that this try sent before it waited for its jobs, and that are gone from the
        list.
        """
        return self._tickets.results(self.error, with_gone=self._resume is not None and self.ledger.is_open)

    async def may_publish(self) -> None:
        """Check that this try may publish its results.

        :raises LeenLedgerError: the ledger could not be read, or a newer try has taken over.
        """
        if self.error is not None and not self.ledger.is_open:
            raise self.error
        await self.ledger.look()

    # The steps

    async def _take_over(self) -> None:
        """Read the records of earlier tries."""
        tickets = self._tickets
        if self._resume is not None:
            await self.ledger.resume(self._resume)
            tickets.begin()
        else:
            await self.ledger.open(self._may_have_forgotten)
            tickets.begin()
            if self._as_jobs:
                self._work.label(tickets.with_status(*self.labelled))
            if taken_over := len(tickets.with_status("created", "existing")):
                of = counted(len(tickets.rows), "ticket")
                log.info("Taken over from %s: %d of %s.", self.known_from, taken_over, of)
        self._report_progress()
        if self._refusal is not None:
            raise self._refusal

    async def _collect_jobs(self) -> None:
        """Collect the jobs that were submitted before."""
        # A job without tickets in this list may belong to another Leen connection.
        submitted = {
            job: keys for job, keys in self.jobs_under_way.items() if any(key in self._tickets for key in keys)
        }
        if not submitted:
            return
        await self._ask(self._collector.collect(submitted))
        # Jobs don't return ids. If the look-up fails, the ticket still counts as created.
        without_ids = self._tickets.without_ids([key for keys in submitted.values() for key in keys])
        found = await self._ask(self._settler.fetch_ids(without_ids))
        self.ledger.table.created(found)
        self._report_progress()

    async def _leave_out_existing(self) -> None:
        """Look up which tickets already exist, so that they are not created again."""
        to_send = self._to_send() if self._skip_existing else []
        if not to_send:
            return
        found = await self._ask(find_existing(self._client, to_send))
        self.ledger.table.existing(found)
        log.info(
            "Leen already knows %d of %s; they are not created again.", len(found), counted(len(to_send), "ticket")
        )

    async def _send(self) -> None:
        """Send the tickets that are neither known to exist nor of unknown outcome."""
        await self._sender.send(self._to_send())

    async def _settle(self) -> None:
        """Look up the tickets with an unknown outcome, and send again those that may be sent again."""
        if self._on_unknown == "fail":
            return
        absent = unknown = await self._look_up(self._tickets.unknown_tickets(self.jobs_under_way))
        if not unknown or self.error is not None or not self._may_send_again:
            return
        if self._on_unknown == "lookup":
            absent = await self._prove_absence(unknown)
        if absent:
            log.info("Sending %s again.", counted(len(absent), "ticket"))
            self.sent_again = True
            await self._sender.send([ticket.row for ticket in absent])
            await self._look_up(self._tickets.unknown_tickets(self.jobs_under_way))

    async def _look_up(self, unknown: Sequence[UnknownTicket]) -> list[UnknownTicket]:
        """Look up tickets with an unknown outcome; return those whose outcome stays unknown."""
        if not unknown or isinstance(self.error, FINAL):
            return []
        log.info("Looking up %s with an unknown outcome.", counted(len(unknown), "ticket"))
        return self._note_found(await self._ask(self._settler.look_up(unknown)), unknown)

    async def _prove_absence(self, unknown: Sequence[UnknownTicket]) -> list[UnknownTicket]:
        """Wait until an empty search counts as proof, search again, and return the tickets that don't exist."""
        found, absent = await self._ask(self._settler.confirm_absence(unknown, self._tickets.controls))
        self._note_found(found, unknown)
        self.ledger.table.absent([ticket.key for ticket in absent])
        return absent

    def _note_found(self, found: Mapping[str, Created], asked: Sequence[UnknownTicket]) -> list[UnknownTicket]:
        left = self._tickets.note_found(found, asked)
        log.info("Found: %d of %s.", len(asked) - len(left), counted(len(asked), "ticket"))
        return left

    def _to_send(self) -> list[TicketRow]:
        return [] if self._resume is not None else self._tickets.with_status("unsent", "rejected")

    async def _flush(self) -> None:
        if self.ledger.failure is not None or not self.ledger.is_open:
            return
        try:
            await self.ledger.flush()
        except LeenError as error:
            # Everything is sent: if the task failed now, a retry would treat known outcomes as unknown.
            log.warning("The last replies could not be written to the ledger: %s", error)

    def _report_progress(self, *, at_last: bool = False) -> None:
        now = asyncio.get_running_loop().time()
        if self._on_progress is None or (now < self._report_again_at and not at_last):
            return
        self._report_again_at = now + SECONDS_BETWEEN_PROGRESS
        self._on_progress(self._tickets.progress())
