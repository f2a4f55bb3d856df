"""Everything that may stand in ``tickets`` and ``tickets_path``, as Airflow hands it over."""

from __future__ import annotations

import gzip
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowFailException, AirflowSkipException, ObjectStoragePath, task

from airflow_provider_leen.api.errors import LeenConfigError, LeenError
from airflow_provider_leen.sandbox.server import SandboxServer
from tests.operators.dags import bulk_dag, create, tickets
from tests.support.airflow_run import AIRFLOW

ODD_TEXT = "„Zürich“ — 漢字 🔥 {{ conn.leen_default.password }} {% raw %} \\ ' \" \t ${HOME} %s"


@pytest.fixture(autouse=True)
def _leen(sandbox: SandboxServer) -> None:
    """Every test here sends to the sandbox."""


def names(sandbox: SandboxServer) -> list[str]:
    return [ticket["name"] for ticket in sandbox.tickets()]


def refused(run: Any) -> str:
    """The sentence with which a task refused its input, at once and without a request."""
    assert run.states["create"] == "failed"
    (error,) = run.exceptions
    assert type(error) is AirflowFailException
    assert type(error.__cause__) is LeenConfigError
    assert run.xcom("create") is None
    assert "\n" not in str(error)
    return str(error)


@pytest.mark.parametrize("count", [0, 1, 49, 50, 51, 1000])
def test_a_list_of_any_length_is_created_in_calls_of_fifty(sandbox: SandboxServer, run_dag: Any, count: int) -> None:
    run = run_dag(bulk_dag(tickets(count)))
    assert run.states == {"create": "success"}
    assert run.summary()["created"] == run.summary()["total"] == count
    assert [result["request_index"] for result in run.summary()["results"]] == list(range(count))
    sizes = [len(request.ticket_names) for request in sandbox.requests]
    assert sizes == [50] * (count // 50) + [count % 50] * (count % 50 > 0)
    assert names(sandbox) == [ticket["name"] for ticket in tickets(count)]


# What a task upstream makes


def upstream_dag(value: Any, given: Callable[[Any], Any], *, native: bool = False, **arguments: Any) -> DAG:
    """A Dag whose task ``upstream`` returns a value; ``given`` says how the operator refers to it."""
    with DAG("leen_test", schedule=None, render_template_as_native_obj=native) as dag:

        @task
        def upstream() -> Any:
            return value

        output = upstream()
        created = create(given(output), **arguments)
        output >> created
    return dag


FORMS = {
    "output": (lambda output: output, False),
    "Jinja": (lambda output: "{{ ti.xcom_pull(task_ids='upstream') }}", False),
    "Jinja, JSON": (lambda output: "{{ ti.xcom_pull(task_ids='upstream') | tojson }}", False),
    "Jinja, native": (lambda output: "{{ ti.xcom_pull(task_ids='upstream') }}", True),
}


# Mapped tasks


def mapped_dag(values: list[Any], given: Callable[[Any], Any], *, native: bool = False) -> DAG:
    """A Dag whose mapped task ``upstream`` returns these values."""
    with DAG("leen_test", schedule=None, render_template_as_native_obj=native) as dag:

        @task
        def upstream(value: Any) -> Any:
            return value

        output = upstream.expand(value=values)
        output >> create(given(output))
    return dag


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param([{"name": "a"}, {"name": "b"}], ["a", "b"], id="tickets"),
        pytest.param([[{"name": "a"}, {"name": "b"}], [], [{"name": "c"}]], ["a", "b", "c"], id="lists of tickets"),
    ],
)
@pytest.mark.parametrize("form", FORMS)
def test_a_mapped_upstream_gives_all_its_tickets_in_order(
    sandbox: SandboxServer, run_dag: Any, values: list[Any], expected: list[str], form: str
) -> None:
    given, native = FORMS[form]
    if AIRFLOW < (3, 0) and form.startswith("Jinja") and not native:
        pytest.skip("Airflow 2 makes no text of what a mapped task gave")
    run = run_dag(mapped_dag(values, given, native=native))
    assert run.states["create"] == "success", run.exceptions
    assert names(sandbox) == expected
    assert run.summary()["total"] == len(expected)


def test_a_mapped_upstream_may_give_tickets_and_lists_of_tickets(sandbox: SandboxServer, run_dag: Any) -> None:
    run_dag(mapped_dag([[{"name": "a"}], {"name": "b"}], lambda output: output))
    assert names(sandbox) == ["a", "b"]


