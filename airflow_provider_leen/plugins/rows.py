"""The tickets as rows of a table: filtered, sorted, a page at a time, or as a file to download.

Rows are taken one by one, so that a million of them that lie in a file need not fit into memory.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from heapq import nlargest, nsmallest
from typing import Any, Literal, TypedDict, get_args
from urllib.parse import quote, urlsplit

from airflow_provider_leen.links.leen import fixed_parts
from airflow_provider_leen.plugins.tasks import STATUSES, TaskTickets, status_of

Column = Literal["status", "row", "key", "title", "identifier", "error"]
COLUMNS: tuple[Column, ...] = get_args(Column)

_RANK = {status: rank for rank, status in enumerate(STATUSES)}
_NO_RESULT = "This entry of the summary is no result that this version of the page knows."
_SEARCHED = ("task", "key", "title", "identifier", "error")
_CODE = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
"""What makes a spreadsheet take a text for a formula."""


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
    """Which rows are wanted, in which order.

    :param status: one status, ``failed`` for all that failed, or empty for all.
    :param text: what a row has to contain, in upper or lower case.
    :param task: a task's name, or empty for all.
    """

    status: str = ""
    text: str = ""
    task: str = ""
    sort: Column = "status"
    descending: bool = False

    def admits(self, row: Row) -> bool:
        """Tell whether a row is wanted."""
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
        "row": index if isinstance(index, int) else None,
        "status": status,
        "success": entry.get("success") is True and status != "unreadable",
        "key": vendor_ticket_id or _text(entry.get("ticket_id")),
        "url": _url(_text(entry.get("url")), task.ticket_url, vendor_ticket_id),
        "title": _text(entry.get("name")),
        "identifier": _text(entry.get("identifier")),
        "ticket_id": _text(entry.get("ticket_id")),
        "error": _text(entry.get("error")) if status != "unreadable" else _NO_RESULT,
    }


def page_of(rows: Iterable[Row], selection: Selection, offset: int, limit: int) -> tuple[list[Row], int]:
    """Return one page of the rows that are wanted, and how many are wanted in all.

    At most ``offset + limit`` rows are held at a time, half a kilobyte each where texts are short.
    """
    wanted = 0

    def numbered() -> Iterator[tuple[int, Row]]:
        nonlocal wanted
        for row in rows:
            if selection.admits(row):
                wanted += 1
                yield wanted, row

    # Equal rows stay in the order of the input, whichever way the column is sorted.
    sign = -1 if selection.descending else 1
    first = (nlargest if selection.descending else nsmallest)(
        offset + limit,
        numbered(),
        key=lambda item: (_sort_key(item[1], item[0], selection.sort), sign * item[0]),
    )
    return [row for _, row in first[offset:]], wanted


def as_csv(rows: Iterable[Row]) -> Iterator[str]:
    """Write rows as CSV that a spreadsheet opens, and takes no cell of for a formula."""
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    buffer.write("\N{ZERO WIDTH NO-BREAK SPACE}")  # Excel takes the file for UTF-8 by it.
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
    return f"'{value}" if isinstance(value, str) and value.startswith(_CODE) else value


def _sort_key(row: Row, number: int, column: Column) -> Any:
    if column == "status":
        return _RANK[row["status"]]
    if column == "row":
        return number
    value = row[column]
    # What is missing comes last; SEC-9 before SEC-10. Python refuses numbers of some thousand digits.
    parts = re.split(r"(\d+)", (value or "").casefold())
    return not value, [int(part[:100]) if part.isdecimal() else part for part in parts]


def _url(own: str | None, ticket_url: str | None, vendor_ticket_id: str | None) -> str | None:
    """Return where a ticket is seen, None where that is no page or not known."""
    if own:
        return own if _leads_to_a_page(own) else None
    parts = _around_the_id(ticket_url) if ticket_url and vendor_ticket_id else None
    return quote(vendor_ticket_id or "", safe="").join(parts) if parts else None


@lru_cache(maxsize=16)
def _around_the_id(ticket_url: str) -> tuple[str, ...] | None:
    """Return the address of tickets without the id, None where it leads to no page.

    Once, since for each row anew it takes longer than all else. An id that is escaped changes neither scheme nor host.
    """
    parts = fixed_parts(ticket_url, "{vendor_ticket_id}")
    return parts if _leads_to_a_page("0".join(parts)) else None


def _leads_to_a_page(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.netloc)


def _text(value: Any) -> str | None:
    if not isinstance(value, str) or not value:
        return None
    # JSON can carry half a surrogate pair, which no answer can be written with.
    return value if value.isascii() else value.encode(errors="replace").decode()
