"""Asks what became of the jobs that were submitted, and fetches the ids of the tickets that they created."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

from airflow_provider_leen.api import jira, jobs
from airflow_provider_leen.api.client import AsyncLeenClient
from airflow_provider_leen.api.errors import LeenError, LeenNotFoundError
from airflow_provider_leen.api.models import Job
from airflow_provider_leen.api.results import doubted
from airflow_provider_leen.api.retry import is_unknown_to_leen
from airflow_provider_leen.bulk.asking import ask_all
from airflow_provider_leen.bulk.ledger import Created, Journal
from airflow_provider_leen.bulk.lookup import Unsettled, final_after, is_that_of
from airflow_provider_leen.bulk.sender import Outcome, outcome_of, owners_in, still_unknown
from airflow_provider_leen.bulk.settle import FAILURES_BEFORE_GIVING_UP

Submitted = Sequence[Unsettled | None]
"""The tickets of a job, in the order in which they were submitted; None for one that is no longer in the list."""


class JobCollector:
    """Turns ended jobs into outcomes.

    :param client: the API.
    :param journal: the ledger of this try.
    :param outcomes: by the index of a row, what became of it; what jobs tell is noted here.
    """

    def __init__(self, client: AsyncLeenClient, journal: Journal, outcomes: dict[int, Outcome]) -> None:
        self._client = client
        self._journal = journal
        self._outcomes = outcomes
        self._failures = 0
        self._owners = owners_in(outcomes)

    async def collect(self, submitted: Mapping[str, Submitted]) -> dict[str, str]:
        """Ask for jobs, and note what they tell.

        :param submitted: by job id, the job's tickets.
        :return: the jobs that have not ended, with their status.
        :raises LeenError: a job can't be asked for.
        """
        under_way: dict[str, str] = {}
        created: list[Unsettled] = []

        async def ask(job_id: str) -> None:
            job = await self._job(job_id)
            if job is None:
                # How long Leen remembers jobs is not documented.
                self._note_untold(submitted[job_id], f"Leen no longer knows job {job_id}, in which it was submitted.")
            elif jobs.has_ended(job):
                created.extend(self._note(job_id, job, submitted[job_id]))
            else:
                under_way[job_id] = job.status

        await ask_all(ask, submitted)
        await ask_all(self._fetch_ids, created)
        self._journal.learn({str(ticket.row.key): self._ids(ticket) for ticket in created}, [])
        return under_way

    async def _job(self, job_id: str) -> Job | None:
        """Ask for a job; None when Leen itself says that it knows none."""
        try:
            return await self._client.get_job(job_id)
        except LeenNotFoundError as error:
            if is_unknown_to_leen(error):
                return None
            raise

    def _note(self, job_id: str, job: Job, tickets: Submitted) -> list[Unsettled]:
        """Note what a job that has ended proves of its tickets; return those that it created."""
        created: list[Unsettled] = []
        # It may have created a ticket just before it ended, whenever that was: the vendor's search may not know it yet.
        final_from = time.time() + final_after(self._client.settings)
        identifiers = [ticket.row.identifier if ticket is not None else None for ticket in tickets]
        for ticket, claim in zip(tickets, jobs.results_of_create(job, identifiers), strict=True):
            if ticket is None:
                continue
            index, key = ticket.row.index, str(ticket.row.key)
            if self._owners.rivals(index, claim.ticket_id, claim.vendor_ticket_id):
                claim = doubted(claim)
            outcome = outcome_of(claim, (*ticket.sent[:-1], ticket.sent[-1]._replace(final_from=final_from)))
            if outcome.status == "created":
                created.append(ticket)
            elif outcome.status == "rejected":
                self._journal.learn({}, [key])
                if len(ticket.sent) > 1:
                    # Its last sending is settled, but not the ones before it.
                    before = replace(self._outcomes[index], sent=ticket.sent[:-1])
                    outcome = still_unknown(before, outcome)
            else:
                outcome.error = f"Job {job_id} ended with {jobs.describe(job)}. {outcome.error}"
                self._journal.learn({}, [], named={key: outcome.named} if outcome.named else None)
            self._outcomes[index] = outcome
        return created

    def _note_untold(self, tickets: Submitted, reason: str) -> None:
        for ticket in tickets:
            if ticket is not None:
                self._outcomes[ticket.row.index] = Outcome("unknown", error=reason, sent=ticket.sent)

    async def _fetch_ids(self, ticket: Unsettled) -> None:
        """Fetch a created ticket's ids, which a job doesn't tell; without them it is created all the same."""
        if self._failures >= FAILURES_BEFORE_GIVING_UP:
            return
        try:
            known = await self._client.get_ticket_by_identifier(str(ticket.row.identifier))
        except LeenError:
            self._failures += 1
            return
        self._failures = 0
        if known is not None and is_that_of(jira.read_ticket(known), ticket):
            outcome = self._outcomes[ticket.row.index]
            outcome.ticket_id, outcome.vendor_ticket_id = known.id, known.vendor_ticket_id

    def _ids(self, ticket: Unsettled) -> Created:
        outcome = self._outcomes[ticket.row.index]
        return Created(outcome.ticket_id, outcome.vendor_ticket_id)
