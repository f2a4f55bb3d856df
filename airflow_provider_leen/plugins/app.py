"""The web app of the tab: a page, its data one page at a time, and the data as a file.

Airflow does not protect plugin apps: each route that shows data requires the right to read the Dag's XComs.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Annotated, Any, Literal

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.core_api.security import requires_access_dag
from airflow.providers.common.compat.sdk import conf
from airflow.utils.session import create_session
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.exception_handlers import http_exception_handler
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, StreamingResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.types import Receive, Scope, Send

from airflow_provider_leen.api.errors import LeenConfigError
from airflow_provider_leen.api.text import one_line
from airflow_provider_leen.plugins.database import RunReader
from airflow_provider_leen.plugins.places import Place, folders_of
from airflow_provider_leen.plugins.reading import Limits, TooLargeError, fill, write_file
from airflow_provider_leen.plugins.rows import Column, Page, Selection
from airflow_provider_leen.plugins.tasks import Gate, TaskRecord, TaskTickets, read_gate, read_task
from airflow_provider_leen.plugins.view import build_view

STATIC = Path(__file__).with_name("static")

_PAGE_HEADERS = {
    # Whatever a ticket contains, the page only runs and loads its own files.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_DOWNLOADS = threading.BoundedSemaphore(8)
"""The most files that wait to be sent, each on this server's disk: clients may be slow."""

_BLOCK = 200_000
_NOT_IN_A_FILE_NAME = re.compile(r"[^A-Za-z0-9_.]+")
_NOT_KEPT = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


def _refuse_all_dags(dag_id: str) -> None:
    if dag_id == "~":
        raise HTTPException(400, "Name one Dag: '~' stands for all of them.")


@dataclass(frozen=True)
class RunOrTask:
    """What the tab shows: a run or, with a task, one task; without an index, all instances of a mapped task."""

    dag_id: str
    run_id: str
    task_id: str | None
    map_index: int | None


def _run_or_task(dag_id: str, run_id: str, task_id: str | None = None, map_index: str | None = None) -> RunOrTask:
    if "\0" in f"{run_id}{task_id}":  # PostgreSQL takes no such text
        raise HTTPException(404, _NOT_THERE)
    # Airflow's UI does not replace "{MAP_INDEX}" if a task is not mapped.
    is_number = map_index is not None and re.fullmatch(r"-?\d{1,9}", map_index, re.ASCII)
    return RunOrTask(dag_id, run_id, task_id, int(str(map_index)) if is_number else None)


def _selection(
    status: Annotated[str, Query(max_length=20)] = "",
    text: Annotated[str, Query(max_length=200)] = "",
    task: Annotated[str, Query(max_length=300)] = "",
    sort: Column = "status",
    descending: bool = False,
) -> Selection:
    return Selection(status, text, task, sort, descending)


_LIMITS = Limits()


def limits() -> Limits:
    """Return how long files may take."""
    return _LIMITS


About = Annotated[RunOrTask, Depends(_run_or_task)]
Limited = Annotated[Limits, Depends(limits)]
Wanted = Annotated[Selection, Depends(_selection)]

router = APIRouter(dependencies=[Depends(requires_access_dag("GET", DagAccessEntity.XCOM)), Depends(_refuse_all_dags)])


@router.get("/tickets")
def page() -> FileResponse:
    """The page; its script asks for the data."""
    return FileResponse(STATIC / "tab.html", headers=_PAGE_HEADERS)


@router.get("/tickets/data")
async def data(
    request: Request,
    about: About,
    wanted: Wanted,
    limits: Limited,
    offset: Annotated[int, Query(ge=0)] = 0,
    limit: Annotated[int, Query(ge=0, le=500)] = 100,
) -> Response:
    """The outcome of the tickets: counts, progress, remarks, and one page of rows. 304 if nothing has changed."""
    known = request.headers.get("If-None-Match")
    found = await run_in_threadpool(_found, about, known)
    headers = _NOT_KEPT | {"ETag": found.etag}
    if found.etag == known:
        return Response(status_code=304, headers=headers)
    rows = Page(wanted, offset, limit)
    unreadable = await fill(rows, found.tasks, found.folders, limits)
    if unreadable:
        # A store may recover without any change in the database.
        del headers["ETag"]
    view = build_view(found.tasks, found.gates, is_run=about.task_id is None, unreadable=unreadable)
    view |= {"rows": rows.rows(), "matched": rows.wanted, "reachable": rows.reachable, "offset": offset}
    view["causes"] = rows.causes.shared()
    return JSONResponse(view, headers=headers)


