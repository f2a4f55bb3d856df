"""How a task frees its worker while Leen's jobs run: until when, and how what it knows comes back.

What the next process needs goes in by the trigger's arguments and comes back in its event: where the task is in its
ledger, and for one without a durable ledger what stands in it. Airflow drops what else a deferral hands over in
``dag.test()``.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from airflow_provider_leen.api.errors import LeenOutcomeUnknownError
from airflow_provider_leen.bulk.journal import Place

LEFT_FOR_THE_END = 60.0
"""Seconds of its time, at the most, that a deferred task keeps for collecting and publishing."""

NOTHING_TWICE = "A retry asks for them again and submits nothing twice."

_STATUSES = ("done", "timeout", "error")


class Resumed(NamedTuple):
    """What a trigger's event says.

    :param status: ``done``, ``timeout`` or ``error``.
    :param message: why the triggerer could not ask, where it could not.
    :param place: where the task is in its ledger.
    :param values: what stands in a ledger that is not durable.
    :param may_send_again: whether tickets may be sent again whose outcome is unknown; once in a try is enough.
    """

    status: str
    message: str | None
    place: Place
    values: Mapping[str, Any]
    may_send_again: bool


def carried(place: Place, *, values: Mapping[str, Any] | None = None, may_send_again: bool = True) -> dict[str, Any]:
    """Return what a trigger carries for :func:`read_event`."""
    return {"place": asdict(place), "values": dict(values or {}), "may_send_again": may_send_again}


def read_event(event: Any, *, retry: str = NOTHING_TWICE) -> Resumed:
    """Return what a trigger's event says, if it is one.

    :param event: what the trigger sent.
    :param retry: what a retry of the task does, for a person.
    :raises LeenOutcomeUnknownError: it can't be understood, and must not pass for success.
    """
    try:
        state = event["carried"]
        place = Place(int(state["place"]["lease"]), str(state["place"]["token"]), int(state["place"]["values"]))
        if event["status"] in _STATUSES and isinstance(state["values"], dict):
            return Resumed(
                event["status"], event.get("message"), place, state["values"], state["may_send_again"] is True
            )
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
