"""From whatever a template yields to rows that are ready to be sent: reading, defaults, keys, identifiers.

Everything here is pure. A list that can't be read at all is refused (:class:`LeenConfigError`); a bad row is not: it
becomes a :class:`TicketRow` that says what is wrong with it, so that every input row has a result.
"""

from __future__ import annotations

import ast
import dataclasses
import hashlib
import json
import logging
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from enum import Enum
from typing import Any
from uuid import UUID

from pydantic import BaseModel

from airflow_provider_leen.api.errors import LeenConfigError
from airflow_provider_leen.api.text import clean, count_unsafe, cut, for_terminal
from airflow_provider_leen.bulk.summary import counted
from airflow_provider_leen.bulk.validation import (
    FORMS,
    TYPE_FIELDS,
    UNSENDABLE,
    described,
    excerpt,
    field_problems,
    is_unsendable,
    missing_fields,
)

log = logging.getLogger(__name__)

_RIVALS = {
    **{uuid_form: frozenset({vendor_form}) for uuid_form, vendor_form in FORMS},
    **{vendor_form: frozenset({uuid_form}) for uuid_form, vendor_form in FORMS},
    **{field: TYPE_FIELDS - {field} for field in TYPE_FIELDS},
}
"""What a ticket gives that puts a default for the same thing out of force (Leen prefers type_vendor_id to type)."""

_LAZY_TEXT = re.compile(r"Lazy\w*Sequence\(")
_PATH_TEXT = re.compile(r"(?:/|\./|\.\./|[a-z][\w+.-]*://)\S+|\S+\.(?:json|jsonl|ndjson)", re.IGNORECASE)
_PLAIN = frozenset({str, type(None)})
_MAX_DEPTH = 20

_KEY_LENGTH = len("airflow-") + 24

MAX_DESCRIPTION = 32_767
"""UTF-16 code units that Jira takes; what is longer is refused with its ticket."""

_MAX_BESIDE_KEY = MAX_DESCRIPTION - len("\n\n") - _KEY_LENGTH

_encode = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode


@dataclasses.dataclass(frozen=True)
class UnreadableRow:
    """A row that could not be read; it is reported as invalid.

    :param text: what stood there (a short excerpt).
    :param reason: why it can't be read, for a person.
    """

    text: str
    reason: str


@dataclasses.dataclass(frozen=True)
class KeyScope:
    """What keys are unique within: one task instance and one destination.

    :param dag_id: the Dag.
    :param run_id: the Dag run.
    :param task_id: the task.
    :param map_index: the mapped instance, -1 where the task is not mapped.
    :param base_url: Leen's base URL.
    :param connection_id: Leen's connection ID.
    :param region_id: of Airflow 3.4's task loops; empty elsewhere.
    """

    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    base_url: str
    connection_id: str
    region_id: str = ""


@dataclasses.dataclass(slots=True)
class TicketRow:
    """One row of the input.

    :param index: its position in the whole input, from 0.
    :param source: the whole input, which may be in a file: what a row holds is not held twice, or not at all.
    :param name: the ticket's name, where it has one.
    :param identifier: the identifier to send: the given one, else the key.
    :param key: the key that is stable over the tries of one Dag run; None for an invalid row.
    :param error: why the row is invalid, for a person; None for a valid row.
    """

    index: int
    source: Sequence[Any]
    name: str | None
    identifier: str | None
    key: str | None
    error: str | None

    @property
    def given(self) -> Any:
        """The row as it came, before defaults, in plain JSON types.

        A value that JSON does not have stays one that can't be sent: what stands for it says what it was.
        """
        row = self.source[self.index]
        ticket = _as_ticket(row)
        if ticket is None or self.error is not None:
            return _plain(row if ticket is None or isinstance(row, Mapping) else ticket)
        is_plain = ticket is row or (type(row) is dict and all(type(value) in _PLAIN for value in row.values()))
        return row if is_plain else ticket


# Reading


def read_tickets(value: Any) -> list[Any]:
    """Return the rows in what the operator's ``tickets`` was rendered to.

    :param value: a list or tuple of tickets, or of sources (lists of tickets, single tickets and None), which are
        joined; a mapped upstream's lazy sequence, whose items are tickets or lists of tickets; one ticket; or a text
        that holds one of these as JSON or as a Python literal. A text is never opened as a path.
    :return: the rows in order, as they came; not validated.
    :raises LeenConfigError: when the value holds no list of tickets.
    """
    if isinstance(value, str):
        value = parse_text(value, "tickets")
    if value is None:
        raise LeenConfigError(
            "`tickets` is None: the upstream task returned nothing, or the template was rendered to None. "
            "Return a list of tickets from it; an empty list is fine."
        )
    if _is_record(value):
        return [value]
    if isinstance(value, list | tuple):
        sources = any(_is_list(item) for item in value)
        return _joined(item for item in value if item is not None) if sources else list(value)
    if _is_list(value):
        return _joined(value)
    raise LeenConfigError(
        f"`tickets` is of type {type(value).__name__} ({excerpt(value)}): "
        "write a list of mappings, one for each ticket."
    )