@router.get("/tickets/download")
async def download(about: About, wanted: Wanted, limits: Limited, format: Literal["csv", "json"] = "csv") -> Response:
    """All selected rows, in the order of the input."""
    found = await run_in_threadpool(_found, about)
    tasks = [task for task in found.tasks if wanted.task in ("", task.name)]
    if withheld := [f"{task.name}: {task.remark}" for task in tasks if task.withheld]:
        raise HTTPException(403, f"The file would be incomplete. {withheld[0]}")
    if not _DOWNLOADS.acquire(blocking=False):
        raise HTTPException(503, "Others are downloading: try again in a minute.")
    with ExitStack() as on_error:
        on_error.callback(_DOWNLOADS.release)
        try:
            file = await write_file(tasks, found.folders, wanted, format, limits)
        except LeenConfigError as error:
            raise HTTPException(502, one_line(str(error), 1000)) from None
        except TooLargeError:
            raise HTTPException(413, "There are too many rows for one file: filter by status, task or text.") from None
        headers = _NOT_KEPT | {"Content-Disposition": f'attachment; filename="{_file_name(about)}.{format}"'}
        return _FileReply(file, on_error.pop_all(), media_type=_MEDIA_TYPES[format], headers=headers)


def _file_name(about: RunOrTask) -> str:
    names = (
        "leen",
        about.dag_id,
        about.run_id,
        about.task_id,
        about.map_index if (about.map_index or 0) >= 0 else None,
    )
    return "-".join(_NOT_IN_A_FILE_NAME.sub("_", str(name))[:80] for name in names if name is not None)


class _FileReply(StreamingResponse):
    """Sends a temporary file, then makes room for another download."""

    def __init__(self, file: IO[bytes], at_end: ExitStack, **arguments: Any) -> None:
        arguments["headers"]["Content-Length"] = str(file.tell())
        super().__init__(_in_blocks(file), **arguments)
        self._at_end = at_end
        self._at_end.enter_context(file)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._at_end:
            await super().__call__(scope, receive, send)


def _in_blocks(file: IO[bytes]) -> Iterator[bytes]:
    # Each block is passed between threads: with single rows, that would dominate the time.
    file.seek(0)
    while block := file.read(_BLOCK):
        yield block


_MEDIA_TYPES = {"csv": "text/csv; charset=utf-8", "json": "application/json"}
_NOT_THERE = "There is no such Dag run, or no such task in it."


@dataclass(frozen=True)
class _Found:
    etag: str
    folders: list[Place]
    tasks: list[TaskTickets] = field(default_factory=list)
    gates: list[Gate] = field(default_factory=list)


def _found(about: RunOrTask, known: str | None = None) -> _Found:
    """Read from the database, and end its session; without tasks if the caller already has this version."""
    option = conf.get("leen", "results_folders", fallback="") or ""
    folders = folders_of(option, about.dag_id)
    with create_session(scoped=False) as session:
        run = RunReader(session, about.dag_id, about.run_id, about.task_id, about.map_index)
        if run.is_empty:
            raise HTTPException(404, _NOT_THERE)
        is_gate = about.task_id is not None and run.is_gate
        if is_gate:
            run = RunReader(session, about.dag_id, about.run_id, None, None)
        etag = f'"{run.version(option)}"'
        if etag == known:
            return _Found(etag, folders)
        records = list(run.records())
    gates = [gate for record in records if (gate := read_gate(record)) is not None]
    if is_gate:
        # A gate's page shows its verdict and the tickets that it judged.
        own = [record.name for record in records if _is(record, about)]
        gates = [gate for gate in gates if gate.name in own]
        judged = {task_id for gate in gates for task_id in gate.judges}
        records = [record for record in records if record.task_id in judged]
    tasks = [task for record in records if (task := read_task(record, folders)) is not None]
    return _Found(etag, folders, tasks, gates)


def _is(record: TaskRecord, about: RunOrTask) -> bool:
    return record.task_id == about.task_id and about.map_index in (None, record.map_index)


_REFUSED = {
    401: "You are not logged in to Airflow: log in, then open this tab again.",
    403: "You need the right to read the XComs of this Dag.",
}


async def _refused(request: Request, error: Exception) -> Response:
    """Answer with text for the page itself, and otherwise as Airflow's API does."""
    assert isinstance(error, StarletteHTTPException)
    if request.url.path.endswith("/tickets") and error.status_code in _REFUSED:
        text = f"<!doctype html><meta name=color-scheme content='light dark'><p>{_REFUSED[error.status_code]}</p>"
        return HTMLResponse(text, error.status_code, headers=_PAGE_HEADERS)
    return await http_exception_handler(request, error)


app = FastAPI(title="Leen tickets", docs_url=None, redoc_url=None, openapi_url=None)
app.add_exception_handler(StarletteHTTPException, _refused)
app.include_router(router)
app.mount("/assets", StaticFiles(directory=STATIC))
