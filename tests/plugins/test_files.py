"""What the tab reads beside XComs: results in files, at the app, on a real database, file system and socket."""

from __future__ import annotations

import csv
import io
import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG

from airflow_provider_leen.bulk.results_file import write_lines
from airflow_provider_leen.bulk.summary import summarise
from airflow_provider_leen.operators.leen import LeenBulkCreateTicketsOperator
from airflow_provider_leen.sandbox.server import SandboxServer
from tests.plugins.conftest import results
from tests.support.airflow_run import AirflowRun
from tests.support.waiting import until

FOLDERS = "AIRFLOW__LEEN__RESULTS_FOLDERS"
TICKET = {"name": "In a file", "project_vendor_id": "SEC", "type": "Bug"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the Dag's results are; it and the rest of this folder is not listed, but by a test."""
    folder = tmp_path_factory.mktemp("results") / "leen_files"
    folder.mkdir()
    return folder


@pytest.fixture(scope="module")
def finished(airflow_db: None, folder: Path) -> AirflowRun:
    """A Dag run whose results are in a file, with nothing done to it by hand."""
    from tests.support.airflow_run import run

    with SandboxServer(seed=1) as sandbox, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW_CONN_LEEN_DEFAULT", sandbox.airflow_conn)
        with DAG("leen_files", schedule=None, start_date=datetime(2026, 1, 1)) as dag:
            results_path = f"{folder.parent}/{{{{ dag.dag_id }}}}/{{{{ ti.task_id }}}}.jsonl"
            LeenBulkCreateTicketsOperator(task_id="create", tickets=[TICKET], results_path=results_path)
            LeenBulkCreateTicketsOperator(task_id="in_xcom", tickets=[TICKET])
        return run(dag)


@pytest.fixture
def dag_run(server: Any, finished: AirflowRun) -> Any:
    return finished.dag_run


@pytest.fixture
def listed(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Callable[[str], None]:
    """Lists folders for one test, at first the one above the results of each Dag."""
    monkeypatch.setenv(FOLDERS, f"{folder.parent}/{{dag_id}}")
    return lambda folders: monkeypatch.setenv(FOLDERS, folders)


@pytest.fixture
def leave(dag_run: Any, finished: AirflowRun) -> Iterator[Callable[..., None]]:
    """Has ``create`` leave another path, for one test: ``leave(path, rendered=path, count=2)``."""
    from airflow.models.renderedtifields import RenderedTaskInstanceFields
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session
    from sqlalchemy import delete, insert

    place = {"dag_id": dag_run.dag_id, "task_id": "create", "run_id": dag_run.run_id}
    was = finished.xcom("create")
    of_task = [getattr(RenderedTaskInstanceFields, name) == value for name, value in place.items()]

    def leave(path: str, rendered: str | None = "", count: int = 2) -> None:
        XComModel.set("return_value", {**summarise(results(count)), "results": [], "results_path": path}, **place)
        record(path if rendered == "" else rendered)

    def record(path: str | None) -> None:
        with create_session() as session:
            session.execute(delete(RenderedTaskInstanceFields).where(*of_task))
            if path is not None:
                fields = {"results_path": path, "tickets": "…"}
                session.execute(
                    insert(RenderedTaskInstanceFields).values(**place, map_index=-1, rendered_fields=fields)
                )

    yield leave
    XComModel.set("return_value", was, **place)
    record(was["results_path"])


@pytest.fixture
def limit() -> Iterator[Callable[[Any], None]]:
    """Sets other limits."""
    from airflow_provider_leen.plugins.app import app, limits

    def override(limited: Any) -> None:
        app.dependency_overrides[limits] = lambda: limited

    yield override
    app.dependency_overrides.clear()


def shown(get: Callable[..., Any], dag_run: Any, **query: Any) -> dict[str, Any]:
    reply = get("data", dag_run, **{"task_id": "create", **query})
    assert reply.status_code == 200
    return dict(reply.json())


def test_results_of_a_real_task_are_shown_once_their_folder_is_listed(
    get: Callable[..., Any], dag_run: Any, listed: Any
) -> None:
    [row] = shown(get, dag_run)["rows"]
    assert (row["title"], row["status"]) == ("In a file", "created")
    assert shown(get, dag_run)["tasks"][0]["remark"] is None
    [kept] = get("download", dag_run, task_id="create", format="json").json()
    assert kept == row


# D2: no other file


@pytest.mark.parametrize("folders", [None, "", "/nowhere"])
def test_without_a_listed_folder_no_file_is_read_and_the_remark_says_what_to_set(
    get: Callable[..., Any], dag_run: Any, folder: Path, monkeypatch: pytest.MonkeyPatch, folders: str | None
) -> None:
    monkeypatch.delenv(FOLDERS, raising=False) if folders is None else monkeypatch.setenv(FOLDERS, folders)
    answer = shown(get, dag_run)
    assert (answer["rows"], answer["counts"]) == ([], {"created": 1})
    assert "[leen] results_folders (AIRFLOW__LEEN__RESULTS_FOLDERS)" in answer["tasks"][0]["remark"]
    refused = get("download", dag_run, task_id="create")
    assert refused.status_code == (502 if folders else 403)
    assert "results_folders" in refused.json()["detail"]
    run = shown(get, dag_run, task_id="in_xcom")
    assert [row["title"] for row in run["rows"]] == ["In a file"]


@pytest.mark.parametrize(
    "path",
    [
        "ROOT/team_b/results.jsonl",
        "file://ROOT/team_b/results.jsonl",
        "ROOT/leen_files/../team_b/results.jsonl",
        "ROOT/leen_files/link.jsonl",
        "ROOT/leen_files/beside.jsonl",
        "s3://team_b_conn@bucket/results.jsonl",
        "/dev/zero",
    ],
)
@pytest.mark.parametrize("what", ["data", "download"])
def test_a_path_that_was_put_into_the_xcom_is_not_read(
    get: Callable[..., Any], dag_run: Any, listed: Any, folder: Path, leave: Any, path: str, what: str
) -> None:
    of_others = [{**result, "name": "of another team"} for result in results(2)]
    (folder.parent / "team_b").mkdir(exist_ok=True)
    for file in (folder.parent / "team_b/results.jsonl", folder / "beside.jsonl"):
        write_lines(file, of_others)
    (folder / "link.jsonl").unlink(missing_ok=True)
    (folder / "link.jsonl").symlink_to(folder.parent / "team_b/results.jsonl")
    leave(path.replace("ROOT", str(folder.parent)), rendered=f"{folder}/create.jsonl")
    reply = get(what, dag_run, task_id="create")
    assert "of another team" not in reply.text
    if what == "data":
        assert reply.json()["rows"] == []
        assert reply.json()["tasks"][0]["remark"]
    else:
        assert reply.status_code == 403


@pytest.mark.parametrize(
    "path",
    [
        "ROOT/team_b/results.jsonl",
        "ROOT/leen_files/../team_b/results.jsonl",
        "ROOT/leen_files/link.jsonl",
        "ROOT/leen_files/linked/results.jsonl",
        "ROOT/leen_files/pipe",
        "memory://team_b/results.jsonl",
    ],
)
def test_a_dag_that_renders_another_path_is_shown_no_file_outside_of_the_listed_folders(
    get: Callable[..., Any], dag_run: Any, listed: Any, folder: Path, leave: Any, path: str
) -> None:
    (folder.parent / "team_b").mkdir(exist_ok=True)
    write_lines(folder.parent / "team_b/results.jsonl", [{**result, "name": "of B"} for result in results(2)])
    for name, target in (("link.jsonl", "../team_b/results.jsonl"), ("linked", "../team_b")):
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(target)
    (folder / "pipe").unlink(missing_ok=True)
    os.mkfifo(folder / "pipe")
    leave(path.replace("ROOT", str(folder.parent)))
    answer = shown(get, dag_run)
    assert (answer["rows"], answer["matched"]) == ([], 0)
    assert answer["total"] == 2
    assert answer["tasks"][0]["remark"]
    assert get("download", dag_run, task_id="create").status_code in (403, 502)


def test_where_airflow_has_dropped_the_rendered_fields_the_xcom_alone_is_shown(
    get: Callable[..., Any], dag_run: Any, listed: Any, folder: Path, leave: Any
) -> None:
    write_lines(folder / "two.jsonl", results(2))
    leave(f"{folder}/two.jsonl", rendered=None)
    answer = shown(get, dag_run)
    assert (answer["rows"], answer["total"]) == ([], 2)
    assert "no record of that" in answer["tasks"][0]["remark"]


def test_a_change_of_the_listed_folders_is_seen_at_the_next_request(
    get: Callable[..., Any], dag_run: Any, listed: Any
) -> None:
    listed("")
    before = get("data", dag_run).headers["ETag"]
    listed("/")
    assert get("data", dag_run, headers={"If-None-Match": before}).json()["matched"] == 2


# Files that are read


def test_a_long_list_can_be_walked_to_its_end(
    get: Callable[..., Any], dag_run: Any, listed: Any, folder: Path, leave: Any
) -> None:
    count = 50_050
    write_lines(folder / "long.jsonl", results(count))
    leave(f"{folder}/long.jsonl", count=count)
    answer = shown(get, dag_run, sort="row", offset=50_000)
    assert (answer["matched"], answer["reachable"]) == (count, count)
    assert [row["row"] for row in answer["rows"]] == list(range(50_000, count))
    sorted_by_title = shown(get, dag_run, sort="title", offset=10**9)
    assert (sorted_by_title["rows"], sorted_by_title["matched"], sorted_by_title["reachable"]) == ([], count, 20_000)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "there is no such file"),
        ("root:x:0:0:root:/root:/bin/bash\n", "can't be read"),
        ('{"password": "secret"}\n', "it has entries that are not results"),
        ("[" * 100_000, "can't be read"),
        ("\ud800", "can't be read"),
    ],
)
def test_a_file_that_can_t_be_read_is_said_and_shows_none_of_its_content(
    get: Callable[..., Any],
    dag_run: Any,
    listed: Any,
    folder: Path,
    leave: Any,
    content: str | None,
    why: str,
) -> None:
    path = folder / "broken.jsonl"
    path.unlink(missing_ok=True)
    if content is not None:
        path.write_bytes(content.encode(errors="surrogatepass"))
    leave(str(path))
    reply = get("data", dag_run, task_id="create")
    assert why in reply.json()["tasks"][0]["remark"]
    assert "secret" not in reply.text
    assert "bin/bash" not in reply.text
    file = get("download", dag_run, task_id="create")
    assert file.status_code == 502
    assert str(path) in file.json()["detail"]