def read_json(text: str) -> list[Any]:
    """Return the rows in the text of a ``.json`` file.

    :param text: a JSON array of tickets, or one ticket.
    :return: the rows in order; not validated.
    :raises LeenConfigError: when the text is no JSON, or neither an array nor an object.
    """
    text = text.removeprefix("\ufeff")
    if not text.strip():
        raise LeenConfigError(
            "The file at `tickets_path` is empty: where there is no ticket, write an empty array, []."
        )
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise LeenConfigError(
            f"The file at `tickets_path` is no JSON ({_json_reason(error)}): "
            "write one array of tickets, or name the file .jsonl when it has one ticket on each line."
        ) from None
    if not isinstance(value, list | dict):
        raise LeenConfigError(
            f"The file at `tickets_path` holds {excerpt(value)}: write an array of objects, one for each ticket."
        )
    return read_tickets(value)


def read_lines(lines: Iterable[str]) -> Iterator[Any]:
    """Read the rows of a JSON Lines file, one at a time.

    :param lines: the lines; blank ones are skipped.
    :return: one row per line, in order; a line that does not parse becomes an :class:`UnreadableRow`.
    """
    for number, text in numbered(lines):
        try:
            row = json.loads(text)
        except (ValueError, RecursionError) as error:
            reason = f"line {number} is no JSON ({_json_reason(error)}): {excerpt(text)}"
            row = UnreadableRow(excerpt(text), reason)
        if text.startswith("["):
            reason = f"line {number} begins an array ({excerpt(text)}): name the file .json where it holds one array"
            row = UnreadableRow(excerpt(text), reason)
        yield row


def numbered(lines: Iterable[str]) -> Iterator[tuple[int, str]]:
    """Return the lines that are not blank, without the blanks around them, each with its number from 1."""
    stripped = (line.strip("\ufeff \t\r\n") for line in lines)
    return ((number, text) for number, text in enumerate(stripped, 1) if text)


