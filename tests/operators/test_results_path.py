"""Results in files instead of XCom: what is where, what is found out before anything is sent, what is never lost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowFailException, ObjectStoragePath, task

from airflow_provider_leen.api.errors import LeenConfigError, LeenError, LeenOutcomeUnknownError
from airflow_provider_leen.bulk.results_file import write_lines
from airflow_provider_leen.operators.leen import LeenBulkCreateTicketsOperator
from airflow_provider_leen.sandbox.server import SandboxServer
from airflow_provider_leen.sensors.leen import LeenTicketFailureSensor
from tests.operators.dags import (
    DEFAULTS,
    Connect,
    bulk_dag,
    create,
    tickets,
    with_bad_ones,
)


def lines(path: Path | str) -> list[Any]:
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


@pytest.mark.smoke
def test_results_and_failed_tickets_are_in_files_and_xcom_says_where(
    sandbox: SandboxServer, run_dag: Any, tmp_path: Path
) -> None:
    path = tmp_path / "new" / "results.jsonl"
    given = with_bad_ones(7, 2, 5)
    run = run_dag(bulk_dag(given, results_path=f"{tmp_path}/new/{{{{ 'results' }}}}.jsonl", batch_size=3))
    summary = run.summary()
    assert summary == {
        "total": 7,
        "succeeded": 5,
        "failed": 2,
        "created": 5,
        "existing": 0,
        "rejected": 2,
        "invalid": 0,
        "unknown": 0,
        "unsent": 0,
        "results": [],
        "results_path": str(path),
    }
    results = lines(path)
    assert [result["request_index"] for result in results] == list(range(7))
    assert [result["name"] for result in results] == [ticket["name"] for ticket in given]
    assert [result["status"] == "rejected" for result in results] == [index in (2, 5) for index in range(7)]
    assert run.xcom("create", "failed_tickets") == f"{path}.failed.jsonl"
    assert lines(f"{path}.failed.jsonl") == [given[2], given[5]]


def test_the_failed_tickets_are_another_operators_tickets_path(
    sandbox: SandboxServer, run_dag: Any, tmp_path: Path
) -> None:
    given = [{"name": "one", "priority": "HIGH"}, {"name": "two"}, {"name": "three"}]
    with DAG("leen_test", schedule=None) as dag:
        first = create(given, ticket_defaults=DEFAULTS | {"priority": "SHINY"}, results_path=f"{tmp_path}/r.jsonl")
        failed: Any = first.output
        create(tickets_path=failed["failed_tickets"], task_id="again", results_path=f"file://{tmp_path}/again.jsonl")
    run = run_dag(dag)
    assert run.summary("create")["rejected"] == 2
    assert run.summary("again")["created"] == 2
    assert [result["name"] for result in lines(tmp_path / "again.jsonl")] == ["two", "three"]


def test_what_is_known_is_written_before_the_task_fails(sandbox: SandboxServer, run_dag: Any, tmp_path: Path) -> None:
    sandbox.inject("status", status=401, nth=2)
    run = run_dag(bulk_dag(with_bad_ones(6, 1), batch_size=3, results_path=f"{tmp_path}/r.jsonl"))
    assert run.states == {"create": "failed"}
    statuses = [result["status"] for result in lines(tmp_path / "r.jsonl")]
    assert statuses == ["created", "rejected", "created", "unsent", "unsent", "unsent"]
    assert run.summary()["unsent"] == 3
    assert len(lines(tmp_path / "r.jsonl.failed.jsonl")) == 4


def test_another_try_overwrites_both_files(sandbox: SandboxServer, run_dag: Any, tmp_path: Path) -> None:
    sandbox.inject("status", status=405, nth=2)
    run = run_dag(bulk_dag(tickets(4), batch_size=2, retries=1, results_path=f"{tmp_path}/r.jsonl"))
    assert run.states == {"create": "success"}
    assert [result["status"] for result in lines(tmp_path / "r.jsonl")] == ["created"] * 4
    assert lines(tmp_path / "r.jsonl.failed.jsonl") == []


def test_a_try_that_publishes_nothing_leaves_the_files_of_another(
    sandbox: SandboxServer, run_dag: Any, tmp_path: Path
) -> None:
    """It may be one that was stopped at its start, and continues after a newer one has published."""
    path = tmp_path / "r.jsonl"
    path.write_text("the newest try's")
    Path(f"{path}.failed.jsonl").write_text("the newest try's")
    run = run_dag(bulk_dag(tickets(2), results_path=str(path), ledger_path="/proc/self/nothing"))
    assert run.states == {"create": "failed"}
    assert sandbox.requests == []
    assert path.read_text() == Path(f"{path}.failed.jsonl").read_text() == "the newest try's"


def test_a_deferred_task_keeps_what_it_knows_in_the_file(sandbox: SandboxServer, run_dag: Any, tmp_path: Path) -> None:
    given = [*with_bad_ones(4, 1), {"title": "no name"}]
    path = tmp_path / "r.jsonl"
    run = run_dag(bulk_dag(given, deferrable=True, poll_interval=0.05, results_path=str(path), batch_size=2))
    assert run.states == {"create": "success"}
    assert [result["status"] for result in lines(path)] == ["created", "rejected", "created", "created", "invalid"]
    assert run.summary()["results"] == []
    assert lines(f"{path}.failed.jsonl") == [given[1], given[4]]


# Paths that can't be used


@pytest.mark.parametrize(
    ("path", "says"),
    [
        pytest.param("results.jsonl", "absolute path", id="relative"),
        pytest.param("{{ none }}", "'None'", id="empty template"),
        pytest.param("nowhere://bucket/r.jsonl", "nowhere", id="unknown store"),
        pytest.param("/proc/self/nothing/r.jsonl", "can't be written", id="not writable"),
        pytest.param("{tmp}", "IsADirectoryError", id="folder"),
        pytest.param("{tmp}/tickets.json", "overwrite the tickets", id="its own input"),
        pytest.param("file://{tmp}/tickets.json", "overwrite the tickets", id="its own input by URL"),
        pytest.param("{tmp}//./tickets.json", "overwrite the tickets", id="its own input written otherwise"),
        pytest.param("{tmp}/link", "overwrite the tickets", id="a link to its own input"),
    ],
)
def test_a_path_that_can_not_be_used_is_refused_before_anything_is_sent(
    sandbox: SandboxServer, run_dag: Any, tmp_path: Path, path: str, says: str
) -> None:
    source = tmp_path / "tickets.json"
    source.write_text(json.dumps(tickets(2)))
    (tmp_path / "link").symlink_to(source)
    dag = bulk_dag(tickets_path=str(source), results_path=path.replace("{tmp}", str(tmp_path)), retries=2)
    (error,) = run_dag(dag).exceptions
    assert type(error) is AirflowFailException
    assert type(error.__cause__) is LeenConfigError
    assert says in str(error)
    assert sandbox.requests == []
    assert json.loads(source.read_text()) == tickets(2)


def test_the_failed_tickets_of_a_list_do_not_overwrite_it(run_dag: Any, tmp_path: Path) -> None:
    source = tmp_path / "r.jsonl.failed.jsonl"
    source.write_text('{"name": "a"}\n')
    (error,) = run_dag(bulk_dag(tickets_path=str(source), results_path=f"{tmp_path}/r.jsonl")).exceptions
    assert "overwrite the tickets" in str(error)
    assert source.exists()


def test_mapped_instances_may_not_share_a_file(sandbox: SandboxServer, run_dag: Any, tmp_path: Path) -> None:
    def mapped(results_path: Any) -> DAG:
        with DAG("leen_test", schedule=None) as dag:
            LeenBulkCreateTicketsOperator.partial(
                task_id="create", ticket_defaults=DEFAULTS, results_path=results_path
            ).expand(tickets=[tickets(1), tickets(2)])
        return dag

    refused = run_dag(mapped(f"{tmp_path}/{{{{ run_id }}}}.jsonl"))
    assert refused.states == {"create": "failed failed"}
    assert "map_index" in str(refused.exceptions[0])
    refused = run_dag(mapped(ObjectStoragePath(f"file://{tmp_path}/all.jsonl")))
    assert f"{tmp_path}/all.jsonl' for all mapped instances" in str(refused.exceptions[0])
    assert sandbox.requests == []
    run = run_dag(mapped(f"{tmp_path}/{{{{ ti.map_index }}}}.jsonl"))
    assert run.states == {"create": "success success"}
    assert [len(lines(tmp_path / f"{index}.jsonl")) for index in range(2)] == [1, 2]


def test_paths_may_be_path_objects(sandbox: SandboxServer, run_dag: Any, tmp_path: Path) -> None:
    given = tmp_path / "given.jsonl"
    given.write_text('{"name": "a"}\n{"name": ""}\n')
    results = ObjectStoragePath(f"file://{tmp_path}/{{{{ ti.task_id }}}}.jsonl")
    run = run_dag(
        bulk_dag(
            tickets_path=ObjectStoragePath(f"file://{given}"), results_path=results, ledger_path=tmp_path / "ledger"
        )
    )
    assert run.states == {"create": "success"}
    assert [line["status"] for line in lines(tmp_path / "create.jsonl")] == ["created", "invalid"]
    assert [*(tmp_path / "ledger").iterdir()]
    (error,) = run_dag(bulk_dag(tickets_path=given, results_path=ObjectStoragePath(f"file://{given}"))).exceptions
    assert "overwrite the tickets" in str(error)


def test_an_operator_that_a_mapped_task_executes_by_hand_has_its_own_file(
    sandbox: SandboxServer, run_dag: Any, tmp_path: Path
) -> None:
    with DAG("leen_test", schedule=None) as dag:

        @task
        def file_all(count: int, **context: Any) -> Any:
            by_hand: Any = LeenBulkCreateTicketsOperator(
                task_id="by_hand",
                tickets=tickets(count),
                ticket_defaults=DEFAULTS,
                results_path=f"{tmp_path}/{count}.jsonl",
            )
            return by_hand.execute(context)

        file_all.expand(count=[1, 2])
    run = run_dag(dag)
    assert run.states == {"file_all": "success success"}
    assert [len(lines(tmp_path / f"{count}.jsonl")) for count in (1, 2)] == [1, 2]


# A file that can't be written in the end


@pytest.mark.parametrize("durable", [True, False])
def test_results_that_can_not_be_written_fail_the_task_and_the_counts_are_published(
    sandbox: SandboxServer, run_dag: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, durable: bool
) -> None:
    tries: list[int] = []

    def fails_once(path: Any, values: Any) -> None:
        tries.append(1)
        if len(tries) == 1:
            raise ConnectionError("no route to the bucket")
        write_lines(path, values)

    monkeypatch.setattr("airflow_provider_leen.tasks.files.write_lines", fails_once)
    run = run_dag(bulk_dag(tickets(3), results_path=f"{tmp_path}/r.jsonl", durable=durable, retries=1))
    (error,) = run.exceptions
    assert "no route to the bucket" in str(error)
    assert len(sandbox.tickets()) == 3
    if durable:
        assert type(error) is LeenError
        assert run.states == {"create": "success"}
        assert len(lines(tmp_path / "r.jsonl")) == 3
    else:
        assert type(error) is AirflowFailException, "another try would send everything again"
        assert run.summary()["created"] == 3
        assert run.summary()["results"] == []
        assert run.xcom("create", "failed_tickets") is None, "an empty file would pass for no failure"


def test_a_worse_error_comes_before_that_of_the_file(
    sandbox: SandboxServer, run_dag: Any, connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(path: Any, values: Any) -> None:
        raise ConnectionError("no route to the bucket")

    monkeypatch.setattr("airflow_provider_leen.tasks.files.write_lines", fails)
    sandbox.inject("lost", nth=1)
    run = run_dag(bulk_dag(tickets(3), results_path=f"{tmp_path}/r.jsonl"))
    assert [type(error) for error in run.exceptions] == [LeenOutcomeUnknownError]
    assert run.summary()["unknown"] == 3


# The gate


def gated(path: str, given: Any, *, watching: bool = False, **limits: Any) -> DAG:
    with DAG("leen_test", schedule=None) as dag:
        first = create(given, results_path=path)
        if watching:
            LeenTicketFailureSensor(task_id="gate", task_ids="create", mode="reschedule", poke_interval=0.05, **limits)
        else:
            LeenTicketFailureSensor(task_id="gate", results=first.output, **limits)
    return dag


@pytest.mark.parametrize("watching", [False, True])
def test_the_gate_judges_the_counts_and_names_errors_from_the_file(
    sandbox: SandboxServer, run_dag: Any, tmp_path: Path, watching: bool
) -> None:
    run = run_dag(gated(f"{tmp_path}/r.jsonl", with_bad_ones(4, 1, 3), watching=watching, max_failures=1))
    assert run.states == {"create": "success", "gate": "failed"}
    (error,) = run.exceptions
    assert "2 of 4 tickets failed" in str(error)
    assert "#1 finding 1: " in str(error)
    assert "#3 finding 3: " in str(error)
