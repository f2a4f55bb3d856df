"""Runs one task's list from its ledger to an outcome for every row: take over, send, settle."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar, cast

from airflow_provider_leen.api.client import AsyncLeenClient
from airflow_provider_leen.api.errors import (
    LeenAuthError,
    LeenConfigError,
    LeenError,
    LeenLedgerError,
    LeenNotFoundError,
    LeenStoppedError,
)
from airflow_provider_leen.bulk.collect import JobCollector
from airflow_provider_leen.bulk.existing import find_existing
from airflow_provider_leen.bulk.ledger import Created, History, Journal
from airflow_provider_leen.bulk.lookup import Control, Unsettled, project_of, without_clashes
from airflow_provider_leen.bulk.sender import BatchSender, Outcome, still_unknown
from airflow_provider_leen.bulk.settle import Settler
from airflow_provider_leen.bulk.summary import Progress, TicketResult, counted, shown_error
from airflow_provider_leen.bulk.tickets import TicketRow

log = logging.getLogger(__name__)

Answer = TypeVar("Answer")

SECONDS_BETWEEN_PROGRESS = 1.0

_NO_USE_ASKING = (LeenAuthError, LeenConfigError, LeenNotFoundError, LeenLedgerError, LeenStoppedError)
"""What stopped the sending stops the look-ups, too."""


class BulkRun:
    """The creation of one list of tickets, each of them once.

    :param client: the API.
    :param journal: the ledger of this try.
    :param rows: all rows of the input, the invalid ones included.
    :param payload: makes the request body of a valid row.
    :param batch_size: tickets a call, 1 to 50.
    :param max_concurrent_batches: calls in flight at most; 1 keeps the order.
    :param on_unknown: what to do with tickets that were sent without an answer: ``lookup``, ``fail`` or ``resend``.
    :param skip_existing: whether tickets whose own identifier Leen knows already are not created again.
    :param as_jobs: submit each batch as a job of Leen's, instead of waiting for its results. Jobs that have not ended
        are then in :attr:`jobs_under_way`.
    :param resumed_from: the results of this try before it waited for its jobs: nothing is sent but what surely does not
        exist, and what jobs tell is added.
    :param may_send_again: whether tickets may be sent again whose outcome is unknown, as ``on_unknown`` says.
    :param refusal: why nothing is sent at all; what earlier tries have left is told all the same.
    :param on_progress: is told after batches, at most once a second, how far the run is; it must not block.
    :param earlier_try_since: where an earlier try may have sent tickets that the ledger does not remember: since when,
        in seconds since the epoch.
    """

    def __init__(
        self,
        client: AsyncLeenClient,
        journal: Journal,
        rows: Sequence[TicketRow],
        payload: Callable[[TicketRow], dict[str, Any]],
        *,
        batch_size: int,
        max_concurrent_batches: int,
        on_unknown: str = "lookup",
        skip_existing: bool = False,
        as_jobs: bool = False,
        resumed_from: Sequence[TicketResult] | None = None,
        may_send_again: bool = True,
        refusal: LeenError | None = None,
        on_progress: Callable[[Progress], None] | None = None,
        earlier_try_since: float | None = None,
    ) -> None:
        self._rows = rows
        self._client = client
        self._journal = journal
        self._payload = payload
        self._sender = BatchSender(
            client,
            journal,
            payload,
            batch_size=batch_size,
            max_concurrent_batches=max_concurrent_batches,
            as_jobs=as_jobs,
            on_batch=self._tell_progress,
            rows=rows,
        )
        self._skip_existing = skip_existing
        self._resumed_from = resumed_from
        self._may_send_again = may_send_again
        self._refusal = refusal
        self.sent_again = False
        """Whether tickets whose outcome was unknown have been sent again."""
        self._unended: dict[str, str] = {}
        self._in_unended: set[int] = set()
        self._on_progress = on_progress
        self._tell_again_at = 0.0
        self._settler = Settler(client)
        self._on_unknown = on_unknown
        self._earlier_try_since = earlier_try_since
        self._forgotten_since: float | None = None
        self._history_is_read = False
        self._asking: asyncio.Task[Any] | None = None
        self._stop_reason: str | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._results: list[TicketResult] | None = None
        """Once the run has ended; a very large list is not held as outcomes as well."""

    @property
    def error(self) -> LeenError | None:
        """What ended the run early, or kept it from being run, if anything did."""
        return self._sender.halted or self._refusal

    @property
    def is_remembered(self) -> bool:
        """Whether another try knows what this one has sent."""
        return self._journal.remembers

    @property
    def jobs_under_way(self) -> list[str]:
        """The jobs that have not ended, as far as is known."""
        return [*self._unended, *self._sender.submitted]

    @property
    def unknown(self) -> list[str]:
        """The identifiers of the tickets whose outcome isn't known."""
        return [str(result["identifier"]) for result in self.results() if result["status"] == "unknown"]

    async def run(self) -> None:
        """Do it all. Expected trouble is not raised but found in :attr:`error`, so that what is known can be told."""
        self._loop = asyncio.get_running_loop()
        try:
            if self._stop_reason is not None:
                await self._sender.stop(self._stop_reason)
            history = await self._journal.open()
            left = self._sort(history)
            if self._refusal is not None:
                raise self._refusal
            if self._forgotten_since is not None:
                # Where the store was emptied, the next try finds it no longer empty and believes it.
                await self._journal.intend([ticket.row.key for ticket in self._unsettled() if ticket.row.key])
            if self._resumed_from is not None:
                self._take_over_results(self._resumed_from)
            await self._collect(history)
            self._tell_progress()
            if self._resumed_from is None:
                await self._sender.send(await self._without_existing(left) if self._skip_existing else left)
            if not self._sender.submitted:
                await self._settle()
            self._tell_progress(at_last=True)
        except LeenError as error:
            await self._sender.halt(error)
        finally:
            await self._close_ledger()
            self._loop = None
            self._results = [self._result(row, self._sender.outcomes.pop) for row in self._rows]

    def stop(self, reason: str) -> Future[None] | None:
        """Ask the run to stop, from any thread or signal handler: in-flight batches get a short while to end."""
        self._stop_reason = reason
        loop = self._loop
        return asyncio.run_coroutine_threadsafe(self._stop(reason), loop) if loop else None

    def results(self) -> list[TicketResult]:
        """Return what became of every row, in the order of the input."""
        if self._results is not None:
            return self._results
        return [self._result(row, self._sender.outcomes.get) for row in self._rows]

    def _sort(self, history: History) -> list[TicketRow]:
        """Take over what earlier tries have left; return the rows that are still to be sent."""
        outcomes, left, taken_over = self._sender.outcomes, [], 0
        self._history_is_read = True
        if not self._journal.remembers or not history.values:
            self._forgotten_since = self._earlier_try_since
        for row in self._rows:
            if row.key is None:
                continue
            if (created := history.created.get(row.key)) is not None:
                outcomes[row.index] = Outcome("created", *created)
                taken_over += 1
            elif row.key in history.sent:
                named = history.named.get(row.key)
                reason = "An earlier try sent it, and no answer is on record."
                if named is not None:
                    reason = f"An earlier try sent it; the reply contradicts itself and names {_shown(named)}."
                outcomes[row.index] = Outcome("unknown", error=reason, sent=history.sent[row.key], named=named)
            elif self._forgotten_since is not None:
                reason = "An earlier try may have sent it; nothing remembers. Set ledger_path for the next runs."
                sent = self._journal.sent_now()._replace(at=self._forgotten_since)
                outcomes[row.index] = Outcome("unknown", error=reason, sent=(sent,))
            else:
                left.append(row)
        if taken_over:
            log.info("Taken over from an earlier try: %d of %s.", taken_over, counted(len(self._rows), "ticket"))
        return left

    async def _collect(self, history: History) -> None:
        """Ask what became of the jobs that were submitted before."""
        unsettled = {str(ticket.row.key): ticket for ticket in self._unsettled()}
        # A job of which no ticket is in the list any more may belong to another Leen connection.
        submitted = {
            job_id: [unsettled.get(key) for key in keys]
            for job_id, keys in history.open_jobs().items()
            if not unsettled.keys().isdisjoint(keys)
        }
        if not submitted:
            return
        collector = JobCollector(self._client, self._journal, self._sender.outcomes)
        self._unended = await self._ask(collector.collect(submitted))
        for job_id, status in self._unended.items():
            for ticket in submitted[job_id]:
                if ticket is not None:
                    self._in_unended.add(ticket.row.index)
                    reason = f"It was submitted in job {job_id}, which has not ended (status {status})."
                    self._sender.outcomes[ticket.row.index] = Outcome("unknown", error=reason, sent=ticket.sent)
        log.info("Ended: %d of %s.", len(submitted) - len(self._unended), counted(len(submitted), "job"))

    def _take_over_results(self, results: Sequence[TicketResult]) -> None:
        """Recall what this try knew of rows, before it waited, that is not in the ledger: why they failed."""
        before = {result["identifier"]: result for result in results}
        for row in self._rows:
            result = before.get(row.identifier)
            if row.key is None or result is None:
                continue
            outcome = self._sender.outcomes.get(row.index)
            if outcome is not None and outcome.status == result["status"] == "unknown":
                outcome.error = result["error"]
            elif outcome is None and result["status"] != "unknown":
                ids = result["ticket_id"], result["vendor_ticket_id"]
                self._sender.outcomes[row.index] = Outcome(result["status"], *ids, result["error"])

    async def _without_existing(self, rows: list[TicketRow]) -> list[TicketRow]:
        found = await self._ask(find_existing(self._client, rows))
        for index, ids in found.items():
            self._sender.outcomes[index] = Outcome("existing", *ids)
        log.info("Known to Leen, and not created again: %d of %s.", len(found), counted(len(rows), "ticket"))
        return [row for row in rows if row.index not in found]

    def _tell_progress(self, *, at_last: bool = False) -> None:
        if self._on_progress is None or (time.monotonic() < self._tell_again_at and not at_last):
            return
        self._tell_again_at = time.monotonic() + SECONDS_BETWEEN_PROGRESS
        counts = Counter(outcome.status for outcome in self._sender.outcomes.values())
        invalid = sum(row.error is not None for row in self._rows)
        self._on_progress(
            {
                "total": len(self._rows),
                "done": counts.total() - counts["unknown"] + invalid,
                "failed": counts["rejected"] + invalid,
            }
        )

    async def _settle(self) -> None:
        unsettled = self._to_settle()
        if not unsettled or self._on_unknown == "fail" or isinstance(self.error, _NO_USE_ASKING):
            return
        log.info("Asking what became of %s sent without an answer.", counted(len(unsettled), "ticket"))
        unsettled = self._note_found(await self._ask(self._settler.look_up(unsettled)), unsettled)
        if self.error is not None or not self._may_send_again:
            return
        absent = unsettled if self._on_unknown == "resend" else []
        if self._on_unknown == "lookup":
            found, absent = await self._ask(self._settler.confirm_absence(unsettled, self._control))
            self._note_found(found, unsettled)
            self._journal.learn({}, [], gone=[ticket.key for ticket in absent])
        if absent:
            await self._send_again([ticket.row for ticket in absent])

    async def _send_again(self, rows: list[TicketRow]) -> None:
        log.info("Sending %s again.", counted(len(rows), "ticket"))
        self.sent_again = True
        outcomes = self._sender.outcomes
        before = {row.index: outcomes.pop(row.index) for row in rows}
        await self._sender.send(rows)
        if self._on_unknown == "resend":
            # Nothing has shown that these don't exist: the earlier sendings are as open as they were.
            for index, outcome in before.items():
                after = outcomes.get(index)
                if after is None or after.status == "rejected":
                    outcomes[index] = still_unknown(outcome, after)
                elif after.status == "unknown":
                    after.sent = outcome.sent + after.sent
                    after.named = after.named or outcome.named
        unsettled = self._to_settle()
        if unsettled and not isinstance(self.error, _NO_USE_ASKING):
            self._note_found(await self._ask(self._settler.look_up(unsettled)), unsettled)

    async def _ask(self, question: Coroutine[Any, Any, Answer]) -> Answer:
        """Wait for an answer that a stop cuts short; batches that are sent again get their short while."""
        asking: asyncio.Task[Answer] = asyncio.create_task(question)
        self._asking = asking
        await asyncio.wait([asking])
        if asking.cancelled():
            raise LeenStoppedError(str(self._stop_reason))
        return asking.result()

    def _unsettled(self) -> list[Unsettled]:
        return [
            self._as_unsettled(row, outcome)
            for row in self._rows
            if (outcome := self._sender.outcomes.get(row.index)) and outcome.status == "unknown" and outcome.sent
        ]

    def _as_unsettled(self, row: TicketRow, outcome: Outcome) -> Unsettled:
        body = self._payload(row)
        return Unsettled(row, body["name"], project_of(body), outcome.sent, outcome.named)

    def _control(self, project: str) -> Control | None:
        """Name the newest ticket in a project that carries its key and that the tracker's search must know by now."""
        carrying = self._journal.carrying
        known_before = time.time() - self._client.settings.settle_time
        rows = [row for row in self._rows if row.key is not None and carrying.get(row.key, known_before) < known_before]
        for row in sorted(rows, key=lambda row: carrying[str(row.key)], reverse=True):
            outcome = self._sender.outcomes.get(row.index)
            if outcome and outcome.status == "created" and project_of(self._payload(row)) == project:
                return Control(str(row.key), outcome.vendor_ticket_id)
        return None

    def _to_settle(self) -> list[Unsettled]:
        # A job that goes on may still create its tickets: asking now would prove nothing.
        in_jobs = {row.index for rows in self._sender.submitted.values() for row in rows} | self._in_unended
        return [ticket for ticket in self._unsettled() if ticket.row.index not in in_jobs]

    def _note_found(self, found: dict[int, Created], asked: list[Unsettled]) -> list[Unsettled]:
        """Note which tickets exist after all; return the others."""
        outcomes = self._sender.outcomes
        taken = [
            Created(outcome.ticket_id, outcome.vendor_ticket_id)
            for outcome in outcomes.values()
            if outcome.status in ("created", "existing")
        ]
        sole = without_clashes(found, taken)
        created: dict[str, Created] = {}
        left: list[Unsettled] = []
        for ticket in asked:
            index = ticket.row.index
            if index in sole:
                outcomes[index] = Outcome("created", *sole[index])
                created[ticket.key] = sole[index]
            else:
                if index in found:
                    ticket.findings = f"Found {_shown(found[index])}, which another row of this run has, too."
                left.append(ticket)
                reason = (outcomes[index].error or "").split(" Looked up: ")[0]
                outcomes[index].error = f"{reason} Looked up: {ticket.findings.strip()}"
        self._journal.learn(created, [])
        log.info("Found: %d of %s sent without an answer.", len(sole), counted(len(asked), "ticket"))
        return left

    async def _stop(self, reason: str) -> None:
        if self._asking is not None:
            self._asking.cancel()
        await self._sender.stop(reason)

    async def _close_ledger(self) -> None:
        if self._journal.failure is not None:
            return
        try:
            await self._journal.flush()
        except LeenError as error:
            # All that was to be sent has been: failing now would only make a retry doubt what is known.
            log.warning("What came back last is not in the ledger: %s", error)

    def _result(self, row: TicketRow, outcome_of: Callable[[int, None], Outcome | None]) -> TicketResult:
        outcome = outcome_of(row.index, None)
        if row.error is not None:
            outcome = Outcome("invalid", error=row.error)
        elif outcome is None and not self._history_is_read:
            outcome = Outcome("unknown", error="Not sent in this try; what earlier tries sent could not be read.")
        elif outcome is None:
            outcome = Outcome("unsent", error=f"Not sent: {self.error}" if self.error else "Not sent.")
        return cast(TicketResult, vars(_Result(row, outcome)))


def _shown(ids: Created) -> str:
    return " or ".join(filter(None, (ids.vendor_ticket_id, ids.ticket_id)))


class _Result:
    """Makes a result of its ``__dict__``: such dicts share one table of keys, which halves the size of a long list."""

    def __init__(self, row: TicketRow, outcome: Outcome) -> None:
        self.request_index = row.index
        self.success = outcome.status in ("created", "existing")
        self.status = outcome.status
        self.name = row.name
        self.identifier = row.identifier
        self.ticket_id = outcome.ticket_id
        self.vendor_ticket_id = outcome.vendor_ticket_id
        self.error = shown_error(outcome.error)
