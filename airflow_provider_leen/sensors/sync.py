"""The sensor that waits until Leen knows the tickets that were created with vendor ids."""

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

    Tickets that were created with vendor ids have none before the connector has synced them from the tracker, which it
    does every few hours (every six in Leen's example for Jira), and only for the projects that it is set up for. They
    are found in Leen's list by the tracker's id. Where that isn't known either, as after a deferred creation whose
    tickets could not be asked for, they are looked up by their ``identifier``. What has a ``ticket_id`` already, and
    what failed, is not waited for. An outage of Leen is waited out.

    ::

        create = LeenBulkCreateTicketsOperator(task_id="create_tickets", tickets=scan())
        LeenTicketSyncSensor(task_id="synced", results=create.output, deferrable=True)

    :param results: the summary that :class:`LeenBulkCreateTicketsOperator` returned (its ``.output``) in the same Dag
        run; map the sensor where the operator is mapped (templated).
    :param leen_conn_id: the Airflow connection, default ``leen_default`` (templated).
    :param connection_id: the Leen connection ID to use instead of the connection's login (templated).
    :param deferrable: wait in the triggerer, default False (templated); the default ``mode`` holds no worker either.
    :param poke_interval: seconds between two looks, default 1800 (half an hour).
    :param timeout: seconds after which the sensor gives up, default 86400 (a day).
    :param mode: default ``reschedule``, which frees the worker between two looks.
    :return: the summary, with ``ticket_id`` filled in, and ``vendor_ticket_id`` where a look-up gave it; where the
        results are in a file (``results_path``), they are filled in there.
    :raises AirflowSensorTimeout: Leen does not know all tickets in time.
    :raises AirflowFailException: from :class:`LeenConfigError`, :class:`LeenAuthError` or :class:`LeenNotFoundError`,
        which waiting cannot fix. With ``soft_fail=True`` the sensor is skipped instead, as on a timeout.
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
        """Look for the tickets; return the summary when Leen knows all of them, else wait.

        A deferrable sensor leaves for the triggerer from here, and not from ``execute``, where Airflow's ``soft_fail``
        and ``never_fail`` would not see what goes wrong at the first look.
        """
        summary, left = self._look(context)
        if left and self.deferrable:
            self._wait_in_triggerer(context, left, time.time() + self.timeout)
        return PokeReturnValue(is_done=not left, xcom_value=summary if left else _written(summary))

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
            return _written(summary)
        if status == "timeout":
            raise AirflowSensorTimeout(
                f"Leen did not know {counted(len(left), 'ticket')} within {self.timeout:g} s: {_names(left)}. Does the "
                "connector sync the project?"
            )
        # The trigger found them, and Leen cannot be asked just now.
        return self._wait_in_triggerer(context, left, event["deadline"])

    def _look(self, context: Context) -> tuple[Summary, Awaited]:
        """Return the summary with the ids that are known by now, and the tickets that Leen does not know yet."""
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
            self.log.warning("Leen can't be asked just now, waiting on: %s", error)
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
    """Return what goes into XCom; results that came from a file go back there, with their ids."""
    from airflow_provider_leen.tasks.files import results_written

    return results_written(summary)


def _begin(context: Context) -> datetime:
    """Return since when this Dag run's tickets may exist. Clearing a run moves its start, hence the other dates."""
    run = context["dag_run"]
    # Airflow 2 has no run_after.
    given = [getattr(run, name, None) for name in ("start_date", "run_after", "data_interval_end")]
    times: list[datetime] = [time for time in given if time is not None]
    return min(times)


def _names(awaited: Awaited) -> str:
    names = awaited.names
    return ", ".join(names[:_MAX_NAMED]) + (f" and {len(names) - _MAX_NAMED} more" if len(names) > _MAX_NAMED else "")
