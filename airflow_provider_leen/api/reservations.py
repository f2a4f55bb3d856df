"""What a reply of the search found, and whether it says anything that keeps it from being a plain "nothing".

Leen does not document the shape of the search's reply. So the hits are the entries of every list that may be one, in
whatever it is wrapped, and everything else must be known to be harmless, or empty.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_LISTS = {"items", "issues", "tickets", "results", "data", "values", "records", "hits", "entries", "nodes", "edges"}

_COUNTS = {"total", "count", "totalcount", "totalresults", "totalhits", "totalelements"}
"""Harmless where they are the number of hits."""

_ZERO = {"startat", "offset"}
"""Harmless where they are 0."""

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
"""Harmless where they are true; false is a reservation."""

_FINE = {"status", "statuscode", "code", "message", "state", "result"}
"""Harmless where they say that all is well."""
_WELL = {"ok", "success", "succeeded", "successful", "complete", "completed", "done", "200", "0", "true"}

_HARMLESS = {
    *("expand", "self", "base", "context", "jql", "query", "vendor"),
    *("connectionid", "requestid", "traceid", "correlationid", "took", "tookms", "duration", "durationms", "elapsed"),
    *("elapsedms", "timestamp", "version", "apiversion"),
}
"""Harmless whatever text or number they are."""

_SIZES = {"maxresults", "limit", "pagesize", "perpage"}
"""Of a page: harmless unless they are 0, since nothing is found on an empty page."""

_HARMLESS_OBJECTS = {"names", "schema"}
"""Of Jira's, which say what its fields are called and what they hold."""

_FIRST_PAGE = {"page", "pagenumber", "currentpage"}

_ERRORS = ("error", "errors", "errormessage", "errormessages", "warning", "warnings", "warningmessages")

_MAX_DEPTH = 8


@dataclass(frozen=True)
class SearchReply:
    """A reply of the search.

    :param hits: what was found.
    :param reservations: what else it says, as ``name: value`` in short. A reply without a list is a reservation, too.
    """

    hits: list[Any]
    reservations: list[str]

    @property
    def is_empty(self) -> bool:
        """Whether it says without any reservation that there is nothing."""
        return not self.hits and not self.reservations


def read_search(content: Any) -> SearchReply:
    """Read a reply of the search, which may be a list, or hold one or several, in whatever they are wrapped."""
    lists: list[list[Any]] = []
    said = list(_walk("", content, lists, 0))
    hits = [hit for found in lists for hit in found]
    reservations = [_quoted(name, value) for name, value in said if not _is_count_of(hits, name, value)]
    if not lists:
        reservations.append("there is no list of hits in it")
    return SearchReply(hits, reservations)


def errors_in(record: Mapping[str, Any]) -> list[str]:
    """Return what a record of one ticket says against itself: an error, a warning, or that it is no success."""
    return [
        _quoted(name, value)
        for name, value in record.items()
        if (_plain(name) in _ERRORS and not _is_empty(value)) or (_plain(name) == "success" and not _is_true(value))
    ]


def _walk(name: str, value: Any, lists: list[list[Any]], depth: int) -> Iterator[tuple[str, Any]]:
    """Collect the lists of hits, and yield what else is said, by name, unless it is harmless."""
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
