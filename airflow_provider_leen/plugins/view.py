"""What the page shows besides the rows: each task, sums over all of them, and remarks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from airflow_provider_leen.api.text import one_line
from airflow_provider_leen.bulk.watch import ENDED
from airflow_provider_leen.plugins.tasks import FAILURES, STATUSES, Gate, TaskTickets

NOTHING_IN_TASK = "This task doesn't create tickets. The tab on the Dag run shows the tickets of all its tasks."
NOTHING_IN_RUN = "This Dag run has no Leen operator, or none has been scheduled yet."


def build_view(
    tasks: Sequence[TaskTickets], gates: Sequence[Gate] = (), *, is_run: bool, unreadable: dict[str, str]
) -> dict[str, Any]:
    """Return everything the page shows besides the rows, as plain JSON types.

    :param gates: the verdicts of the run's gates, or of the one whose page this is.
    :param is_run: whether these are all tasks of a Dag run.
    :param unreadable: the tasks whose files could not be read, by name, and why.
    """
    counts: Counter[str] = Counter()
    progress: Counter[str] = Counter()
    for task in tasks:
        counts.update(task.counts)
        progress.update(task.progress or {})
    return {
        "message": None if tasks or gates else (NOTHING_IN_RUN if is_run else NOTHING_IN_TASK),
        "may_change": any(task.may_change for task in tasks) or any(gate.state not in ENDED for gate in gates),
        "total": counts.total(),
        "counts": {status: counts[status] for status in STATUSES if counts[status]},
        "failures": [status for status in FAILURES if counts[status]],
        "progress": dict(progress) if progress else None,
        "is_run": is_run,
        "gates": [{"name": gate.name, "state": gate.state, "verdict": gate.verdict} for gate in gates],
        "tasks": [
            {
                "name": task.name,
                "state": task.state,
                "total": sum(task.counts.values()),
                "remark": one_line(unreadable.get(task.name) or task.remark or "", 1000) or None,
            }
            for task in tasks
        ],
    }
