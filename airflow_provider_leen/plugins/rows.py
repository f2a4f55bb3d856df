"""The tickets as rows of a table: filtered, sorted, one page at a time, or as a file to download.

Rows are read one by one, so that a file with a million rows need not fit into memory.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from heapq import nlargest, nsmallest
from operator import itemgetter
from typing import Any, Literal, TypedDict, get_args
from urllib.parse import quote, urlsplit

from airflow_provider_leen.api.text import clean
from airflow_provider_leen.links.leen import fixed_parts
from airflow_provider_leen.plugins.causes import Causes
from airflow_provider_leen.plugins.tasks import STATUSES, TaskTickets, is_count, status_of

Column = Literal["status", "row", "key", "title", "identifier", "error"]
COLUMNS: tuple[Column, ...] = get_args(Column)

_RANK = {status: rank for rank, status in enumerate(STATUSES)}
_NO_RESULT = "This version of the page can't read this entry of the summary."
_REASONS = {"closed": "Its finding is gone.", "reopened": "Its finding is back."}
"""Why something was done to a ticket, if its result doesn't say."""

_SEARCHED = ("task", "key", "title", "identifier", "error")
_FORMULA = re.compile(r"""(^(?=[\t\r\n])|(?:^|[;\t\r\n])[ "]*(?=[=+\-@＝＋－＠]))""")
"""Where a formula may begin: at the start of a text, or after what a spreadsheet may read as the end of a cell."""

_LONGEST_TEXT = 2000
_LONGEST_KEY = 255
MAX_HELD = 20_000
"""The most rows of one order that can be paged through; a filter or the download finds the others."""


class Row(TypedDict):
    """One ticket; ``row`` is its position in its task's input, from 0."""

    task: str
    row: int | None
    status: str
    success: bool
    key: str | None
    url: str | None
    title: str | None
    identifier: str | None
    ticket_id: str | None
    error: str | None


@dataclass(frozen=True)
class Selection:
    """Which rows to show, in which order.

    :param status: one status, ``failed`` for all that failed, or empty for all.
    :param text: a text that a row has to contain, in any case.
    :param task: a task's name, or empty for all.
    """

    status: str = ""
    text: str = ""
    task: str = ""
    sort: Column = "status"
    descending: bool = False

    def admits(self, row: Row) -> bool:
        """Return whether a row is selected."""
        if self.task and row["task"] != self.task:
            return False
        if self.status and row["status"] != self.status and (self.status != "failed" or row["success"]):
            return False
        text = self.text.casefold()
        return not text or any(text in str(row[name] or "").casefold() for name in _SEARCHED)  # type: ignore[literal-required]


def row_of(task: TaskTickets, result: Any) -> Row:
    """Make the row of one entry of a summary."""
    entry: Mapping[str, Any] = result if isinstance(result, Mapping) else {}
    status = status_of(result)
    vendor_ticket_id = _text(entry.get("vendor_ticket_id"))
    index = entry.get("request_index")
    return {
        "task": task.name,
        "row": index if is_count(index) else None,
        "status": status,
        "success": entry.get("success") is True and status != "unreadable",
        "key": vendor_ticket_id or _text(entry.get("ticket_id")),
        "url": _url(_text(entry.get("url")), task.ticket_url, vendor_ticket_id),
        "title": _text(entry.get("name")),
        "identifier": _text(entry.get("identifier")),
        "ticket_id": _text(entry.get("ticket_id")),
        "error": (_text(entry.get("error")) or _REASONS.get(status)) if status != "unreadable" else _NO_RESULT,
    }


@dataclass
class Picked:
    """The contribution of some rows to a page.

    :param best: the first rows in its order, each with its sort key.
    :param causes: how many failed tickets have which error, including those that the filter excludes.
    """

    wanted: int
    best: list[tuple[Any, Row]]
    causes: Causes


