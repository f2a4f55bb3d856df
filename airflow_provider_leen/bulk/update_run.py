"""Changes tickets alike: submits jobs, takes a refused one apart, and asks what became of them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from threading import Event

from airflow_provider_leen.api.errors import (
    PASSING,
    LeenError,
    LeenNotFoundError,
    LeenStoppedError,
    LeenValidationError,
)
from airflow_provider_leen.api.jobs import has_ended
from airflow_provider_leen.api.retry import Effect, effect_of_write, is_unknown_to_leen
from airflow_provider_leen.api.sync_client import LeenClient
from airflow_provider_leen.bulk.isolation import Isolation, take_apart, wrong_request
from airflow_provider_leen.bulk.sender import BROKEN_AFTER, leen_is_broken
from airflow_provider_leen.bulk.summary import counted
from airflow_provider_leen.bulk.updates import Outcome, outcomes_of

log = logging.getLogger(__name__)


class UpdateRun:
    """Changes many tickets alike.

    What is known is in its attributes at any time, also when an exception gets in between.

    :param client: the API.
    :param stop: ends the sending and the waiting when it is set, from outside.
    :param outcomes: by ticket id, what became of it so far.
    :param jobs: by job id, the tickets of the jobs that go on.
    """

    def __init__(
        self,
        client: LeenClient,
        stop: Event,
        outcomes: Mapping[str, Outcome] | None = None,
        jobs: Mapping[str, list[str]] | None = None,
    ) -> None:
        self.outcomes = dict(outcomes or {})
        self.jobs = dict(jobs or {})
        self.halted: LeenError | None = None
        self._client = client
        self._stop = stop
        self._refusals: list[str] = []
        self._unanswered = 0

    @property
    def unknown(self) -> list[str]:
        """The tickets of which nobody knows whether they were changed."""
        return [ticket_id for ticket_id, outcome in self.outcomes.items() if outcome.status == "unknown"]

    def submit(self, batches: Iterable[list[str]], updates: Mapping[str, str]) -> None:
        """Submit a job for each batch. On return each ticket has an outcome, or was not sent because of ``halted``."""
        try:
            for batch in batches:
                isolation = Isolation(batch, started_at=time.monotonic())
                parts = [batch]
                while parts:
                    parts += self._submit(parts.pop(), updates, isolation)
                self._refusals = isolation.last_refusals(self._refusals)
        except LeenError as error:
            self.halted = error

    def ask(self) -> None:
        """Ask for each job once, and note what became of its tickets.

        :raises LeenError: Leen refuses to be asked.
        """
        for job_id, ids in list(self.jobs.items()):
            try:
                job = self._client.get_job(job_id)
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

    def wait(self, poll_interval: float, on_progress: Callable[[], None]) -> None:
        """Ask for the jobs until all have ended.

        :param poll_interval: seconds between two rounds.
        :param on_progress: is called after each round.
        :raises LeenError: Leen refuses to be asked, or the task was stopped.
        """
        while self.jobs:
            self.ask()
            on_progress()
            if self.jobs and self._stop.wait(poll_interval):
                raise LeenStoppedError("The task was stopped from outside before all of its jobs had ended.")

    def _submit(self, ids: list[str], updates: Mapping[str, str], isolation: Isolation) -> list[list[str]]:
        """Submit one job; return what has to be submitted again, the last one first."""
        if self._stop.is_set():
            raise LeenStoppedError("The task was stopped from outside before all tickets were sent.")
        # Before the request: a timeout may strike in the middle of it.
        self._note(ids, Outcome("unknown", "the task ended while it was being sent"))
        try:
            job_id = self._client.submit_bulk_update(ids, updates)
        except LeenValidationError as error:
            return self._isolate(ids, isolation, error)
        except LeenError as error:
            self._note_failure(ids, error)
            return []
        isolation.accepted = True
        self._unanswered = 0
        self.jobs[job_id] = ids
        self._note(ids, Outcome("unknown", f"the task ended before its job {job_id}"))
        log.info("Job %s changes %s.", job_id, counted(len(ids), "ticket"))
        return []

    def _isolate(self, ids: list[str], isolation: Isolation, error: LeenValidationError) -> list[list[str]]:
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

    def _note(self, ids: Sequence[str], outcome: Outcome) -> None:
        self.outcomes |= dict.fromkeys(ids, outcome)
