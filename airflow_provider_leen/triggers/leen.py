"""The trigger that waits for Leen's jobs while no worker is held."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_leen.api.errors import LeenAuthError, LeenConfigError, LeenError, LeenNotFoundError
from airflow_provider_leen.api.jobs import has_ended
from airflow_provider_leen.hooks.leen import LeenAsyncHook

log = logging.getLogger(__name__)

ASKED_AT_ONCE = 8


class LeenJobsTrigger(BaseTrigger):
    """Wait until jobs have ended. It only asks (``GET /jobs/{job_id}``): running twice, it creates nothing twice.

    :param leen_conn_id: the Airflow connection.
    :param connection_id: the Leen connection ID to use instead of the connection's login.
    :param job_ids: the jobs.
    :param poll_interval: seconds between two rounds of asking.
    :param deadline: when to stop waiting, in seconds since the epoch; None to wait without end.
    :return: an event with ``status``: ``done`` (all jobs have ended), ``timeout`` (the deadline came first) or
        ``error`` (Leen refuses to be asked; ``message`` says why). What became of the tickets is not in it: the task
        asks Leen.
    """

    def __init__(
        self,
        leen_conn_id: str,
        connection_id: str | None,
        job_ids: Sequence[str],
        poll_interval: float,
        deadline: float | None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.leen_conn_id = leen_conn_id
        self.connection_id = connection_id
        self.job_ids = list(job_ids)
        self.poll_interval = poll_interval
        self.deadline = deadline

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what another triggerer needs to make this trigger again."""
        return (
            "airflow_provider_leen.triggers.leen.LeenJobsTrigger",
            {
                "leen_conn_id": self.leen_conn_id,
                "connection_id": self.connection_id,
                "job_ids": self.job_ids,
                "poll_interval": self.poll_interval,
                "deadline": self.deadline,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Ask until all jobs have ended or the deadline has come."""
        waiting = list(self.job_ids)
        try:
            async with LeenAsyncHook(self.leen_conn_id, connection_id=self.connection_id) as hook:
                while waiting := await self._still_waiting(hook, waiting):
                    left = float("inf") if self.deadline is None else self.deadline - time.time()
                    if left <= 0:
                        yield TriggerEvent({"status": "timeout", "jobs": waiting})
                        return
                    await asyncio.sleep(min(self.poll_interval, left))
        except (LeenAuthError, LeenConfigError, LeenNotFoundError) as error:
            event = TriggerEvent({"status": "error", "message": str(error)})
        else:
            event = TriggerEvent({"status": "done"})
        yield event

    async def _still_waiting(self, hook: LeenAsyncHook, job_ids: Sequence[str]) -> list[str]:
        at_once = asyncio.Semaphore(ASKED_AT_ONCE)

        async def goes_on(job_id: str) -> bool:
            async with at_once:
                try:
                    return not has_ended(await hook.get_job(job_id))
                except (LeenAuthError, LeenConfigError, LeenNotFoundError):
                    raise
                except LeenError as error:
                    log.warning("Job %s could not be asked for; asking again later: %s", job_id, error)
                    return True

        answers = await asyncio.gather(*(goes_on(job_id) for job_id in job_ids), return_exceptions=True)
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
        left = [job_id for job_id, still in zip(job_ids, answers, strict=True) if still]
        if len(left) < len(job_ids):
            log.info("%d of %d jobs have ended.", len(self.job_ids) - len(left), len(self.job_ids))
        return left
