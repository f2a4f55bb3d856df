"""Judges tasks that are still running by the progress that they publish."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from airflow_provider_leen.bulk.summary import AnySummary, Progress, add_up, over_threshold

ENDED = frozenset({"success", "failed", "upstream_failed", "skipped", "removed"})
"""Airflow's states of a task instance that will do no more; one that waits for its retry is not among them."""


@dataclass(frozen=True)
class WatchedTask:
    """One task instance that is watched.

    :param name: for a person: the task, and the map index where it is mapped.
    :param state: Airflow's state, None before it is scheduled.
    :param progress: what it has published so far, if anything.
    :param summary: what it left, once it has ended.
    """

    name: str
    state: str | None
    progress: Progress | None = None
    summary: AnySummary | None = None

    @property
    def has_ended(self) -> bool:
        """Whether it will do no more."""
        return self.state in ENDED


def without_summary(tasks: Sequence[WatchedTask]) -> str | None:
    """Return which tasks have ended without a summary, so that the outcome of their tickets is unknown.

    Not those that were skipped: they had nothing to do (such as an operator that is mapped over an empty list).
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
    """Return which threshold is passed already, whatever is still to come; None when that can't be said yet.

    The rate can't be judged before every task has said how many tickets it has. Until a task has ended, all of its
    tickets count: known ones that turn up later can only raise the rate.
    """
    counts = add_up(task.summary for task in tasks if task.summary is not None)
    for task in tasks:
        if task.summary is None and task.progress is not None:
            counts["failed"] += task.progress["failed"]
            counts["total"] += task.progress["total"]
    all_are_known = all(task.has_ended or task.progress is not None for task in tasks)
    return over_threshold(counts, max_failures, max_failure_rate if all_are_known else None)
