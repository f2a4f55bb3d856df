"""Sends tickets in batches, several in flight, and isolates a ticket that spoils its batch."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from airflow_provider_leen.api import retry
from airflow_provider_leen.api.client import AsyncLeenClient
from airflow_provider_leen.api.errors import (
    LeenError,
    LeenRateLimitError,
    LeenResponseError,
    LeenServerError,
    LeenStoppedError,
)
from airflow_provider_leen.api.results import Claim, Owners, doubted
from airflow_provider_leen.bulk.isolation import Isolation, Part, take_apart, wrong_request
from airflow_provider_leen.bulk.ledger import Created, Journal, Sent
from airflow_provider_leen.bulk.log_lines import batch_is_logged, batch_said, folded, repetition_is_logged
from airflow_provider_leen.bulk.summary import Status, counted
from airflow_provider_leen.bulk.throttle import Throttle, ThrottleClosed
from airflow_provider_leen.bulk.tickets import TicketRow

log = logging.getLogger(__name__)

STOP_GRACE = 3.0
"""Seconds that batches in flight get to end after a stop; Airflow kills about five seconds after SIGTERM."""

BROKEN_AFTER = 3
"""So many batches in a row without a usable answer mean that Leen is broken: nothing more is sent."""


@dataclass(slots=True)
class Outcome:
    """The outcome of one ticket.

    :param sent: its open sendings, the earliest first; of a ticket that was created in this try, the one that did it.
    :param named: of an unknown outcome: the ids that a reply named without proving them.
    """

    status: Status
    ticket_id: str | None = None
    vendor_ticket_id: str | None = None
    error: str | None = None
    sent: tuple[Sent, ...] = ()
    named: Created | None = None


class BatchSender:
    """Sends tickets, once each, and remembers what became of them in :attr:`outcomes`.

    Tickets that were submitted as jobs (in :attr:`submitted`, by the job's id) have unknown outcomes.

    :param client: the API.
    :param journal: the ledger of this try.
    :param payload: makes the request body of a valid row.
    :param batch_size: tickets a call, 1 to 50.
    :param max_concurrent_batches: calls in flight at most; 1 keeps the order.
    :param as_jobs: submit each batch as a job of Leen's, to be collected later, instead of waiting for its results.
    :param on_batch: is called after each batch; it must not block.
    :param rows: the whole list, of which earlier tries may have sent a part; default the rows that are sent.
    """

    def __init__(
        self,
        client: AsyncLeenClient,
        journal: Journal,
        payload: Callable[[TicketRow], dict[str, Any]],
        *,
        batch_size: int,
        max_concurrent_batches: int,
        as_jobs: bool = False,
        on_batch: Callable[[], None] = lambda: None,
        rows: Sequence[TicketRow] = (),
    ) -> None:
        self.outcomes: dict[int, Outcome] = {}
        self.halted: LeenError | None = None
        self.submitted: dict[str, list[TicketRow]] = {}
        self._client = client
        self._journal = journal
        self._payload = payload
        self._as_jobs = as_jobs
        self._on_batch = on_batch
        self._rows = rows
        self._owners = Owners()
        self._job_ids: set[str] = set()
        self._batch_size = batch_size
        self._workers = max_concurrent_batches
        self._throttle = Throttle(max_concurrent_batches)
        self._chunks: deque[list[TicketRow]] = deque()
        self._prepared: asyncio.Task[Part] | None = None
        self._abandoned: list[asyncio.Task[Part]] = []
        self._unanswered = 0
        self._refusals: list[str] = []
        self._suspicion = asyncio.Lock()
        self._batches = self._done = self._repeated = 0
        self._tasks: list[asyncio.Task[None]] = []

    async def send(self, rows: Sequence[TicketRow]) -> None:
        """Send valid rows. On return each has an outcome, or was not sent because of :attr:`halted`.

        An error that stops the whole run ends up in :attr:`halted`; it is not raised, so that what is known is kept.
        """
        size = self._batch_size
        self._rows = self._rows or rows
        self._owners = owners_in(self.outcomes)
        self._chunks = deque(list(rows[start : start + size]) for start in range(0, len(rows), size))
        self._batches, self._done = len(self._chunks), 0
        count = min(self._workers, len(self._chunks))
        with folded(log, self._batches, "Sending %d tickets in %d batches", len(rows), self._batches):
            self._tasks = [asyncio.create_task(self._work()) for _ in range(count)]
            ended = await asyncio.gather(*self._tasks, return_exceptions=True)
            await self._withdraw_unsent()
        for problem in ended:
            if isinstance(problem, Exception):
                raise problem

    async def halt(self, error: LeenError) -> None:
        """Let no further batch start; those in flight go on."""
        if self.halted is None:
            self.halted = error
            await self._throttle.close()

    async def stop(self, reason: str) -> None:
        """Stop from outside: let no further batch start, and wait a short while for those in flight."""
        await self.halt(LeenStoppedError(reason))
        running = [task for task in self._tasks if not task.done()]
        if running:
            _done, late = await asyncio.wait(running, timeout=STOP_GRACE)
            for task in late:
                task.cancel()

    async def _work(self) -> None:
        parts: list[Part] = []
        try:
            while True:
                async with self._throttle.slot() as admitted_at:
                    batch = await self._next_batch()
                    if batch is None:
                        return
                    parts += await self._send_part(batch, admitted_at)
                await self._send_parts(parts)
                self._conclude(batch.isolation)
        except ThrottleClosed:
            self._journal.learn({}, [key for part in parts if part.intended is not None for key in part.keys])
        except LeenError as error:
            await self.halt(error)

    async def _send_parts(self, parts: list[Part]) -> None:
        """Send what a batch has left, the last one first, until nothing is left."""
        while parts:
            isolation = parts[-1].isolation
            if not isolation.request_may_be_wrong():
                await self._send_last(parts)
                continue
            # A wrong request is found out by one batch, at the cost of one, not by all that are in flight.
            async with self._suspicion:
                while parts and isolation.request_may_be_wrong():
                    await self._send_last(parts)

    async def _send_last(self, parts: list[Part]) -> None:
        async with self._throttle.slot() as admitted_at:
            parts += await self._send_part(parts.pop(), admitted_at)

    async def _next_batch(self) -> Part | None:
        """Hand out the batch whose keys are on record already, and put those of the one after it on record."""
        task = self._prepared or self._start_preparing()
        self._prepared = self._start_preparing()
        return await self._on_record(task) if task else None

    def _start_preparing(self) -> asyncio.Task[Part] | None:
        return asyncio.create_task(self._prepare(self._chunks.popleft())) if self._chunks else None

    async def _prepare(self, rows: list[TicketRow]) -> Part:
        return await self._put_on_record(Part(rows, Isolation(rows, started_at=time.monotonic())))

    async def _put_on_record(self, part: Part) -> Part:
        part.intended = await self._journal.intend(part.keys)
        return part

    async def _on_record(self, task: asyncio.Task[Part]) -> Part:
        """Wait until a part's keys are on record; a worker that is cancelled meanwhile leaves it to be withdrawn."""
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            self._abandoned.append(task)
            raise

    async def _withdraw_unsent(self) -> None:
        """Put on record that what was about to leave is not sent after all."""
        tasks = [task for task in [self._prepared, *self._abandoned] if task is not None]
        self._prepared, self._abandoned = None, []
        for task in tasks:
            try:
                self._journal.learn({}, (await task).keys)
            except LeenError as error:
                await self.halt(error)

    async def _send_part(self, part: Part, admitted_at: float) -> list[Part]:
        """Send one call and note what came of it; return what has to be sent again, the last one first."""
        if part.intended is None or time.time() - part.intended.at > self._client.settings.timeout:
            if part.intended is not None:
                # On record too long ago: the same sending, not one more.
                self._journal.learn({}, part.keys)
            await self._on_record(asyncio.create_task(self._put_on_record(part)))
        if self.halted is not None:
            # Halted while its keys were being recorded: it does not start.
            return [part]
        part.attempts += 1
        # If this task is cancelled from here on, this is what is known.
        self._note_unknown(part, "The task was stopped before Leen answered.")
        send = self._client.send_bulk_job if self._as_jobs else self._client.send_bulk_create
        try:
            answer = await send([self._payload(row) for row in part.rows])
        except LeenError as error:
            if retry.effect_of_write(error) is retry.Effect.UNKNOWN:
                await self._note_unanswered(part, error)
                return []
            return await self._after_refusal(part, error, admitted_at)
        part.isolation.accepted = True
        self._throttle.accept()
        if isinstance(answer, str):
            self._note_job(part, answer)
        else:
            await self._note_results(part, answer)
        if self._prepared is None and not self._chunks:
            # No further batch will carry to the ledger what came back.
            await self._journal.flush()
        return []

    async def _after_refusal(self, part: Part, error: LeenError, admitted_at: float) -> list[Part]:
        """Decide what to do with a call that surely did nothing."""
        for row in part.rows:
            del self.outcomes[row.index]
        part.intended = None
        # Before anything waits or raises: a task that dies now must not leave these keys as sent.
        self._journal.learn({}, part.keys)
        await self._journal.flush()
        if retry.blames_tickets(error):
            return await self._isolate(part, error)
        wait = self._wait_before_retry(error, part.attempts)
        if wait is None:
            await self.halt(error)
            return [part]
        if isinstance(error, LeenRateLimitError):
            self._throttle.refuse(admitted_at, wait)
        else:
            self._throttle.pause(wait)
        self._log_repetition(part, error, wait)
        return [part]

    def _wait_before_retry(self, error: LeenError, attempts: int) -> float | None:
        settings = self._client.settings
        return retry.retry_wait(
            error,
            attempts,
            read_only=False,
            max_retries=settings.max_retries,
            max_retry_wait=settings.max_retry_wait,
            jitter=random.random(),
        )

    async def _isolate(self, part: Part, error: LeenResponseError) -> list[Part]:
        rejected, rest = take_apart(part.rows, part.isolation, error)
        for row, reason in rejected:
            self.outcomes[row.index] = Outcome("rejected", error=reason)
        if part.isolation.request_is_wrong(self._refusals):
            await self.halt(wrong_request(error))
        return [part.of(rows) for rows in rest]

    async def _note_results(self, part: Part, claims: list[Claim]) -> None:
        created: dict[str, Created] = {}
        named: dict[str, Created] = {}
        absent: list[str] = []
        rivals: set[int] = set()
        sent = part.sent
        for row, claim in zip(part.rows, claims, strict=True):
            if others := self._owners.rivals(row.index, claim.ticket_id, claim.vendor_ticket_id):
                rivals |= others
                claim = doubted(claim)
            outcome = self.outcomes[row.index] = outcome_of(claim, sent)
            if outcome.status == "created":
                created[str(row.key)] = Created(outcome.ticket_id, outcome.vendor_ticket_id)
            elif outcome.status == "rejected":
                absent.append(str(row.key))
            elif outcome.named is not None:
                named[str(row.key)] = outcome.named
        self._journal.learn(created, absent, named=named)
        if created or absent:
            self._unanswered = 0
        else:
            await self._count_unanswered(LeenResponseError(str(claims[0].error), status=200))
        await self._doubt(rivals)

    async def _doubt(self, rivals: set[int]) -> None:
        """Take back that tickets were created whose ids another reply gave to other tickets."""
        doubts: dict[str, Created] = {}
        for row in self._rows if rivals else ():
            outcome = self.outcomes.get(row.index)
            if row.index in rivals and outcome is not None and outcome.status == "created":
                ids = Created(outcome.ticket_id, outcome.vendor_ticket_id)
                sent = outcome.sent or (self._journal.sent_now(),)
                self.outcomes[row.index] = outcome_of(doubted(Claim("succeeded", *ids)), sent)
                doubts[str(row.key)] = ids
        if doubts:
            # On record as created: a sending without an answer takes that back.
            await self._journal.intend(doubts)
            self._journal.learn({}, [], named=doubts)

    def _note_job(self, part: Part, job_id: str) -> None:
        part.isolation.submitted += len(part.rows)
        self._unanswered = 0
        if job_id in self._job_ids:
            for row in [*self.submitted.pop(job_id, []), *part.rows]:
                reason = f"Leen named one and the same job, {job_id}, for several batches, so that it proves nothing."
                self.outcomes[row.index].error = reason
            self._journal.learn({}, [], jobs={job_id: []})
            return
        self._job_ids.add(job_id)
        self._note_unknown(part, f"It was submitted in job {job_id}, which has not ended.")
        self.submitted[job_id] = part.rows
        self._journal.learn({}, [], jobs={job_id: part.keys})

    async def _note_unanswered(self, part: Part, error: LeenError) -> None:
        self._note_unknown(part, _sentence(error))
        await self._count_unanswered(error)

    async def _count_unanswered(self, error: LeenError) -> None:
        self._unanswered += 1
        if self._unanswered >= BROKEN_AFTER:
            await self.halt(leen_is_broken(error))

    def _note_unknown(self, part: Part, reason: str) -> None:
        sent = part.sent
        for row in part.rows:
            self.outcomes[row.index] = Outcome("unknown", error=reason, sent=sent)

    def _conclude(self, isolation: Isolation) -> None:
        self._refusals = isolation.last_refusals(self._refusals)
        self._log_batch(isolation)
        self._on_batch()

    def _log_repetition(self, part: Part, error: LeenError, wait: float) -> None:
        self._repeated += 1
        if repetition_is_logged(self._repeated):
            log.warning(
                "%s Sending %s again in %.1f s (repetition %d).",
                _sentence(error),
                counted(len(part.rows), "ticket"),
                wait,
                self._repeated,
            )

    def _log_batch(self, isolation: Isolation) -> None:
        self._done += 1
        if not batch_is_logged(self._done, self._batches):
            return
        statuses = [self.outcomes[row.index].status for row in isolation.batch if row.index in self.outcomes]
        said = batch_said(statuses, isolation.submitted)
        seconds = time.monotonic() - isolation.started_at
        log.info("Batch %d of %d: %s (%.1f s)", self._done, self._batches, said, seconds)


def still_unknown(before: Outcome, after: Outcome | None) -> Outcome:
    """Return the outcome of a ticket whose second sending did nothing: the first one's is as unknown as it was."""
    again = f" Sent again, and refused: {after.error}" if after is not None else ""
    return replace(before, error=f"{before.error or ''}{again}".strip())


def outcome_of(claim: Claim, sent: tuple[Sent, ...]) -> Outcome:
    """Return the outcome of a ticket from what is believed of it."""
    ids = Created(claim.ticket_id, claim.vendor_ticket_id)
    if claim.status == "succeeded":
        return Outcome("created", *ids, sent=sent)
    if claim.status == "rejected":
        return Outcome("rejected", error=claim.error)
    return Outcome("unknown", error=claim.error, sent=sent, named=ids if any(ids) else None)


def owners_in(outcomes: Mapping[int, Outcome]) -> Owners:
    """Return which row has which ticket, as far as is known."""
    owners = Owners()
    for index, outcome in outcomes.items():
        owners.rivals(index, outcome.ticket_id, outcome.vendor_ticket_id, *(outcome.named or ()))
    return owners


def leen_is_broken(error: LeenError) -> LeenServerError:
    """Return the error that says so; ``error`` ended the last call."""
    status = error.status if isinstance(error, LeenResponseError) else None
    return LeenServerError(
        f"{BROKEN_AFTER} calls in a row had no usable answer, so that nothing more is sent; the last one: {error}",
        status=status,
    )


def _sentence(error: LeenError) -> str:
    text = str(error)
    return text if text.endswith((".", "!", "?")) else f"{text}."
