"""Findings that come and go, day by day, on real Airflow against the sandbox."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowSkipException, task

from airflow_provider_leen.api.errors import LeenBrakeError, LeenConfigError
from airflow_provider_leen.operators.reconcile import LeenReconcileTicketsOperator
from airflow_provider_leen.sandbox.server import SandboxServer
from airflow_provider_leen.sensors.leen import LeenTicketFailureSensor
from airflow_provider_leen.tasks.reconciling import expected_plan, time_of_list
from airflow_provider_leen.tasks.sources import absent
from airflow_provider_leen.tasks.templates import Absent

DEFAULTS = {"project_id": "5ec00000-0000-4000-8000-000000000001", "type": "Task"}


def findings(*names: str) -> list[dict[str, str]]:
    return [{"name": f"finding {name}", "identifier": name} for name in names]


def dag(folder: Path, tickets: Any, **arguments: Any) -> DAG:
    register = str(folder / "register")
    with DAG("leen_test", schedule=None) as dag:
        reconcile = LeenReconcileTicketsOperator(
            task_id="reconcile", tickets=tickets, register=register, ticket_defaults=DEFAULTS, poll_interval=0.05,
            **arguments,
        )  # fmt: skip
        LeenTicketFailureSensor(task_id="gate", results=reconcile.output, max_failures=0)
    return dag


def told(run: Any, task_id: str = "reconcile") -> dict[str, str]:
    return {result["identifier"]: result["status"] for result in run.xcom(task_id)["results"]}


def is_open(sandbox: SandboxServer) -> set[str]:
    return {ticket["name"][-1] for ticket in sandbox.tickets() if ticket["status"] != "CLOSED"}


def test_findings_come_and_go_and_the_brakes_hold(sandbox: SandboxServer, run_dag: Any, tmp_path: Path) -> None:
    run = run_dag(dag(tmp_path, findings(*"abcdefgh")))
    assert run.states == {"reconcile": "success", "gate": "success"}
    run_dag(dag(tmp_path, findings(*"bcdefgh")))
    path = str(tmp_path / "results.jsonl")
    run = run_dag(dag(tmp_path, findings(*"bcdefghi"), results_path=path))
    assert run.states == {"reconcile": "success", "gate": "success"}
    summary = run.xcom("reconcile")
    assert (summary["created"], summary["existing"], summary["closed"]) == (1, 7, 1)
    assert len(Path(path).read_text().splitlines()) == 9
    assert is_open(sandbox) == set("bcdefghi")

    run = run_dag(dag(tmp_path, findings(*"abcdefghi")))
    assert told(run)["a"] == "reopened"
    run = run_dag(dag(tmp_path, [], close_after="{{ 1 }}", retries=1))
    assert run.xcom("reconcile")["waiting"] == 9
    assert run.states == {"reconcile": "success", "gate": "success"}
    run = run_dag(dag(tmp_path, findings("a"), close_after=1, retries=1))
    assert run.states == {"reconcile": "failed", "gate": "upstream_failed"}
    assert [type(error.__cause__) for error in run.exceptions] == [LeenBrakeError], "no retry helps"
    assert is_open(sandbox) == set("abcdefghi")


def test_a_plan_is_made_then_carried_out(sandbox: SandboxServer, run_dag: Any, tmp_path: Path) -> None:
    arguments: dict[str, Any] = {
        "register": str(tmp_path / "register"), "ticket_defaults": DEFAULTS, "poll_interval": 0.05, "close_after": 1
    }  # fmt: skip
    run_dag(dag(tmp_path, findings(*"ab")))
    with DAG("leen_test", schedule=None) as planned:

        @task
        def scan() -> list[dict[str, str]]:
            return findings(*"bc")

        given = scan()
        plan = LeenReconcileTicketsOperator(task_id="plan", tickets=given, dry_run=True, **arguments)
        reconcile = LeenReconcileTicketsOperator(
            task_id="reconcile", tickets=given, expected_plan="{{ ti.xcom_pull('plan')['plan'] }}", **arguments
        )
        again = LeenReconcileTicketsOperator(
            task_id="again", tickets=given, expected_plan="{{ ti.xcom_pull('plan')['plan'] }}", **arguments
        )
        plan >> reconcile >> again
    run = run_dag(planned)
    assert run.states == {"scan": "success", "plan": "success", "reconcile": "success", "again": "failed"}
    assert told(run, "plan") == told(run) == {"b": "existing", "c": "created", "a": "closed"}
    assert isinstance(run.exceptions[0].__cause__, LeenConfigError)
    assert is_open(sandbox) == set("bc")


def test_a_list_of_which_a_source_gave_nothing_closes_nothing_and_names_it(
    sandbox: SandboxServer, run_dag: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def complete(mapped: list[str], other: str) -> bool:
        with DAG("leen_test", schedule=None) as joined:

            @task
            def scan(name: str) -> list[dict[str, str]] | None:
                if name == "skipped":
                    raise AirflowSkipException
                return None if name == "None" else findings(name)

            LeenReconcileTicketsOperator(
                task_id="reconcile", register=str(tmp_path / "register"), close_after=1, ticket_defaults=DEFAULTS,
                tickets=[scan.expand(name=mapped), scan.override(task_id="other")(other)],
                poll_interval=0.05, trigger_rule="none_failed",
            )  # fmt: skip
        found: bool = run_dag(joined).xcom("reconcile")["complete"]
        return found

    assert complete(["a", "b"], "c")
    for lacking in (["a", "skipped"], "b"), (["None", "a"], "b"), (["a", "b"], "skipped"), (["a", "b"], "None"):
        caplog.clear()
        assert not complete(*lacking)
        named = "other" if lacking[0] == ["a", "b"] else "scan"
        assert f"Sources of the list gave nothing, or an instance of them did: {named}." in caplog.messages
        assert "The list is not complete, so nothing is closed, and the list does not count." in caplog.messages
    assert is_open(sandbox) == set("abc")
    assert complete(["a", "a"], "b")
    assert is_open(sandbox) == set("ab")


def test_a_path_that_the_upstream_task_did_not_return_is_named(run_dag: Any, tmp_path: Path) -> None:
    with DAG("leen_test", schedule=None) as scanned:

        @task
        def scan() -> None:
            return None

        path: Any = scan()
        LeenReconcileTicketsOperator(task_id="reconcile", tickets_path=path, register=str(tmp_path / "register"))
    run = run_dag(scanned)
    assert run.states == {"scan": "success", "reconcile": "failed"}
    assert str(run.exceptions[0]).startswith("`tickets_path` is None: the upstream task returned no path")


@pytest.mark.parametrize(
    ("tickets", "expected"),
    [
        ([], []),
        (None, ["tickets"]),
        ([{"name": "a"}], []),
        ([[{"name": "a"}], None], ["number 2"]),
        ((None,), ["number 1"]),
        ([[{"name": "a"}], Absent()], ["number 2"]),
        ("[]", []),
        ("None", ["tickets"]),
        ('[[{"name": "a"}], null]', ["number 2"]),
        ("[[{'name': 'a'}], None]", ["number 2"]),
        ({"tickets": []}, []),
    ],
)
def test_a_source_that_is_none_makes_a_list_incomplete(tickets: Any, expected: list[str]) -> None:
    assert absent(tickets, None) == expected


@pytest.mark.parametrize("given", ["", " None "])
def test_a_plan_that_a_template_did_not_find_is_refused(given: str) -> None:
    with pytest.raises(LeenConfigError, match="has published no plan"):
        expected_plan(given)
    assert (expected_plan(None), expected_plan(" a1 ")) == (None, "a1")


def test_the_newer_list_is_that_of_the_run_that_was_due_later() -> None:
    due, begun = datetime(2026, 5, 1, tzinfo=UTC), datetime(2026, 5, 9, tzinfo=UTC)
    for run in ({"run_after": due, "start_date": begun}, {"data_interval_end": due}, {"start_date": due}):
        context: Any = {"dag_run": SimpleNamespace(**run)}
        assert time_of_list(context) == due.timestamp()


def test_arguments_that_can_t_be_used_are_refused_when_the_dag_is_read() -> None:
    for wrong in ({"on_gone": "delete"}, {"max_close_rate": 2}, {"close_after": 0}, {"on_unknown": "resend"}):
        with pytest.raises(LeenConfigError, match=next(iter(wrong))):
            LeenReconcileTicketsOperator(task_id="x", tickets=[], register="/r", **wrong)
    with pytest.raises(LeenConfigError, match="exactly one of"):
        LeenReconcileTicketsOperator(task_id="x", register="/r")
