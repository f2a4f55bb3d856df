"""Text of the Dag file is rendered once, and to text; what has no template marks stays as it is written."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowFailException, ObjectStoragePath

from airflow_provider_leen.api.errors import LeenConfigError
from airflow_provider_leen.notifications.leen import LeenNotifier
from airflow_provider_leen.operators.create import LeenCreateTicketOperator
from airflow_provider_leen.operators.leen import LeenBulkCreateTicketsOperator
from airflow_provider_leen.operators.update import LeenUpdateTicketsOperator
from airflow_provider_leen.sensors.leen import LeenTicketFailureSensor
from airflow_provider_leen.sensors.sync import LeenTicketSyncSensor

VALUES: dict[str, Any] = {
    "number": "10034",
    "found": "{{ number }}",
    "rows": [{"name": "10034", "at": timedelta(1)}],
    "text": "😀 \\/",
}
NATIVE = pytest.mark.parametrize("native", [False, True], ids=["to text", "native"])
LOOKS_LIKE_A_LITERAL = ["10034", "2024", "True", "1e5", "None", "[1]", "{'a': 1}", " 7 "]


def rendered(operator: Any = LeenBulkCreateTicketsOperator, *, native: bool = False, **arguments: Any) -> Any:
    """The operator with its arguments rendered, twice, as when a task is resumed in the same process."""
    with DAG("leen_test", schedule=None, render_template_as_native_obj=native) as dag:
        made = operator(task_id="made", **arguments)
    context: dict[str, Any] = {**VALUES, "dag": dag}
    made.render_template_fields(context)
    return made


@NATIVE
@pytest.mark.parametrize("text", LOOKS_LIKE_A_LITERAL)
def test_what_has_no_template_marks_stays_as_it_is_written(native: bool, text: str) -> None:
    row = {"name": text, "type_vendor_id": text}
    made = rendered(native=native, tickets=[row, [row], text], ticket_defaults=row, connection_id=text)
    assert (made.tickets, made.ticket_defaults, made.connection_id) == ([row, [row], text], row, text)
    assert rendered(LeenCreateTicketOperator, native=native, ticket=row).ticket == row
    assert rendered(LeenUpdateTicketsOperator, native=native, ticket_ids=[text], updates=row).updates == row


@NATIVE
def test_a_template_in_a_row_or_a_text_argument_becomes_a_text(native: bool) -> None:
    made = rendered(native=native, tickets=[{"name": "{{ number }}"}], connection_id="{{ number }}{# a comment #}")
    assert (made.tickets, made.connection_id) == ([{"name": "10034"}], "10034")


def test_in_a_dag_that_renders_natively_a_whole_list_is_what_its_template_yields() -> None:
    assert rendered(native=True, tickets="{{ rows }}").tickets == VALUES["rows"]
    assert rendered(LeenTicketSyncSensor, native=True, results="{{ rows[0] }}").results == VALUES["rows"][0]
    assert rendered(native=False, tickets="{{ rows }}").tickets == str(VALUES["rows"])


@NATIVE
def test_json_that_a_template_yields_is_read_as_json_and_not_as_a_python_literal(native: bool) -> None:
    made = rendered(native=native, tickets="{{ [{'name': text}] | tojson }}")
    assert json.loads(made.tickets) == [{"name": VALUES["text"]}]


@NATIVE
def test_what_a_template_has_yielded_is_not_rendered_again(native: bool) -> None:
    made = rendered(native=native, tickets="{{ [{'name': found}] }}", connection_id="{{ found }}")
    assert made.connection_id == "{{ number }}"
    assert "{{ number }}" in str(made.tickets)


def test_another_run_in_the_same_process_renders_the_templates_again() -> None:
    made = rendered(tickets=[], connection_id="{{ number }}")
    made.render_template_fields({**VALUES, "dag": made.dag, "number": "2"})
    assert made.connection_id == "2"


def test_a_function_of_the_dag_file_is_called_for_the_value() -> None:
    made = rendered(tickets=lambda context, jinja_env: [{"name": context["found"]}])
    assert made.tickets == [{"name": "{{ number }}"}]


@pytest.mark.parametrize("path", [Path("/data/{{ number }}.json"), ObjectStoragePath("file:///data/{{ number }}.json")])
def test_a_path_object_is_rendered_like_its_text(path: Any) -> None:
    made = rendered(tickets_path=path, results_path=path, ledger_path=path)
    assert {made.tickets_path, made.results_path, made.ledger_path} == {str(path).replace("{{ number }}", "10034")}


def test_a_template_that_cant_be_rendered_names_its_argument() -> None:
    with pytest.raises(Exception, match="missing") as caught:
        rendered(tickets=[], connection_id="{{ missing.name }}")
    assert caught.value.__notes__ == ["This is about the argument `connection_id`."]


# Flags and thresholds


@NATIVE
def test_a_flag_or_a_threshold_may_be_a_template(native: bool) -> None:
    given: dict[str, str] = {
        "durable": "{{ 1 > 2 }}",
        "deferrable": "{{ 'true' }}",
        "max_failures": "{{ none }}",
        "max_failure_rate": "{{ 0.5 }}",
        "batch_size": "{{ 7 }}",
        "if_exists": "{{ 'skip' }}",
        "poll_interval": "{{ 2 }}",
    }
    made = rendered(native=native, tickets=[], **given)
    assert {name: getattr(made, name) for name in given} == {
        "durable": False,
        "deferrable": True,
        "max_failures": None,
        "max_failure_rate": 0.5,
        "batch_size": 7,
        "if_exists": "skip",
        "poll_interval": 2.0,
    }
    gate = rendered(LeenTicketFailureSensor, native=native, results={}, max_failures="{{ 0 }}")
    assert gate.max_failures == 0


@pytest.mark.parametrize(
    ("operator", "arguments"),
    [
        (LeenBulkCreateTicketsOperator, {"tickets": [], "durable": "{{ found }}"}),
        (LeenBulkCreateTicketsOperator, {"tickets": [], "max_failures": "{{ -1 }}"}),
        (LeenCreateTicketOperator, {"ticket": {}, "if_exists": "{{ number }}"}),
        (LeenUpdateTicketsOperator, {"ticket_ids": [], "updates": {}, "batch_size": "{{ 51 }}"}),
        (LeenTicketFailureSensor, {"results": {}, "max_failure_rate": "{{ number }}"}),
        (LeenTicketSyncSensor, {"results": {}, "deferrable": "{{ number }}"}),
    ],
)
def test_one_that_makes_no_sense_fails_the_task_without_retry(operator: Any, arguments: dict[str, Any]) -> None:
    with pytest.raises(AirflowFailException, match="write ") as caught:
        rendered(operator, **arguments)
    assert isinstance(caught.value.__cause__, LeenConfigError)


# The notifier


@NATIVE
def test_the_notifier_renders_its_texts_to_texts_once(native: bool) -> None:
    with DAG("leen_test", schedule=None, render_template_as_native_obj=native) as dag:
        notifier = LeenNotifier(
            project_vendor_id="2024", type_vendor_id="10034", title="{{ number }}", description="{{ exception }}"
        )
    for _ in range(2):
        context: Any = {**VALUES, "dag": dag, "exception": ValueError("at {{ number }}")}
        notifier.render_template_fields(context)
        assert (notifier.project_vendor_id, notifier.type_vendor_id, notifier.title, notifier.description) == (
            "2024",
            "10034",
            "10034",
            "at {{ number }}",
        )
