"""What happened in Airflow that somebody should know of, read from a callback's context and put into words."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from airflow_provider_leen.api.text import clean, cut

MAX_TITLE = 255
MAX_DESCRIPTION = 32_767
"""What Jira takes, in UTF-16 code units."""

_MAX_ERROR = 2000

Outcome = Literal["failed", "up_for_retry", "success", "skipped", "running"]
"""By Airflow's names of states."""

_SAID: dict[Outcome, str] = {
    "failed": "failed",
    "up_for_retry": "failed and is tried again",
    "success": "succeeded",
    "skipped": "was skipped",
    "running": "has started",
}


@dataclass(frozen=True)
class Occasion:
    """What happened to a task or a Dag run, or a deadline that was missed.

    :param kind: which of the three.
    :param dag_id: the Dag.
    :param task_id: the task; None for a Dag run and a deadline.
    :param run_id: the Dag run.
    :param map_index: the mapped instance, None where the task is not mapped.
    :param try_number: which try it was, from 1.
    :param max_tries: how many tries the task has.
    :param deadline: when it should have been done.
    :param error: what went wrong, in Airflow's or the exception's words.
    :param log_url: where the log is read; for a Dag run that of its last task.
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


def read_context(context: Mapping[str, Any]) -> Occasion:
    """Read what a callback is given: a task's context, a Dag's, or the little that a deadline comes with."""
    ti, dag, run = context.get("ti"), context.get("dag"), context.get("dag_run")
    # A deadline's Dag run is a plain mapping.
    fields: Mapping[str, Any] = run if isinstance(run, Mapping) else {}
    dag_id = getattr(dag, "dag_id", None) or getattr(ti, "dag_id", None) or fields.get("dag_id") or "(unknown)"
    run_id = context.get("run_id") or getattr(ti, "run_id", None) or fields.get("dag_run_id")
    if "deadline" in context or "slas" in context:
        deadline = context.get("deadline")
        missed = deadline.get("deadline_time") if isinstance(deadline, Mapping) else None
        return Occasion("deadline", dag_id, run_id=run_id, deadline=str(missed) if missed else None)
    log_url = getattr(ti, "log_url", None)
    # Airflow gives the callback of a Dag the run's last task, too.
    if ti is None or ("reason" in context and not context.get("exception")):
        reason = context.get("reason")
        if reason == "success":
            return Occasion("dag", dag_id, run_id=run_id, log_url=log_url, outcome="success")
        return Occasion("dag", dag_id, run_id=run_id, error=_text(reason), log_url=log_url)
    max_tries = getattr(ti, "max_tries", None)
    map_index = getattr(ti, "map_index", None)
    return Occasion(
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
    """Tell which callback this is: Airflow does not say it, but the state that it gives the task does.

    Where it gives none, the callback is that of a failure, or, below 3.3, of a task that starts: its process was not
    killed, so it knows when it began.
    """
    state = getattr(ti, "state", None)
    state = str(getattr(state, "value", state) or "")
    if exception is not None:
        return "up_for_retry" if state == "up_for_retry" else "skipped" if state == "skipped" else "failed"
    # ``dag.test()`` of Airflow 2 starts a task that was only scheduled.
    if state in ("running", "queued", "scheduled") or (not state and getattr(ti, "start_date", None) is not None):
        return "running"
    known: tuple[Outcome, ...] = get_args(Outcome)
    return next((outcome for outcome in known if outcome == state), "failed")


def title(occasion: Occasion) -> str:
    """The default title: always the same for one Dag and task, since one ticket stands for all failures of it."""
    return fitting_title(f"Airflow: {occasion}")


def fitting_title(text: str) -> str:
    """Make a text fit for a title: trackers take one line, Jira one of at most 255 characters."""
    return cut(" ".join(clean(text).split()), MAX_TITLE)


def fitting_description(text: str, notes: str) -> str:
    """Make a text fit for a description, with all of these notes at its end."""
    return f"{cut(clean(text), MAX_DESCRIPTION - len(notes))}{notes}"


def description(occasion: Occasion) -> str:
    """The default body, in Markdown."""
    facts = [("Dag", occasion.dag_id), ("Task", occasion.task_id), ("Map index", occasion.map_index)]
    facts += [("Run", occasion.run_id), ("Try", _tries(occasion)), ("Deadline", occasion.deadline)]
    lines = [f"- {name}: `{value}`" for name, value in facts if value is not None]
    if occasion.log_url:
        lines.append(f"- Log: {occasion.log_url}")
    parts = [f"**{str(occasion)[0].upper()}{str(occasion)[1:]}.**", "\n".join(lines)]
    if occasion.error:
        parts.append(_fenced(occasion.error))
    parts.append("While this ticket is open, no other is created for the same Dag and task.")
    return "\n\n".join(parts)


def identifier(occasion: Occasion) -> str:
    """The default identifier: one for each Dag and task, so that not every failure makes a ticket."""
    # Failures of several tries are one, a success is something else.
    failed = occasion.outcome in ("failed", "up_for_retry")
    kind = "deadline" if occasion.kind == "deadline" else "failure" if failed else occasion.outcome
    names = json.dumps([occasion.dag_id, occasion.task_id, kind])
    return f"airflow-alert-{hashlib.sha256(names.encode()).hexdigest()[:24]}"


def _tries(occasion: Occasion) -> str | None:
    if occasion.try_number is None or occasion.max_tries is None:
        return None if occasion.try_number is None else str(occasion.try_number)
    return f"{occasion.try_number} of {occasion.max_tries}"


def _text(error: Any) -> str | None:
    if error is None:
        return None
    text = f"{type(error).__name__}: {error}" if isinstance(error, BaseException) else str(error)
    return text if len(text) <= _MAX_ERROR else f"{text[: _MAX_ERROR - 1]}…"


def _fenced(text: str) -> str:
    # Longer than any row of backticks in the text, which could otherwise end the block.
    fence = "`" * (1 + max([2, *map(len, re.findall("`+", text))]))
    return f"{fence}\n{text}\n{fence}"
