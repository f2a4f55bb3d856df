"""Changes tickets alike: submits jobs, takes a refused one apart, and asks what became of them."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

from airflow_provider_leen.api.client import AsyncLeenClient
from airflow_provider_leen.api.errors import (
    PASSING,
    LeenError,
    LeenNotFoundError,
    LeenResponseError,
    LeenStoppedError,
)
from airflow_provider_leen.api.jobs import has_ended
from airflow_provider_leen.api.retry import Effect, blames_tickets, effect_of_write, is_unknown_to_leen
from airflow_provider_leen.bulk.asking import ask_all
from airflow_provider_leen.bulk.isolation import Isolation, take_apart, wrong_request
from airflow_provider_leen.bulk.log_lines import batch_is_logged, batch_said, folded
from airflow_provider_leen.bulk.sender import BROKEN_AFTER, STOP_GRACE, leen_is_broken
from airflow_provider_leen.bulk.updates import Outcome, outcomes_of

log = logging.getLogger(__name__)

MAX_NAMED_JOBS = 3
"""So many jobs of one batch are named in the log; there are more only where the batch had to be taken apart."""


class UpdateRun:
    """Changes many tickets alike.

    What is known is in its attributes at any time. Expected trouble is not raised but found in :attr:`halted`.

    :param client: the API.
    :param outcomes: by ticket id, what became of it so far.
    :param jobs: by job id, the tickets of the jobs that go on.
    """

    def __init__(
        self,
        client: AsyncLeenClient,
        outcomes: Mapping[str, Outcome] | None = None,
        jobs: Mapping[str, list[str]] | None = None,
    ) -> None:
        self.outcomes = dict(outcomes or {})
        self.jobs = dict(jobs or {})
        self.halted: LeenError | None = None
        self._job_ids = set(self.jobs)
        self._client = client
        self._refusals: list[str] = []
        self._unanswered = 0
        self._stop_reason: str | None = None
        self._ends_at: float | None = None
        self._stopped = asyncio.Event()
        self._patience: asyncio.Timeout | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def unknown(self) -> list[str]:
        """The tickets of which nobody knows whether they were changed."""
        return [ticket_id for ticket_id, outcome in self.outcomes.items() if outcome.status == "unknown"]

    async def submit(self, batches: Sequence[list[str]], updates: Mapping[str, str]) -> None:
        """Submit a job for each batch. On return each ticket has an outcome, or was not sent because of ``halted``."""
        tickets = sum(map(len, batches))
        async with self._until_stopped():
            with folded(log, len(batches), "Changing %d tickets in %d batches", tickets, len(batches)):
                for number, batch in enumerate(batches, start=1):
                    isolation = Isolation(batch, started_at=time.monotonic())
                    await self._submit_all(batch, updates, isolation)
                    self._refusals = isolation.last_refusals(self._refusals)
                    if batch_is_logged(number, len(batches)):
                        self._log_batch(number, len(batches), isolation)

    async def ask(self) -> None:
        """Ask for each job once, eight at a time, and note what became of its tickets."""
        async with self._until_stopped():
            await ask_all(self._ask, self.jobs)

    async def wait(self, poll_interval: float, on_progress: Callable[[], None]) -> None:
        """Ask for the jobs until all have ended.

        :param poll_interval: seconds between two rounds.
        :param on_progress: is called after each round; it must not block.
        """
        async with self._until_stopped():
            while self.jobs:
                await ask_all(self._ask, self.jobs)
                on_progress()
                if self.jobs:
                    await self._pause(poll_interval)

    def stop(self, reason: str) -> None:
        """Ask the run to stop, from any thread or signal handler: calls in flight get a short while to end."""
        if self._stop_reason is not None:
            return
        # The clock of asyncio's loops, too.
        self._ends_at = time.monotonic() + STOP_GRACE
        self._stop_reason = reason
        if (loop := self._loop) is not None:
            loop.call_soon_threadsafe(self._hurry)

    def _hurry(self) -> None:
        self._stopped.set()
        if self._patience is not None and not self._patience.expired():
            self._patience.reschedule(self._ends_at)

    @asynccontextmanager
    async def _until_stopped(self) -> AsyncIterator[None]:
        """Cut short what is in flight when the short while after a stop is over."""
        self._loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(None) as self._patience:
                if self._stop_reason is not None:
                    self._hurry()
                yield
        except TimeoutError:
            self.halted = self.halted or LeenStoppedError(str(self._stop_reason))
        except LeenError as error:
            self.halted = self.halted or error
        finally:
            self._loop = self._patience = None

    async def _pause(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._stopped.wait(), seconds)
        except TimeoutError:
            return
        raise LeenStoppedError(str(self._stop_reason))

    async def _ask(self, job_id: str) -> None:
        ids = self.jobs[job_id]
        try:
            job = await self._client.get_job(job_id)
        except PASSING as error:
            self._note(ids, Outcome("unknown", f"its job {job_id} could not be asked for: {error}"))
        except LeenNotFoundError as error:
            if not is_unknown_to_leen(error):
                raise
            # How long Leen remembers jobs is not documented.
            self._note(ids, Outcome("unknown", f"Leen no longer knows its job {job_id}"))
            del self.jobs[job_id]
        else:
            self.outcomes |= outcomes_of(job, ids)
            if has_ended(job):
                del self.jobs[job_id]

    async def _submit_all(self, batch: list[str], updates: Mapping[str, str], isolation: Isolation) -> None:
        """Submit a job for a batch, or several where it is refused as a whole."""
        parts = [batch]
        while parts:
            parts += await self._submit(parts.pop(), updates, isolation)

    async def _submit(self, ids: list[str], updates: Mapping[str, str], isolation: Isolation) -> list[list[str]]:
        """Submit one job; return what has to be submitted again, the last one first."""
        if self._stop_reason is not None:
            raise LeenStoppedError(self._stop_reason)
        # Before the request: a stop may cut it short.
        self._note(ids, Outcome("unknown", "the task ended while it was being sent"))
        try:
            job_id = await self._client.submit_bulk_update(ids, updates)
        except LeenError as error:
            if blames_tickets(error):
                return self._isolate(ids, isolation, error)
            self._note_failure(ids, error)
            return []
        isolation.accepted = True
        isolation.submitted += len(ids)
        self._unanswered = 0
        if job_id in self._job_ids:
            reason = f"Leen named one and the same job, {job_id}, for several batches, so that it proves nothing"
            self._note([*self.jobs.pop(job_id, []), *ids], Outcome("unknown", reason))
            return []
        self._job_ids.add(job_id)
        self.jobs[job_id] = ids
        self._note(ids, Outcome("unknown", f"the task ended before its job {job_id}"))
        return []

    def _isolate(self, ids: list[str], isolation: Isolation, error: LeenResponseError) -> list[list[str]]:
        self._note(ids, Outcome("unsent", str(error)))
        rejected, rest = take_apart(ids, isolation, error, field="ticket_ids")
        self.outcomes |= {ticket_id: Outcome("rejected", reason) for ticket_id, reason in rejected}
        if isolation.request_is_wrong(self._refusals):
            raise wrong_request(error)
        return rest

    def _note_failure(self, ids: list[str], error: LeenError) -> None:
        """Note what a failed submission did; raise when nothing more is to be sent."""
        if effect_of_write(error) is not Effect.UNKNOWN:
            self._note(ids, Outcome("unsent", str(error)))
            raise error
        self._note(ids, Outcome("unknown", str(error)))
        self._unanswered += 1
        if self._unanswered >= BROKEN_AFTER:
            raise leen_is_broken(error)

    def _log_batch(self, number: int, batches: int, isolation: Isolation) -> None:
        tickets = set(isolation.batch)
        jobs = [job_id for job_id, ids in self.jobs.items() if ids[0] in tickets]
        said = batch_said((self.outcomes[ticket_id].status for ticket_id in isolation.batch), isolation.submitted)
        named = f": {', '.join(jobs[:MAX_NAMED_JOBS])}{', …' if len(jobs) > MAX_NAMED_JOBS else ''}" if jobs else ""
        seconds = time.monotonic() - isolation.started_at
        log.info("Batch %d of %d: %s (%.1f s)%s", number, batches, said, seconds, named)

    def _note(self, ids: Sequence[str], outcome: Outcome) -> None:
        self.outcomes |= dict.fromkeys(ids, outcome)
