from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_leen.notifications.occasion import (
    Occasion,
    description,
    identifier,
    one_line,
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


CONTEXTS: dict[str, tuple[dict[str, Any], Occasion]] = {
    "a task": (
        {"ti": ti(), "dag": DAG, "run_id": RUN, "exception": ValueError("no such file")},
        Occasion("task", "nightly", "scan", RUN, None, 3, 3, None, "ValueError: no such file", URL),
    ),
    "a mapped task, its exception as text": (
        {"ti": ti(map_index=4), "dag": DAG, "run_id": RUN, "exception": "it was killed"},
        Occasion("task", "nightly", "scan", RUN, 4, 3, 3, None, "it was killed", URL),
    ),
    "a task whose process was killed": (
        {"ti": SimpleNamespace(dag_id="nightly", task_id="scan", run_id=RUN, try_number=1), "dag": DAG},
        Occasion("task", "nightly", "scan", RUN, None, 1),
    ),
    "a Dag with its run's last task": (
        {"ti": ti(), "dag": DAG, "run_id": RUN, "reason": "task_failure"},
        Occasion("dag", "nightly", run_id=RUN, error="task_failure", log_url=URL),
    ),
    "a Dag alone": (
        {"dag": DAG, "run_id": RUN, "reason": "timed_out"},
        Occasion("dag", "nightly", run_id=RUN, error="timed_out"),
    ),
    "a deadline": (
        {
            "dag_run": {"dag_id": "nightly", "dag_run_id": RUN},
            "deadline": {"id": "1", "deadline_time": "2026-11-24T06:00:00+00:00"},
        },
        Occasion("deadline", "nightly", run_id=RUN, deadline="2026-11-24T06:00:00+00:00"),
    ),
    "an SLA of Airflow 2": (
        {"dag": DAG, "task_list": "scan", "blocking_task_list": "", "slas": [], "blocking_tis": []},
        Occasion("deadline", "nightly"),
    ),
    "nothing": ({}, Occasion("dag", "(unknown)")),
}


@pytest.mark.parametrize(("context", "occasion"), CONTEXTS.values(), ids=CONTEXTS)
def test_what_happened_is_read_from_the_context_of(context: dict[str, Any], occasion: Occasion) -> None:
    assert read_context(context) == occasion


@pytest.mark.parametrize(
    ("occasion", "words"),
    [
        (Occasion("task", "nightly", "scan"), "Airflow: task scan of Dag nightly failed"),
        (Occasion("dag", "nightly"), "Airflow: Dag nightly failed"),
        (Occasion("deadline", "nightly"), "Airflow: Dag nightly missed a deadline"),
    ],
)
def test_the_title_says_what_failed(occasion: Occasion, words: str) -> None:
    assert title(occasion) == words


def test_a_title_is_one_line_that_jira_takes() -> None:
    assert one_line("first\n  second ") == "first second"
    assert one_line("x" * 300) == "x" * 254 + "…"


def test_the_body_names_all_that_is_known_and_nothing_that_is_not() -> None:
    body = description(read_context(CONTEXTS["a mapped task, its exception as text"][0]))
    for line in ("- Dag: `nightly`", "- Task: `scan`", "- Map index: `4`", f"- Run: `{RUN}`", "- Try: `3 of 3`"):
        assert line in body.splitlines()
    assert f"- Log: {URL}" in body
    assert "```\nit was killed\n```" in body
    assert "None" not in description(Occasion("dag", "nightly"))


def test_an_exception_can_not_break_out_of_its_block() -> None:
    assert "\n````\na ``` b\n````\n" in description(Occasion("dag", "nightly", error="a ``` b"))


def test_a_very_long_exception_is_cut() -> None:
    occasion = read_context({"ti": ti(), "dag": DAG, "exception": ValueError("x" * 100_000)})
    assert len(description(occasion)) < 3000


def test_failures_of_one_task_share_an_identifier_and_others_have_their_own() -> None:
    shared = {identifier(Occasion("task", "nightly", "scan", run, error=run)) for run in ("monday", "tuesday")}
    others = {
        identifier(occasion)
        for occasion in (
            Occasion("task", "nightly", "file"),
            Occasion("task", "weekly", "scan"),
            Occasion("dag", "nightly"),
            Occasion("deadline", "nightly"),
        )
    }
    assert len(shared) == 1
    assert len(shared | others) == 5
