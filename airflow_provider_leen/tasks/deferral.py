"""How a task frees its worker while Leen's jobs run: until when, and how its state crosses the deferral.

The state goes in by the trigger's arguments and comes back in its event: the task's position in its ledger, or, without
a durable ledger, an outline of the tickets. In ``dag.test()``, Airflow drops everything else that a deferral passes on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from airflow_provider_leen.api.errors import LeenOutcomeUnknownError

LEFT_FOR_THE_END = 60.0
"""The most seconds of its time that a deferred task reserves for collecting and publishing."""

NOTHING_TWICE = "A retry polls them again and submits nothing twice."

_STATUSES = ("done", "timeout", "error")


class Resumed(NamedTuple):
    """The content of a trigger's event.

    :param status: ``done``, ``timeout`` or ``error``.
    :param message: why the trigger could not poll, if it could not.
    :param carried: the task's state before it waited.
    """

    status: str
    message: str | None
    carried: Any


def read_event(event: Any, read_carried: Callable[[Any], Any], *, retry: str = NOTHING_TWICE) -> Resumed:
    """Read a trigger's event.

    :param event: what the trigger sent.
    :param read_carried: reads the task's state; if it raises, the state is unreadable.
    :param retry: what a retry of the task does, for a person.
    :raises LeenOutcomeUnknownError: the event is unreadable, and must not pass for success.
    """
    try:
        if event["status"] in _STATUSES:
            return Resumed(event["status"], event.get("message"), read_carried(event["carried"]))
    except (KeyError, TypeError, ValueError, AttributeError):
        pass
    raise LeenOutcomeUnknownError(
        f"The trigger that waited for Leen's jobs sent an unusable event: {event!r:.200}. The jobs keep running at "
        f"Leen. {retry}",
        can_be_settled=True,
    )


def waiting_ends_at(started: datetime | None, execution_timeout: timedelta | None) -> float | None:
    """Return until when a task may wait: somewhat before its time is over, so that it can still publish its results.

    Airflow's own timeout of a deferred task, in versions that have one (2.11), calls no method of the operator.

    :param started: when this try began, before any wait; None if Airflow doesn't report it: now.
    :return: seconds since the epoch; None for no end.
    """
    if execution_timeout is None:
        return None
    seconds = execution_timeout.total_seconds()
    began = started.timestamp() if started else time.time()
    return began + seconds - min(seconds / 10, LEFT_FOR_THE_END)


def end_of_waiting(
    resumed: Resumed,
    jobs: Sequence[str],
    unknown: Sequence[str],
    execution_timeout: timedelta | None,
    *,
    retry: str = NOTHING_TWICE,
) -> BaseException | None:
    """Return why the task stops waiting for jobs that are still running; None if it doesn't.

    :param resumed: the content of the trigger's event.
    :param jobs: the running jobs.
    :param unknown: the identifiers of the tickets whose outcome is unknown.
    :param execution_timeout: the task's.
    :param retry: what a retry of the task does, for a person.
    """
    if resumed.status == "done":
        return None
    if resumed.status == "timeout":
        return waited_too_long(jobs, execution_timeout, retry)
    return LeenOutcomeUnknownError(
        f"{len(jobs)} of Leen's jobs had not ended when the trigger could not poll them any more "
        f"({resumed.message}): {_listed(jobs)}. {retry}",
        identifiers=list(unknown),
        can_be_settled=True,
    )


def waited_too_long(jobs: Sequence[str], execution_timeout: timedelta | None, retry: str) -> BaseException:
    """Return the error of a task whose time is over before its jobs have ended."""
    from airflow.providers.common.compat.sdk import AirflowTaskTimeout

    return AirflowTaskTimeout(
        f"{len(jobs)} of Leen's jobs had not ended shortly before the task's execution_timeout of "
        f"{execution_timeout}: {_listed(jobs)}. {retry}"
    )


def _listed(jobs: Sequence[str]) -> str:
    return f"{', '.join(jobs[:20])}{', …' if len(jobs) > 20 else ''}"
