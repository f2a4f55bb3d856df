"""Reads a file of tickets, for operators and for the command line; its extension decides how.

Rows are written to a temporary file as they are read: JSON Lines and CSV files are never held in memory.
"""

from __future__ import annotations

import csv
import errno
import gzip
import io
import json
import tempfile
import zlib
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import zip_longest
from pathlib import PurePosixPath
from typing import Any, Literal, TextIO

from airflow_provider_leen.api.errors import LeenConfigError, LeenError
from airflow_provider_leen.api.models import TicketCreate
from airflow_provider_leen.bulk.reading import UnreadableRow, rows_in, without_reports
from airflow_provider_leen.bulk.spool import SpooledRows
from airflow_provider_leen.bulk.validation import excerpt
from airflow_provider_leen.bulk.whole_file import NotRegularError, open_regular
from airflow_provider_leen.findings import SarifTickets, is_sarif


@dataclass(frozen=True)
class TicketFile:
    """The content of a file.

    :param rows: one for each ticket, in order, not validated.
    :param unit: how a person finds a row: by its ``line``, or in an array as the n-th ``row``.
    :param numbers: for each row, the line that it begins at, or its position from 1.
    :param account: a sentence that counts the results of a scanner's report, with and without rows.
    """

    rows: Sequence[Any]
    unit: Literal["line", "row"]
    numbers: Sequence[int]
    account: str | None = None

    def place(self, index: int) -> str:
        """Return the position of a row in the file: ``line 3``."""
        return f"{self.unit} {self.numbers[index]}"


def read_file(path: Any, called: str) -> TicketFile:
    """Return the rows of a file, not validated.

    :param path: a path with pathlib's interface (``Path``, Airflow's ``ObjectStoragePath``) whose name ends in
        ``.json`` (an array, one ticket, or SARIF), ``.jsonl`` or ``.ndjson`` (one ticket a line), ``.csv`` or
        ``.sarif``, in any case, each also with ``.gz`` appended.
    :param called: how messages name the file.
    :raises LeenConfigError: it can't be read, or holds no tickets.
    :raises LeenError: the disk is full; a retry may find room.
    :raises OSError: or whatever else the store raises.
    """
    name = PurePosixPath(str(path).lower())
    packed = name.suffix == ".gz"
    read = _READERS.get(name.with_suffix("").suffix if packed else name.suffix)
    if read is None:
        *others, last = _READERS
        raise LeenConfigError(
            f"{called} can't be read: its name must end in {', '.join(others)} or {last}, or in one of these and .gz."
        )
    try:
        with ExitStack() as files:
            file: Any = files.enter_context(open_regular(path, follow=True, binary=True))
            if packed:
                file = files.enter_context(gzip.open(file))
            return read(files.enter_context(io.TextIOWrapper(file, encoding="utf-8-sig", newline="")), called)
    except _EXPECTED as error:
        failure = _failure(error, called)
        if failure is None:
            raise
    raise failure


def read_lines(lines: Iterable[str], numbers: array[int] | None = None) -> Iterator[Any]:
    """Read the rows of a JSON Lines file, one at a time.

    :param lines: the lines; blank ones are skipped.
    :param numbers: the number of each row's line, from 1, is appended to it.
    :return: one row per line, in order; a line that does not parse becomes an :class:`UnreadableRow`.
    """
    for number, line in enumerate(lines, 1):
        text = line.strip("\ufeff \t\r\n")
        if not text:
            continue
        if numbers is not None:
            numbers.append(number)
        if text.startswith("["):
            reason = f"it begins an array ({excerpt(text)}): name the file .json if it holds one array"
            yield UnreadableRow(excerpt(text), reason, number)
            continue
        try:
            row = json.loads(text)
        except (ValueError, RecursionError) as error:
            row = UnreadableRow(excerpt(text), f"it is not JSON ({_json_reason(error)}): {excerpt(text)}", number)
        yield row


def _read_json(file: TextIO, called: str, *, only_sarif: bool = False) -> TicketFile:
    text = file.read()
    if not text.strip():
        raise ValueError("it is empty; if there is no ticket, write an empty array, []")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        advice = "" if only_sarif else "; name the file .jsonl if it has one ticket on each line"
        raise ValueError(f"it is not JSON ({_json_reason(error)}){advice}") from None
    del text
    if only_sarif and not is_sarif(value):
        raise ValueError("it is not a SARIF report, an object with `version` and `runs`")
    if not isinstance(value, list | dict):
        raise ValueError(f"it holds {excerpt(value)}; write an array of objects, one for each ticket")
    found = rows_in(value, called)
    rows = SpooledRows(found)
    account = found.account if isinstance(found, SarifTickets) else None
    return TicketFile(rows, "row", range(1, len(rows) + 1), account)


