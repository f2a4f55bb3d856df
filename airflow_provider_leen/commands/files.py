"""Reads the file of ``create``: JSON, JSON Lines or CSV."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TextIO

from airflow_provider_leen.api.errors import LeenConfigError
from airflow_provider_leen.bulk.tickets import UnreadableRow, read_lines, read_tickets


def read_file(path: Path) -> list[Any]:
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
        problem = "it is not in UTF-8"
    except (ValueError, RecursionError, csv.Error) as error:
        problem = str(error)
    raise LeenConfigError(f"{path} can't be read: {problem}.")


def _read_json(file: TextIO) -> list[Any]:
    try:
        value = json.load(file)
    except json.JSONDecodeError as error:
        raise ValueError(f"it is no JSON ({error}); with one ticket on each line, name it .jsonl") from None
    if not isinstance(value, list | dict):
        raise ValueError("it holds no array: write one with an object for each ticket")
    return read_tickets(value)


def _read_csv(file: Iterable[str]) -> list[Any]:
    """Read a table whose first line names Leen's fields; an empty cell is a field that is not given."""
    reader = csv.DictReader(file, strict=True)
    rows: list[Any] = []
    for row in reader:
        # What has no heading is filed under None.
        if None in row:
            reason = f"line {reader.line_num} has more cells than the first line has names"
            rows.append(UnreadableRow(", ".join(map(str, row.values())), reason))
        else:
            rows.append({field: value for field, value in row.items() if value})
    return rows


_READERS: dict[str, Callable[[TextIO], list[Any]]] = {
    ".json": _read_json,
    ".jsonl": read_lines,
    ".ndjson": read_lines,
    ".csv": _read_csv,
}
