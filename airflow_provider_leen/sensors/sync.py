"""The sensor that waits until Leen has synced tickets that were created with vendor ids."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSensorTimeout,
    BaseSensorOperator,
    PokeReturnValue,
)

from airflow_provider_leen.api.errors import PASSING, LeenError, LeenOutcomeUnknownError
from airflow_provider_leen.bulk.summary import counted
from airflow_provider_leen.tasks.arguments import FLAG, Argument, check_literals
from airflow_provider_leen.tasks.templates import RendersOnce

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_leen.bulk.summary import Summary
    from airflow_provider_leen.bulk.sync import Awaited

__all__ = ["LeenTicketSyncSensor"]

_MAX_NAMED = 20


class LeenTicketSyncSensor(RendersOnce, BaseSensorOperator):
    """Wait until Leen knows the tickets of a summary that have no ``ticket_id`` (Leen's own id) yet.

    Tickets that were created with vendor ids have none until the connector syncs them from the tracker. It does so
    every few hours (every six in Leen's example for Jira), and only for the projects that it is set up for. The sensor
    finds them in Leen's list by the tracker's id, or, if that is unknown too (for example after a deferred creation),
    by their ``identifier``. It does not wait for tickets that have a ``ticket_id`` or that failed. It keeps waiting
    during an outage of Leen.

    ::

        create = LeenBulkCreateTicketsOperator(task_id="create_tickets", tickets=scan())
        LeenTicketSyncSensor(task_id="synced", results=create.output, deferrable=True)

    :param results: the summary that :class:`LeenBulkCreateTicketsOperator` returned (its ``.output``) in the same Dag
        run; map the sensor if the operator is mapped (templated).
    :param leen_conn_id: the Airflow connection, default ``leen_default`` (templated).
    :param connection_id: the Leen connection ID to use instead of the connection's login (templated).
    :param deferrable: wait in the triggerer, default False (templated); the default ``mode`` frees the worker, too.
    :param poke_interval: seconds between two checks, default 1800 (half an hour).
    :param timeout: seconds after which the sensor gives up, default 86400 (a day).
    :param mode: default ``reschedule``, which frees the worker between two checks.
    :return: the summary, with ``ticket_id`` filled in, and ``vendor_ticket_id`` if a look-up found it; if the results
        are in a file (``results_path``), they are filled in there.
    :raises AirflowSensorTimeout: Leen has not synced all tickets in time.
    :raises AirflowFailException: from :class:`LeenConfigError`, :class:`LeenAuthError` or :class:`LeenNotFoundError`,
        which waiting can't fix. With ``soft_fail=True`` the sensor is skipped instead, as on a timeout.
    """

    argument_checks: ClassVar[dict[str, Argument]] = {"deferrable": FLAG}
    template_fields: Sequence[str] = ("results", "leen_conn_id", "connection_id", *argument_checks)
    rendered_to_objects: ClassVar[frozenset[str]] = frozenset({"results"})

    def __init__(
        self,
        *,
        results: Any,
        leen_conn_id: str = "leen_default",
        connection_id: str | None = None,
        deferrable: bool | str = False,
        poke_interval: float = 30 * 60,
        timeout: float = 24 * 60 * 60,
        mode: str = "reschedule",
        **kwargs: Any,
    ) -> None:
        super().__init__(poke_interval=poke_interval, timeout=timeout, mode=mode, **kwargs)
        self.results = results
        self.leen_conn_id = leen_conn_id
        self.connection_id = connection_id
        self.deferrable: Any = deferrable
        check_literals(self, self.argument_checks)

    def poke(self, context: Context) -> PokeReturnValue:
        """Look for the tickets; return the summary if Leen knows all of them, else wait.

        A deferrable sensor defers from here rather than from ``execute``, so that Airflow's ``soft_fail`` and
        ``never_fail`` apply to errors of the first check.
        """
        summary, left = self._look(context)
        if left and self.deferrable:
            self._wait_in_triggerer(context, left, time.time() + self.timeout)
        return PokeReturnValue(is_done=not left, xcom_value=summary if left else _written(summary))

    def execute_complete(self, context: Context, event: Any = None) -> Summary:
        """Continue after the trigger: check once more, and return the summary."""
        status = event.get("status") if isinstance(event, dict) else None
        if status == "error":
            raise AirflowFailException(f"Leen refused the request: {event.get('message')}")
        if status not in ("done", "timeout"):
            raise LeenOutcomeUnknownError(
                f"The trigger that waited for Leen's sync sent an unusable event: {event!r:.200}. A retry waits again.",
                can_be_settled=True,
            )
        summary, left = self._look(context)
        if not left:
            return _written(summary)
        if status == "timeout":
            raise AirflowSensorTimeout(
                f"Leen did not know {counted(len(left), 'ticket')} within {self.timeout:g} s: {_names(left)}. Does the "
                "connector sync the project?"
            )
        # The trigger found them, but Leen is not available now.
        return self._wait_in_triggerer(context, left, event["deadline"])

    def _look(self, context: Context) -> tuple[Summary, Awaited]:
        """Return the summary with the ids known so far, and the tickets that Leen does not know yet."""
        from airflow_provider_leen.bulk.sync import fill_in, find_synced, read_one_summary, unsynced
        from airflow_provider_leen.hooks.leen import LeenHook
        from airflow_provider_leen.tasks.files import with_results

        try:
            summary = with_results(read_one_summary(self.results))
            awaited = unsynced(summary)
            if not awaited:
                return summary, awaited
            with LeenHook(self.leen_conn_id, connection_id=self.connection_id) as hook:
                client = hook.get_conn()
                found = client.run(find_synced(client.aio, awaited, _begin(context)))
        except PASSING as error:
            self.log.warning("Leen is not available, still waiting: %s", error)
            return summary, awaited
        except LeenError as error:
            raise AirflowFailException(str(error)) from error
        left = awaited.without(found)
        self.log.info(
            "Leen knows %d of %s.%s",
            len(awaited) - len(left),
            counted(len(awaited), "ticket"),
            f" Not: {_names(left)}" if left else "",
        )
        return fill_in(summary, found), left

    def _wait_in_triggerer(self, context: Context, awaited: Awaited, deadline: float) -> NoReturn:
        from airflow_provider_leen.triggers.sync import LeenTicketSyncTrigger

        self.defer(
            trigger=LeenTicketSyncTrigger(
                self.leen_conn_id,
                self.connection_id,
                awaited.vendor_ticket_ids,
                awaited.identifiers,
                _begin(context).timestamp(),
                self.poke_interval,
                deadline,
            ),
            method_name="execute_complete",
        )
        raise AssertionError("defer() raises")


def _written(summary: Summary) -> Summary:
    """Return the summary for XCom; results that came from a file are written back to it, with their ids."""
    from airflow_provider_leen.tasks.files import results_written

    return results_written(summary)


def _begin(context: Context) -> datetime:
    """Return the earliest time of this Dag run's tickets. Clearing a run moves its start, hence the other dates."""
    run = context["dag_run"]
    # Airflow 2 has no run_after.
    given = [getattr(run, name, None) for name in ("start_date", "run_after", "data_interval_end")]
    times: list[datetime] = [time for time in given if time is not None]
    return min(times)


def _names(awaited: Awaited) -> str:
    names = awaited.names
    return ", ".join(names[:_MAX_NAMED]) + (f" and {len(names) - _MAX_NAMED} more" if len(names) > _MAX_NAMED else "")
