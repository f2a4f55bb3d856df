"""The trigger that waits for Leen's jobs without holding a worker."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_leen.api.errors import PASSING, LeenConnectError, LeenError, LeenNotFoundError
from airflow_provider_leen.api.jobs import has_ended
from airflow_provider_leen.api.retry import is_unknown_to_leen
from airflow_provider_leen.bulk.log_lines import Thinned
from airflow_provider_leen.bulk.summary import counted
from airflow_provider_leen.hooks.leen import LeenAsyncHook

__all__ = ["LeenJobsTrigger"]

log = logging.getLogger(__name__)

ASKED_AT_ONCE = 8

SIGNS_EVERY = 60.0
"""Seconds between two renewals of a register's lease."""

_PASSING_STATUSES = (200, 408, 425)
"""Statuses that say nothing about a job: asking again later may help."""


class LeenJobsTrigger(BaseTrigger):
    """Wait until jobs have ended. It only asks (``GET /jobs/{job_id}``): running twice, it creates nothing twice.

    :param leen_conn_id: the Airflow connection.
    :param connection_id: the Leen connection ID to use instead of the connection's login.
    :param job_ids: the jobs.
    :param poll_interval: seconds between two polls.
    :param deadline: when to stop waiting, in seconds since the epoch; None to wait without end.
    :param carried: what the waiting task needs to continue, in plain JSON types; it comes back in the event.
    :param register: the folder of the register's scope whose lease the task holds: the trigger renews it, and writes
        nothing else.
    :return: an event with ``carried`` and ``status``: ``done`` (all jobs have ended, or Leen no longer knows them),
        ``timeout`` (the deadline came first) or ``error`` (Leen refuses the requests; ``message`` says why). It does
        not say what the jobs did: the task asks Leen.
    """

    def __init__(
        self,
        leen_conn_id: str,
        connection_id: str | None,
        job_ids: Sequence[str],
        poll_interval: float,
        deadline: float | None,
        carried: dict[str, Any],
        register: str | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.leen_conn_id = leen_conn_id
        self.connection_id = connection_id
        self.job_ids = list(job_ids)
        self.poll_interval = poll_interval
        self.deadline = deadline
        self.carried = carried
        self.register = register
        self._failures = Thinned()

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what a triggerer needs to recreate this trigger."""
        return (
            "airflow_provider_leen.triggers.leen.LeenJobsTrigger",
            {
                "leen_conn_id": self.leen_conn_id,
                "connection_id": self.connection_id,
                "job_ids": self.job_ids,
                "poll_interval": self.poll_interval,
                "deadline": self.deadline,
                "carried": self.carried,
                "register": self.register,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Poll until all jobs have ended or the deadline has come."""
        signing = None if self.register is None else asyncio.create_task(self._sign())
        seconds = None if self.deadline is None else self.deadline - time.time()
        try:
            # Around everything: one unanswered request may take longer than the time left.
            async with asyncio.timeout(seconds) as limit:
                await self._wait()
        except TimeoutError:
            if not limit.expired():
                raise
            event = {"status": "timeout"}
        except LeenError as error:
            event = {"status": "error", "message": str(error)}
        else:
            event = {"status": "done"}
        finally:
            if signing is not None:
                signing.cancel()
        yield TriggerEvent(event | {"carried": self.carried})

    async def _sign(self) -> None:
        place = self.carried["place"]
        while True:
            await asyncio.to_thread(sign_lease, str(self.register), place["lease"], place["token"])
            await asyncio.sleep(SIGNS_EVERY)

    async def _wait(self) -> None:
        waiting, progress = self.job_ids, Thinned()
        async with LeenAsyncHook(self.leen_conn_id, connection_id=self.connection_id) as hook:
            while waiting:
                answers = await self._ask(hook, waiting)
                left = [job_id for job_id in waiting if job_id in answers]
                if len(left) < len(waiting) and (progress.is_due() or not left):
                    log.info("%d of %s have ended.", len(self.job_ids) - len(left), counted(len(self.job_ids), "job"))
                waiting = left
                if waiting:
                    await asyncio.sleep(max(self.poll_interval, *answers.values()))

    async def _ask(self, hook: LeenAsyncHook, job_ids: Sequence[str]) -> dict[str, float]:
        """Ask for each job once.

        :return: for each job that may still be running, how many seconds Leen asked to wait.
        :raises LeenError: Leen refuses the requests.
        """
        at_once = asyncio.Semaphore(ASKED_AT_ONCE)
        going_on: dict[str, float] = {}

        async def ask(job_id: str) -> None:
            async with at_once:
                try:
                    job = await hook.get_job(job_id)
                except LeenError as error:
                    if _ends_the_waiting(error):
                        return
                    if not isinstance(error, PASSING) and getattr(error, "status", None) not in _PASSING_STATUSES:
                        raise
                    if self._failures.is_due():
                        log.warning("Could not get job %s; retrying later: %s", job_id, error)
                    going_on[job_id] = getattr(error, "retry_after", None) or 0.0
                else:
                    if not has_ended(job):
                        going_on[job_id] = 0.0

        answers = await asyncio.gather(*map(ask, job_ids), return_exceptions=True)
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
        return going_on


def _ends_the_waiting(error: LeenError) -> bool:
    """Return whether waiting is pointless: Leen does not know the job, or its reply can't be read.

    The task then looks its tickets up. The client has already retried an unreadable reply several times.
    """
    if isinstance(error, LeenConnectError):
        return error.unreadable
    return isinstance(error, LeenNotFoundError) and is_unknown_to_leen(error)


def sign_lease(folder: str, number: int, token: str) -> None:
    """Renew the lease of a task that waits for its jobs; failures are logged only.

    :param folder: of the scope of the register.
    :param number: the lease's.
    :param token: the lease's.
    """
    from airflow.providers.common.compat.sdk import ObjectStoragePath

    from airflow_provider_leen.bulk.register_journal import sign
    from airflow_provider_leen.bulk.register_store import RegisterStore

    try:
        if not sign(RegisterStore(ObjectStoragePath(folder)), number, token, time.time()):
            log.warning("The lease of the register at %s is gone: another run has taken over.", folder)
    except Exception as error:  # each object store has errors of its own
        log.warning("The lease of the register at %s could not be renewed; retrying: %s", folder, error)
