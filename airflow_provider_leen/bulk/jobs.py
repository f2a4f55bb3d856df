"""Collects submitted jobs, and records what they prove about each ticket."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_leen.api import jobs
from airflow_provider_leen.api.errors import PASSING, LeenConnectError, LeenNotFoundError
from airflow_provider_leen.api.retry import is_unknown_to_leen
from airflow_provider_leen.bulk.asking import ask_all
from airflow_provider_leen.bulk.work import Work


class JobCollector:
    """Turns jobs into facts.

    :param work: the work that submitted them.
    :param goes_on: whether to continue with the other jobs if one can't be fetched.
    """

    def __init__(self, work: Work[Any], *, goes_on: bool = False) -> None:
        self._work = work
        self._goes_on = goes_on
        self._gone: set[str] = set()
        """The jobs that Leen no longer knows; it does not document how long it keeps them."""

    def under_way(self) -> dict[str, list[str]]:
        """Return the jobs that may still be running, with the keys of their tickets."""
        return {job: keys for job, keys in self._work.table.open_jobs().items() if job not in self._gone}

    async def collect(self, submitted: Mapping[str, list[str]]) -> None:
        """Fetch jobs, eight at a time, and record what they prove.

        :param submitted: by job id, the keys of its tickets.
        :raises LeenError: a job can't be fetched.
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
                # The client has already retried: waiting for such a job might never end.
                self._gone.add(job_id)
            elif not self._goes_on:
                raise
            table.unknown(keys, f"Its job {job_id} could not be read: {error}")
        else:
            if jobs.has_ended(job):
                self._work.job_ended(job_id, keys, self._work.claims_of_job(job, keys), jobs.describe(job))
            else:
                table.unknown(keys, f"It was submitted in job {job_id}, which has not ended (status {job.status}).")
