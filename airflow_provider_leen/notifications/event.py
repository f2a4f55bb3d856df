"""What happened in Airflow, read from a callback's context, and the texts of the ticket about it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from airflow_provider_leen.api.text import MAX_DESCRIPTION, MAX_NAME, clean, cut, shorten

_MAX_ERROR = 2000

Outcome = Literal["failed", "up_for_retry", "success", "skipped", "running"]
"""Named after Airflow's states."""

_SAID: dict[Outcome, str] = {
    "failed": "failed",
    "up_for_retry": "failed and will be retried",
    "success": "succeeded",
    "skipped": "was skipped",
    "running": "has started",
}


@dataclass(frozen=True)
class Event:
    """What happened to a task or a Dag run, or a deadline that was missed.

    :param kind: which of the three.
    :param dag_id: the Dag.
    :param task_id: the task; None for a Dag run and a deadline.
    :param run_id: the Dag run.
    :param map_index: the mapped instance, None if the task is not mapped.
    :param try_number: which try it was, from 1.
    :param max_tries: how many tries the task has.
    :param deadline: when it should have been done.
    :param error: the error, as Airflow or the exception words it.
    :param log_url: the URL of the log; for a Dag run, of its last task's.
    :param outcome: what happened to the task or the Dag run.
    """

    kind: Literal["task", "dag", "deadline"]
    dag_id: str
    task_id: str | None = None
    run_id: str | None = None
    map_index: int | None = None
    try_number: int | None = None
    max_tries: int | None = None
    deadline: str | None = None
    error: str | None = None
    log_url: str | None = None
    outcome: Outcome = "failed"

    def __str__(self) -> str:
        said = "missed a deadline" if self.kind == "deadline" else _SAID[self.outcome]
        return (
            f"task {self.task_id} of Dag {self.dag_id} {said}" if self.kind == "task" else f"Dag {self.dag_id} {said}"
        )


def read_context(context: Mapping[str, Any]) -> Event:
    """Read a callback's context: a task's, a Dag's, or the short one of a deadline."""
    ti, dag, run = context.get("ti"), context.get("dag"), context.get("dag_run")
    # A deadline's Dag run is a plain mapping.
    fields: Mapping[str, Any] = run if isinstance(run, Mapping) else {}
    dag_id = getattr(dag, "dag_id", None) or getattr(ti, "dag_id", None) or fields.get("dag_id") or "(unknown)"
    run_id = context.get("run_id") or getattr(ti, "run_id", None) or fields.get("dag_run_id")
    if "deadline" in context or "slas" in context:
        deadline = context.get("deadline")
        missed = deadline.get("deadline_time") if isinstance(deadline, Mapping) else None
        return Event("deadline", dag_id, run_id=run_id, deadline=str(missed) if missed else None)
    log_url = getattr(ti, "log_url", None)
    # Airflow also passes the run's last task to the callback of a Dag.
    if ti is None or ("reason" in context and not context.get("exception")):
        reason = context.get("reason")
        if reason == "success":
            return Event("dag", dag_id, run_id=run_id, log_url=log_url, outcome="success")
        return Event("dag", dag_id, run_id=run_id, error=_text(reason), log_url=log_url)
    max_tries = getattr(ti, "max_tries", None)
    map_index = getattr(ti, "map_index", None)
    return Event(
        "task",
        dag_id,
        task_id=ti.task_id,
        run_id=run_id,
        map_index=map_index if map_index is not None and map_index >= 0 else None,
        try_number=ti.try_number,
        max_tries=max_tries + 1 if isinstance(max_tries, int) else None,
        error=_text(context.get("exception")),
        log_url=log_url,
        outcome=_outcome_of_task(ti, context.get("exception")),
    )


def _outcome_of_task(ti: Any, exception: Any) -> Outcome:
    """Return which callback this is. Airflow does not pass that; the task's state shows it.

    Without a state it is a failure callback, or, below Airflow 3.3, the callback of a task that starts: only that one
    has a start date, since the process is still alive.
    """
    state = getattr(ti, "state", None)
    state = str(getattr(state, "value", state) or "")
    if exception is not None:
        return "up_for_retry" if state == "up_for_retry" else "skipped" if state == "skipped" else "failed"
    # In Airflow 2, ``dag.test()`` starts tasks from the state "scheduled".
    if state in ("running", "queued", "scheduled") or (not state and getattr(ti, "start_date", None) is not None):
        return "running"
    known: tuple[Outcome, ...] = get_args(Outcome)
    return next((outcome for outcome in known if outcome == state), "failed")


def title(event: Event) -> str:
    """Return the default title: the same for every failure of one task, since they share a ticket."""
    return fitting_title(f"Airflow: {event}")


def fitting_title(text: str) -> str:
    """Make a text fit for a title: one line, cut to what Jira takes."""
    return cut(" ".join(clean(text).split()), MAX_NAME)


def fitting_description(text: str, notes: Iterable[str]) -> str:
    """Make a text fit for a description, with each note as a paragraph at its end."""
    end = clean("".join(f"\n\n{note}" for note in notes))
    return cut(clean(text), MAX_DESCRIPTION - len(end.encode("utf-16-le")) // 2) + end


def description(event: Event) -> str:
    """Return the default description, in Markdown."""
    facts = [("Dag", event.dag_id), ("Task", event.task_id), ("Map index", event.map_index)]
    facts += [("Run", event.run_id), ("Try", _tries(event)), ("Deadline", event.deadline)]
    lines = [f"- {name}: `{value}`" for name, value in facts if value is not None]
    if event.log_url:
        lines.append(f"- Log: {event.log_url}")
    parts = [f"**{str(event)[0].upper()}{str(event)[1:]}.**", "\n".join(lines)]
    if event.error:
        parts.append(_fenced(event.error))
    parts.append("While this ticket is open, no other is created for the same Dag and task.")
    return "\n\n".join(parts)


def identifier(event: Event) -> str:
    """Return the default identifier: one for each Dag and task, so that not every failure makes a ticket."""
    # All failures of a task share one; a success has another.
    failed = event.outcome in ("failed", "up_for_retry")
    kind = "deadline" if event.kind == "deadline" else "failure" if failed else event.outcome
    names = json.dumps([event.dag_id, event.task_id, kind])
    return f"airflow-alert-{hashlib.sha256(names.encode()).hexdigest()[:24]}"


def _tries(event: Event) -> str | None:
    if event.try_number is None or event.max_tries is None:
        return None if event.try_number is None else str(event.try_number)
    return f"{event.try_number} of {event.max_tries}"


def _text(error: Any) -> str | None:
    if error is None:
        return None
    text = f"{type(error).__name__}: {error}" if isinstance(error, BaseException) else str(error)
    return shorten(text, _MAX_ERROR)


def _fenced(text: str) -> str:
    # Longer than any run of backticks in the text, which could otherwise end the block.
    fence = "`" * (1 + max([2, *map(len, re.findall("`+", text))]))
    return f"{fence}\n{text}\n{fence}"