def test_of_a_file_that_does_not_agree_with_the_counts_no_row_is_shown(
    get: Callable[..., Any], dag_run: Any, listed: Any, folder: Path, leave: Any
) -> None:
    path = folder / "half.jsonl"
    write_lines(path, results(2500))
    whole = path.read_text()
    leave(str(path), count=2500)
    assert len(get("download", dag_run, task_id="create", format="json").json()) == 2500
    for content, why in ((whole[:-20], "can't be read"), (whole + whole, "differ from the summary's counts")):
        path.write_text(content)
        answer = shown(get, dag_run)
        assert (answer["rows"], answer["matched"], answer["total"]) == ([], 0, 2500)
        assert why in answer["tasks"][0]["remark"]
        broken = get("download", dag_run, task_id="create", format="csv")
        assert broken.status_code == 502
        assert why in broken.json()["detail"]


def test_a_task_whose_file_can_t_be_read_hides_no_other_task(
    get: Callable[..., Any], dag_run: Any, listed: Any, folder: Path, leave: Any
) -> None:
    leave(f"{folder}/there is none")
    run = get("data", dag_run)
    assert [row["task"] for row in run.json()["rows"]] == ["in_xcom"]
    # The file may be there the next time, without a change in the database.
    assert "ETag" not in run.headers
    assert get("download", dag_run).status_code == 502
    written = get("download", dag_run, task="in_xcom").text.removeprefix("\N{ZERO WIDTH NO-BREAK SPACE}")
    assert [row["title"] for row in csv.DictReader(io.StringIO(written, newline=""))] == ["In a file"]