@pytest.mark.smoke
def test_the_operator_maps_over_lists_and_each_instance_has_its_own_summary(
    sandbox: SandboxServer, run_dag: Any
) -> None:
    from airflow_provider_leen.operators.leen import LeenBulkCreateTicketsOperator

    with DAG("leen_test", schedule=None) as dag:

        @task
        def lists() -> list[list[dict[str, Any]]]:
            return [tickets(2), [], tickets(3)]

        LeenBulkCreateTicketsOperator.partial(
            task_id="create", ticket_defaults={"project_vendor_id": "SEC", "type": "Task"}
        ).expand(tickets=lists())
    run = run_dag(dag)
    assert run.states["create"] == "success success success"
    assert [run.summary(map_index=index)["created"] for index in range(3)] == [2, 0, 3]
    # Equal rows of different instances are different tickets.
    identifiers = [request.body["tickets"] for request in sandbox.requests]
    assert len({ticket["identifier"] for batch in identifiers for ticket in batch}) == 5


def test_the_outputs_of_several_tasks_are_joined_and_one_that_gives_nothing_adds_nothing(
    sandbox: SandboxServer, run_dag: Any
) -> None:
    with DAG("leen_test", schedule=None) as dag:

        @task
        def a_list() -> Any:
            return [{"name": "a"}, {"name": "b"}]

        @task
        def one() -> Any:
            return {"name": "c"}

        @task
        def none() -> Any:
            return None

        @task
        def skipped() -> Any:
            raise AirflowSkipException

        @task
        def mapped(name: str) -> Any:
            return [{"name": name}]

        lists, ticket, nothing, no_task = a_list(), one(), none(), skipped()
        sources = [lists, nothing, no_task, ticket, mapped.expand(name=["d", "e"]), {"name": "f"}]
        create(sources, trigger_rule="none_failed")
        create([ticket, no_task], task_id="only_one", trigger_rule="none_failed")
        create([nothing, no_task], task_id="empty", trigger_rule="none_failed")
    run = run_dag(dag)
    assert [str(error) for error in run.exceptions] == []
    of_each = {
        task_id: [result["name"] for result in run.summary(task_id)["results"]]
        for task_id in ("create", "only_one", "empty")
    }
    assert of_each == {"create": list("abcdef"), "only_one": ["c"], "empty": []}
    assert run.summary()["created"] == 6


# Files


def file_dag(path: Any, **arguments: Any) -> DAG:
    return bulk_dag(tickets_path=str(path), **arguments)


def test_a_json_file_is_read_at_run_time_and_not_rendered(sandbox: SandboxServer, run_dag: Any, tmp_path: Path) -> None:
    path = tmp_path / "findings.json"
    dag = file_dag(path)
    path.write_text(json.dumps([{"name": ODD_TEXT}, {"name": "two"}]), encoding="utf-8")
    assert run_dag(dag).states == {"create": "success"}
    assert names(sandbox) == [ODD_TEXT, "two"]


@pytest.mark.parametrize(
    ("file_name", "content", "says"),
    [
        pytest.param("gone.jsonl", None, "there is no such file", id="missing"),
        pytest.param("findings.xlsx", b"PK", "its name must end in .json, .jsonl", id="wrong ending"),
    ],
)
def test_a_file_that_can_not_be_read_is_refused_in_one_sentence(
    sandbox: SandboxServer, run_dag: Any, tmp_path: Path, file_name: str, content: bytes | None, says: str
) -> None:
    if content is not None:
        (tmp_path / file_name).write_bytes(content)
    sentence = refused(run_dag(file_dag(tmp_path / file_name, retries=2)))
    assert says in sentence
    assert "tickets_path" in sentence
    assert sandbox.requests == []


def test_a_full_disk_is_named_before_anything_is_sent_and_a_retry_may_find_room(
    sandbox: SandboxServer, run_dag: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "findings.jsonl").write_text('{"name": "one"}\n')
    files = iter([open("/dev/full", "r+b"), tempfile.TemporaryFile()])  # noqa: SIM115  # the rows close them
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda: next(files))
    run = run_dag(file_dag(tmp_path / "findings.jsonl", retries=1))
    (error,) = run.exceptions
    assert type(error) is LeenError
    assert "disk is full" in str(error)
    assert tempfile.gettempdir() in str(error)
    assert run.states == {"create": "success"}
    assert names(sandbox) == ["one"]


LONG_NAME = "SQL built from strings, " * 20
SARIF = {
    "version": "2.1.0",
    "runs": [
        {
            "tool": {"driver": {"name": "scanner"}},
            "results": [{"ruleId": "sqli", "level": "error", "message": {"text": "SQL built from strings"}}],
        }
    ],
}


