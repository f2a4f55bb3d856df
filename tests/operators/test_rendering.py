"""The text of a finding is never rendered as a template, in whatever way it reaches an operator, sensor or notifier.

Every way of Airflow in one Dag, for every class and for every field that takes text. The classes are the real ones;
they return what was rendered instead of sending it.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, task, task_group

from airflow_provider_leen.operators.create import LeenCreateTicketOperator
from airflow_provider_leen.operators.leen import LeenBulkCreateTicketsOperator
from airflow_provider_leen.operators.reconcile import LeenReconcileTicketsOperator
from airflow_provider_leen.operators.update import LeenUpdateTicketsOperator
from airflow_provider_leen.sensors.leen import LeenTicketFailureSensor
from airflow_provider_leen.sensors.sync import LeenTicketSyncSensor

FOUND = "{{ conn.other.password }} {% set a = var.value.x %}{{ a }} {# gone #} {{ ds }}"
"""What a scanner may have found in a file that somebody else wrote."""

SECRETS = ("of-another-team", "a-variable")
TICKET = dict.fromkeys(("name", "description", "identifier", "priority", "type_vendor_id", "parent_id"), FOUND)
SUMMARY = {"total": 1, "failed": 1, "results": [{"name": FOUND, "error": FOUND}]}
LINK = {"leen_conn_id": FOUND, "connection_id": FOUND}
REGISTER = dict.fromkeys(("register", "scope", "known_path", "results_path"), FOUND)
PATHS = {"tickets_path": FOUND, "ledger_path": FOUND, **REGISTER}


@dataclass
class Kind:
    """A class, what comes to its fields, and the tasks that it comes from."""

    operator: Any
    given: dict[str, Any]
    each: Any = None
    kwargs: Any = None
    texts: Any = None
    nothing: Any = None

    def fields(self, make: Callable[[str], Any]) -> dict[str, Any]:
        return {field: make(field) for field in self.given}

    def output(self) -> dict[str, Any]:
        return self.fields(lambda field: self.each[field])

    def listed(self, field: str) -> Any:
        """The output of a task that is a list of one value for the field."""
        return self.texts if self.given[field] == FOUND else self.kwargs.map(lambda given: given[field])


def showing(base: type) -> Any:
    """The class, only that it returns its template fields."""

    def execute(self: Any, context: Any) -> Any:
        return {name: _plain(getattr(self, name)) for name in self.template_fields}

    return type(f"Showing{base.__name__}", (base,), {"execute": execute})


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, Sequence) and not isinstance(value, str) else value


def kinds() -> dict[str, Kind]:
    bulk, summary = {"ticket_defaults": TICKET, **LINK}, {"results": SUMMARY}
    return {
        "bulk": Kind(showing(LeenBulkCreateTicketsOperator), {"tickets": [TICKET], **bulk}),
        "bulk_paths": Kind(showing(LeenBulkCreateTicketsOperator), {**PATHS, **bulk}),
        "reconcile": Kind(
            showing(LeenReconcileTicketsOperator),
            {"tickets": [TICKET], "priority_map": {"HIGH": FOUND}, "expected_plan": FOUND, **REGISTER},
        ),
        "create": Kind(showing(LeenCreateTicketOperator), {"ticket": TICKET, **LINK}),
        "update": Kind(showing(LeenUpdateTicketsOperator), {"ticket_ids": [FOUND], "updates": TICKET, **LINK}),
        "gate": Kind(showing(LeenTicketFailureSensor), summary),
        "sync": Kind(showing(LeenTicketSyncSensor), {**summary, **LINK}),
    }


Road = Callable[[Kind, str], Any]


def direct(arguments: Callable[[Kind], dict[str, Any]]) -> Road:
    return lambda kind, task_id: kind.operator(task_id=task_id, **arguments(kind))


def expand(arguments: Callable[[Kind], dict[str, Any]]) -> Road:
    return lambda kind, task_id: kind.operator.partial(task_id=task_id).expand(**arguments(kind))


def expand_kwargs(given: Callable[[Kind], Any], partial: Any = None) -> Road:
    def road(kind: Kind, task_id: str) -> Any:
        fixed = {} if partial is None else kind.fields(lambda _field: partial)
        return kind.operator.partial(task_id=task_id, **fixed).expand_kwargs(given(kind), strict=not fixed)

    return road


def pulled(template: str) -> Callable[[Kind], dict[str, str]]:
    return lambda kind: kind.fields(lambda field: template % (kind.each.operator.task_id, field))


def in_lists_and_dicts(kind: Kind) -> dict[str, Any]:
    """Outputs of tasks inside of lists and dicts of the Dag file."""
    inside: dict[type, Callable[[str], Any]] = {
        list: lambda field: [kind.each[field], {"name": kind.texts}],
        dict: lambda field: dict.fromkeys(kind.given[field], kind.texts),
        str: lambda field: kind.each[field],
    }
    return kind.fields(lambda field: inside[type(kind.given[field])](field))


def group(expanded: Callable[[Any, Kind], Any]) -> Road:
    """A task group that is mapped, and passes its arguments on."""

    def road(kind: Kind, task_id: str) -> Any:
        def inner(**arguments: Any) -> None:
            kind.operator(task_id="made", **arguments)

        names = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY) for name in kind.given]
        inner.__signature__ = inspect.Signature(names)  # type: ignore[attr-defined]
        return expanded(task_group(group_id=task_id)(inner), kind)

    return road


ROADS: dict[str, Road] = {
    "output": direct(Kind.output),
    "in_lists_and_dicts": direct(in_lists_and_dicts),
    "expand": expand(lambda kind: kind.fields(kind.listed)),
    "concat": expand(lambda kind: kind.fields(lambda field: kind.listed(field).concat(kind.nothing))),
    "expand_list": expand(lambda kind: kind.fields(lambda field: [kind.each])),
    "expand_kwargs": expand_kwargs(lambda kind: kind.kwargs),
    "kwargs_over_partial": expand_kwargs(lambda kind: kind.kwargs, "{{ ds }}"),
    "kwargs_map": expand_kwargs(lambda kind: kind.kwargs.map(lambda given: {**given})),
    "kwargs_concat": expand_kwargs(lambda kind: kind.nothing.concat(kind.kwargs)),
    "kwargs_zip": expand_kwargs(lambda kind: kind.kwargs.zip(kind.kwargs).map(lambda pair: pair[1])),
    "kwargs_in_a_list": expand_kwargs(lambda kind: [kind.fields(lambda field: kind.texts)]),
    "kwargs_list_of_outputs": expand_kwargs(lambda kind: [kind.each]),
    "group": group(lambda made, kind: made.expand(**kind.fields(kind.listed))),
    "group_kwargs": group(lambda made, kind: made.expand_kwargs(kind.kwargs)),
    "jinja": direct(pulled("{{ ti.xcom_pull('%s')['%s'] }}")),
    "jinja_tojson": direct(pulled("{{ ti.xcom_pull('%s')['%s'] | tojson }}")),
    "jinja_in_a_text": direct(pulled("{%% set pulled = ti.xcom_pull('%s')['%s'] %%} {{ pulled }}")),
    "params": direct(pulled("{{ params['%s']['%s'] }}")),
    "conf": direct(pulled("{{ dag_run.conf['%s']['%s'] | tojson }}")),
}


NATIVE = {"output", "expand_kwargs", "kwargs_over_partial", "jinja", "jinja_tojson", "jinja_in_a_text", "conf"}
"""The roads that a Dag that renders natively could change."""


def dag_of(kinds: dict[str, Kind], roads: dict[str, Road], *, native: bool) -> DAG:
    given = {f"given_to_{name}": kind.given for name, kind in kinds.items()}
    with DAG("leen_roads", schedule=None, render_template_as_native_obj=native, params=given) as dag:

        @task
        def texts() -> list[str]:
            return [FOUND]

        @task
        def nothing() -> list[Any]:
            return []

        before = [texts(), nothing()]
        for name, kind in kinds.items():

            @task(task_id=f"given_to_{name}", multiple_outputs=True)
            def each(given: Any = kind.given) -> Any:
                return given

            @task(task_id=f"list_for_{name}")
            def kwargs(given: Any = kind.given) -> Any:
                return [given]

            kind.texts, kind.nothing, kind.each, kind.kwargs = *before, each(), kwargs()
            for road, lay in roads.items():
                [*before, kind.each, kind.kwargs] >> lay(kind, f"{name}_by_{road}")
    return dag


@pytest.fixture
def others(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection and a variable of somebody else."""
    monkeypatch.setenv("AIRFLOW_CONN_OTHER", json.dumps({"conn_type": "http", "password": SECRETS[0]}))
    monkeypatch.setenv("AIRFLOW_VAR_X", SECRETS[1])


@pytest.mark.parametrize("native", [False, True], ids=["to text", "native"])
def test_no_road_renders_the_text_of_a_finding(run_dag: Any, others: None, native: bool) -> None:
    of_each, roads = kinds(), {name: lay for name, lay in ROADS.items() if not native or name in NATIVE}
    conf = {f"given_to_{name}": kind.given for name, kind in of_each.items()}
    run = run_dag(dag_of(of_each, roads, native=native), **conf)
    wrong = []
    for name, kind in of_each.items():
        for road in roads:
            task_id = f"{name}_by_{road}" + (".made" if road.startswith("group") else "")
            rendered = run.xcom(task_id) or run.xcom(task_id, map_index=0) or {}
            wrong += [
                f"{name} by {road}: `{field}` became {rendered.get(field)!r}"
                for field in kind.given
                if not is_as_found(rendered.get(field))
            ]
    assert wrong == []
    assert [str(error) for error in run.exceptions] == []


def is_as_found(value: Any) -> bool:
    """Return whether each text in it is the finding's unchanged text, or quotes it."""
    if isinstance(value, dict | list):
        return all(is_as_found(item) for item in (value.values() if isinstance(value, dict) else value) if item != 1)
    return isinstance(value, str) and FOUND in value
