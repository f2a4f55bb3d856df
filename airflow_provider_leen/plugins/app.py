"""The web app behind the tab: a page, its data a page at a time, and the data as a file.

Airflow protects no plugin's app: each route that shows anything asks its auth manager for the right to read the
Dag's XComs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import IO, Annotated, Literal

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.common.db.common import SessionDep
from airflow.api_fastapi.core_api.security import requires_access_dag
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Query, Request, Response
from fastapi.exception_handlers import http_exception_handler
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, StreamingResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException as StarletteHTTPException

from airflow_provider_leen.api.errors import LeenConfigError
from airflow_provider_leen.plugins.database import RunReader
from airflow_provider_leen.plugins.rows import Column, Selection, as_csv, as_json, page_of
from airflow_provider_leen.plugins.shown import TicketReader, what_is_shown
from airflow_provider_leen.plugins.tasks import TaskTickets, read_task

STATIC = Path(__file__).with_name("static")

_PAGE_HEADERS = {
    # Whatever a ticket holds, the page runs and loads nothing but its own files.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_IN_MEMORY = 10_000_000
"""A larger file to download waits on disk until it is sent; in bytes."""

_BLOCK = 200_000
_NOT_KEPT = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


def _refuse_all_dags(dag_id: str) -> None:
    if dag_id == "~":
        raise HTTPException(400, "Name one Dag: '~' stands for all of them.")


def _run(
    session: SessionDep, dag_id: str, run_id: str, task_id: str | None = None, map_index: str | None = None
) -> RunReader:
    # Airflow's UI leaves "{MAP_INDEX}" as it is where a task is not mapped.
    is_number = map_index is not None and re.fullmatch(r"-?\d{1,9}", map_index, re.ASCII)
    return RunReader(session, dag_id, run_id, task_id, int(str(map_index)) if is_number else None)


def _selection(
    status: str = "", text: str = "", task: str = "", sort: Column = "status", descending: bool = False
) -> Selection:
    return Selection(status, text, task, sort, descending)


Run = Annotated[RunReader, Depends(_run)]
Wanted = Annotated[Selection, Depends(_selection)]

router = APIRouter(dependencies=[Depends(requires_access_dag("GET", DagAccessEntity.XCOM)), Depends(_refuse_all_dags)])


@router.get("/tickets")
def page() -> FileResponse:
    """The page; its script asks for the data."""
    return FileResponse(STATIC / "tab.html", headers=_PAGE_HEADERS)


@router.get("/tickets/data")
def data(
    request: Request,
    run: Run,
    wanted: Wanted,
    offset: Annotated[int, Query(ge=0)] = 0,
    limit: Annotated[int, Query(ge=0, le=500)] = 100,
) -> Response:
    """What became of the tickets: counts, progress, remarks, and one page of rows. 304 where nothing has changed."""
    headers = _NOT_KEPT | {"ETag": f'"{run.version()}"'}
    if request.headers.get("If-None-Match") == headers["ETag"]:
        return Response(status_code=304, headers=headers)
    tasks = _tasks(run)
    reader = TicketReader(tasks)
    rows, matched = page_of(reader.rows(), wanted, offset, limit)
    shown = what_is_shown(tasks, is_run="task_id" not in request.query_params, unreadable=reader.unreadable)
    return JSONResponse({**shown, "rows": rows, "matched": matched, "offset": offset}, headers=headers)


@router.get("/tickets/download")
def download(run: Run, wanted: Wanted, format: Literal["csv", "json"] = "csv") -> Response:
    """The rows that are wanted, all of them, in the order of the input."""
    reader = TicketReader(_tasks(run), strict=True)
    lines = (as_csv if format == "csv" else as_json)(row for row in reader.rows() if wanted.admits(row))
    whole = SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115 (closed once it is sent)
    try:
        # Whole before the answer begins: half a file would look like all of it.
        whole.writelines(line.encode() for line in lines)
    except LeenConfigError as error:
        whole.close()
        raise HTTPException(502, str(error)) from None
    headers = _NOT_KEPT | {
        "Content-Disposition": f'attachment; filename="leen-tickets.{format}"',
        "Content-Length": str(whole.tell()),
    }
    return StreamingResponse(_in_blocks(whole), media_type=_MEDIA_TYPES[format], headers=headers)


def _in_blocks(file: IO[bytes]) -> Iterator[bytes]:
    # Each block changes threads on its way out: a row at a time, that takes longer than all else.
    with file:
        file.seek(0)
        while block := file.read(_BLOCK):
            yield block


_MEDIA_TYPES = {"csv": "text/csv; charset=utf-8", "json": "application/json"}


def _tasks(run: RunReader) -> list[TaskTickets]:
    if run.is_empty:
        raise HTTPException(404, "There is no such Dag run, or no such task in it.")
    return [task for record in run.records() if (task := read_task(record)) is not None]


_REFUSED = {
    401: "You are not logged in to Airflow, or no longer: log in, and open this tab again.",
    403: "You may not see this: it takes the right to read the XComs of this Dag.",
}


async def _refused(request: Request, error: Exception) -> Response:
    """Answer in words where a person looks at the page, and as everywhere in Airflow's API else."""
    assert isinstance(error, StarletteHTTPException)
    if request.url.path.endswith("/tickets") and error.status_code in _REFUSED:
        text = f"<!doctype html><meta name=color-scheme content='light dark'><p>{_REFUSED[error.status_code]}</p>"
        return HTMLResponse(text, error.status_code, headers=_PAGE_HEADERS)
    return await http_exception_handler(request, error)


app = FastAPI(title="Leen tickets", docs_url=None, redoc_url=None, openapi_url=None)
app.add_exception_handler(StarletteHTTPException, _refused)
app.include_router(router)
app.mount("/assets", StaticFiles(directory=STATIC))
