from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowSkipException, BaseOperator

from airflow_provider_leen.api.errors import LeenConfigError, LeenError
from airflow_provider_leen.hooks.leen import LeenHook
from airflow_provider_leen.notifications.leen import LeenNotifier, send_leen_notification
from airflow_provider_leen.sandbox.server import SandboxServer
from tests.docs.pages import load_dag, text_of_dag
from tests.support.airflow_run import AIRFLOW, AirflowRun

RunDag = Callable[..., AirflowRun]

TO_SEC = {"project_vendor_id": "SEC", "type": "Bug"}
DEADLINE = {
    "dag_run": {"dag_id": "nightly", "dag_run_id": "manual__1"},
    "deadline": {"id": "1", "deadline_time": "2026-11-24T06:00:00+00:00"},
}


class Fail(BaseOperator):
    def __init__(self, *, text: str = "it broke", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.text = text

    def execute(self, context: Any) -> None:
        raise ValueError(self.text)


def failing_dag(notifier: LeenNotifier, **task: Any) -> DAG:
    with DAG("nightly", schedule=None) as dag:
        Fail(task_id="scan", on_failure_callback=notifier, **task)
    return dag


def titles(sandbox: SandboxServer) -> list[str]:
    return [ticket["name"] for ticket in sandbox.tickets()]


def close_ticket(identifier: str, status: str) -> None:
    with LeenHook() as hook:
        ticket = hook.get_ticket_by_identifier(identifier)
        assert ticket is not None
        hook.update_ticket(ticket.id, status=status)


@pytest.mark.smoke
def test_a_failed_task_creates_a_ticket_that_says_where_to_look(run_dag: RunDag, sandbox: SandboxServer) -> None:
    run = run_dag(failing_dag(LeenNotifier(**TO_SEC, priority="HIGH")))
    assert run.states == {"scan": "failed"}
    [ticket] = sandbox.tickets()
    assert ticket["name"] == "Airflow: task scan of Dag nightly failed"
    assert ticket["priority"] == "High"
    assert f"- Run: `{run.dag_run.run_id}`" in ticket["description"]
    assert "ValueError: it broke" in ticket["description"]
    assert "/dags/nightly/" in ticket["description"]


def test_a_failed_dag_creates_a_ticket(run_dag: RunDag, sandbox: SandboxServer) -> None:
    with DAG("nightly", schedule=None, on_failure_callback=LeenNotifier(**TO_SEC)) as dag:
        Fail(task_id="scan")
    run_dag(dag)
    assert titles(sandbox) == ["Airflow: Dag nightly failed"]


def test_every_text_is_rendered_and_an_exception_is_not_rendered_again(run_dag: RunDag, sandbox: SandboxServer) -> None:
    notifier = LeenNotifier(
        **TO_SEC,
        title="{{ ti.task_id }}: {{ exception }}",
        description="run {{ run_id }}",
        identifier="{{ dag.dag_id }}-broke",
        connection_id="{{ '1ee00000-0000-4000-8000-00000000000' ~ 7 }}",
    )
    run = run_dag(failing_dag(notifier, text="{{ 1 + 1 }}"))
    [ticket] = sandbox.tickets(connection_id="1ee00000-0000-4000-8000-000000000007")
    assert ticket["name"] == "scan: {{ 1 + 1 }}"
    assert ticket["description"] == f"run {run.dag_run.run_id}"
    assert ticket["identifier"] == "nightly-broke"


def test_while_a_ticket_is_open_no_other_is_created(run_dag: RunDag, sandbox: SandboxServer) -> None:
    for _ in range(3):
        run_dag(failing_dag(LeenNotifier(**TO_SEC)))
    assert len(sandbox.tickets()) == 1


def test_one_notifier_reports_each_failure(sandbox: SandboxServer) -> None:
    notifier = LeenNotifier(**TO_SEC, title="{{ run_id }}", identifier="{{ run_id }}")
    for run_id in ("monday", "tuesday"):
        notifier({"dag": DAG("nightly", schedule=None), "run_id": run_id, "reason": "task_failure"})
    assert titles(sandbox) == ["monday", "tuesday"]


def notify(**arguments: Any) -> None:
    """Notify of a failed Dag run; what Airflow 2 only logs is raised here, as newer ones do."""
    notifier = LeenNotifier(**TO_SEC | arguments)
    with pytest.MonkeyPatch.context() as patch:
        if AIRFLOW < (3, 0):
            patch.setattr(notifier.log, "exception", raise_logged)
        notifier({"dag": DAG("nightly", schedule=None), "run_id": "r", "reason": "task_failure"})


def raise_logged(_message: str, error: Exception) -> None:
    raise error


def test_once_a_ticket_is_closed_the_next_failure_creates_another(sandbox: SandboxServer) -> None:
    for status in ("CLOSED", "RESOLVED"):
        notify(identifier="alert")
        close_ticket("alert", status)
    notify(identifier="alert")
    notify(identifier="alert")
    assert [ticket["identifier"] for ticket in sandbox.tickets()] == ["alert"] * 3


def test_a_status_that_is_not_known_to_mean_closed_is_open(sandbox: SandboxServer) -> None:
    notify(identifier="alert")
    close_ticket("alert", "IN_REVIEW")
    notify(identifier="alert")
    assert len(sandbox.tickets()) == 1


def test_the_example_of_the_docs_files_a_ticket_when_its_task_fails(
    run_dag: RunDag, sandbox: SandboxServer, tmp_path: Path
) -> None:
    sandbox.inject("status", status=401)
    run = run_dag(load_dag(text_of_dag("leen_notified"), tmp_path))
    assert run.states == {"create_tickets": "failed"}
    assert titles(sandbox) == ["Airflow: task create_tickets of Dag leen_notified failed"]


# What else happens


class Skip(BaseOperator):
    def execute(self, context: Any) -> None:
        raise AirflowSkipException("nothing to do")


class Succeed(BaseOperator):
    def execute(self, context: Any) -> None:
        pass


def test_every_other_callback_says_what_happened(run_dag: RunDag, sandbox: SandboxServer) -> None:
    notifier = LeenNotifier(**TO_SEC)
    with DAG("nightly", schedule=None, on_success_callback=notifier) as dag:
        Succeed(task_id="fine", on_execute_callback=notifier, on_success_callback=notifier)
        Skip(task_id="idle", on_skipped_callback=notifier)
        Fail(task_id="flaky", retries=1, retry_delay=timedelta(0), on_retry_callback=notifier, trigger_rule="always")
        dag.get_task("flaky") >> Succeed(task_id="last", trigger_rule="always")
    run = run_dag(dag)
    assert run.states == {"fine": "success", "idle": "skipped", "flaky": "failed", "last": "success"}
    assert sorted(titles(sandbox)) == [
        "Airflow: Dag nightly succeeded",
        "Airflow: task fine of Dag nightly has started",
        "Airflow: task fine of Dag nightly succeeded",
        "Airflow: task flaky of Dag nightly failed and will be retried",
        "Airflow: task idle of Dag nightly was skipped",
    ]


# Texts that don't fit, templates that fail


def test_an_exception_of_any_length_fits(run_dag: RunDag, sandbox: SandboxServer) -> None:
    run_dag(
        failing_dag(
            LeenNotifier(**TO_SEC, title="{{ exception }}", description="{{ exception }}"), text="😀\x00" * 40_000
        )
    )
    [ticket] = sandbox.tickets()
    assert ticket["name"] == "😀" * 127 + "…"
    assert ticket["description"] == "😀" * 16_383 + "…"


BROKEN = {
    "undefined": ("{{ no_such_name }}", "'no_such_name' is undefined"),
    "no template": ("{{ oops", "TemplateSyntaxError"),
    "what it calls": ("{{ 1 / 0 }}", "ZeroDivisionError"),
}


@pytest.mark.parametrize(("template", "reason"), BROKEN.values(), ids=BROKEN)
def test_a_template_that_fails_is_replaced_by_the_default_and_the_ticket_says_so(
    sandbox: SandboxServer, template: str, reason: str
) -> None:
    notify(title=f"Scan of {template}", description="Look at run {{ run_id }}.", priority=template)
    [ticket] = sandbox.tickets()
    assert ticket["name"] == "Airflow: Dag nightly failed"
    assert ticket["description"].startswith("Look at run r.\n\nThe template of `title` failed (")
    assert "The template of `priority` failed (" in ticket["description"]
    assert reason in ticket["description"]


def test_every_text_has_a_default_to_give_way_to(sandbox: SandboxServer) -> None:
    notify(title="{{ a }}", description="{{ b }}", identifier="{{ c }}")
    notify()
    [ticket] = sandbox.tickets()
    assert ticket["name"] == "Airflow: Dag nightly failed"
    assert ticket["description"].startswith("**Dag nightly failed.**")
    assert ticket["description"].count("so its default is used.") == 3


def test_texts_that_render_to_nothing_have_their_default(sandbox: SandboxServer) -> None:
    notify(title="{{ ' ' }}", description="{{ ' ' }}", identifier="{{ '' }}")
    [ticket] = sandbox.tickets()
    assert ticket["name"] == "Airflow: Dag nightly failed"
    assert ticket["description"].startswith("**Dag nightly failed.**")
    assert "so its default" not in ticket["description"]


@pytest.mark.parametrize("identifier", ["{{ 'x' * 600 }}", "two\nlines", ".."])
def test_an_identifier_that_leen_can_not_look_up_is_replaced_by_the_default(
    sandbox: SandboxServer, identifier: str
) -> None:
    notify(identifier=identifier)
    notify()
    [ticket] = sandbox.tickets()
    assert ticket["identifier"].startswith("airflow-alert-")
    assert "`identifier` '" in ticket["description"]
    assert ticket["description"].endswith("or leave it out. The default is used.")


@pytest.mark.parametrize("field", ["project_vendor_id", "type", "connection_id", "leen_conn_id"])
def test_a_template_that_a_ticket_needs_is_named_when_it_fails(sandbox: SandboxServer, field: str) -> None:
    with pytest.raises(LeenConfigError, match=f"^No ticket was created. The template of `{field}` failed"):
        notify(**{field: "{{ no_such_name }}"})
    assert sandbox.requests == []


# Deadlines


def test_a_missed_deadline_creates_a_ticket_in_the_triggerer(sandbox: SandboxServer) -> None:
    callback = pytest.importorskip("airflow.triggers.callback", reason="deadline alerts came with Airflow 3.1")
    from airflow.sdk import AsyncCallback  # type: ignore[attr-defined]  # missing in Airflow's stub

    given = AsyncCallback(LeenNotifier, kwargs=TO_SEC)

    async def run() -> list[Any]:
        trigger = callback.CallbackTrigger(given.path, {**given.kwargs, "context": DEADLINE})
        return [event.payload["state"] async for event in trigger.run()]

    assert asyncio.run(run())[-1] == "success"
    assert titles(sandbox) == ["Airflow: Dag nightly missed a deadline"]
    assert "- Deadline: `2026-11-24T06:00:00+00:00`" in sandbox.tickets()[0]["description"]


def test_a_missed_deadline_creates_a_ticket_in_an_executor(sandbox: SandboxServer) -> None:
    supervisor = pytest.importorskip("airflow.sdk.execution_time.callback_supervisor", reason="Airflow 3.2 and newer")
    import structlog

    path = f"{LeenNotifier.__module__}.{LeenNotifier.__qualname__}"
    done = supervisor.execute_callback(path, {**TO_SEC, "context": DEADLINE}, "", None, structlog.get_logger())
    assert done == (True, None)
    assert titles(sandbox) == ["Airflow: Dag nightly missed a deadline"]


# Trouble


def test_a_ticket_that_can_not_be_created_is_one_sentence_and_the_task_keeps_its_error(
    run_dag: RunDag, sandbox: SandboxServer
) -> None:
    run = run_dag(failing_dag(LeenNotifier(**TO_SEC | {"project_vendor_id": "NOPE"})))
    assert run.states == {"scan": "failed"}
    assert [str(error) for error in run.exceptions] == ["it broke"]
    assert sandbox.tickets() == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"project_vendor_id": "NOPE"}, "NOPE"),
        ({"connection_id": "not-a-uuid"}, "X-CONNECTION-ID"),
        ({"project_vendor_id": "{{ '' }}"}, "the project is missing: write `project_vendor_id` or `project_id`."),
    ],
    ids=["project unknown", "connection unknown", "project rendered to nothing"],
)
def test_the_error_says_for_which_failure_there_is_no_ticket_and_why(
    sandbox: SandboxServer, arguments: dict[str, Any], said: str
) -> None:
    with pytest.raises(LeenError) as caught:
        notify(**arguments)
    assert str(caught.value).startswith("No ticket was created for this: Dag nightly failed. ")
    assert said in str(caught.value)
    assert sandbox.tickets() == []


