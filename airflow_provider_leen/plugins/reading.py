"""Reads the results of tasks, from XComs or from files, one task at a time and within limits.

A task's rows are shown only once all of them are read and agree with its summary's counts.
"""

from __future__ import annotations

import io
import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from tempfile import SpooledTemporaryFile
from typing import IO, Any, TypeVar

from fastapi.concurrency import run_in_threadpool

from airflow_provider_leen.api.errors import LeenConfigError
from airflow_provider_leen.bulk.results_file import read_opened
from airflow_provider_leen.plugins.limits import BusyError, Limited, Slots
from airflow_provider_leen.plugins.places import Place, open_local
from airflow_provider_leen.plugins.rows import Page, Row, Selection, as_csv, as_json, row_of
from airflow_provider_leen.plugins.tasks import TaskTickets

MAX_BYTES = 256_000_000
"""The largest file that is read: about a million tickets."""

MAX_DOWNLOAD = 256_000_000
"""The largest download, in bytes."""

_IN_MEMORY = 10_000_000
"""The largest download that is kept in memory instead of on disk, in bytes."""

Result = TypeVar("Result")


@dataclass(frozen=True)
class Limits:
    """How long files may take.

    :param page_seconds: those of one page, all together.
    :param download_seconds: those of one download.
    :param slots: how many are read at once.
    """

    page_seconds: float = 20.0
    download_seconds: float = 60.0
    slots: Slots = field(default_factory=lambda: Slots(at_once=2, wait=5.0))


class TooLargeError(Exception):
    """The download would be too large."""


async def fill(page: Page, tasks: Sequence[TaskTickets], folders: Sequence[Place], limits: Limits) -> dict[str, str]:
    """Add the rows of tasks to a page.

    :param folders: the folders below which files may be read.
    :return: the tasks whose files could not be read, by name, and why.
    """
    until = time.monotonic() + limits.page_seconds
    unreadable: dict[str, str] = {}
    silent: dict[Any, str] = {}
    """Stores that did not answer this page in time: they are not asked again."""
    for in_xcom, some in groupby(tasks, key=lambda task: task.place is None):
        if in_xcom:
            page.add(await run_in_threadpool(page.pick, _rows(list(some), folders, until)))
            continue
        for task in some:
            store = _stores([task])[0]
            try:
                if store in silent:
                    raise _SilentError(silent[store])
                page.add(await _read([task], partial(page.pick, _rows([task], folders, until)), until, limits.slots))
            except LeenConfigError as error:
                unreadable[task.name] = str(error)
            except _SilentError as error:
                silent[store] = str(error)
                unreadable[task.name] = f"The results in {task.results_path} can't be read: {error}."
    return unreadable


async def write_file(
    tasks: Sequence[TaskTickets], folders: Sequence[Place], wanted: Selection, as_format: str, limits: Limits
) -> IO[bytes]:
    """Write all selected rows of tasks into a temporary file.

    :param as_format: ``csv`` or ``json``.
    :raises LeenConfigError: not all can be read.
    :raises TooLargeError: they are too many.
    """
    until = time.monotonic() + limits.download_seconds
    rows = (row for row in _rows(tasks, folders, until) if wanted.admits(row))
    lines = (as_csv if as_format == "csv" else as_json)(rows)
    try:
        return await _read(tasks, partial(_written, lines), until, limits.slots)
    except _SilentError as error:
        raise LeenConfigError(f"The results can't be read: {error}.") from None


class _SilentError(Exception):
    """A store did not answer in time."""


async def _read(tasks: Iterable[TaskTickets], work: Callable[[], Result], until: float, slots: Slots) -> Result:
    try:
        return await slots.run(_stores(tasks) or ["XCom"], work, until)
    except BusyError:
        raise _SilentError("its store does not answer, and other requests wait for it; try again in a minute") from None
    except TimeoutError:
        raise _SilentError("it takes too long") from None


def _stores(tasks: Iterable[TaskTickets]) -> list[Any]:
    return sorted({task.place.store for task in tasks if task.place is not None})


def _written(lines: Iterable[str]) -> IO[bytes]:
    whole = SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115 (closed once it is sent)
    try:
        # Complete before the answer begins: half a file would look complete.
        for line in lines:
            whole.write(line.encode())
            if whole.tell() > MAX_DOWNLOAD:
                raise TooLargeError
    except BaseException:
        whole.close()
        raise
    return whole


def _rows(tasks: Collection[TaskTickets], folders: Sequence[Place], until: float) -> Iterator[Row]:
    for task in tasks:
        for result in task.results if task.place is None else _in_file(task, task.place, folders, until):
            yield row_of(task, result)


def _in_file(task: TaskTickets, place: Place, folders: Sequence[Place], until: float) -> Iterator[Any]:
    assert task.results_path is not None
    return read_opened(task.results_path, partial(_opened, task.results_path, place, folders, until), task.counts)


def _opened(path: str, place: Place, folders: Sequence[Place], until: float) -> IO[str]:
    """Open a file, with the access rules and limits of the tab."""
    raw: Any
    if place.is_local:
        raw = os.fdopen(open_local(place, folders), "rb", buffering=0)
    else:
        from airflow.providers.common.compat.sdk import ObjectStoragePath

        elsewhere = ObjectStoragePath(path.strip())
        raw = elsewhere.fs.open(elsewhere.path, "rb")
    return io.TextIOWrapper(io.BufferedReader(Limited(raw, until, MAX_BYTES), 1 << 16), encoding="utf-8")
