"""Whether a task has a gate, read from Dags as their files define them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from airflow.providers.common.compat.sdk import DAG, TaskGroup, task

from airflow_provider_leen.operators.leen import LeenBulkCreateTicketsOperator
from airflow_provider_leen.sensors.leen import LeenTicketFailureSensor
from airflow_provider_leen.tasks.gating import instance_name, is_gated


def create() -> LeenBulkCreateTicketsOperator:
    return LeenBulkCreateTicketsOperator(task_id="create", tickets=[])


def gate_after() -> None:
    LeenTicketFailureSensor(task_id="gate", results=create().output)


def gate_behind_another_task_and_groups() -> None:
    @task
    def report() -> None: ...

    with TaskGroup("filing"):
        created = create()
    with TaskGroup("checks") as checks:
        LeenTicketFailureSensor(task_id="gate", results="{{ ti.xcom_pull('filing.create') }}")
    created >> report() >> checks


def mapped_gate_after_mapped_operator() -> None:
    created = LeenBulkCreateTicketsOperator.partial(task_id="create").expand(tickets=[[], []])
    LeenTicketFailureSensor.partial(task_id="gate", max_failures=1).expand(results=created.output)


def gate_that_watches() -> None:
    LeenTicketFailureSensor(task_id="gate", task_ids=["other", "create"])
    create()


def mapped_gate_that_watches() -> None:
    LeenTicketFailureSensor.partial(task_id="gate", task_ids="create").expand(max_failures=[1, 2])
    create()


def no_gate() -> None:
    create()


def gate_before() -> None:
    LeenTicketFailureSensor(task_id="gate", results={}) >> create()


def gate_of_another_task() -> None:
    create()
    LeenTicketFailureSensor(
        task_id="gate", results=LeenBulkCreateTicketsOperator(task_id="other", tickets=[]).output
    ) >> LeenTicketFailureSensor(task_id="watch", task_ids="other")


@pytest.mark.parametrize(
    ("tasks", "gated"),
    [
        (gate_after, True),
        (gate_behind_another_task_and_groups, True),
        (mapped_gate_after_mapped_operator, True),
        (gate_that_watches, True),
        (mapped_gate_that_watches, True),
        (no_gate, False),
        (gate_before, False),
        (gate_of_another_task, False),
    ],
)
def test_a_task_is_gated_by_a_gate_downstream_of_it_or_one_that_watches_it(
    tasks: Callable[[], None], gated: bool
) -> None:
    with DAG("gating", schedule=None) as dag:
        tasks()
    [task_id] = [task_id for task_id in dag.task_ids if task_id.endswith("create")]
    assert is_gated(task_id, dag) is gated


def test_a_task_outside_of_a_dag_has_no_gate() -> None:
    assert not is_gated("create", None)


@pytest.mark.parametrize(("map_index", "name"), [(-1, "create"), (None, "create"), (12, "create[12]")])
def test_an_instance_is_named_by_its_map_index(map_index: int | None, name: str) -> None:
    assert instance_name("create", map_index) == name
