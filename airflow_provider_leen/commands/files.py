"""Reads the file of ``create``: JSON, JSON Lines or CSV."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any, Literal, TextIO

from airflow_provider_leen.api.errors import LeenConfigError
from airflow_provider_leen.bulk.tickets import UnreadableRow, numbered, read_lines, read_tickets
from airflow_provider_leen.bulk.validation import excerpt


@dataclass(frozen=True)
class TicketFile:
    """What is in a file.

    :param rows: one for each ticket, in order, not validated.
    :param unit: how a person finds a row: by its ``line``, or in an array as the n-th ``row``.
    :param numbers: for each row, the line that it begins at, or its position from 1.
    """

    rows: list[Any]
    unit: Literal["line", "row"]
    numbers: Sequence[int]

    def place(self, index: int) -> str:
        """Say where a row stands in the file: ``line 3``."""
        return f"{self.unit} {self.numbers[index]}"


def read_file(path: Path) -> TicketFile:
    """Return the rows of a file, not validated; its ending decides how it is read.

    :param path: a file that ends in ``.json`` (an array), ``.jsonl`` or ``.ndjson`` (one ticket a line), or ``.csv``.
    :raises LeenConfigError: it can't be read.
    """
    read = _READERS.get(path.suffix.lower())
    if read is None:
        raise LeenConfigError(f"{path} can't be read: its name must end in {', '.join(_READERS)}.")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return read(file)
    except OSError as error:
        problem = error.strerror or type(error).__name__
    except UnicodeDecodeError:
        problem = "it is not in UTF-8: save it in that encoding"
    except (ValueError, RecursionError) as error:
        problem = str(error)
    raise LeenConfigError(f"{path} can't be read: {problem}.")


def _read_json(file: TextIO) -> TicketFile:
    text = file.read()
    if not text.strip():
        raise ValueError("it is empty: a list without tickets is written []")
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"it is no JSON ({error}); with one ticket on each line, name it .jsonl") from None
    if not isinstance(value, list | dict):
        raise ValueError("it holds no array: write one with an object for each ticket")
    rows = read_tickets(value)
    return TicketFile(rows, "row", range(1, len(rows) + 1))


def _read_lines(file: TextIO) -> TicketFile:
    lines = file.readlines()
    return TicketFile(list(read_lines(lines)), "line", [number for number, _ in numbered(lines)])


def _read_csv(file: TextIO) -> TicketFile:
    """Read a table whose first line names Leen's fields; an empty cell is a field that is not given."""
    table = _records(file)
    _, names = next(table, (1, []))
    _check_names(names)
    rows: list[Any] = []
    numbers: list[int] = []
    for line, cells in table:
        rows.append(_ticket(names, cells))
        numbers.append(line)
    return TicketFile(rows, "line", numbers)


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
        raise ValueError(f"the row that begins at line {begins} is no CSV ({error}); look at its quotes") from None


def _check_names(names: Sequence[str]) -> None:
    # What has no name is trouble only where a cell stands under it.
    twice = [name for name, count in Counter(names).items() if count > 1 and name]
    if twice:
        raise ValueError(f"its first line names {twice[0]!r} twice: keep one of the two columns")
    if len(names) == 1 and (separator := next((s for s in ";\t" if s in names[0]), None)):
        raise ValueError(f"its cells are separated by {separator!r}: separate them by commas")


def _ticket(names: Sequence[str], cells: Sequence[str]) -> Any:
    nameless = [cell for name, cell in zip_longest(names, cells, fillvalue="") if cell and not name]
    if nameless:
        reason = f"the first line names no field for {excerpt(nameless[0])}; put a cell that holds a comma in quotes"
        return UnreadableRow(excerpt(", ".join(cells)), reason)
    return {name: cell for name, cell in zip(names, cells, strict=False) if cell}


_READERS: dict[str, Callable[[TextIO], TicketFile]] = {
    ".json": _read_json,
    ".jsonl": _read_lines,
    ".ndjson": _read_lines,
    ".csv": _read_csv,
}
