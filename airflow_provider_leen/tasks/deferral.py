"""How a task frees its worker while Leen's jobs run: until when, and how what it knows comes back.

What the next process needs goes in by the trigger's arguments and comes back in its event: where the task is in its
ledger, or, of one without a durable ledger, an outline of what it knows. Airflow drops what else a deferral hands over
in ``dag.test()``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from airflow_provider_leen.api.errors import LeenOutcomeUnknownError

LEFT_FOR_THE_END = 60.0
"""Seconds of its time, at the most, that a deferred task keeps for collecting and publishing."""

NOTHING_TWICE = "A retry asks for them again and submits nothing twice."

_STATUSES = ("done", "timeout", "error")


class Resumed(NamedTuple):
    """What a trigger's event says.

    :param status: ``done``, ``timeout`` or ``error``.
    :param message: why the triggerer could not ask, where it could not.
    :param carried: what the task knew before it waited.
    """

    status: str
    message: str | None
    carried: Any


def read_event(event: Any, read_carried: Callable[[Any], Any], *, retry: str = NOTHING_TWICE) -> Resumed:
    """Return what a trigger's event says, if it is one.

    :param event: what the trigger sent.
    :param read_carried: reads what the task knew; an error of its means that it can't be understood.
    :param retry: what a retry of the task does, for a person.
    :raises LeenOutcomeUnknownError: it can't be understood, and must not pass for success.
    """
    try:
        if event["status"] in _STATUSES:
            return Resumed(event["status"], event.get("message"), read_carried(event["carried"]))
    except (KeyError, TypeError, ValueError, AttributeError):
        pass
    raise LeenOutcomeUnknownError(
        f"The trigger that waited for Leen's jobs sent no usable event ({event!r:.200}). The jobs go on at Leen. "
        f"{retry}",
        can_be_settled=True,
    )


def waiting_ends_at(started: datetime | None, execution_timeout: timedelta | None) -> float | None:
    """Say until when a task may wait: somewhat before its time is over, so that it can still publish what it knows.

    Airflow's own end of a deferred task, where it has one (2.11), calls no method of the operator.

    :param started: when this try began, before any wait; None where Airflow doesn't say: now.
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
    """Say why jobs that go on are not waited for any longer; None when they are.

    :param resumed: what the trigger's event says.
    :param jobs: the jobs that go on.
    :param unknown: the identifiers of the tickets whose outcome is unknown.
    :param execution_timeout: the task's.
    :param retry: what a retry of the task does, for a person.
    """
    if resumed.status == "done":
        return None
    if resumed.status == "timeout":
        return waited_too_long(jobs, execution_timeout, retry)
    return LeenOutcomeUnknownError(
        f"{len(jobs)} of Leen's jobs had not ended when the triggerer could not ask for them any more "
        f"({resumed.message}): {_listed(jobs)}. {retry}",
        identifiers=list(unknown),
        can_be_settled=True,
    )


def waited_too_long(jobs: Sequence[str], execution_timeout: timedelta | None, retry: str) -> BaseException:
    """Return the error of a task whose time is over before its jobs have ended."""
    from airflow.providers.common.compat.sdk import AirflowTaskTimeout

    return AirflowTaskTimeout(
        f"{len(jobs)} of Leen's jobs had not ended when the task's execution_timeout of {execution_timeout} was "
        f"about over: {_listed(jobs)}. {retry}"
    )


def _listed(jobs: Sequence[str]) -> str:
    return f"{', '.join(jobs[:20])}{', …' if len(jobs) > 20 else ''}"
