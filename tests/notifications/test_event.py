from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from airflow.utils.state import TaskInstanceState

from airflow_provider_leen.api.text import MAX_DESCRIPTION
from airflow_provider_leen.notifications.event import (
    Event,
    description,
    fitting_description,
    fitting_title,
    identifier,
    read_context,
    title,
)

DAG = SimpleNamespace(dag_id="nightly")
RUN = "scheduled__2026-11-24"
URL = "https://airflow.example/dags/nightly/runs/x/tasks/scan"


def ti(**fields: Any) -> SimpleNamespace:
    usual = {
        "dag_id": "nightly",
        "task_id": "scan",
        "run_id": RUN,
        "map_index": -1,
        "try_number": 3,
        "max_tries": 2,
        "log_url": URL,
    }
    return SimpleNamespace(**usual | fields)


CONTEXTS: dict[str, tuple[dict[str, Any], Event]] = {
    "a task": (
        {"ti": ti(), "dag": DAG, "run_id": RUN, "exception": ValueError("no such file")},
        Event("task", "nightly", "scan", RUN, None, 3, 3, None, "ValueError: no such file", URL),
    ),
    "a mapped task, its exception as text": (
        {"ti": ti(map_index=4), "dag": DAG, "run_id": RUN, "exception": "it was killed"},
        Event("task", "nightly", "scan", RUN, 4, 3, 3, None, "it was killed", URL),
    ),
    "a task whose process was killed": (
        {"ti": SimpleNamespace(dag_id="nightly", task_id="scan", run_id=RUN, try_number=1), "dag": DAG},
        Event("task", "nightly", "scan", RUN, None, 1),
    ),
    "a Dag with its run's last task": (
        {"ti": ti(), "dag": DAG, "run_id": RUN, "reason": "task_failure"},
        Event("dag", "nightly", run_id=RUN, error="task_failure", log_url=URL),
    ),
    "a Dag alone": (
        {"dag": DAG, "run_id": RUN, "reason": "timed_out"},
        Event("dag", "nightly", run_id=RUN, error="timed_out"),
    ),
    "a deadline": (
        {
            "dag_run": {"dag_id": "nightly", "dag_run_id": RUN},
            "deadline": {"id": "1", "deadline_time": "2026-11-24T06:00:00+00:00"},
        },
        Event("deadline", "nightly", run_id=RUN, deadline="2026-11-24T06:00:00+00:00"),
    ),
    "an SLA of Airflow 2": (
        {"dag": DAG, "task_list": "scan", "blocking_task_list": "", "slas": [], "blocking_tis": []},
        Event("deadline", "nightly"),
    ),
    "a Dag that succeeded": (
        {"ti": ti(state="success"), "dag": DAG, "run_id": RUN, "reason": "success"},
        Event("dag", "nightly", run_id=RUN, log_url=URL, outcome="success"),
    ),
    "nothing": ({}, Event("dag", "(unknown)")),
}


@pytest.mark.parametrize(("context", "event"), CONTEXTS.values(), ids=CONTEXTS)
def test_what_happened_is_read_from_the_context_of(context: dict[str, Any], event: Event) -> None:
    assert read_context(context) == event


