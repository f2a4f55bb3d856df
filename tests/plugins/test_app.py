from __future__ import annotations

import csv
import io
import json
import re
import threading
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, BaseOperator

from airflow_provider_leen.bulk.summary import summarise
from airflow_provider_leen.operators.leen import LeenBulkCreateTicketsOperator
from airflow_provider_leen.sandbox.server import SandboxServer
from airflow_provider_leen.sensors.leen import LeenTicketFailureSensor
from tests.plugins.conftest import results
from tests.support.airflow_run import AirflowRun

SCRIPT = "<script>alert('titles stay text')</script>"
GOOD = {"name": SCRIPT, "project_vendor_id": "SEC", "type": "Bug"}
BAD = {"name": "no type", "project_vendor_id": "SEC"}


class Quiet(BaseOperator):
    """Files nothing, and returns what must not be read."""

    def execute(self, context: Any) -> str:
        return "x" * 1000


def make_dag() -> DAG:
    with DAG("leen_tab", schedule=None, start_date=datetime(2026, 1, 1)) as dag:
        create = LeenBulkCreateTicketsOperator(task_id="create", tickets=[GOOD, BAD])
        LeenTicketFailureSensor(task_id="gate", results=create.output, max_failures=1)
        LeenBulkCreateTicketsOperator.partial(task_id="spread").expand(tickets=[[GOOD], [GOOD, GOOD]])
        Quiet(task_id="quiet")
    return dag


@pytest.fixture(scope="module")
def finished(airflow_db: None) -> AirflowRun:
    """A Dag run with Leen's tasks, mapped ones too, against a sandbox with a tracker."""
    from tests.support.airflow_run import run

    with SandboxServer(seed=1) as sandbox, pytest.MonkeyPatch.context() as patch:
        connection = json.loads(sandbox.airflow_conn)
        connection["extra"] = {"ticket_url": "https://jira.example/browse/{vendor_ticket_id}"}
        patch.setenv("AIRFLOW_CONN_LEEN_DEFAULT", json.dumps(connection))
        return run(make_dag())


@pytest.fixture
def dag_run(server: Any, finished: AirflowRun) -> Any:
    return finished.dag_run


@pytest.fixture
def set_xcom(dag_run: Any) -> Any:
    """Changes what the task ``create`` has left, for one test."""
    from airflow.models.xcom import XComModel

    place = {"dag_id": dag_run.dag_id, "task_id": "create", "run_id": dag_run.run_id}
    was = {key: AirflowRun(dag_run).xcom("create", key) for key in ("return_value", "progress", "ticket_url")}
    yield lambda value, key="return_value": XComModel.set(key, value, **place)
    for key, value in was.items():
        XComModel.set(key, value, **place)


@pytest.fixture
def store_xcom(set_xcom: Any, dag_run: Any) -> Any:
    """Puts a text into the database where the JSON of an XCom of ``create`` would be."""
    from airflow.utils.session import create_session
    from sqlalchemy import text

    statement = "UPDATE xcom SET value = :value WHERE task_id = 'create' AND run_id = :run_id AND key = :key"

    def store(value: str, key: str) -> None:
        set_xcom("placeholder", key)
        with create_session() as session:
            done: Any = session.execute(text(statement), {"value": value, "key": key, "run_id": dag_run.run_id})
            assert done.rowcount == 1

    return store


# Who may see it


@pytest.mark.parametrize("path", ["", "/data", "/download"])
def test_without_a_session_nothing_is_shown(server: Any, dag_run: Any, path: str) -> None:
    query = {"dag_id": dag_run.dag_id, "run_id": dag_run.run_id}
    reply = server.get(f"/leen/tickets{path}", params=query)
    assert reply.status_code == 401
    assert SCRIPT not in reply.text


@pytest.mark.parametrize("path", ["", "/data", "/download"])
def test_a_token_that_is_not_this_airflow_s_is_refused(
    server: Any, token: Callable[..., str], dag_run: Any, path: str
) -> None:
    import jwt

    claims = jwt.decode(token("ADMIN"), options={"verify_signature": False})
    query = {"dag_id": dag_run.dag_id, "run_id": dag_run.run_id}
    for foreign in ("nonsense", jwt.encode(claims, "a secret of another Airflow".center(64, "-"), "HS512")):
        reply = server.get(f"/leen/tickets{path}", params=query, headers={"Authorization": f"Bearer {foreign}"})
        assert reply.status_code == 403
        assert SCRIPT not in reply.text


