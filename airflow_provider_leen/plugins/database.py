"""Reads from Airflow's database what the tab shows: task instances and their XComs, no others than it needs."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from airflow.models.taskinstance import TaskInstance
from airflow.models.xcom import XComModel
from sqlalchemy import select

from airflow_provider_leen.plugins.tasks import LEEN_OPERATORS, TaskRecord

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

_KEYS = ("return_value", "progress", "ticket_url")
_MARKS = ("progress", "failed_tickets")
"""XComs by which an operator of one's own, derived from Leen's, is known."""


class RunReader:
    """What a Dag run, or one task of it, has left in the database.

    :param task_id: None for all tasks.
    :param map_index: None for all instances of a mapped task.
    """

    def __init__(self, session: Session, dag_id: str, run_id: str, task_id: str | None, map_index: int | None) -> None:
        self._session = session
        self._place: dict[str, Any] = {"dag_id": dag_id, "run_id": run_id}
        if task_id is not None:
            self._place["task_id"] = task_id
            if map_index is not None:
                self._place["map_index"] = map_index
        instances = select(
            TaskInstance.task_id,
            TaskInstance.map_index,
            TaskInstance.state,
            TaskInstance.operator,
            TaskInstance.try_number,
        ).filter_by(**self._place)
        self._instances: list[Any] = sorted(session.execute(instances))
        pushed = select(XComModel.task_id, XComModel.map_index, XComModel.key, XComModel.timestamp)
        self._pushed: list[Any] = sorted(session.execute(self._narrowed(pushed, (*_KEYS, *_MARKS))))

    @property
    def is_empty(self) -> bool:
        """Whether there is no such run or task."""
        return not self._instances

    def version(self) -> str:
        """Return a text that changes whenever what :meth:`records` returns does."""
        return hashlib.sha256(repr((self._instances, self._pushed)).encode()).hexdigest()[:32]

    def records(self) -> Iterator[TaskRecord]:
        """Read the task instances with their XComs; of a whole run only those that may be Leen's.

        The others' XComs are not even read: they may be large.
        """
        marked = {task_id for task_id, _, key, _ in self._pushed if key in _MARKS}
        wanted = [
            instance
            for instance in self._instances
            if "task_id" in self._place or instance.task_id in marked or instance.operator in LEEN_OPERATORS
        ]
        query = select(XComModel.task_id, XComModel.map_index, XComModel.key, XComModel.value)
        query = self._narrowed(query, _KEYS).where(XComModel.task_id.in_({instance.task_id for instance in wanted}))
        values: defaultdict[tuple[str, int], dict[str, Any]] = defaultdict(dict)
        for task_id, map_index, key, value in self._session.execute(query):
            values[task_id, map_index][key] = _decoded(value)
        for task_id, map_index, state, operator, _ in wanted:
            yield TaskRecord(task_id, map_index, state, operator, values[task_id, map_index])

    def _narrowed(self, query: Any, keys: tuple[str, ...]) -> Any:
        return query.filter_by(**self._place).where(XComModel.key.in_(keys))


def _decoded(value: Any) -> Any:
    """Undo the second encoding of values that were set by Airflow's core and not by a task."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value