def parse_text(text: str, argument: str) -> Any:
    """Return the value that Jinja made this text from: JSON, or else a Python literal.

    :param text: what the template was rendered to.
    :param argument: the argument's name, for the message.
    :raises LeenConfigError: when the text is neither; the sentence says what to write instead.
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
        advice = "the template was rendered to an empty text: check the name of what it pulls."
    elif _LAZY_TEXT.match(stripped):
        advice = (
            "a mapped task's output can't pass through a text: "
            "write `the_task.output`, or set `render_template_as_native_obj=True` on the Dag."
        )
    elif argument == "tickets" and _PATH_TEXT.fullmatch(stripped):
        advice = "a text is never opened as a path: write `tickets_path` instead."
    else:
        advice = (
            "write the value itself, the upstream task's `.output`, or a template that is rendered to JSON "
            "(`| tojson`); or set `render_template_as_native_obj=True` on the Dag."
        )
    raise LeenConfigError(
        f"`{argument}` is a text that is neither JSON nor a Python literal ({excerpt(text)}): {advice}"
    )


def read_defaults(value: Any) -> dict[str, str]:
    """Return the operator's ``ticket_defaults``, checked, with nulls dropped.

    :param value: a mapping, a pydantic model, a dataclass, a text that holds a mapping, or None. What this function
        returned may be given to it again.
    :return: fields of a ticket; empty where there are none.
    :raises LeenConfigError: when a field is unknown or holds what can't be used.
    """
    if isinstance(value, str):
        value = parse_text(value, "ticket_defaults")
    if value is None:
        return {}
    defaults = _as_ticket(value)
    if defaults is None:
        raise LeenConfigError(
            f"`ticket_defaults` is of type {type(value).__name__} ({excerpt(value)}): write a mapping of ticket fields."
        )
    # A name is each ticket's own, so none need be here.
    defaults = _cleaned(defaults)
    problems = list(field_problems({"name": "", **defaults}))
    if problems:
        raise LeenConfigError(f"`ticket_defaults` can't be used: {'; '.join(problems)}.")
    return defaults


# Preparing


def prepare(rows: Sequence[Any], defaults: Any, scope: KeyScope, *, embed_keys: bool = False) -> list[TicketRow]:
    """Validate each row, and give it its key and its identifier. One line in the log counts what is left out of texts.

    :param rows: what one of the readers returned.
    :param defaults: fields laid under every ticket; what :func:`read_defaults` accepts.
    :param scope: what the keys are unique within.
    :param embed_keys: whether descriptions are sent with the keys.
    :return: one row per input row, in order. What is wrong with a bad row is said in its ``error``, never raised.
    :raises LeenConfigError: when the defaults can't be used.
    """
    defaults = read_defaults(defaults)
    if "identifier" in defaults and len(rows) > 1:
        raise LeenConfigError(
            f"`ticket_defaults` holds an `identifier`, which all {len(rows)} tickets would share: "
            "give each ticket its own, or leave it out."
        )
    preparation = _Preparation(rows, defaults, scope, embed_keys)
    prepared = [preparation.row(index, row) for index, row in enumerate(rows)]
    if changes := +preparation.changes:
        log.warning(
            "Texts are not sent as they were given: %s.",
            ", ".join(f"in {counted(number, 'ticket')} {change}" for change, number in changes.items()),
        )
    if preparation.has_type_id:
        log.warning("Leen has deprecated `type_id`; it is sent as `type_vendor_id`. Write `type_vendor_id` instead.")
    return prepared


def payload(row: TicketRow, defaults: Mapping[str, str] | None, *, embed_key: bool = False) -> dict[str, Any]:
    """Return what is sent to Leen for one valid row, made anew each time: a very large list is not held twice.

    :param row: a valid row.
    :param defaults: what :func:`read_defaults` returned.
    :param embed_key: append the key as the description's last line, so that the vendor can be searched for it; a
        description that is too long with it is cut.
    """
    given = _cleaned({field: value for field, value in row.given.items() if value is not None})
    body: dict[str, Any] = _merge(given, defaults or {})
    if "type_id" in body:
        body["type_vendor_id"] = body.pop("type_id")
    body["identifier"] = row.identifier
    if embed_key:
        description = cut(body.get("description") or "", _MAX_BESIDE_KEY)
        body["description"] = "\n\n".join(filter(None, [description, row.key]))
    return body


class _Preparation:
    """What is known of the rows before the one that is prepared.

    :param changes: how many tickets are sent with which change to their texts.
    """

    def __init__(self, source: Sequence[Any], defaults: Mapping[str, str], scope: KeyScope, embed_keys: bool) -> None:
        self.has_type_id = "type_id" in defaults
        self.changes: Counter[str] = Counter()
        self._source = source
        self._defaults = defaults
        self._keys = _Keys(scope)
        self._embeds_keys = embed_keys
        self._first_with: dict[str, int] = {}

    def row(self, index: int, row: Any) -> TicketRow:
        """Validate a row, and give it its key and its identifier."""
        ticket = _as_ticket(row)
        if ticket is None:
            return TicketRow(index, self._source, None, None, None, _not_a_ticket(row))
        body = _merge(_cleaned(ticket), self._defaults)
        problems = [*field_problems(body), *missing_fields(body)]
        name, identifier = body.get("name"), body.get("identifier")
        if isinstance(identifier, str) and (first := self._first_with.setdefault(identifier, index)) != index:
            problems.append(
                f"`identifier` {excerpt(identifier)} is that of ticket #{first} too: make it unique, or leave it out"
            )
        if problems:
            return TicketRow(index, self._source, _text(name), _text(identifier), None, "; ".join(problems))
        self.has_type_id = self.has_type_id or "type_id" in ticket
        # Not from the texts as they are sent: what is made of them may change between releases, a key may not.
        key = self._keys.make(ticket, _merge(ticket, self._defaults))
        self._count_changes(ticket, body)
        return TicketRow(index, self._source, name, identifier or key, key, None)

    def _count_changes(self, ticket: Mapping[str, str], body: Mapping[str, str]) -> None:
        """Count a ticket whose texts are not sent as they were given."""
        if unsafe := [count_unsafe(value) for field, value in ticket.items() if body[field] != value]:
            self.changes["control characters are left out"] += any(left_out for left_out, _halves in unsafe)
            self.changes["half a surrogate pair is replaced"] += any(halves for _left_out, halves in unsafe)
        if self._embeds_keys:
            description = body.get("description", "")
            self.changes["the description is cut, so that the key fits"] += (
                cut(description, _MAX_BESIDE_KEY) != description
            )


class _Keys:
    """Makes the keys of one list: each a hash of the scope, the row, and how many equal rows came before it.

    What is hashed is the text of one JSON array, whose beginning, the scope, is the same for all rows.
    """

    def __init__(self, scope: KeyScope) -> None:
        parts = dataclasses.astuple(scope)
        begin = _encode(parts if scope.region_id else parts[:-1]).removesuffix("]")
        self._scope_hash = hashlib.sha256(begin.encode("utf-8", "surrogatepass"))
        self._seen: dict[str, int] = {}

    def make(self, ticket: Mapping[str, str], body: Mapping[str, str]) -> str:
        """Return the key of a ticket as given, before defaults; ``body``, with them, says what its project is."""
        row = f",{_encode(ticket)},{_encode([body.get('project_id'), body.get('project_vendor_id')])}"
        first = self._hash(f"{row},0]")
        equal_before = self._seen.get(first, 0)
        self._seen[first] = equal_before + 1
        return self._hash(f"{row},{equal_before}]") if equal_before else first

    def _hash(self, end: str) -> str:
        digest = self._scope_hash.copy()
        digest.update(end.encode("utf-8", "surrogatepass"))
        return f"airflow-{digest.hexdigest()}"[:_KEY_LENGTH]


def _merge(ticket: dict[str, Any], defaults: Mapping[str, str]) -> dict[str, Any]:
    """Lay the defaults under a ticket, but those for which the ticket gives another form of the same thing."""
    in_force = {
        field: value for field, value in defaults.items() if field not in _RIVALS or _RIVALS[field].isdisjoint(ticket)
    }
    return in_force | ticket


# Values


def _not_a_ticket(row: Any) -> str:
    if isinstance(row, UnreadableRow):
        return row.reason
    return f"the row is {described(row)}: write a mapping of ticket fields"


def _joined(items: Iterable[Any]) -> list[Any]:
    rows: list[Any] = []
    for item in items:
        if isinstance(item, list | tuple):
            rows += item
        elif _is_list(item):
            rows += _joined(item)  # a mapped upstream, whose instances each gave a ticket or a list
        else:
            rows.append(item)
    return rows


def _is_list(value: Any) -> bool:
    """Tell whether a value is a list of rows, a mapped upstream's lazy sequence included."""
    return isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray | memoryview)