@pytest.mark.parametrize("path", ["", "/data", "/download"])
@pytest.mark.parametrize(("role", "status"), [(None, 403), ("VIEWER", 200), ("USER", 200), ("OP", 200), ("ADMIN", 200)])
def test_the_right_to_read_the_dag_s_xcoms_decides(
    server: Any, token: Callable[..., str], dag_run: Any, path: str, role: str | None, status: int
) -> None:
    query = {"dag_id": dag_run.dag_id, "run_id": dag_run.run_id}
    headers = {"Authorization": f"Bearer {token(role)}"}
    assert server.get(f"/leen/tickets{path}", params=query, headers=headers).status_code == status


def test_the_right_is_asked_for_the_dag_whose_tickets_are_shown(
    server: Any, token: Callable[..., str], dag_run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.api_fastapi.app import get_auth_manager

    def only_another(*, details: Any, **_: Any) -> bool:
        return bool(details.id == "another")

    monkeypatch.setattr(get_auth_manager(), "is_authorized_dag", only_another)
    headers = {"Authorization": f"Bearer {token('VIEWER')}"}
    for pair in (["another", dag_run.dag_id], [dag_run.dag_id, "another"], [dag_run.dag_id], ["~"]):
        query = [("run_id", dag_run.run_id), *(("dag_id", dag_id) for dag_id in pair)]
        reply = server.get("/leen/tickets/data", params=query, headers=headers)
        assert reply.status_code in (403, 404), reply.text
        assert SCRIPT not in reply.text


def test_all_dags_at_once_are_refused(get: Callable[..., Any], dag_run: Any) -> None:
    assert get("data", dag_run, dag_id="~").status_code == 400


def test_refusing_the_page_is_said_to_a_person_and_refusing_data_to_a_program(server: Any, dag_run: Any) -> None:
    query = {"dag_id": dag_run.dag_id, "run_id": dag_run.run_id}
    page = server.get("/leen/tickets", params=query)
    assert "You are not logged in to Airflow" in page.text
    assert page.headers["content-type"].startswith("text/html")
    assert server.get("/leen/tickets/data", params=query).json() == {"detail": "Not authenticated"}


# What it shows


def test_a_task_s_tickets_are_shown_with_failures_first_and_keys_that_lead_to_the_tracker(
    get: Callable[..., Any], dag_run: Any
) -> None:
    shown = get("data", dag_run, task_id="create", map_index="{MAP_INDEX}").json()
    assert shown["counts"] == {"invalid": 1, "created": 1}
    assert [row["status"] for row in shown["rows"]] == ["invalid", "created"]
    created = shown["rows"][1]
    assert created["title"] == SCRIPT
    assert created["url"] == f"https://jira.example/browse/{created['key']}"
    assert shown["may_change"] is False


def test_a_run_shows_the_tickets_of_all_its_tasks_mapped_ones_too(get: Callable[..., Any], dag_run: Any) -> None:
    shown = get("data", dag_run).json()
    assert [(task["name"], task["total"]) for task in shown["tasks"]] == [
        ("create", 2),
        ("spread[0]", 1),
        ("spread[1]", 2),
    ]
    assert shown["total"] == shown["matched"] == 5


@pytest.mark.parametrize("map_index", ["9" * 30, "-" + "9" * 30, "²", "x", ""])
def test_a_map_index_of_none_means_all(get: Callable[..., Any], dag_run: Any, map_index: str) -> None:
    assert len(get("data", dag_run, task_id="spread", map_index=map_index).json()["tasks"]) == 2


def test_a_mapped_instance_shows_its_own(get: Callable[..., Any], dag_run: Any) -> None:
    shown = get("data", dag_run, task_id="spread", map_index=1).json()
    assert [task["name"] for task in shown["tasks"]] == ["spread[1]"]


def test_another_operator_s_task_points_to_the_run(get: Callable[..., Any], dag_run: Any) -> None:
    assert "The tab on the Dag run shows" in get("data", dag_run, task_id="quiet").json()["message"]


def test_a_gate_shows_its_verdict_and_the_tickets_that_it_judged(get: Callable[..., Any], dag_run: Any) -> None:
    decided = [{"name": "gate", "state": "success", "verdict": "1 of 2 tickets failed."}]
    assert get("data", dag_run).json()["gates"] == decided
    shown = get("data", dag_run, task_id="gate").json()
    assert shown["gates"] == decided
    assert [task["name"] for task in shown["tasks"]] == ["create"]
    assert [row["task"] for row in shown["rows"]] == ["create", "create"]


def test_a_run_that_is_not_there_is_not_found(get: Callable[..., Any], dag_run: Any) -> None:
    assert get("data", dag_run, run_id="yesterday").status_code == 404


def test_what_has_not_changed_is_not_sent_again(get: Callable[..., Any], dag_run: Any, set_xcom: Any) -> None:
    version = get("data", dag_run).headers["ETag"]
    assert get("data", dag_run, headers={"If-None-Match": version}).status_code == 304
    set_xcom(dict(summarise(results(3))))
    assert get("data", dag_run, headers={"If-None-Match": version}).json()["counts"]["created"] == 6


def test_ten_thousand_tickets_are_quick_and_come_a_page_at_a_time(
    get: Callable[..., Any], dag_run: Any, set_xcom: Any
) -> None:
    set_xcom(dict(summarise(results(10_000))))
    started = time.process_time()
    reply = get("data", dag_run, task_id="create", text="orm", sort="key", offset=5000)
    assert time.process_time() - started < 9  # measured: 0.2 s
    assert len(reply.content) < 60_000
    assert reply.json()["matched"] == 10_000
    assert reply.json()["rows"][0]["key"] == "SEC-5000"


def test_a_page_beyond_the_end_is_empty(get: Callable[..., Any], dag_run: Any) -> None:
    shown = get("data", dag_run, offset=10**20).json()
    assert (shown["rows"], shown["matched"]) == ([], 5)


def test_a_malformed_value_is_a_remark_and_no_error(get: Callable[..., Any], dag_run: Any, set_xcom: Any) -> None:
    values: list[Any] = [None, [], "text", {"total": 2, "results": [None, {"status": 3}]}, {"total": -1, "results": {}}]
    for value in values:
        set_xcom(value)
        reply = get("data", dag_run)
        assert reply.status_code == 200
        assert reply.json()["tasks"][0]["remark"] or reply.json()["counts"]["unreadable"] == 2


DEEP = "[" * 100_000
LONG = "9" * 4301


@pytest.mark.parametrize(
    "stored",
    [
        DEEP,
        json.dumps(DEEP),
        '{"total": 1, "results": ' + "[" * 50_000 + "]" * 50_000 + "}",
        '{"total": ' + LONG + ', "results": []}',
        json.dumps('{"total": ' + LONG + ', "results": []}'),
        "no JSON",
        "",
    ],
)
@pytest.mark.parametrize("key", ["return_value", "progress", "ticket_url"])
def test_a_value_that_can_t_be_decoded_is_shown_as_unreadable_and_leaves_the_others(
    get: Callable[..., Any], dag_run: Any, store_xcom: Any, stored: str, key: str
) -> None:
    store_xcom(stored, key)
    for query in ({}, {"task_id": "create"}):
        reply = get("data", dag_run, **query)
        assert reply.status_code == 200
    if key == "return_value":
        assert "can't be read" in get("data", dag_run).json()["tasks"][0]["remark"]
        assert get("data", dag_run).json()["total"] == 3
        assert get("download", dag_run).status_code == 403
        assert len(get("download", dag_run, task="spread[1]", format="json").json()) == 2
    else:
        assert reply.json()["counts"] == {"invalid": 1, "created": 1}


@pytest.mark.parametrize(
    "ticket_url",
    ["https://jira.example/\ud83d{vendor_ticket_id}", "\udc00", "https://jira.example/\x00\x1b[31m{vendor_ticket_id}"],
)
def test_a_ticket_url_that_is_no_text_breaks_no_page(
    get: Callable[..., Any], dag_run: Any, store_xcom: Any, ticket_url: str
) -> None:
    store_xcom(json.dumps(ticket_url), "ticket_url")
    reply = get("data", dag_run, task_id="create")
    assert reply.status_code == 200
    assert "\x1b" not in reply.text
    for format in ("csv", "json"):
        assert get("download", dag_run, task_id="create", format=format).status_code == 200


def test_texts_are_shown_without_control_characters(get: Callable[..., Any], dag_run: Any, store_xcom: Any) -> None:
    unsafe = "a\x00b\x1b[31m\x9b\u202ec\ud800d"
    result = dict.fromkeys(("name", "identifier", "error", "vendor_ticket_id", "ticket_id"), unsafe)
    store_xcom(json.dumps({"total": 1, "results": [{**result, "status": "created", "success": True}]}), "return_value")
    [row] = get("data", dag_run, task_id="create").json()["rows"]
    assert {row[name] for name in ("key", "title", "identifier", "ticket_id", "error")} == {"ab[31mc\ufffdd"}


@pytest.mark.parametrize(("text", "status"), [("x" * 200, 200), ("x" * 201, 422), ("x" * 50_000, 422)])
def test_a_filter_s_text_has_at_most_200_characters(
    get: Callable[..., Any], dag_run: Any, text: str, status: int
) -> None:
    for path in ("data", "download"):
        assert get(path, dag_run, text=text).status_code == status


@pytest.mark.parametrize("query", [{"run_id": "a\0"}, {"task_id": "\0"}])
def test_a_name_that_no_database_takes_is_not_found(get: Callable[..., Any], dag_run: Any, query: Any) -> None:
    assert get("data", dag_run, **query).status_code == 404


# To take away


def test_a_limited_number_of_files_wait_to_be_sent(
    get: Callable[..., Any], dag_run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow_provider_leen.plugins import app, reading

    monkeypatch.setattr(app, "_DOWNLOADS", threading.BoundedSemaphore(1))
    for _ in range(3):
        assert get("download", dag_run).status_code == 200
    monkeypatch.setattr(reading, "MAX_DOWNLOAD", 100)
    for _ in range(3):
        assert get("download", dag_run).status_code == 413
    app._DOWNLOADS.acquire()
    assert get("download", dag_run).status_code == 503


def test_ten_thousand_rows_leave_in_a_few_blocks(get: Callable[..., Any], dag_run: Any, set_xcom: Any) -> None:
    set_xcom(dict(summarise(results(10_000))))
    started = time.process_time()
    rows = get("download", dag_run, task_id="create", format="json").json()
    assert time.process_time() - started < 5  # measured: 0.4 s; a row at a time: 10 s
    assert [row["row"] for row in rows] == list(range(10_000))


def test_the_download_holds_what_is_filtered_in_the_order_of_the_input(get: Callable[..., Any], dag_run: Any) -> None:
    reply = get("download", dag_run, format="csv")
    # Named by Dag and run, with nothing that a header or a file system would take amiss.
    disposition = reply.headers["content-disposition"]
    assert re.fullmatch(r'attachment; filename="leen-leen_tab-manual__[\w.]+\.csv"', disposition)
    rows = list(csv.DictReader(io.StringIO(reply.text.removeprefix("\N{ZERO WIDTH NO-BREAK SPACE}"), newline="")))
    assert [row["task"] for row in rows] == ["create", "create", "spread[0]", "spread[1]", "spread[1]"]
    failed = get("download", dag_run, format="json", status="failed").json()
    assert [row["title"] for row in failed] == ["no type"]


# The page


def test_the_page_loads_nothing_from_elsewhere_and_names_its_files_relatively(
    get: Callable[..., Any], dag_run: Any, server: Any
) -> None:
    page = get("", dag_run)
    assert "default-src 'none'" in page.headers["content-security-policy"]
    files = [part.split('"')[0] for part in page.text.replace('src="', 'href="').split('href="')[1:]]
    assert files == ["assets/tab.css", "assets/tab.js"]
    for name in files:
        file = server.get(f"/leen/{name}")
        assert file.status_code == 200
        assert "http" not in file.text.replace("http://www.w3.org", "")


def test_the_page_puts_content_in_as_text_only() -> None:
    script = (Path(__file__).parents[2] / "airflow_provider_leen/plugins/static/tab.js").read_text()
    for way in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function("):
        assert way not in script
