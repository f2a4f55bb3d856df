"""The trigger that waits until a sync has brought tickets into Leen."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_leen.api.errors import LeenError
from airflow_provider_leen.bulk.sync import find_synced
from airflow_provider_leen.hooks.leen import LeenAsyncHook
from airflow_provider_leen.sensors.sync import PASSING

log = logging.getLogger(__name__)


class LeenTicketSyncTrigger(BaseTrigger):
    """Wait until Leen knows tickets. It only asks (``GET /itsm/tickets``).

    :param leen_conn_id: the Airflow connection.
    :param connection_id: the Leen connection ID to use instead of the connection's login.
    :param vendor_ticket_ids: the tickets, by the tracker's ids.
    :param since: none of them was created before, in seconds since the epoch.
    :param poll_interval: seconds between two looks.
    :param deadline: when to stop waiting, in seconds since the epoch.
    :return: an event with ``status``: ``done`` (Leen knows them all), ``timeout`` (the deadline came first) or
        ``error`` (Leen refuses to be asked; ``message`` says why), and the ``deadline``. The ids are not in it: the
        sensor asks Leen.
    """

    def __init__(
        self,
        leen_conn_id: str,
        connection_id: str | None,
        vendor_ticket_ids: Sequence[str],
        since: float,
        poll_interval: float,
        deadline: float,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.leen_conn_id = leen_conn_id
        self.connection_id = connection_id
        self.vendor_ticket_ids = list(vendor_ticket_ids)
        self.since = since
        self.poll_interval = poll_interval
        self.deadline = deadline

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what another triggerer needs to make this trigger again."""
        return (
            "airflow_provider_leen.triggers.sync.LeenTicketSyncTrigger",
            {
                "leen_conn_id": self.leen_conn_id,
                "connection_id": self.connection_id,
                "vendor_ticket_ids": self.vendor_ticket_ids,
                "since": self.since,
                "poll_interval": self.poll_interval,
                "deadline": self.deadline,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look until Leen knows all tickets or the deadline has come."""
        try:
            status = await self._wait()
        except LeenError as error:
            event = TriggerEvent({"status": "error", "message": str(error)})
        else:
            event = TriggerEvent({"status": status, "deadline": self.deadline})
        yield event

    async def _wait(self) -> str:
        since = datetime.fromtimestamp(self.since, UTC)
        async with LeenAsyncHook(self.leen_conn_id, connection_id=self.connection_id) as hook:
            client = await hook.get_async_conn()
            while True:
                left = self.deadline - time.time()
                if left <= 0:
                    return "timeout"
                await asyncio.sleep(min(self.poll_interval, left))
                try:
                    found = await find_synced(client, self.vendor_ticket_ids, since)
                except PASSING as error:
                    log.warning("Leen can't be asked just now, waiting on: %s", error)
                    continue
                log.info("Leen knows %d of %d tickets.", len(found), len(self.vendor_ticket_ids))
                if len(found) == len(set(self.vendor_ticket_ids)):
                    return "done"
