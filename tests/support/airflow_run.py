"""Runs a Dag with ``dag.test()``, on Airflow 2.11 and 3, and reads what it left."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import version
from typing import Any

import pytest

from airflow_provider_leen.bulk.summary import Summary

AIRFLOW = tuple(int(part) for part in version("apache-airflow").split(".")[:2])
"""The release that is installed, as (major, minor)."""

needs_state_store = pytest.mark.skipif(AIRFLOW < (3, 3), reason="Airflow below 3.3 has no task state store")


@dataclass
class AirflowRun:
    """A finished Dag run.

    :param states: task id -> its state; of mapped tasks the states of all instances.
    :param exceptions: what tasks failed with, in order.
    """

    dag_run: Any
    states: dict[str, str] = field(default_factory=dict)
    exceptions: list[BaseException] = field(default_factory=list)

    def xcom(self, task_id: str, key: str = "return_value", map_index: int = -1) -> Any:
        """The value that a task pushed, or None."""
        from airflow.utils.session import create_session
        from sqlalchemy import select

        model = xcom_model()
        wanted = {
            "dag_id": self.dag_run.dag_id,
            "run_id": self.dag_run.run_id,
            "task_id": task_id,
            "map_index": map_index,
            "key": key,
        }
        with create_session() as session:
            value = session.scalars(select(model.value).filter_by(**wanted)).first()
            return None if value is None else model.deserialize_value(_Stored(value))

    def summary(self, task_id: str = "create", map_index: int = -1) -> Summary:
        summary: Summary = self.xcom(task_id, map_index=map_index)
        return summary


@dataclass
class _Stored:
    value: Any


def xcom_model() -> Any:
    """The table of all XComs."""
    from airflow.models import xcom

    return xcom.BaseXCom if AIRFLOW < (3, 0) else xcom.XComModel


def run(dag: Any, **conf: Any) -> AirflowRun:
    """Run a Dag to its end, retries included."""
    exceptions: list[BaseException] = []
    for task in dag.tasks:
        _listen(task, lambda context: exceptions.append(context["exception"]))
    _register(dag)
    with _older_dag_test_mended():
        dag_run = dag.test(run_conf=conf)
    states: dict[str, str] = {}
    for instance in dag_run.get_task_instances():
        states[instance.task_id] = f"{states.get(instance.task_id, '')} {instance.state}".strip()
    return AirflowRun(dag_run, states, exceptions)


@contextmanager
def _older_dag_test_mended() -> Iterator[None]:
    """Let ``dag.test()`` of an older Airflow do with a failed task what the newest one does, and every real worker."""
    with pytest.MonkeyPatch.context() as patch:
        if AIRFLOW < (3, 0):
            _catch_time_outs(patch)
        elif AIRFLOW < (3, 3):
            _tell_callbacks_the_exception(patch)
            _start_the_api_once(patch)
        yield


def _catch_time_outs(patch: pytest.MonkeyPatch) -> None:
    # A task's time-out is no Exception in Airflow 2, and would end dag.test() itself.
    from airflow.exceptions import AirflowTaskTimeout
    from airflow.models import dag

    run_task = dag._run_task

    def run_one(**arguments: Any) -> Any:
        try:
            return run_task(**arguments)
        except AirflowTaskTimeout as error:
            raise RuntimeError("The task ran into its timeout.") from error

    patch.setattr(dag, "_run_task", run_one)


def _tell_callbacks_the_exception(patch: pytest.MonkeyPatch) -> None:
    from airflow.sdk.execution_time import task_runner

    finalize = task_runner.finalize

    def finalize_with_error(ti: Any, state: Any, context: Any, log: Any, error: Any = None) -> None:
        context["exception"] = error
        finalize(ti, state, context, log, error)

    patch.setattr(task_runner, "finalize", finalize_with_error)


def _start_the_api_once(patch: pytest.MonkeyPatch) -> None:
    # Else it takes seconds for each try of each task.
    from airflow.sdk.execution_time import supervisor

    patch.setattr(supervisor, "in_process_api_server", _api_server())


@cache
def _api_server() -> Callable[[], Any]:
    from airflow.sdk.execution_time import supervisor

    return cache(supervisor.in_process_api_server)


def _listen(task: Any, callback: Callable[[Any], None]) -> None:
    """Call back after each failed try, beside what the Dag's author wants to be called."""
    # A mapped operator keeps what its instances are made with.
    settings = task.partial_kwargs if hasattr(task, "partial_kwargs") else vars(task)
    for name in ("on_failure_callback", "on_retry_callback"):
        given = settings.get(name) or []
        settings[name] = [*(given if isinstance(given, list | tuple) else [given]), callback]


def _register(dag: Any) -> None:
    """Make a Dag known that is in no file: from 3.1 on, only what is in the database can run."""
    if AIRFLOW < (3, 1):
        return
    from airflow.dag_processing.bundles.manager import DagBundlesManager

    if AIRFLOW < (3, 2):
        from airflow.models.dagbag import DagBag, sync_bag_to_db  # type: ignore[attr-defined,no-redef,unused-ignore]
    else:
        from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
    DagBundlesManager().sync_bundles_to_db()
    bundle = {"bundle_name": "dags-folder"} if AIRFLOW >= (3, 2) else {}
    bag = DagBag(dag_folder=os.devnull, **bundle)
    bag.bag_dag(dag)
    sync_bag_to_db(bag, "dags-folder", None)
