"""Speaks with Airflow's database for the harness; runs in Airflow's own environment, 2.11 or 3.

A request is one line of JSON on standard input, ``[name, arguments]``; the answer is one line on standard output.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

CREATE = "create"
"""The task that almost every question is about."""

LEDGER = "leen_ledger."
"""What the ledger's keys in the task state store begin with."""


def trigger(dag_id: str, run_id: str, conf: dict[str, Any]) -> bool:
    """Start a Dag run; false while Airflow does not know the Dag yet."""
    from airflow.api.common.trigger_dag import trigger_dag
    from airflow.exceptions import DagNotFound

    try:
        from airflow.utils.types import DagRunTriggeredByType

        by: dict[str, Any] = {"triggered_by": DagRunTriggeredByType.TEST}
    except ImportError:
        by = {}
    try:
        # Two runs of a Dag in one second are one too many for Airflow 2, unless microseconds count.
        trigger_dag(dag_id, run_id=run_id, conf=conf, replace_microseconds=False, **by)
    except DagNotFound:
        return False
    return True


def look(dag_id: str, run_id: str, task_id: str = CREATE) -> dict[str, Any]:
    """Return the states of a run and of one of its task instances."""
    from airflow.models import DagRun

    with _session() as session:
        run = session.query(DagRun).filter_by(dag_id=dag_id, run_id=run_id).one()
        instance = _instance(session, dag_id, run_id, task_id)
        return {
            "run": run.state,
            "task": instance and instance.state,
            "try": instance.try_number if instance else 0,
            "pid": instance and instance.pid,
            "seconds": instance and instance.duration,
            "ended_at": instance and instance.end_date and instance.end_date.timestamp(),
        }


def instances(dag_id: str, run_id: str, task_id: str = CREATE) -> list[dict[str, Any]]:
    """Return the states of all instances of a mapped task."""
    from airflow.models import TaskInstance

    with _session() as session:
        found = session.query(TaskInstance).filter_by(dag_id=dag_id, run_id=run_id, task_id=task_id)
        return [
            {"map_index": one.map_index, "state": one.state, "try": one.try_number, "pid": one.pid} for one in found
        ]


def set_failed(dag_id: str, run_id: str) -> None:
    """Mark the task instance as failed, as a person would in the UI."""
    with _session() as session:
        _instance(session, dag_id, run_id, CREATE).set_state("failed", session=session)
        session.commit()


def clear(dag_id: str, run_id: str) -> None:
    """Clear the task, as a person would in the UI; one that runs is marked as failed first."""
    from airflow.models.taskinstance import clear_task_instances

    with _session() as session:
        instance = _instance(session, dag_id, run_id, CREATE)
        if instance.state == "running":
            instance.set_state("failed", session=session)
        clear_task_instances([_instance(session, dag_id, run_id, CREATE)], session)
        session.commit()


def published(dag_id: str, run_id: str) -> dict[str, float]:
    """Return when each XCom of the task was pushed, in seconds since the epoch, by key."""
    from airflow.models import xcom

    model: Any = xcom.XComModel if hasattr(xcom, "XComModel") else xcom.XCom
    with _session() as session:
        rows = session.query(model.key, model.timestamp).filter_by(dag_id=dag_id, run_id=run_id, task_id=CREATE)
        return {key: pushed_at.timestamp() for key, pushed_at in rows}


def pushed(dag_id: str, run_id: str, key: str, task_id: str = CREATE) -> Any:
    """Read what a task has pushed; None where there is nothing."""
    from airflow.models import xcom

    # Airflow 2 has another name for it, and decodes the value as it loads it.
    new = hasattr(xcom, "XComModel")
    model: Any = xcom.XComModel if new else xcom.XCom
    with _session() as session:
        row = session.query(model).filter_by(dag_id=dag_id, run_id=run_id, task_id=task_id, key=key).first()
        if row is None:
            return None
        return model.deserialize_value(row) if new else row.value


def ledger(dag_id: str, run_id: str) -> dict[str, Any]:
    """Read the values in the task state store of a run (Airflow 3.3 and newer), by the ledger's keys."""
    with _session() as session:
        return {_ledger_key(row.key): json.loads(row.value) for row in _state(session, dag_id, run_id)}


def forget(dag_id: str, run_id: str, keys: list[str]) -> None:
    """Delete values from the task state store of a run."""
    with _session() as session:
        for row in _state(session, dag_id, run_id):
            if _ledger_key(row.key) in keys:
                session.delete(row)
        session.commit()


@contextmanager
def _session() -> Iterator[Any]:
    from airflow import settings

    session: Any = settings.Session()  # type: ignore[misc]  # made when Airflow is set up
    try:
        yield session
    finally:
        session.close()


def _state(session: Any, dag_id: str, run_id: str) -> list[Any]:
    from airflow.models.task_state_store import TaskStateStoreModel

    rows = session.query(TaskStateStoreModel).filter_by(dag_id=dag_id, run_id=run_id, task_id=CREATE)
    return [row for row in rows if row.key.startswith(LEDGER)]


def _ledger_key(key: str) -> str:
    return key.removeprefix(LEDGER).replace(".", "/")


def _instance(session: Any, dag_id: str, run_id: str, task_id: str) -> Any:
    from airflow.models import TaskInstance

    return session.query(TaskInstance).filter_by(dag_id=dag_id, run_id=run_id, task_id=task_id).first()


def main() -> None:
    """Answer until the input ends."""
    # Airflow logs to standard output, which belongs to the answers alone.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    functions = {
        function.__name__: function
        for function in (trigger, look, instances, set_failed, clear, published, pushed, ledger, forget)
    }
    for line in sys.stdin:
        name, arguments = json.loads(line)
        try:
            answer = {"value": functions[name](*arguments)}
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()
