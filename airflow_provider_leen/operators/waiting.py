"""How a deferred task waits for Leen's jobs: until when, what a trigger's event means, what was known before."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow_provider_leen.api.errors import LeenConfigError, LeenOutcomeUnknownError

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context
LEFT_FOR_THE_END = 60.0
"""Seconds of its time, at the most, that a deferred task keeps for collecting and publishing."""

NOTHING_TWICE = "A retry asks for them again and submits nothing twice."


def waiting_ends_at(started: datetime | None, execution_timeout: timedelta | None) -> float | None:
    """Say until when a task may wait: somewhat before its time is over, so that it can still tell what it knows.

    Airflow's own end of a deferred task, where it has one (2.11), calls no method of the operator.

    :param started: when this try began, before any wait; None where Airflow doesn't say: now.
    :return: seconds since the epoch; None for no end.
    """
    if execution_timeout is None:
        return None
    seconds = execution_timeout.total_seconds()
    began = started.timestamp() if started else time.time()
    return began + seconds - min(seconds / 10, LEFT_FOR_THE_END)


def read_event(event: Any, *, retry: str = NOTHING_TWICE) -> dict[str, Any]:
    """Return a trigger's event, if it is one.

    :param event: what the trigger sent.
    :param retry: what a retry of the task does, for a person.
    :raises LeenOutcomeUnknownError: it says nothing that can be understood, and must not pass for success.
    """
    if isinstance(event, dict) and event.get("status") in ("done", "timeout", "error"):
        return event
    raise LeenOutcomeUnknownError(
        f"The trigger that waited for Leen's jobs sent no usable event ({event!r:.200}). The jobs go on at Leen. "
        f"{retry}",
        can_be_settled=True,
    )


def end_of_waiting(
    event: Mapping[str, Any],
    jobs: Sequence[str],
    unknown: Sequence[str],
    execution_timeout: timedelta | None,
    *,
    retry: str = NOTHING_TWICE,
) -> BaseException | None:
    """Say why jobs that go on are not waited for any longer; None when they are.

    :param event: the trigger's event.
    :param jobs: the jobs that go on.
    :param unknown: the identifiers of the tickets whose outcome isn't known.
    :param execution_timeout: the task's.
    :param retry: what a retry of the task does, for a person.
    """
    if event["status"] == "done":
        return None
    listed = f"{', '.join(jobs[:20])}{', …' if len(jobs) > 20 else ''}"
    if event["status"] == "timeout":
        from airflow.providers.common.compat.sdk import AirflowTaskTimeout

        return AirflowTaskTimeout(
            f"{len(jobs)} of Leen's jobs had not ended when the task's execution_timeout of {execution_timeout} was "
            f"about over: {listed}. {retry}"
        )
    return LeenOutcomeUnknownError(
        f"{len(jobs)} of Leen's jobs had not ended when the triggerer could not ask for them any more "
        f"({event.get('message')}): {listed}. {retry}",
        identifiers=list(unknown),
        can_be_settled=True,
    )


def results_before_waiting(context: Context, *, retry: str = NOTHING_TWICE) -> list[Any]:
    """Return the results that the task pushed before it waited.

    :param context: the task's.
    :param retry: what a retry of the task does, for a person.
    :raises LeenOutcomeUnknownError: they are gone.
    """
    from airflow_provider_leen.bulk.summary import check_summary
    from airflow_provider_leen.operators.files import results_of

    ti = context["ti"]
    map_index = -1 if ti.map_index is None else ti.map_index
    try:
        summary = check_summary(ti.xcom_pull(task_ids=ti.task_id, map_indexes=map_index))
        return list(results_of(summary))
    except LeenConfigError as error:
        problem = str(error)
    raise LeenOutcomeUnknownError(
        f"What this task knew before it waited for Leen's jobs is gone ({problem}). {retry}",
        can_be_settled=True,
    )
