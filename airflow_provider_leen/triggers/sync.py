"""The trigger that waits until Leen has synced tickets."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_leen.api.errors import PASSING, LeenError
from airflow_provider_leen.bulk.summary import counted
from airflow_provider_leen.bulk.sync import Awaited, find_synced
from airflow_provider_leen.hooks.leen import LeenAsyncHook

__all__ = ["LeenTicketSyncTrigger"]

log = logging.getLogger(__name__)


class LeenTicketSyncTrigger(BaseTrigger):
    """Wait until Leen knows tickets. It only reads (``GET /itsm/tickets`` and, by identifier, ``…/by-identifier/…``).

    :param leen_conn_id: the Airflow connection.
    :param connection_id: the Leen connection ID to use instead of the connection's login.
    :param vendor_ticket_ids: tickets, by the tracker's ids.
    :param identifiers: further tickets, by their identifiers.
    :param since: no ticket was created before this time, in seconds since the epoch.
    :param poll_interval: seconds between two checks.
    :param deadline: when to stop waiting, in seconds since the epoch.
    :return: an event with ``status``: ``done`` (Leen knows them all), ``timeout`` (the deadline came first) or
        ``error`` (Leen refuses the requests; ``message`` says why), and the ``deadline``. It does not have the ids: the
        sensor asks Leen.
    """

    def __init__(
        self,
        leen_conn_id: str,
        connection_id: str | None,
        vendor_ticket_ids: Sequence[str],
        identifiers: Sequence[str],
        since: float,
        poll_interval: float,
        deadline: float,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.leen_conn_id = leen_conn_id
        self.connection_id = connection_id
        self.vendor_ticket_ids = list(vendor_ticket_ids)
        self.identifiers = list(identifiers)
        self.since = since
        self.poll_interval = poll_interval
        self.deadline = deadline

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what a triggerer needs to recreate this trigger."""
        return (
            "airflow_provider_leen.triggers.sync.LeenTicketSyncTrigger",
            {
                "leen_conn_id": self.leen_conn_id,
                "connection_id": self.connection_id,
                "vendor_ticket_ids": self.vendor_ticket_ids,
                "identifiers": self.identifiers,
                "since": self.since,
                "poll_interval": self.poll_interval,
                "deadline": self.deadline,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Check until Leen knows all tickets or the deadline has come."""
        event: dict[str, Any] = {"status": "done", "deadline": self.deadline}
        try:
            # Around everything: one unanswered request may take longer than the time left.
            async with asyncio.timeout(self.deadline - time.time()) as limit:
                await self._wait()
        except TimeoutError:
            if not limit.expired():
                raise
            event["status"] = "timeout"
        except LeenError as error:
            event = {"status": "error", "message": str(error)}
        yield TriggerEvent(event)

    async def _wait(self) -> None:
        since = datetime.fromtimestamp(self.since, UTC)
        left = Awaited(self.vendor_ticket_ids, self.identifiers)
        total = len(left)
        async with LeenAsyncHook(self.leen_conn_id, connection_id=self.connection_id) as hook:
            client = await hook.get_async_conn()
            while left:
                await asyncio.sleep(self.poll_interval)
                try:
                    left = left.without(await find_synced(client, left, since))
                except PASSING as error:
                    log.warning("Leen is not available, still waiting: %s", error)
                else:
                    log.info("Leen knows %d of %s.", total - len(left), counted(total, "ticket"))