def test_after_a_failed_look_up_nothing_was_created(sandbox: SandboxServer) -> None:
    sandbox.inject("status", status=408, method="GET", path="/v1/itsm/tickets/by-identifier")
    with pytest.raises(LeenError, match=r"^No ticket was created for this: Dag nightly failed\. GET .* HTTP 408"):
        notify()
    assert sandbox.count("POST") == 0


def test_in_an_event_loop_the_error_is_the_same(sandbox: SandboxServer) -> None:
    async def run() -> None:
        await LeenNotifier(**TO_SEC | {"project_vendor_id": "NOPE"}).async_notify(DEADLINE)  # type: ignore[arg-type]

    with pytest.raises(LeenError, match=r"No ticket .*: Dag nightly missed a deadline\. .*NOPE"):
        asyncio.run(run())


@pytest.mark.parametrize(
    "fault", [{"kind": "status", "status": 408}, {"kind": "status", "status": 503}, {"kind": "lost"}], ids=str
)
def test_a_creation_whose_outcome_is_unknown_claims_nothing_and_is_not_sent_again(
    sandbox: SandboxServer, fault: dict[str, Any]
) -> None:
    sandbox.inject(**fault, commit=True, path="/v1/itsm/tickets")
    with pytest.raises(LeenError, match=r"^It is unknown whether a ticket was created for this: Dag nightly failed"):
        notify()
    assert sandbox.count("POST") == len(sandbox.tickets()) == 1


def test_a_secret_in_an_exception_stays_out_of_the_ticket(run_dag: RunDag, sandbox: SandboxServer) -> None:
    password = json.loads(sandbox.airflow_conn)["password"]
    run_dag(failing_dag(LeenNotifier(**TO_SEC), text=f"refused: {password}"))
    [ticket] = sandbox.tickets()
    assert "refused: ***" in ticket["description"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"type": "Bug"}, "`project_id` and `project_vendor_id`"),
        ({**TO_SEC, "project_id": "x"}, "exactly one of"),
        ({"project_vendor_id": "SEC"}, "`type_vendor_id`"),
    ],
    ids=["no project", "two projects", "no type"],
)
def test_missing_arguments_are_reported_when_the_dag_is_parsed(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(LeenConfigError, match=said):
        send_leen_notification(**arguments)