def test_a_file_is_read_up_to_a_size(
    get: Callable[..., Any], dag_run: Any, listed: Any, folder: Path, leave: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow_provider_leen.plugins import reading

    write_lines(folder / "large.jsonl", results(250))
    leave(f"{folder}/large.jsonl", count=250)
    monkeypatch.setattr(reading, "MAX_BYTES", 1_000)
    assert "it has more than" in shown(get, dag_run)["tasks"][0]["remark"]


# D3: a store that never answers


@contextmanager
def a_store_that_accepts_and_never_replies() -> Iterator[tuple[str, list[socket.socket], Callable[[], None]]]:
    """Make a scheme of Airflow's: a file's URL, the connections that were made, and what ends them."""
    import fsspec  # type: ignore[import-untyped]
    from airflow.sdk.io import attach

    server = socket.create_server(("127.0.0.1", 0), backlog=200)
    port = server.getsockname()[1]
    scheme = f"stalled{port}"
    taken: list[socket.socket] = []

    def accept() -> None:
        while True:
            try:
                taken.append(server.accept()[0])
            except OSError:
                return

    def end() -> None:
        with suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)
        for connection in taken:
            connection.close()

    class StalledFileSystem(fsspec.AbstractFileSystem):  # type: ignore[misc]
        protocol = scheme
        cacheable = False

        def _open(self, *args: Any, **kwargs: Any) -> Any:
            with socket.create_connection(("127.0.0.1", port)) as connection:
                connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
                raise OSError(f"the store said {connection.recv(100)!r}")

    fsspec.register_implementation(scheme, StalledFileSystem, clobber=True)
    attach(scheme, fs=StalledFileSystem())
    accepting = threading.Thread(target=accept, daemon=True)
    accepting.start()
    try:
        yield f"{scheme}://bucket/results.jsonl", taken, end
    finally:
        end()
        server.close()


