"""Checks whether every source of a list returned something: an incomplete list must close nothing.

A task's output that is None was skipped, or returned nothing. The output of a mapped task does not show its gaps:
an instance that failed, was skipped or returned None has no XCom, so Airflow is asked for the instances.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import XComArg

from airflow_provider_leen.bulk.reading import parse_text
from airflow_provider_leen.tasks.gating import states_of
from airflow_provider_leen.tasks.templates import Absent

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context


def absent(tickets: Any, written: Any) -> list[str]:
    """Return the sources of a list that are None, as far as the list itself shows: their tasks, or their numbers.

    :param tickets: what the argument was rendered to, perhaps a text that holds the list.
    :param written: the argument as it is written in the Dag file.
    :raises LeenConfigError: the text holds nothing.
    """
    if isinstance(tickets, str):
        tickets = parse_text(tickets, "tickets")
    if tickets is None:
        return ["tickets"]
    if not isinstance(tickets, Sequence) or isinstance(tickets, bytes):
        return []
    lacking = [number for number, source in enumerate(tickets) if source is None or isinstance(source, Absent)]
    is_parallel = isinstance(written, Sequence) and not isinstance(written, str) and len(written) == len(tickets)
    return [_named(number, written[number] if is_parallel else None) for number in lacking]


def _named(number: int, written: Any) -> str:
    tasks = [source.task_id for source, _ in XComArg.iter_xcom_references(written)]
    return ", ".join(tasks) or f"number {number + 1}"


def gaps(task: Any, argument: Any, context: Context) -> list[str]:
    """Return the tasks that an argument joins all mapped instances of, and of which one gave nothing.

    :param task: the running task's operator.
    :param argument: as it is written in the Dag file.
    """
    return [
        source.task_id
        for source, key in XComArg.iter_xcom_references(argument)
        if _is_joined(source, task) and not _gave_all(source, key, context)
    ]


def _is_joined(source: Any, task: Any) -> bool:
    """Return whether a reference means all instances, rather than the one with the task's own map index."""
    own = {group.group_id for group in task.iter_mapped_task_groups()}
    return hasattr(source, "expand_input") or any(
        group.group_id not in own for group in source.iter_mapped_task_groups()
    )


def _gave_all(source: Any, key: str, context: Context) -> bool:
    states = [state for state in states_of(context, source.task_id).values() if state != "removed"]
    given = XComArg(source, key).resolve(context)
    return all(state == "success" for state in states) and given is not None and len(given) >= len(states)
