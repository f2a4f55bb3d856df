"""Turns rendered values and files into rows, one for each ticket, as they came, not yet validated.

Anything but a list of tickets is refused as a whole (:class:`LeenConfigError`), above all a scanner's own report: its
content must not end up in XCom as invalid rows.
"""

from __future__ import annotations

import ast
import dataclasses
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from airflow_provider_leen.api.errors import LeenConfigError
from airflow_provider_leen.api.models import TicketCreate
from airflow_provider_leen.bulk.reports import is_entry, is_known, may_be_ticket, refusal
from airflow_provider_leen.bulk.validation import excerpt, is_unsendable
from airflow_provider_leen.findings import is_sarif, tickets_from_sarif

_LAZY_TEXT = re.compile(r"Lazy\w*Sequence\(")
_PATH_TEXT = re.compile(
    r"(?:/|\./|\.\./|[a-z][\w+.-]*://)\S+|\S+\.(?:json|jsonl|ndjson|csv|sarif)(?:\.gz)?", re.IGNORECASE
)


@dataclasses.dataclass(frozen=True)
class UnreadableRow:
    """A row that could not be read; it is reported as invalid.

    :param text: an excerpt of it.
    :param reason: why it can't be read, for a person.
    :param line: of the file, where it has lines.
    """

    text: str
    reason: str
    line: int | None = None


def read_tickets(value: Any) -> list[Any]:
    """Return the rows in the rendered value of the operator's ``tickets``.

    :param value: what :func:`rows_in` reads, or a text that holds it as JSON or as a Python literal. A text is never
        opened as a path.
    :return: the rows in order, as they came; not validated.
    :raises LeenConfigError: the value holds no list of tickets.
    """
    if isinstance(value, str):
        value = parse_text(value, "tickets")
    if value is None:
        raise LeenConfigError(
            "`tickets` is None: the upstream task returned nothing, or the template rendered to None. "
            "Return a list of tickets; an empty list is fine."
        )
    return rows_in(value, "`tickets`")


def rows_in(value: Any, called: str) -> list[Any]:
    """Return the rows in a value.

    :param value: a list or tuple of tickets; a mapped upstream's lazy sequence; a data frame; one ticket; Leen's own
        body, ``{"tickets": [...]}``; SARIF; or a list of several of these, which are joined; None counts as empty.
    :param called: how messages name the value.
    :return: the rows in order, as they came; not validated.
    :raises LeenConfigError: it is none of these.
    """
    if is_sarif(value):
        return tickets_from_sarif(value)  # the list itself: it also counts the results without a ticket
    rows = _rows_of_list(value) if is_list(value) else _opened(value)
    if rows is not None:
        return list(without_reports(rows, called))
    if isinstance(value, Mapping) and not may_be_ticket(value) and not is_unsendable(value):
        raise LeenConfigError(refusal(called, value))
    if is_record(value):
        return [value]
    raise LeenConfigError(
        f"{called} is of type {type(value).__name__} ({excerpt(value)}): write a list of mappings, one for each ticket."
    )


def without_reports(rows: Iterable[Any], called: str) -> Iterator[Any]:
    """Return the rows one at a time.

    :raises LeenConfigError: they are a scanner's report, or only entries of one.
    """
    strange, is_list_of_tickets = None, False
    for row in rows:
        if isinstance(row, Mapping) and is_entry(row):
            if is_known(row):
                raise LeenConfigError(refusal(called, row))
            strange = strange or row
        else:
            is_list_of_tickets = is_list_of_tickets or is_record(row)
        yield row
    if strange is not None and not is_list_of_tickets:
        raise LeenConfigError(refusal(called, strange))


def parse_text(text: str, argument: str) -> Any:
    """Parse the text of a rendered template: JSON, or else a Python literal.

    :param text: the text.
    :param argument: the argument's name, for the message.
    :raises LeenConfigError: the text is neither; the message says what to write instead.
    """
    stripped = text.strip()
    if stripped == "None":
        return None
    try:
        return json.loads(stripped)
    except (ValueError, RecursionError):
        pass
    if stripped.startswith(("[", "{", "(")):
        try:
            return ast.literal_eval(stripped)
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            pass
    if not stripped:
        advice = "the template rendered to an empty text: check the names in it."
    elif _LAZY_TEXT.match(stripped):
        advice = (
            "a mapped task's output can't pass through a text: "
            "pass `the_task.output`, or set `render_template_as_native_obj=True` on the Dag."
        )
    elif argument == "tickets" and _PATH_TEXT.fullmatch(stripped):
        advice = "a text is never opened as a path: use `tickets_path` instead."
    else:
        advice = (
            "pass the value itself, the upstream task's `.output`, or a template that renders to JSON "
            "(`| tojson`); or set `render_template_as_native_obj=True` on the Dag."
        )
    raise LeenConfigError(
        f"`{argument}` is a text that is neither JSON nor a Python literal ({excerpt(text)}): {advice}"
    )


def is_list(value: Any) -> bool:
    """Return whether a value is a list of rows, a mapped upstream's lazy sequence included."""
    return isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray | memoryview)


def is_record(value: Any) -> bool:
    """Return whether a value has fields: a mapping, a pydantic model or a dataclass."""
    return isinstance(value, Mapping | BaseModel) or (dataclasses.is_dataclass(value) and not isinstance(value, type))


def _rows_of_list(value: Sequence[Any]) -> list[Any]:
    if not isinstance(value, list | tuple):
        return _joined(value)
    # In a plain list of tickets, None is an invalid row.
    return _joined(item for item in value if item is not None) if any(map(_is_source, value)) else list(value)


def _joined(items: Iterable[Any]) -> list[Any]:
    """Return the rows of several sources as one list."""
    rows: list[Any] = []
    for item in items:
        if is_list(item) and not isinstance(item, list | tuple):
            rows += _joined(item)  # a mapped upstream, whose instances each returned a ticket or a list
            continue
        for entry in item if is_list(item) else [item]:
            opened = _opened(entry)
            rows += [entry] if opened is None else opened
    return rows


def _is_source(item: Any) -> bool:
    """Return whether an item of a list is one of several sources of rows, rather than a row."""
    if type(item) is dict and "name" in item:
        return False
    return is_list(item) or _is_body(item) or _table(item) is not None


def _opened(value: Any) -> list[Any] | None:
    """Return the rows of an object that holds many tickets; None if it is not one."""
    if _is_body(value):
        return tickets_from_sarif(value) if is_sarif(value) else list(value["tickets"])
    return _table(value)


def _is_body(value: Any) -> bool:
    if not isinstance(value, Mapping):
        return False
    return is_sarif(value) or (
        isinstance(value.get("tickets"), list | tuple) and value.keys().isdisjoint(TicketCreate.model_fields)
    )


def _table(value: Any) -> list[Any] | None:
    """Return the rows of a data frame (pandas, polars), recognised by its methods; missing values are left out."""
    if value is None or isinstance(value, str | type) or is_record(value):
        return None
    if callable(getattr(value, "to_dicts", None)):
        records = value.to_dicts()
    elif callable(getattr(value, "to_dict", None)):
        try:
            records = value.to_dict("records")
        except TypeError:  # not a table: one column, or another object with this method
            return None
    else:
        return None
    if not isinstance(records, list) or not all(isinstance(record, Mapping) for record in records):
        return None
    rows = ({name: item for name, item in record.items() if not _is_missing(item)} for record in records)
    return [row for row in rows if row]


def _is_missing(value: Any) -> bool:
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, float) and value != value