class Page:
    """One page of the selected rows, sorted; rows are added task by task.

    :param offset: how many rows come before the page. At most ``MAX_HELD`` rows are kept for sorting; a later page is
        empty, except in the order of the input, which needs no sorting.
    """

    def __init__(self, selection: Selection, offset: int, limit: int) -> None:
        self._selection = selection
        self._offset = offset
        self._limit = limit
        self._in_order = selection.sort == "row" and not selection.descending
        if self._in_order:
            self._size = limit
        else:
            self._size = offset + limit if offset + limit <= MAX_HELD else 0
        self._best: list[tuple[Any, Row]] = []
        self.causes = Causes()
        self.wanted = 0
        """How many rows are selected in total."""

    def pick(self, rows: Iterable[Row]) -> Picked:
        """Select rows for the page, without changing it yet."""
        picked = Picked(0, [], Causes())

        def numbered() -> Iterator[tuple[Any, Row]]:
            # Equal rows stay in the order of the input in both directions.
            sign = -1 if self._selection.descending else 1
            for row in rows:
                if row["error"] and not row["success"]:
                    picked.causes.add(row["error"])
                if self._selection.admits(row):
                    picked.wanted += 1
                    number = self.wanted + picked.wanted
                    if not self._in_order or self._offset < number <= self._offset + self._limit:
                        yield (_sort_key(row, number, self._selection.sort), sign * number), row

        items = numbered()
        first = nlargest if self._selection.descending else nsmallest
        picked.best = first(self._size, items, key=itemgetter(0))
        # To the end, even if no more fit on the page: they are counted, and a file is checked to its end.
        deque(items, maxlen=0)
        return picked

    def add(self, picked: Picked) -> None:
        """Add rows that were picked."""
        self.wanted += picked.wanted
        self.causes.update(picked.causes)
        both = sorted([*self._best, *picked.best], key=itemgetter(0), reverse=self._selection.descending)
        self._best = both[: self._size]

    def rows(self) -> list[Row]:
        """Return the rows of the page."""
        return [row for _, row in self._best[0 if self._in_order else self._offset :]]

    @property
    def reachable(self) -> int:
        """How many rows can be paged through in this order."""
        return self.wanted if self._in_order else min(self.wanted, MAX_HELD)


def as_csv(rows: Iterable[Row]) -> Iterator[str]:
    """Write rows as CSV for spreadsheets, with cells that could be read as formulas defused."""
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    buffer.write("\N{ZERO WIDTH NO-BREAK SPACE}")  # Excel recognises UTF-8 by it.
    writer.writerow(Row.__annotations__)
    for row in rows:
        writer.writerow(_cell(value) for value in row.values())
        yield buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()
    yield buffer.getvalue()


def as_json(rows: Iterable[Row]) -> Iterator[str]:
    """Write rows as a JSON array."""
    before = "[\n"
    for row in rows:
        yield before + json.dumps(row, ensure_ascii=False)
        before = ",\n"
    yield "[]\n" if before == "[\n" else "\n]\n"


def _cell(value: Any) -> Any:
    return _FORMULA.sub(r"\1'", value) if isinstance(value, str) else value


def _sort_key(row: Row, number: int, column: Column) -> Any:
    if column == "status":
        return _RANK[row["status"]]
    if column == "row":
        return number
    value = row[column]
    # Missing values come last; SEC-9 before SEC-10. Python refuses numbers with thousands of digits.
    parts = re.split(r"(\d+)", (value or "").casefold())
    return not value, [int(part[:100]) if part.isdecimal() else part for part in parts]


def _url(own: str | None, ticket_url: str | None, vendor_ticket_id: str | None) -> str | None:
    """Return the URL of a ticket's page; None if it is unknown, or not a web address."""
    if own:
        return own if len(own) < _LONGEST_TEXT and _leads_to_a_page(own) else None
    if not ticket_url or not vendor_ticket_id or len(vendor_ticket_id) > _LONGEST_KEY:
        return None
    parts = _around_the_id(ticket_url)
    return quote(vendor_ticket_id, safe="").join(parts) if parts else None


@lru_cache(maxsize=16)
def _around_the_id(ticket_url: str) -> tuple[str, ...] | None:
    """Return a ticket's URL without the id; None if it is not a web address.

    Cached, since doing this for each row would dominate the time. An escaped id changes neither scheme nor host.
    """
    if len(ticket_url) > _LONGEST_TEXT:
        return None
    parts = fixed_parts(clean(ticket_url), "{vendor_ticket_id}")
    return parts if len(parts) <= 3 and _leads_to_a_page("0".join(parts)) else None


def _leads_to_a_page(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.netloc)


def _text(value: Any) -> str | None:
    if not isinstance(value, str):
        return None
    text = clean(value[:_LONGEST_TEXT])
    return (text if len(value) <= _LONGEST_TEXT else f"{text[:-1]}…") or None