@pytest.mark.parametrize(
    ("fields", "exception", "outcome"),
    [
        pytest.param({"state": "failed"}, ValueError(), "failed", id="failed"),
        pytest.param({"state": TaskInstanceState.FAILED}, ValueError(), "failed", id="failed, as Airflow names it"),
        pytest.param({"state": TaskInstanceState.UP_FOR_RETRY}, ValueError(), "up_for_retry", id="tried again"),
        pytest.param({"state": TaskInstanceState.SUCCESS}, None, "success", id="succeeded"),
        pytest.param({"state": TaskInstanceState.SKIPPED}, None, "skipped", id="skipped"),
        pytest.param({"state": TaskInstanceState.RUNNING}, None, "running", id="started"),
        pytest.param({"state": TaskInstanceState.SCHEDULED}, None, "running", id="started by dag.test() of Airflow 2"),
        pytest.param({"state": TaskInstanceState.SKIPPED}, ValueError(), "skipped", id="skipped by an exception"),
        pytest.param({"state": TaskInstanceState.RUNNING}, "killed", "failed", id="failed before its state says so"),
        pytest.param({"state": None, "start_date": 1}, None, "running", id="started, below 3.3"),
        pytest.param({"state": None, "start_date": 1}, ValueError(), "failed", id="failed without a state"),
        pytest.param({"state": None}, None, "failed", id="killed from outside"),
        pytest.param({"state": "of a later Airflow"}, None, "failed", id="a state that is not known"),
    ],
)
def test_the_outcome_of_a_task_is_read_from_its_state(fields: dict[str, Any], exception: Any, outcome: str) -> None:
    assert read_context({"ti": ti(**fields), "dag": DAG, "exception": exception}).outcome == outcome


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (Event("task", "nightly", "scan", outcome="success"), "Airflow: task scan of Dag nightly succeeded"),
        (Event("task", "nightly", "scan", outcome="skipped"), "Airflow: task scan of Dag nightly was skipped"),
        (Event("task", "nightly", "scan", outcome="running"), "Airflow: task scan of Dag nightly has started"),
        (
            Event("task", "nightly", "scan", outcome="up_for_retry"),
            "Airflow: task scan of Dag nightly failed and will be retried",
        ),
        (Event("dag", "nightly", outcome="success"), "Airflow: Dag nightly succeeded"),
        (Event("task", "nightly", "scan"), "Airflow: task scan of Dag nightly failed"),
        (Event("dag", "nightly"), "Airflow: Dag nightly failed"),
        (Event("deadline", "nightly"), "Airflow: Dag nightly missed a deadline"),
    ],
)
def test_the_title_says_what_happened(event: Event, words: str) -> None:
    assert title(event) == words


def test_a_title_is_one_line_that_jira_takes() -> None:
    assert fitting_title("first\n  second\x1b ") == "first second"
    assert fitting_title("x" * 300) == "x" * 254 + "…"
    assert fitting_title("😀" * 200) == "😀" * 127 + "…"
    assert fitting_title("half \ud83d") == "half \ufffd"


@pytest.mark.parametrize("letter", ["x", "😀"])
def test_a_description_is_cut_as_jira_counts_it_and_keeps_its_notes(letter: str) -> None:
    body = fitting_description(letter * 40_000, [letter * 300, "a note"])
    assert MAX_DESCRIPTION - 1 <= len(body.encode("utf-16-le")) // 2 <= MAX_DESCRIPTION
    assert body.endswith(f"{letter}…\n\n{letter * 300}\n\na note")
    assert fitting_description("short\x00\n\tline", []) == "short\n\tline"


def test_the_body_names_all_that_is_known_and_nothing_that_is_not() -> None:
    body = description(read_context(CONTEXTS["a mapped task, its exception as text"][0]))
    for line in ("- Dag: `nightly`", "- Task: `scan`", "- Map index: `4`", f"- Run: `{RUN}`", "- Try: `3 of 3`"):
        assert line in body.splitlines()
    assert f"- Log: {URL}" in body
    assert "```\nit was killed\n```" in body
    assert "None" not in description(Event("dag", "nightly"))


def test_an_exception_can_not_break_out_of_its_block() -> None:
    assert "\n````\na ``` b\n````\n" in description(Event("dag", "nightly", error="a ``` b"))


def test_a_very_long_exception_is_cut() -> None:
    event = read_context({"ti": ti(), "dag": DAG, "exception": ValueError("x" * 100_000)})
    assert len(description(event)) < 3000


def test_failures_of_one_task_share_an_identifier_and_others_have_their_own() -> None:
    shared = {identifier(Event("task", "nightly", "scan", run, error=run)) for run in ("monday", "tuesday")}
    others = {
        identifier(event)
        for event in (
            Event("task", "nightly", "file"),
            Event("task", "weekly", "scan"),
            Event("dag", "nightly"),
            Event("deadline", "nightly"),
        )
    }
    tried_again = identifier(Event("task", "nightly", "scan", outcome="up_for_retry"))
    assert shared == {tried_again}
    assert len(shared | others) == 5


def test_what_is_no_failure_has_its_own_identifier() -> None:
    outcomes: tuple[Any, ...] = ("failed", "success", "skipped", "running")
    assert len({identifier(Event("task", "nightly", "scan", outcome=outcome)) for outcome in outcomes}) == 4
