"""What is wrong with a ticket: the problem, and what to write instead.

The fields and their types come from :class:`~airflow_provider_leen.api.models.TicketCreate` alone. The rules between
fields are those of Leen's OpenAPI document for ``POST /itsm/tickets/bulk/sync``.
"""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from pydantic import ValidationError

from airflow_provider_leen.api.content import is_uuid
from airflow_provider_leen.api.models import TicketCreate
from airflow_provider_leen.api.text import one_line, shorten

FORMS = (
    ("project_id", "project_vendor_id"),
    ("assigned_user_id", "assigned_user_vendor_id"),
    ("parent_ticket_id", "parent_ticket_vendor_id"),
)
"""Leen's UUID form and the vendor's form of a field: a ticket may have one of the two."""

TYPE_FIELDS = frozenset({"type", "type_vendor_id", "type_id"})
"""The forms of a ticket's type; ``type_id`` is the deprecated name of ``type_vendor_id``."""

MAX_IDENTIFIER = 512
"""Characters; an identifier has to fit into the path of a URL."""

UNSENDABLE = "unsendable"
"""The only key of the object that replaces a value unknown to JSON in ``failed_tickets``; it describes the value."""

_OTHER_NAMES = {
    "assignee": "assigned_user_vendor_id",
    "body": "description",
    "fingerprint": "identifier",
    "issuetype": "type",
    "message": "description",
    "parent": "parent_ticket_vendor_id",
    "project": "project_vendor_id",
    "project_key": "project_vendor_id",
    "severity": "priority",
    "summary": "name",
    "title": "name",
}
"""Names of fields in scanners and trackers."""

_ALL_FIELDS = ", ".join(TicketCreate.model_fields)
_MAX_SHOWN = 80
_MAX_UNKNOWN_SHOWN = 5

_check_shape = TicketCreate.__pydantic_validator__.validate_python

_short = reprlib.Repr()
_short.maxstring = _short.maxother = _short.maxlong = _MAX_SHOWN


class Problem(NamedTuple):
    """One thing that is wrong with a ticket.

    :param what: the field and what it holds.
    :param advice: what to write instead.
    """

    what: str
    advice: str

    def __str__(self) -> str:
        return f"{self.what}: {self.advice}"


@dataclass(frozen=True)
class Wording:
    """How messages name arguments and rows; the defaults are the operator's.

    :param defaults: the argument that holds defaults.
    :param anywhere: where a field may be given.
    :param priority_map: the argument that maps priorities.
    :param embed_identifier: the argument that adds the key to descriptions.
    :param row: names the row at a position.
    :param has_lines: whether ``row`` names lines of a file.
    """

    defaults: str = "`ticket_defaults`"
    anywhere: str = "here or in `ticket_defaults`"
    priority_map: str = "`priority_map`"
    embed_identifier: str = "`embed_identifier`"
    row: Callable[[int], str] = "#{}".format
    has_lines: bool = False


