"""How a gate finds the tasks that it judges, and how they find their gate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

_LEAVE_NO_SUMMARY = ("skipped", "upstream_failed", "removed")
"""Airflow's states of a task instance that did not run."""


def is_gated(task_id: str, dag: Any) -> bool:
    """Return whether a gate of this Dag judges a task: a gate downstream of it, or one that watches it.

    :param dag: the Dag as its file defines it; anything else has no gate.
    """
    tasks = getattr(dag, "task_dict", {})
    gates = [task for task in tasks.values() if getattr(getattr(task, "operator_class", task), "judges_tickets", False)]
    return any(task_id in _watched_by(gate) or task_id in _upstream_of(gate, tasks) for gate in gates)


def _watched_by(gate: Any) -> Sequence[str]:
    arguments = getattr(gate, "partial_kwargs", vars(gate))
    task_ids = arguments.get("task_ids") or ()
    return [task_ids] if isinstance(task_ids, str) else task_ids


def _upstream_of(gate: Any, tasks: Mapping[str, Any]) -> set[str]:
    found: set[str] = set()
    left = [gate]
    while left:
        new = left.pop().upstream_task_ids - found
        found |= new
        left += [tasks[task_id] for task_id in new]
    return found


def states_of(context: Context, task_id: str) -> dict[int, str | None]:
    """Return the states of a task's instances in this run by map index, in order; -1 stands for an unmapped task."""
    ti = context["ti"]
    if not hasattr(ti, "get_task_states"):  # Airflow 2
        instances = context["dag_run"].get_task_instances()  # type: ignore[attr-defined]
        states = {other.map_index: other.state for other in instances if other.task_id == task_id}
    else:
        by_run = ti.get_task_states(dag_id=ti.dag_id, task_ids=[task_id], run_ids=[ti.run_id])
        states = {int(name.removeprefix(task_id)[1:] or -1): state for name, state in by_run.get(ti.run_id, {}).items()}
    return dict(sorted(states.items()))


def instance_name(task_id: str, map_index: int | None) -> str:
    """Return the name of a task instance: ``create``, or ``create[2]`` if it is mapped."""
    return task_id if map_index is None or map_index < 0 else f"{task_id}[{map_index}]"


def names_of_summaries(given: Any, summaries: Any, context: Context) -> list[str]:
    """Return whose summaries these are: ``create``, or ``create[0]``, ``create[2]`` of a mapped operator.

    :param given: the value of ``results`` in the Dag file.
    :param summaries: the summaries that it was rendered to.
    :return: a name for each summary; those of unknown tasks are numbered, if there are several.
    """
    names = list(_names(given, summaries, context))
    return [name or (f"summary {number}" if len(names) > 1 else "") for number, name in enumerate(names, 1)]


def _names(given: Any, summaries: Any, context: Context) -> list[str]:
    if isinstance(given, list | tuple) and len(given) == len(summaries):
        return [name for pair in zip(given, summaries, strict=True) for name in _names(*pair, context)]
    is_one = not isinstance(summaries, Sequence) or isinstance(summaries, str)
    task = getattr(given, "operator", None)
    if task is None:
        return [""] if is_one else [name for summary in summaries for name in _names(None, summary, context)]
    if is_one:
        # If both are in one mapped task group, each gate judges the operator of its own map index.
        shares_index = not hasattr(task, "expand_input") and task.get_closest_mapped_task_group() is not None
        return [instance_name(task.task_id, context["ti"].map_index if shares_index else None)]
    indexes = _with_xcom(task.task_id, given.key, len(summaries), context)
    return [instance_name(task.task_id, index) for index in indexes]


def _with_xcom(task_id: str, key: str, count: int, context: Context) -> Sequence[int | None]:
    """Return the map indexes of the instances that left the XComs of a sequence of this length."""
    states = states_of(context, task_id)
    ran = [index for index, state in states.items() if state not in _LEAVE_NO_SUMMARY]
    if len(ran) != count:
        pull = context["ti"].xcom_pull
        ran = [index for index in states if pull(task_ids=task_id, key=key, map_indexes=index) is not None]
    return ran if len(ran) == count else [None] * count