def _read_lines(file: TextIO, called: str) -> TicketFile:
    numbers = array("Q")
    return TicketFile(SpooledRows(without_reports(read_lines(file, numbers), called)), "line", numbers)


def _read_csv(file: TextIO, _called: str) -> TicketFile:
    """Read a table whose first line names Leen's fields; empty cells are left out."""
    numbers = array("Q")
    table = _records(file)
    _, names = next(table, (1, []))
    _check_names(names)

    def rows() -> Iterator[Any]:
        for line, cells in table:
            if any(cell.strip() for cell in cells):
                numbers.append(line)
                yield _ticket(names, cells)

    return TicketFile(SpooledRows(rows()), "line", numbers)


def _records(file: TextIO) -> Iterator[tuple[int, list[str]]]:
    """Read a table's rows that are not blank, each with the line that it begins at: a cell may hold several lines."""
    reader = csv.reader(file, strict=True)
    begins = 1
    try:
        for cells in reader:
            if cells:
                yield begins, cells
            begins = reader.line_num + 1
    except csv.Error as error:
        raise ValueError(f"the row that begins at line {begins} is not CSV ({error}); check its quotes") from None


def _check_names(names: Sequence[str]) -> None:
    # A column without a name matters only if it has cells.
    twice = [name for name, count in Counter(names).items() if count > 1 and name]
    if twice:
        raise ValueError(f"its first line names {twice[0]!r} twice: keep one of the two columns")
    if len(names) == 1 and (separator := next((s for s in ";\t" if s in names[0]), None)):
        raise ValueError(f"its cells are separated by {separator!r}: use commas")
    if names and TicketCreate.model_fields.keys().isdisjoint(names):
        fields = ", ".join(TicketCreate.model_fields)
        raise ValueError(
            f"its first line names no field of a ticket ({excerpt(', '.join(names))}); the fields are {fields}"
        )


def _ticket(names: Sequence[str], cells: Sequence[str]) -> Any:
    nameless = [cell for name, cell in zip_longest(names, cells, fillvalue="") if cell and not name]
    if nameless:
        reason = f"the first line names no field for {excerpt(nameless[0])}; put a cell that holds a comma in quotes"
        return UnreadableRow(excerpt(", ".join(cells)), reason)
    return {name: cell for name, cell in zip(names, cells, strict=False) if cell}


def _failure(error: Exception, called: str) -> LeenError | None:
    """Return the error of a file that can't be read; None to raise the original one."""
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return LeenError(
            f"The disk is full: the tickets of {called} are kept in a temporary file in {tempfile.gettempdir()}. "
            "Nothing was sent. Make room there, or set TMPDIR."
        )
    problem = file_problem(error)
    if not problem and isinstance(error, OSError):
        return None
    return LeenConfigError(f"{called} can't be read: {problem or _json_reason(error)}.")


def file_problem(error: Exception) -> str:
    """Return why a file can't be read, for a person; empty if the error is of another kind."""
    if isinstance(error, NotRegularError):
        return str(error.strerror)
    return next((said for kind, said in _PROBLEMS.items() if isinstance(error, kind)), "")


def _json_reason(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        line = f"line {error.lineno}, " if "\n" in error.doc else ""
        return f"{error.msg} at {line}column {error.colno}"
    return "nested too deeply" if isinstance(error, RecursionError) else str(error)


_EXPECTED = (OSError, EOFError, ValueError, RecursionError, zlib.error)

_PROBLEMS: dict[type[Exception], str] = {
    FileNotFoundError: "there is no such file",
    IsADirectoryError: "it is a folder",
    NotADirectoryError: "a part of its path is a file",
    PermissionError: "the process's user may not read it",
    UnicodeDecodeError: "it is not UTF-8: save it in that encoding",
    gzip.BadGzipFile: "it is not compressed by gzip, although its name ends in .gz",
    zlib.error: "its compressed data are damaged",
    EOFError: "its compressed data end too early",
}

_READERS: dict[str, Callable[[TextIO, str], TicketFile]] = {
    ".json": _read_json,
    ".jsonl": _read_lines,
    ".ndjson": _read_lines,
    ".csv": _read_csv,
    ".sarif": partial(_read_json, only_sarif=True),
}
