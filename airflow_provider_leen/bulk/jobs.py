"""Asks for the jobs that were submitted, and states what they prove of each ticket."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from airflow_provider_leen.api import jobs
from airflow_provider_leen.api.client import AsyncLeenClient
from airflow_provider_leen.api.errors import PASSING, LeenConnectError, LeenNotFoundError
from airflow_provider_leen.api.models import Job
from airflow_provider_leen.api.results import Claim
from airflow_provider_leen.api.retry import is_unknown_to_leen
from airflow_provider_leen.bulk.asking import ask_all
from airflow_provider_leen.bulk.ledger import Ledger
from airflow_provider_leen.bulk.work import note_unknown


class JobCollector:
    """Turns jobs into facts.

    :param client: the API.
    :param ledger: the facts of this try.
    :param results_of: reads what a job that has ended proves of each ticket.
    :param name_of: returns what a result calls the ticket of a key: its identifier, or its id.
    :param succeeded: states that tickets, by key, were created or changed as a job says.
    :param goes_on: whether a job that can't be asked for just now leaves the others to be asked for.
    """

    def __init__(
        self,
        client: AsyncLeenClient,
        ledger: Ledger,
        results_of: Callable[[Job, list[Any]], list[Claim]],
        name_of: Callable[[str], str | None],
        succeeded: Callable[[Mapping[str, Claim]], None],
        *,
        goes_on: bool = False,
    ) -> None:
        self._client = client
        self._ledger = ledger
        self._results_of = results_of
        self._name_of = name_of
        self._succeeded = succeeded
        self._goes_on = goes_on
        self.gone: set[str] = set()
        """The jobs that Leen no longer knows; how long it does is not documented."""

    async def collect(self, submitted: Mapping[str, list[str]]) -> None:
        """Ask for jobs, eight at a time, and state what they prove.

        :param submitted: by job id, the keys of its tickets.
        :raises LeenError: a job can't be asked for.
        """
        await ask_all(lambda job_id: self._ask(job_id, submitted[job_id]), submitted)

    async def _ask(self, job_id: str, keys: list[str]) -> None:
        table = self._ledger.table
        try:
            job = await self._client.get_job(job_id)
        except LeenNotFoundError as error:
            if not is_unknown_to_leen(error):
                raise
            self.gone.add(job_id)
            table.unknown(keys, f"Leen no longer knows job {job_id}, in which it was submitted.")
            return
        except PASSING as error:
            if isinstance(error, LeenConnectError) and error.unreadable:
                # Asked several times by now: such a job might be waited for without end.
                self.gone.add(job_id)
            elif not self._goes_on:
                raise
            table.unknown(keys, f"Its job {job_id} could not be asked for: {error}")
            return
        if jobs.has_ended(job):
            self._note(job_id, job, keys)
        else:
            table.unknown(keys, f"It was submitted in job {job_id}, which has not ended (status {job.status}).")

    def _note(self, job_id: str, job: Job, keys: list[str]) -> None:
        """State what a job that has ended proves of its tickets."""
        table = self._ledger.table
        claims = dict(zip(keys, self._results_of(job, [self._name_of(key) for key in keys]), strict=True))
        by_status: dict[str, dict[str, Claim]] = {"succeeded": {}, "rejected": {}, "unknown": {}}
        for key, claim in claims.items():
            by_status[claim.status][key] = claim
        self._succeeded(by_status["succeeded"])
        table.refused({key: str(claim.error) for key, claim in by_status["rejected"].items()}, job_id)
        now = self._ledger.now()
        note_unknown(table, by_status["unknown"], now, before=f"Job {job_id} ended with {jobs.describe(job)}. ")
        # It may have created a ticket just before it ended, whenever that was: time counts from now.
        table.job_ended(list(by_status["unknown"]), job_id, now, self._ledger.host)
