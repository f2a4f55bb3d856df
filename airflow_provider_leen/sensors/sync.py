"""The sensor that waits until Leen knows the tickets that were created with vendor ids."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSensorTimeout,
    BaseSensorOperator,
    PokeReturnValue,
)

from airflow_provider_leen.api.errors import (
    LeenConnectError,
    LeenError,
    LeenOutcomeUnknownError,
    LeenRateLimitError,
    LeenServerError,
)

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_leen.bulk.summary import Summary

PASSING = (LeenConnectError, LeenRateLimitError, LeenServerError)
"""What ends by itself: the sensor goes on waiting."""

_SLACK = timedelta(hours=1)
"""How far Leen's clock, or the tracker's, may be behind this machine's."""

_MAX_NAMED = 20


class LeenTicketSyncSensor(BaseSensorOperator):
    """Wait until Leen knows the tickets of a summary that were created with vendor ids.

    Such tickets have no id of Leen's (``ticket_id``) before the connector has synced them from the tracker, which it
    does every few hours (every six in Leen's example for Jira), and only for the projects that it is set up for. The
    tickets are found in Leen's list by the tracker's id. What has a ``ticket_id`` already, and what failed, is not
    waited for. An outage of Leen is waited out.

    :param results: the summary that :class:`LeenBulkCreateTicketsOperator` returned (its ``.output``) in the same Dag
        run; map the sensor where the operator is mapped (templated).
    :param leen_conn_id: the Airflow connection, default ``leen_default`` (templated).
    :param connection_id: the Leen connection ID to use instead of the connection's login (templated).
    :param deferrable: wait in the triggerer, default False; the default ``mode`` holds no worker either.
    :param poke_interval: seconds between two looks, default 1800 (half an hour).
    :param timeout: seconds after which the sensor gives up, default 86400 (a day).
    :param mode: default ``reschedule``, which frees the worker between two looks.
    :return: the summary, with ``ticket_id`` filled in.
    :raises AirflowSensorTimeout: Leen does not know all tickets in time.
    :raises AirflowFailException: from :class:`LeenConfigError`, :class:`LeenAuthError` or :class:`LeenNotFoundError`,
        which waiting can't mend.
    """

    template_fields: Sequence[str] = ("results", "leen_conn_id", "connection_id")

    def __init__(
        self,
        *,
        results: Any,
        leen_conn_id: str = "leen_default",
        connection_id: str | None = None,
        deferrable: bool = False,
        poke_interval: float = 30 * 60,
        timeout: float = 24 * 60 * 60,
        mode: str = "reschedule",
        **kwargs: Any,
    ) -> None:
        super().__init__(poke_interval=poke_interval, timeout=timeout, mode=mode, **kwargs)
        self.results = results
        self.leen_conn_id = leen_conn_id
        self.connection_id = connection_id
        self.deferrable = deferrable

    def poke(self, context: Context) -> PokeReturnValue:
        """Look for the tickets; return the summary when Leen knows all of them."""
        summary, left = self._look(context)
        return PokeReturnValue(is_done=not left, xcom_value=summary)

    def execute(self, context: Context) -> Any:
        """Wait, in the worker or in the triggerer."""
        if not self.deferrable:
            return super().execute(context)
        summary, left = self._look(context)
        if not left:
            return summary
        return self._wait_in_triggerer(context, left, time.time() + self.timeout)

    def execute_complete(self, context: Context, event: Any = None) -> Summary:
        """Go on after the trigger: look once more, and return the summary."""
        status = event.get("status") if isinstance(event, dict) else None
        if status == "error":
            raise AirflowFailException(f"Leen refuses to be asked: {event.get('message')}")
        if status not in ("done", "timeout"):
            raise LeenOutcomeUnknownError(
                f"The trigger that waited for Leen's sync sent no usable event ({event!r:.200}); a retry waits again.",
                can_be_settled=True,
            )
        summary, left = self._look(context)
        if not left:
            return summary
        if status == "timeout":
            raise AirflowSensorTimeout(
                f"{len(left)} tickets were not in Leen within {self.timeout:g} s: {_names(left)}. Does the connector "
                "sync their project?"
            )
        # Leen knew them a moment ago, and can't be asked just now.
        return self._wait_in_triggerer(context, left, event["deadline"])

    def _look(self, context: Context) -> tuple[Summary, list[str]]:
        """Return the summary with the ids that are known by now, and the tickets that Leen does not know yet."""
        from airflow_provider_leen.bulk.sync import fill_in, find_synced, read_one_summary, unsynced
        from airflow_provider_leen.hooks.leen import LeenHook

        try:
            summary = read_one_summary(self.results)
            keys = unsynced(summary)
            if not keys:
                return summary, []
            with LeenHook(self.leen_conn_id, connection_id=self.connection_id) as hook:
                client = hook.get_conn()
                found = client.run(find_synced(client.aio, keys, _since(context)))
        except PASSING as error:
            self.log.warning("Leen can't be asked just now, waiting on: %s", error)
            return summary, keys
        except LeenError as error:
            raise AirflowFailException(str(error)) from error
        left = [key for key in keys if key not in found]
        self.log.info("Leen knows %d of %d tickets.%s", len(found), len(keys), f" Not: {_names(left)}" if left else "")
        return fill_in(summary, found), left

    def _wait_in_triggerer(self, context: Context, keys: list[str], deadline: float) -> NoReturn:
        from airflow_provider_leen.triggers.sync import LeenTicketSyncTrigger

        self.defer(
            trigger=LeenTicketSyncTrigger(
                self.leen_conn_id,
                self.connection_id,
                keys,
                _since(context).timestamp(),
                self.poke_interval,
                deadline,
            ),
            method_name="execute_complete",
        )
        raise AssertionError("defer() raises")


def _since(context: Context) -> datetime:
    """Say since when the tickets may exist: this Dag run's beginning, also when it was cleared and started anew."""
    run = context["dag_run"]
    given = [getattr(run, name, None) for name in ("start_date", "run_after", "logical_date")]
    times: list[datetime] = [time for time in given if time is not None]
    return min(times) - _SLACK


def _names(keys: list[str]) -> str:
    return ", ".join(keys[:_MAX_NAMED]) + (f" and {len(keys) - _MAX_NAMED} more" if len(keys) > _MAX_NAMED else "")