@pytest.mark.filterwarnings("ignore:UPath .* filesystem not explicitly implemented:UserWarning")
def test_fifty_requests_to_a_store_that_never_replies_delay_no_other_page_and_hold_no_session(
    server: Any,
    token: Callable[..., str],
    get: Callable[..., Any],
    dag_run: Any,
    listed: Any,
    leave: Any,
    limit: Callable[[Any], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from airflow_provider_leen.plugins import app
    from airflow_provider_leen.plugins.limits import Slots
    from airflow_provider_leen.plugins.reading import Limits

    sessions: list[int] = []
    create_session: Any = vars(app)["create_session"]

    @contextmanager
    def counted(**arguments: Any) -> Iterator[Any]:
        sessions.append(1)
        with create_session(**arguments) as session:
            yield session
        sessions.pop()

    monkeypatch.setattr(app, "create_session", counted)
    limit(Limits(page_seconds=600.0, slots=Slots(at_once=2, wait=600.0)))
    with (
        a_store_that_accepts_and_never_replies() as (url, taken, end_store),
        ThreadPoolExecutor(60) as browsers,
    ):
        listed(url.removesuffix("/results.jsonl"))
        leave(url)
        stalled = [browsers.submit(get, "data", dag_run, task_id="create") for _ in range(50)]
        try:
            others = [
                browsers.submit(get, "data", dag_run, task_id="in_xcom"),
                browsers.submit(get, "", dag_run),
                *(
                    browsers.submit(server.get, path, headers={"Authorization": f"Bearer {token('ADMIN')}"})
                    for path in ("/api/v2/monitor/health", "/api/v2/dags", f"/api/v2/dags/{dag_run.dag_id}/dagRuns")
                ),
            ]
            assert [other.result(timeout=120).status_code for other in others] == [200] * 5
            until(lambda: not sessions and len(taken) >= 2)
            assert sessions == []
            # Those that wait for their turn have not even asked.
            assert len(taken) == 2
            assert not [reply for reply in stalled if reply.done()]
        finally:
            end_store()
        for reply in stalled:
            answer = reply.result(timeout=120).json()
            assert (answer["rows"], answer["total"]) == ([], 2)
            assert "can't be read" in answer["tasks"][0]["remark"]


@pytest.mark.filterwarnings("ignore:UPath .* filesystem not explicitly implemented:UserWarning")
def test_a_store_that_never_replies_is_waited_for_up_to_a_limit(
    get: Callable[..., Any], dag_run: Any, listed: Any, leave: Any, limit: Callable[[Any], None]
) -> None:
    from airflow_provider_leen.plugins.limits import Slots
    from airflow_provider_leen.plugins.reading import Limits

    limit(Limits(page_seconds=0.5, download_seconds=0.5, slots=Slots(at_once=1, wait=0.1)))
    with a_store_that_accepts_and_never_replies() as (url, taken, _):
        listed(url.removesuffix("/results.jsonl"))
        leave(url)
        first = get("data", dag_run, task_id="create")
        assert "it takes too long" in first.json()["tasks"][0]["remark"]
        assert first.json()["total"] == 2
        assert "ETag" not in first.headers
        assert "other requests wait for it" in shown(get, dag_run)["tasks"][0]["remark"]
        assert get("download", dag_run, task_id="create").status_code == 502
        assert len(taken) == 1


def test_no_connection_is_used_but_the_listed_one(
    get: Callable[..., Any], dag_run: Any, listed: Any, leave: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fsspec
    from airflow.sdk.io import attach, store

    # What is attached here stays attached for as long as the process lives.
    monkeypatch.setattr(store, "_STORE_CACHE", {})

    def content() -> bytes:
        return "".join(f"{json.dumps(result)}\n" for result in results(2)).encode()

    for conn_id in ("team_a", "team_b", None):
        memory = type("OwnMemory", (fsspec.get_filesystem_class("memory"),), {"store": {}, "cacheable": False})()
        memory.store = {}
        memory.pipe_file("/bucket/results.jsonl", content())
        attach("memory", conn_id, fs=memory)
    listed("memory://team_a@bucket/")
    for path, rows in (
        ("memory://team_a@bucket/results.jsonl", 2),
        ("memory://team_b@bucket/results.jsonl", 0),
        ("memory://bucket/results.jsonl", 0),
    ):
        leave(path)
        assert len(shown(get, dag_run)["rows"]) == rows, path
