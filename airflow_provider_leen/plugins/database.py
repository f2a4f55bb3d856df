"""Reads the task instances and XComs that the tab needs from Airflow's database."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from airflow.models.renderedtifields import RenderedTaskInstanceFields
from airflow.models.taskinstance import TaskInstance
from airflow.models.xcom import XComModel
from sqlalchemy import Text, cast, select

from airflow_provider_leen.plugins.tasks import GATE, LEEN_OPERATORS, UNREADABLE, TaskRecord

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

_KEYS = ("return_value", "progress", "ticket_url", "verdict")
_MARKS = ("progress", "failed_tickets")
"""XComs that identify a user's operator that is derived from one of Leen's."""


class RunReader:
    """A Dag run, or one task of it, in the database.

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
            cast(TaskInstance.rendered_map_index, Text),
        ).where(*self._here(TaskInstance))
        self._instances: list[Any] = sorted(session.execute(instances), key=lambda instance: instance[:2])
        pushed = select(XComModel.task_id, XComModel.map_index, XComModel.key, XComModel.timestamp)
        self._pushed: list[Any] = sorted(session.execute(self._narrowed(pushed, (*_KEYS, *_MARKS))))

    @property
    def is_empty(self) -> bool:
        """Whether there is no such run or task."""
        return not self._instances

    @property
    def is_gate(self) -> bool:
        """Whether all task instances are gates, which judge other tasks' tickets."""
        return all(instance.operator == GATE for instance in self._instances)

    def version(self, settings: str) -> str:
        """Return a text that changes whenever the result of :meth:`records` or its rendering changes.

        :param settings: further text that the rendering depends on.
        """
        return hashlib.sha256(repr((settings, self._instances, self._pushed)).encode()).hexdigest()[:32]

    def records(self) -> Iterator[TaskRecord]:
        """Read the task instances with their XComs; for a whole run, only those that may be Leen's.

        Other tasks' XComs are not read: they may be large.
        """
        marked = {task_id for task_id, _, key, _ in self._pushed if key in _MARKS}
        wanted = [
            instance
            for instance in self._instances
            if "task_id" in self._place or instance.task_id in marked or instance.operator in (*LEEN_OPERATORS, GATE)
        ]
        # As text: otherwise one value that can't be decoded would fail the whole query.
        query = select(XComModel.task_id, XComModel.map_index, XComModel.key, cast(XComModel.value, Text))
        query = self._narrowed(query, _KEYS).where(XComModel.task_id.in_({instance.task_id for instance in wanted}))
        values: defaultdict[tuple[str, int], dict[str, Any]] = defaultdict(dict)
        for task_id, map_index, key, value in self._session.execute(query):
            values[task_id, map_index][key] = decoded(value)
        rendered = self._rendered({place[0] for place, xcoms in values.items() if _names_a_file(xcoms)})
        for task_id, map_index, state, operator, _, label in wanted:
            place = task_id, map_index
            yield TaskRecord(task_id, map_index, state, operator, values[place], rendered.get(place), label)

    def _rendered(self, task_ids: Collection[str]) -> dict[tuple[str, int], Mapping[str, Any]]:
        """Read the template fields of tasks as Airflow recorded them: XComs can't change these."""
        if not task_ids:
            return {}
        table = RenderedTaskInstanceFields
        query = select(table.task_id, table.map_index, cast(table.rendered_fields, Text))
        found = {
            (task_id, map_index): decoded(fields)
            for task_id, map_index, fields in self._session.execute(
                query.where(*self._here(table), table.task_id.in_(task_ids))
            )
        }
        return {place: fields for place, fields in found.items() if isinstance(fields, Mapping)}

    def _narrowed(self, query: Any, keys: tuple[str, ...]) -> Any:
        return query.where(*self._here(XComModel), XComModel.key.in_(keys))

    def _here(self, table: Any) -> list[Any]:
        return [getattr(table, name) == value for name, value in self._place.items()]


def _names_a_file(xcoms: Mapping[str, Any]) -> bool:
    value = xcoms.get("return_value")
    return isinstance(value, Mapping) and "results_path" in value


def decoded(text: str | None) -> Any:
    """Decode JSON of Airflow's database; UNREADABLE if it can't be decoded."""
    try:
        value = None if text is None else json.loads(text)
        return _decoded_again(value) if isinstance(value, str) else value
    except (ValueError, RecursionError):  # a number with thousands of digits, or endless brackets
        return UNREADABLE


def _decoded_again(value: str) -> Any:
    """Undo the second encoding of values that Airflow's core set, rather than a task."""
    try:
        return json.loads(value)
    except json.JSONDecodeError:
        return value
