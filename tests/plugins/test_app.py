from __future__ import annotations

import csv
import io
import json
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, BaseOperator

from airflow_provider_leen.bulk.results_file import write_lines
from airflow_provider_leen.bulk.summary import STATUSES, SUCCEEDED, Status, TicketResult, summarise
from airflow_provider_leen.operators.leen import LeenBulkCreateTicketsOperator
from airflow_provider_leen.sandbox.server import SandboxServer
from tests.airflow_run import AirflowRun

SCRIPT = "<script>alert('titles stay text')</script>"
GOOD = {"name": SCRIPT, "project_vendor_id": "SEC", "type": "Bug"}
BAD = {"name": "no type", "project_vendor_id": "SEC"}


class Quiet(BaseOperator):
    """Files nothing, and returns what must not be read."""

    def execute(self, context: Any) -> str:
        return "x" * 1000


def make_dag() -> DAG:
    with DAG("leen_tab", schedule=None, start_date=datetime(2026, 1, 1)) as dag:
        LeenBulkCreateTicketsOperator(task_id="create", tickets=[GOOD, BAD])
        LeenBulkCreateTicketsOperator.partial(task_id="spread").expand(tickets=[[GOOD], [GOOD, GOOD]])
        Quiet(task_id="quiet")
    return dag


@pytest.fixture(scope="module")
def finished(airflow_db: None) -> AirflowRun:
    """A Dag run with Leen's tasks, mapped ones too, against a sandbox with a tracker."""
    from tests.airflow_run import run

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
    was = finished_value(dag_run)
    yield lambda value, key="return_value": XComModel.set(key, value, **place)
    XComModel.set("return_value", was, **place)


def finished_value(dag_run: Any) -> Any:
    return AirflowRun(dag_run).xcom("create")


def results(count: int) -> list[TicketResult]:
    def result(index: int) -> TicketResult:
        status: Status = STATUSES[index % len(STATUSES)] if index % 50 == 0 else "created"
        return {
            "request_index": index,
            "success": status in SUCCEEDED,
            "status": status,
            "name": f"SQL built from strings in orm/query.py:{index}",
            "identifier": f"airflow-{index:024}",
            "ticket_id": None,
            "vendor_ticket_id": f"SEC-{index}",
            "error": None if status in SUCCEEDED else "There is no such priority.",
        }

    return [result(index) for index in range(count)]


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
def test_a_map_index_that_is_none_is_taken_for_all(get: Callable[..., Any], dag_run: Any, map_index: str) -> None:
    assert len(get("data", dag_run, task_id="spread", map_index=map_index).json()["tasks"]) == 2


def test_a_mapped_instance_shows_its_own(get: Callable[..., Any], dag_run: Any) -> None:
    shown = get("data", dag_run, task_id="spread", map_index=1).json()
    assert [task["name"] for task in shown["tasks"]] == ["spread[1]"]


def test_another_operator_s_task_points_to_the_run(get: Callable[..., Any], dag_run: Any) -> None:
    assert "The tab on the Dag run shows" in get("data", dag_run, task_id="quiet").json()["message"]


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
    started = time.monotonic()
    reply = get("data", dag_run, task_id="create", text="orm", sort="key", offset=5000)
    assert time.monotonic() - started < 3  # measured: 0.2 s
    assert len(reply.content) < 60_000
    assert reply.json()["matched"] == 10_000
    assert reply.json()["rows"][0]["key"] == "SEC-5000"


def test_a_long_list_can_be_walked_to_its_end(
    get: Callable[..., Any], dag_run: Any, set_xcom: Any, tmp_path: Path
) -> None:
    path, count = tmp_path / "results.jsonl", 120_050
    write_lines(path, results(count))
    set_xcom({**summarise(results(count)), "results": [], "results_path": str(path)})
    started = time.process_time()
    reply = get("data", dag_run, task_id="create", sort="row", offset=120_000)
    assert time.process_time() - started < 6  # measured: 1.2 s
    shown = reply.json()
    assert shown["matched"] == count
    assert [row["row"] for row in shown["rows"]] == list(range(120_000, count))


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


# Results in a file


def test_results_in_a_file_are_shown_a_page_at_a_time(
    get: Callable[..., Any], dag_run: Any, set_xcom: Any, tmp_path: Path
) -> None:
    path = tmp_path / "results.jsonl"
    write_lines(path, results(250))
    set_xcom({**summarise(results(250)), "results": [], "results_path": str(path)})
    shown = get("data", dag_run, task_id="create", sort="row", offset=200).json()
    assert (shown["total"], shown["matched"], len(shown["rows"])) == (250, 250, 50)
    assert shown["rows"][0]["row"] == 200
    assert get("download", dag_run, task_id="create", format="json").json()[249]["key"] == "SEC-249"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "there is no such file"),
        ("root:x:0:0:root:/root:/bin/bash\n", "can't be read"),
        ('{"password": "secret"}\n', "it holds something else than results"),
    ],
)
def test_a_file_that_can_t_be_read_is_said_and_shows_none_of_its_content(
    get: Callable[..., Any], dag_run: Any, set_xcom: Any, tmp_path: Path, content: str | None, why: str
) -> None:
    path = tmp_path / "results.jsonl"
    if content is not None:
        path.write_text(content)
    set_xcom({**summarise(results(2)), "results": [], "results_path": str(path)})
    reply = get("data", dag_run, task_id="create")
    assert why in reply.json()["tasks"][0]["remark"]
    assert "secret" not in reply.text
    assert "bin/bash" not in reply.text
    file = get("download", dag_run, task_id="create")
    assert file.status_code == 502
    assert str(path) in file.json()["detail"]


def test_half_a_file_is_never_downloaded_as_if_it_were_all(
    get: Callable[..., Any], dag_run: Any, set_xcom: Any, tmp_path: Path
) -> None:
    path = tmp_path / "results.jsonl"
    write_lines(path, results(2500))
    whole = path.read_text()
    set_xcom({**summarise(results(2500)), "results": [], "results_path": str(path)})
    assert len(get("download", dag_run, task_id="create", format="json").json()) == 2500
    path.write_text(whole[:-20])
    assert get("data", dag_run, task_id="create").json()["matched"] == 2499
    broken = get("download", dag_run, task_id="create", format="csv")
    assert broken.status_code == 502
    assert "can't be read" in broken.json()["detail"]


def test_a_device_that_never_ends_is_not_read(get: Callable[..., Any], dag_run: Any, set_xcom: Any) -> None:
    set_xcom({**summarise(results(2)), "results": [], "results_path": "/dev/zero"})
    assert "that is no file" in get("data", dag_run, task_id="create").json()["tasks"][0]["remark"]
    assert get("download", dag_run, task_id="create").status_code == 502


# To take away


def test_ten_thousand_rows_leave_in_a_few_blocks(get: Callable[..., Any], dag_run: Any, set_xcom: Any) -> None:
    set_xcom(dict(summarise(results(10_000))))
    started = time.monotonic()
    rows = get("download", dag_run, task_id="create", format="json").json()
    assert time.monotonic() - started < 5  # measured: 0.4 s; a row at a time: 10 s
    assert [row["row"] for row in rows] == list(range(10_000))


def test_the_download_holds_what_is_filtered_in_the_order_of_the_input(get: Callable[..., Any], dag_run: Any) -> None:
    reply = get("download", dag_run, format="csv")
    assert reply.headers["content-disposition"] == 'attachment; filename="leen-tickets.csv"'
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