@pytest.mark.parametrize(
    ("path_type", "name", "content", "sent"),
    [
        pytest.param(
            str, "t.NDJSON.gz", gzip.compress(b'{"name": "a"}\n\n{"name": "b"}', mtime=0), ["a", "b"], id="text"
        ),
        pytest.param(Path, "T.CSV", b"name,priority\none,low\n,\n", ["one"], id="Path"),
        pytest.param(
            ObjectStoragePath, "t.sarif", json.dumps(SARIF).encode(), ["sqli: SQL built from strings"], id="store"
        ),
    ],
)
def test_files_are_read_by_what_their_names_end_in(
    sandbox: SandboxServer, run_dag: Any, tmp_path: Path, path_type: Any, name: str, content: bytes, sent: list[str]
) -> None:
    (tmp_path / name).write_bytes(content)
    run = run_dag(bulk_dag(tickets_path=path_type(f"{tmp_path}/{name}"), max_failures=0))
    assert run.states == {"create": "success"}
    assert names(sandbox) == sent


def test_a_sarif_document_is_read_as_tickets(sandbox: SandboxServer, run_dag: Any) -> None:
    run = run_dag(upstream_dag(SARIF, lambda output: [output, {"name": "by hand"}]))
    assert run.states["create"] == "success"
    assert names(sandbox) == ["sqli: SQL built from strings", "by hand"]


# What is made of a row


@pytest.mark.parametrize("priority_map", [{"ERROR": "HIGH"}, "{{ {'ERROR': 'HIGH'} }}"], ids=["map", "template"])
def test_rows_are_fitted_to_the_tracker(sandbox: SandboxServer, run_dag: Any, priority_map: Any) -> None:
    given = [
        {"name": f"{LONG_NAME}\nSee below.", "priority": "error", "description": "Below."},
        {"name": "low", "priority": "low", "identifier": "a"},
        {"name": "its twin", "priority": "low", "identifier": "a"},
    ]
    run = run_dag(bulk_dag(given, priority_map=priority_map, embed_identifier=True, max_failures=0))
    assert run.states == {"create": "success"}
    results = run.summary()["results"]
    assert [result["status"] for result in results] == ["created", "created", "existing"]
    assert results[1]["vendor_ticket_id"] == results[2]["vendor_ticket_id"]
    first, second = sandbox.tickets()
    assert (first["priority"], second["priority"]) == ("High", "Low")
    assert first["name"] == results[0]["name"] == LONG_NAME[:254] + "…"
    assert first["description"].startswith(f"{LONG_NAME}See below.\n\nBelow.\n\nairflow-")


@pytest.mark.parametrize("priority_map", [["HIGH"], "{{ 17 }}"], ids=["list", "template"])
def test_a_map_of_priorities_that_can_not_be_used_is_refused(
    sandbox: SandboxServer, run_dag: Any, priority_map: Any
) -> None:
    assert "`priority_map`" in refused(run_dag(bulk_dag(tickets(1), priority_map=priority_map)))
    assert sandbox.requests == []


# What is no list of tickets


def test_a_scanner_s_report_is_refused_whole_and_nothing_of_it_is_published(
    sandbox: SandboxServer, run_dag: Any, tmp_path: Path
) -> None:
    (tmp_path / "report.json").write_text('[{"RuleID": "aws", "Secret": "hunter2", "Tags": []}]')
    run = run_dag(file_dag(tmp_path / "report.json"))
    assert "it looks like a gitleaks report" in refused(run)
    assert run.xcom("create", "failed_tickets") is None


NO_LISTS = {
    "None": (None, "the upstream task returned nothing"),
    "path": ("/data/findings.json", "use `tickets_path` instead"),
    "empty text": ("", "rendered to an empty text"),
}


@pytest.mark.parametrize("form", ["output", "Jinja"])
@pytest.mark.parametrize(("value", "says"), NO_LISTS.values(), ids=NO_LISTS)
def test_what_is_no_list_is_refused_in_one_sentence(
    sandbox: SandboxServer, run_dag: Any, value: Any, says: str, form: str
) -> None:
    given, native = FORMS[form]
    sentence = refused(run_dag(upstream_dag(value, given, native=native, retries=2)))
    assert says in sentence
    assert "`tickets`" in sentence
    assert sandbox.requests == []


# All or nothing


def test_with_on_invalid_fail_one_bad_row_keeps_the_whole_list_back(sandbox: SandboxServer, run_dag: Any) -> None:
    given = [{"name": "good"}, {"name": "bad", "project": "SEC"}, {"name": "good too"}]
    run = run_dag(bulk_dag(given, on_invalid="fail", retries=2))
    (error,) = run.exceptions
    assert type(error) is AirflowFailException
    assert type(error.__cause__) is LeenConfigError
    assert "1 of 3 rows" in str(error)
    assert "#1" in str(error)
    assert sandbox.requests == []
    assert [result["status"] for result in run.summary()["results"]] == ["unsent", "invalid", "unsent"]
    assert run.xcom("create", "failed_tickets") == given
