"""Asks for the jobs that were submitted, and states what they prove of each ticket."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_leen.api import jobs
from airflow_provider_leen.api.errors import PASSING, LeenConnectError, LeenNotFoundError
from airflow_provider_leen.api.retry import is_unknown_to_leen
from airflow_provider_leen.bulk.asking import ask_all
from airflow_provider_leen.bulk.work import LedgerWork


class JobCollector:
    """Turns jobs into facts.

    :param work: what submitted them.
    :param goes_on: whether a job that can't be asked for just now leaves the others to be asked for.
    """

    def __init__(self, work: LedgerWork[Any], *, goes_on: bool = False) -> None:
        self._work = work
        self._goes_on = goes_on
        self._gone: set[str] = set()
        """The jobs that Leen no longer knows; how long it does is not documented."""

    def under_way(self) -> dict[str, list[str]]:
        """Return the jobs that have not ended, as far as is known, with the keys of their tickets."""
        return {job: keys for job, keys in self._work.table.open_jobs().items() if job not in self._gone}

    async def collect(self, submitted: Mapping[str, list[str]]) -> None:
        """Ask for jobs, eight at a time, and state what they prove.

        :param submitted: by job id, the keys of its tickets.
        :raises LeenError: a job can't be asked for.
        """
        await ask_all(lambda job_id: self._ask(job_id, submitted[job_id]), submitted)

    async def _ask(self, job_id: str, keys: list[str]) -> None:
        table = self._work.table
        try:
            job = await self._work.client.get_job(job_id)
        except LeenNotFoundError as error:
            if not is_unknown_to_leen(error):
                raise
            self._gone.add(job_id)
            table.unknown(keys, f"Leen no longer knows job {job_id}, in which it was submitted.")
        except PASSING as error:
            if isinstance(error, LeenConnectError) and error.unreadable:
                # Asked several times by now: such a job might be waited for without end.
                self._gone.add(job_id)
            elif not self._goes_on:
                raise
            table.unknown(keys, f"Its job {job_id} could not be asked for: {error}")
        else:
            if jobs.has_ended(job):
                self._work.job_ended(job_id, keys, self._work.claims_of_job(job, keys), jobs.describe(job))
            else:
                table.unknown(keys, f"It was submitted in job {job_id}, which has not ended (status {job.status}).")
