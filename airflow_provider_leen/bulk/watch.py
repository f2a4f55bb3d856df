"""Judges running tasks by the progress that they publish."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from airflow_provider_leen.bulk.summary import AnySummary, Progress, add_up, over_threshold

ENDED = frozenset({"success", "failed", "upstream_failed", "skipped", "removed"})
"""Airflow's final states of a task instance; waiting for a retry is not one."""


@dataclass(frozen=True)
class WatchedTask:
    """A watched task instance.

    :param name: the task's name, with the map index if it is mapped.
    :param state: Airflow's state, None before it is scheduled.
    :param progress: what it has published so far, if anything.
    :param summary: its summary, once it has ended.
    """

    name: str
    state: str | None
    progress: Progress | None = None
    summary: AnySummary | None = None

    @property
    def has_ended(self) -> bool:
        """Whether it has ended."""
        return self.state in ENDED


def without_summary(tasks: Sequence[WatchedTask]) -> str | None:
    """Return which tasks have ended without a summary, so that the outcome of their tickets is unknown.

    Skipped tasks don't count: they had nothing to do, like an operator that is mapped over an empty list.
    """
    silent = [
        f"{task.name} ({task.state})"
        for task in tasks
        if task.has_ended and task.state != "skipped" and task.summary is None
    ]
    return f"These tasks ended without a summary of their tickets: {', '.join(silent)}." if silent else None


def over_threshold_already(
    tasks: Sequence[WatchedTask], max_failures: int | None, max_failure_rate: float | None
) -> str | None:
    """Return which threshold is exceeded already, whatever happens next; None if that is not certain yet.

    The rate can't be judged until every task has published its number of tickets. Until a task has ended, all of its
    tickets count: existing ones that are found later can only raise the rate.
    """
    counts = add_up(task.summary for task in tasks if task.summary is not None)
    for task in tasks:
        if task.summary is None and task.progress is not None:
            counts["failed"] += task.progress["failed"]
            counts["total"] += task.progress["total"]
    all_are_known = all(task.has_ended or task.progress is not None for task in tasks)
    return over_threshold(counts, max_failures, max_failure_rate if all_are_known else None)
