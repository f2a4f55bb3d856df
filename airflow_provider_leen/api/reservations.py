"""What a search found, and whether its reply contains anything that makes an empty result unreliable.

Leen does not document the shape of the search's reply. So every list that may hold hits counts, however it is wrapped,
and everything else must be empty or known to be harmless.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_LISTS = {"items", "issues", "tickets", "results", "data", "values", "records", "hits", "entries", "nodes", "edges"}

_COUNTS = {"total", "count", "totalcount", "totalresults", "totalhits", "totalelements"}
"""Harmless if they equal the number of hits."""

_ZERO = {"startat", "offset"}
"""Harmless if they are 0."""

_TRUE = {
    "success",
    "ok",
    "valid",
    "islast",
    "islastpage",
    "last",
    "first",
    "empty",
    "complete",
    "iscomplete",
    "done",
    "finished",
}
"""Harmless if they are true."""

_FINE = {"status", "statuscode", "code", "message", "state", "result"}
"""Harmless if they report success."""
_WELL = {"ok", "success", "succeeded", "successful", "complete", "completed", "done", "200", "0", "true"}

_HARMLESS = {
    *("expand", "self", "base", "context", "jql", "query", "vendor"),
    *("connectionid", "requestid", "traceid", "correlationid", "took", "tookms", "duration", "durationms", "elapsed"),
    *("elapsedms", "timestamp", "version", "apiversion"),
}
"""Harmless whatever their text or number."""

_SIZES = {"maxresults", "limit", "pagesize", "perpage"}
"""The size of a page: harmless unless it is 0, since a page of size 0 finds nothing."""

_HARMLESS_OBJECTS = {"names", "schema"}
"""Jira's descriptions of its fields."""

_FIRST_PAGE = {"page", "pagenumber", "currentpage"}

_ERRORS = ("error", "errors", "errormessage", "errormessages", "warning", "warnings", "warningmessages")

_MAX_DEPTH = 8


@dataclass(frozen=True)
class SearchReply:
    """A reply of the search.

    :param hits: what was found.
    :param reservations: everything that makes an empty result unreliable, as short ``name: value`` texts. A reply
        without a list is one, too.
    """

    hits: list[Any]
    reservations: list[str]

    @property
    def is_empty(self) -> bool:
        """Whether it reliably reports that there is nothing."""
        return not self.hits and not self.reservations


def read_search(content: Any) -> SearchReply:
    """Read a reply of the search, which may be a list, or hold one or several, however they are wrapped."""
    lists: list[list[Any]] = []
    said = list(_walk("", content, lists, 0))
    hits = [hit for found in lists for hit in found]
    reservations = [_quoted(name, value) for name, value in said if not _is_count_of(hits, name, value)]
    if not lists:
        reservations.append("it has no list of hits")
    return SearchReply(hits, reservations)


def errors_in(record: Mapping[str, Any]) -> list[str]:
    """Return the errors, warnings and failed flags that the record of one ticket contains."""
    return [
        _quoted(name, value)
        for name, value in record.items()
        if (_plain(name) in _ERRORS and not _is_empty(value)) or (_plain(name) == "success" and not _is_true(value))
    ]


def _walk(name: str, value: Any, lists: list[list[Any]], depth: int) -> Iterator[tuple[str, Any]]:
    """Collect the lists of hits, and yield everything else that is not harmless, by name."""
    plain = _plain(name)
    if depth > _MAX_DEPTH:
        yield name, "…"
    elif isinstance(value, list) and (depth == 0 or plain in _LISTS):
        lists.append(value)
    elif isinstance(value, dict) and plain not in _ERRORS:
        for inner, entry in value.items() if plain not in _HARMLESS_OBJECTS else ():
            yield from _walk(inner, entry, lists, depth + 1)
    elif plain in _TRUE:
        if not _is_true(value):
            yield name, value
    elif plain in _SIZES:
        if value is not None and not _is_size(value):
            yield name, value
    elif not _is_empty(value) and not _is_harmless(plain, value):
        yield name, value


def _is_count_of(hits: list[Any], name: str, value: Any) -> bool:
    plain = _plain(name)
    if plain == "totalpages":
        return str(value) == "1" and bool(hits)
    return plain in _COUNTS and str(value) == str(len(hits))


def _is_harmless(plain: str, value: Any) -> bool:
    if isinstance(value, list):
        return False
    if plain in _ZERO:
        return bool(value == "0")
    if plain in _FIRST_PAGE:
        return str(value) in ("0", "1")
    if plain in _FINE:
        return isinstance(value, str | int) and str(value).strip(" .!").casefold() in _WELL
    return plain in _HARMLESS


def _is_size(value: Any) -> bool:
    return isinstance(value, int | str) and str(value).isdecimal() and int(value) > 0


def _is_empty(value: Any) -> bool:
    if isinstance(value, dict):
        return all(_is_empty(entry) for entry in value.values())
    if isinstance(value, list):
        return all(_is_empty(entry) for entry in value)
    return not value or (isinstance(value, str) and not value.strip())


def _is_true(value: Any) -> bool:
    return value is None or value is True or (isinstance(value, str) and value.casefold() == "true")


def _plain(name: str) -> str:
    return "".join(character for character in name.casefold() if character.isalnum())


def _quoted(name: str, value: Any) -> str:
    return f"{name}: {value!r:.60}"