def field_problems(fields: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield the problems of the given fields, and of a missing ``name``."""
    try:
        _check_shape(fields)
    except ValidationError as error:
        yield from _shape_problems(error)
    for uuid_form, vendor_form in FORMS:
        if uuid_form in fields:
            value = fields[uuid_form]
            if vendor_form in fields:
                yield Problem(f"`{uuid_form}` and `{vendor_form}` are both given", "keep one of them")
            if isinstance(value, str) and not is_uuid(value):
                advice = f"write Leen's UUID, or use `{vendor_form}`"
                yield Problem(f"`{uuid_form}` {excerpt(value)} is not a UUID", advice)
    if "type_id" in fields and fields.get("type_vendor_id", fields["type_id"]) != fields["type_id"]:
        yield Problem("`type_id` and `type_vendor_id` differ", "keep `type_vendor_id`")
    if isinstance(identifier := fields.get("identifier"), str):
        yield from _identifier_problems(identifier)


def missing_fields(body: Mapping[str, Any], anywhere: str | None = None) -> Iterator[Problem]:
    """Yield the problems of missing fields, after the defaults are applied.

    :param anywhere: the places where a field may be given, if there are several.
    """
    where = f", {anywhere}" if anywhere else ""
    name = body.get("name")
    if isinstance(name, str) and not name.strip():
        yield Problem("`name` is blank", "write the ticket's title")
    if "project_id" not in body and "project_vendor_id" not in body:
        yield Problem("the project is missing", f"write `project_vendor_id` or `project_id`{where}")
    if TYPE_FIELDS.isdisjoint(body):
        yield Problem("the type is missing", f"write `type` or `type_vendor_id`{where}")


def excerpt(value: Any) -> str:
    """Return at most 80 characters of any value."""
    try:
        text = _short.repr(value)
    except Exception:  # a row's own __repr__ must not fail the list
        text = f"<{type(value).__name__}>"
    return shorten(text, _MAX_SHOWN)


def described(value: Any) -> str:
    """Describe a value that is not text: ``of type datetime (datetime.datetime(2024, 1, 1, 0, 0))``."""
    if is_unsendable(value):
        return one_line(value[UNSENDABLE], 2 * _MAX_SHOWN)
    return f"of type {type(value).__name__} ({excerpt(value)})"


def is_unsendable(value: Any) -> bool:
    """Return whether a value replaces one that JSON does not have, in another operator's ``failed_tickets``."""
    return type(value) is dict and value.keys() == {UNSENDABLE} and isinstance(value[UNSENDABLE], str)


def _shape_problems(error: ValidationError) -> Iterator[Problem]:
    unknown: list[str] = []
    for problem in error.errors(include_url=False, include_context=False):
        field, value = problem["loc"][0], problem["input"]
        if problem["type"] == "extra_forbidden":
            unknown.append(_with_nearest_field(str(field)))
        elif problem["type"] == "invalid_key":
            yield Problem(f"the key {excerpt(value)} is of type {type(value).__name__}", "a field's name is text")
        elif problem["type"] == "missing":
            yield Problem(f"`{field}` is missing", "write the ticket's title")
        elif problem["type"] == "string_type":
            yield Problem(f"`{field}` is {described(value)}", "write text, or leave it out")
        else:
            yield Problem(f"`{field}` can't be used ({excerpt(value)})", problem["msg"])
    if unknown:
        shown = ", ".join(unknown[:_MAX_UNKNOWN_SHOWN])
        more = f" and {len(unknown) - _MAX_UNKNOWN_SHOWN} more" if len(unknown) > _MAX_UNKNOWN_SHOWN else ""
        has = "has no such field" if all("did you mean" in one for one in unknown) else f"has only {_ALL_FIELDS}"
        yield Problem(f"unknown field{'s' if len(unknown) > 1 else ''} {shown}{more}", f"a ticket {has}")


@lru_cache(maxsize=256)
def _with_nearest_field(unknown: str) -> str:
    name = unknown.strip().lower().replace(" ", "_").replace("-", "_")
    near = _OTHER_NAMES.get(name) or next(iter(difflib.get_close_matches(name, TicketCreate.model_fields, n=1)), None)
    return f"{excerpt(unknown)} (did you mean `{near}`?)" if near else excerpt(unknown)


def _identifier_problems(identifier: str) -> Iterator[Problem]:
    """Yield why an identifier can't be part of a URL's path ("." and ".." would be resolved)."""
    if len(identifier) > MAX_IDENTIFIER:
        yield Problem(
            f"`identifier` {excerpt(identifier)} has {len(identifier)} characters, more than {MAX_IDENTIFIER}",
            "shorten it, or leave it out",
        )
    elif not identifier.strip() or not identifier.isprintable() or identifier in (".", ".."):
        yield Problem(
            f"`identifier` {excerpt(identifier)} can't be looked up",
            "write printable text that is neither blank nor '.' nor '..', or leave it out",
        )
