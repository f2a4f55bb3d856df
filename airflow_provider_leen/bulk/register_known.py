"""Reads ``known_path``: findings that have a ticket already, or need none."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from airflow_provider_leen.api.errors import LeenConfigError
from airflow_provider_leen.api.text import clean
from airflow_provider_leen.api.tolerances import normalised
from airflow_provider_leen.bulk.lookup import Created

COLUMNS = ("identifier", "vendor_ticket_id", "ticket_id")


def read_known(lines: Iterable[str], *, is_csv: bool) -> dict[str, Created]:
    """Return the tickets of a file, by identifier; with neither id, a finding needs none.

    :param lines: of CSV with a line of names above, or of JSON Lines.
    :raises LeenConfigError: a line can't be read, or has no identifier, or another ticket than one above it.
    """
    known: dict[str, tuple[str, Created]] = {}
    for number, row in _rows_of_csv(lines) if is_csv else _rows_of_json(lines):
        _check_columns(number, row)
        identifier, vendor_ticket_id, ticket_id = (_text(number, row.get(column)) for column in COLUMNS)
        if identifier is None:
            raise _problem(number, "it has no identifier")
        ticket = Created(ticket_id, vendor_ticket_id)
        if known.setdefault(normalised(identifier), (identifier, ticket))[1] != ticket:
            raise _problem(number, f"an earlier line has the identifier {identifier[:80]!r} with another ticket")
    return dict(known.values())


def _rows_of_csv(lines: Iterable[str]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    reader = csv.DictReader((line.removeprefix("\ufeff") for line in lines), restkey="more cells than names")
    try:
        # An upload that failed leaves such a file, and with nothing known everything would be filed again.
        if reader.fieldnames is None or COLUMNS[0] not in reader.fieldnames:
            raise _problem(1, f"the line of names is missing; the columns are {', '.join(COLUMNS)}")
        _check_columns(1, reader.fieldnames)
        for row in reader:
            yield reader.line_num, row
    except csv.Error as error:
        raise _problem(reader.line_num, str(error)) from None


def _rows_of_json(lines: Iterable[str]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for number, line in enumerate(lines, 1):
        if text := line.strip("\ufeff \t\r\n"):
            try:
                row = json.loads(text)
            except (ValueError, RecursionError):
                row = None
            if not isinstance(row, dict):
                raise _problem(number, "it is not a JSON object")
            yield number, row


def _check_columns(number: int, given: Iterable[Any]) -> None:
    if unknown := sorted(set(map(str, given)) - set(COLUMNS)):
        raise _problem(number, f"it has a column {clean(unknown[0])[:80]!r}; the columns are {', '.join(COLUMNS)}")


def _text(number: int, value: Any) -> str | None:
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    if not isinstance(value, str):
        raise _problem(number, f"{str(value)[:80]!r} is not text")
    return clean(value.strip())


def _problem(number: int, problem: str) -> LeenConfigError:
    return LeenConfigError(f"`known_path` can't be used, so nothing was sent: line {number}: {problem}.")