def _is_record(value: Any) -> bool:
    return isinstance(value, Mapping | BaseModel) or (dataclasses.is_dataclass(value) and not isinstance(value, type))


def _as_ticket(row: Any) -> dict[str, Any] | None:
    """Return a row's fields, with nulls dropped and what stands for a text as text; None where it is no record."""
    if type(row) is dict and all(type(value) is str for value in row.values()):
        return row if UNSENDABLE not in row or not is_unsendable(row) else None
    if isinstance(row, UnreadableRow) or not _is_record(row) or is_unsendable(row):
        return None
    if isinstance(row, Mapping):
        fields: Mapping[Any, Any] = row
    elif isinstance(row, BaseModel):
        try:
            fields = row.model_dump(mode="json", exclude_none=True, warnings=False)
        except ValueError:
            return None
    else:
        fields = {field.name: getattr(row, field.name, None) for field in dataclasses.fields(row)}
    return {field: _as_text(value) for field, value in fields.items() if value is not None}


def _as_text(value: Any) -> Any:
    """Return a UUID, an enum's member and a text of another class as plain text; anything else as it is."""
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, UUID):
        return str(value)
    return str.__str__(value) if isinstance(value, str) else value


def _cleaned(ticket: Mapping[Any, Any]) -> dict[str, Any]:
    """Return a ticket as it is sent, without what no tracker takes in a text; in a field's name it is shown instead."""
    cleaned = {}
    for name, value in ticket.items():
        # Most texts are printable: no function need be called for them.
        if isinstance(name, str) and not name.isprintable():
            name = for_terminal(name)
        cleaned[name] = clean(value) if isinstance(value, str) and not value.isprintable() else value
    return cleaned


def _plain(value: Any, depth: int = 0) -> Any:
    """Return anything in plain JSON types that can be published, for a row that can't be sent."""
    value = _as_text(value)
    if isinstance(value, str):
        return clean(value)
    if value is None or (isinstance(value, int) and abs(value) < 2**63):  # XCom carries 64 bits
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    if isinstance(value, UnreadableRow):
        return clean(value.text)
    if isinstance(value, Mapping) and depth < _MAX_DEPTH:
        return {_plain_name(name): _plain(item, depth + 1) for name, item in value.items()}
    if isinstance(value, list | tuple | Set) and depth < _MAX_DEPTH:
        return [_plain(item, depth + 1) for item in value]
    return {UNSENDABLE: described(value)}


def _plain_name(name: Any) -> str:
    """Return the name of a field of a row that can't be sent; what is no text becomes no field's name."""
    return for_terminal(name) if isinstance(name, str) else f"{type(name).__name__} {excerpt(name)}"


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _json_reason(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        line = f"line {error.lineno}, " if "\n" in error.doc else ""
        return f"{error.msg} at {line}column {error.colno}"
    return "nested too deeply" if isinstance(error, RecursionError) else str(error)
