"""Prepares rows for sending: defaults, fitting, checks, keys, identifiers.

Everything here is pure. A bad row is not refused: it becomes a :class:`TicketRow` with its error, so that every input
row gets a result.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import math
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from enum import Enum
from typing import Any
from uuid import UUID

from pydantic import BaseModel

from airflow_provider_leen.api.errors import LeenConfigError
from airflow_provider_leen.api.text import clean, for_terminal
from airflow_provider_leen.api.tolerances import normalised
from airflow_provider_leen.bulk.fitting import KEY_LENGTH, SAME, SAME_FOR_ANOTHER, Fitting, cleaned
from airflow_provider_leen.bulk.reading import UnreadableRow, is_record, parse_text
from airflow_provider_leen.bulk.summary import counted
from airflow_provider_leen.bulk.validation import (
    FORMS,
    TYPE_FIELDS,
    UNSENDABLE,
    Wording,
    described,
    excerpt,
    field_problems,
    is_unsendable,
    missing_fields,
)

log = logging.getLogger(__name__)

_ALTERNATIVES = {
    **{uuid_form: frozenset({vendor_form}) for uuid_form, vendor_form in FORMS},
    **{vendor_form: frozenset({uuid_form}) for uuid_form, vendor_form in FORMS},
    **{field: TYPE_FIELDS - {field} for field in TYPE_FIELDS},
}
"""By field, the other fields for the same thing: a ticket that gives one of them doesn't get the field's default."""

_PLAIN = frozenset({str, type(None)})
_MAX_DEPTH = 20
_AS_GIVEN = Fitting()
_OPERATOR = Wording()

_encode = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode


@dataclasses.dataclass(frozen=True)
class KeyScope:
    """The scope in which keys are unique: one task instance and one destination.

    :param dag_id: the Dag.
    :param run_id: the Dag run.
    :param task_id: the task.
    :param map_index: the mapped instance, -1 if the task is not mapped.
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
    :param source: the whole input, which may be in a file, so that rows are not held in memory twice.
    :param name: the ticket's name, if it has one.
    :param identifier: the identifier to send: the given one, else the key.
    :param key: the key, which is the same in all tries of a Dag run; None for a row that is never sent.
    :param error: why the row is invalid, for a person; None for a valid row.
    :param follows: the position of the earlier row with the same identifier, whose ticket this row shares: such a row
        is never sent.
    :param changes: the changes made before sending, for a person.
    """

    index: int
    source: Sequence[Any]
    name: str | None
    identifier: str | None
    key: str | None
    error: str | None
    follows: int | None = None
    changes: tuple[str, ...] = ()

    @property
    def given(self) -> Any:
        """The row as it came, before defaults, in plain JSON types.

        A value that JSON does not have is replaced by a description, and still can't be sent.
        """
        row = self.source[self.index]
        ticket = _as_ticket(row)
        if ticket is None or self.error is not None:
            return _plain(row if ticket is None or isinstance(row, Mapping) else ticket)
        is_plain = ticket is row or (type(row) is dict and all(type(value) in _PLAIN for value in row.values()))
        return row if is_plain else ticket


def read_defaults(value: Any, called: str = Wording.defaults) -> dict[str, str]:
    """Return the operator's ``ticket_defaults``, checked, with nulls dropped.

    :param value: a mapping, a pydantic model, a dataclass, a text that holds a mapping, or None. The result of this
        function is accepted, too.
    :param called: how messages name it.
    :return: fields of a ticket; empty if there are none.
    :raises LeenConfigError: a field is unknown or can't be used.
    """
    if isinstance(value, str):
        value = parse_text(value, "ticket_defaults")
    if value is None:
        return {}
    defaults = _as_ticket(value)
    if defaults is None:
        raise LeenConfigError(
            f"{called} is of type {type(value).__name__} ({excerpt(value)}): write a mapping of ticket fields."
        )
    # A name is not required here: each ticket has its own.
    defaults = cleaned(defaults, [])
    problems = list(field_problems({"name": "", **defaults}))
    if problems:
        raise LeenConfigError(f"{called} can't be used: {'; '.join(map(str, problems))}.")
    return defaults


def prepare(
    rows: Sequence[Any], defaults: Any, scope: KeyScope, fitting: Fitting = _AS_GIVEN, wording: Wording = _OPERATOR
) -> list[TicketRow]:
    """Fit each row to the tracker, check it, and give it its key and its identifier. One line in the log has counts.

    :param rows: the rows of one of the readers.
    :param defaults: fields that apply to every ticket; everything that :func:`read_defaults` accepts.
    :param scope: the scope of the keys.
    :param fitting: fits each ticket.
    :param wording: how messages name arguments and rows.
    :return: one row per input row, in order. What is wrong with a bad row is said in its ``error``, never raised.
    :raises LeenConfigError: when the defaults can't be used.
    """
    defaults = read_defaults(defaults, wording.defaults)
    if "identifier" in defaults and len(rows) > 1:
        raise LeenConfigError(
            f"{wording.defaults} holds an `identifier`, which all {len(rows)} tickets would share: "
            "give each ticket its own, or leave it out."
        )
    preparation = _Preparation(rows, defaults, _Keys(scope), fitting, wording, "type_id" in defaults)
    prepared = preparation.prepared()
    if line := changes_in(prepared):
        # Findings without their own ticket may go unnoticed.
        is_grave = any(SAME_FOR_ANOTHER in row.changes for row in prepared)
        log.log(logging.WARNING if is_grave else logging.INFO, line)
    if preparation.has_type_id:
        log.warning("Leen has deprecated `type_id`; it is sent as `type_vendor_id`. Write `type_vendor_id` instead.")
    return prepared


def changes_in(rows: Sequence[TicketRow]) -> str | None:
    """Say in one line how many rows are not sent as they were given; None if all are."""
    counts = Counter(change for row in rows for change in row.changes)
    parts = [f"in {counted(number, 'ticket')}, {change}" for change, number in counts.items()]
    return f"Not sent as given: {'; '.join(parts)}." if parts else None


def payload(
    row: TicketRow, defaults: Mapping[str, str] | None, fitting: Fitting = _AS_GIVEN, note: str = ""
) -> dict[str, Any]:
    """Return what is sent to Leen for one valid row, built again each time: a very large list is not held twice.

    :param row: a valid row.
    :param defaults: what :func:`read_defaults` returned.
    :param fitting: what the row was prepared with. Where it embeds keys, the row's key is the description's last line,
        so that the vendor can be searched for it.
    :param note: a paragraph that its description begins with.
    """
    given = {field: value for field, value in row.given.items() if value is not None}
    merged = _merge(given, defaults or {})
    if note:
        merged["description"] = "\n\n".join(filter(None, [note, merged.get("description")]))
    body, _changes = fitting.fit(merged)
    if "type_id" in body:
        body["type_vendor_id"] = body.pop("type_id")
    body["identifier"] = row.identifier
    if fitting.embed_key:
        body["description"] = "\n\n".join(filter(None, [body.get("description"), row.key]))
    return body


@dataclasses.dataclass
class _Preparation:
    """The rows of one list, prepared one after the other."""

    source: Sequence[Any]
    defaults: Mapping[str, str]
    keys: _Keys
    fitting: Fitting
    wording: Wording
    has_type_id: bool
    first_with: dict[str, int] = dataclasses.field(default_factory=dict)
    rows: list[TicketRow] = dataclasses.field(default_factory=list)

    def prepared(self) -> list[TicketRow]:
        """Prepare all rows."""
        for index, row in enumerate(self.source):
            self.rows.append(self._row(index, row))
        return self.rows

    def _row(self, index: int, row: Any) -> TicketRow:
        """Fit a row, check it, and give it its key and its identifier."""
        ticket = _as_ticket(row)
        if ticket is None:
            return TicketRow(index, self.source, None, None, None, self._not_a_ticket(row))
        merged = _merge(ticket, self.defaults)
        body, changes = self.fitting.fit(merged)
        problems = [*field_problems(body), *missing_fields(body, self.wording.anywhere)]
        name, identifier = body.get("name"), body.get("identifier")
        first = index
        if isinstance(identifier, str):
            first = self.first_with.setdefault(normalised(identifier), index)
        if problems:
            return TicketRow(index, self.source, _text(name), _text(identifier), None, "; ".join(map(str, problems)))
        if first != index:
            return self._twin(index, self.rows[first], name, identifier)
        self.has_type_id = self.has_type_id or "type_id" in ticket
        # Not from the texts as they are sent: how rows are adapted may change between releases, a key may not.
        key = self.keys.make(ticket, merged)
        return TicketRow(index, self.source, name, identifier or key, key, None, changes=changes)

    def _twin(self, index: int, first: TicketRow, name: str | None, identifier: str | None) -> TicketRow:
        """Let a row follow the first one with its identifier: two tickets can't share an identifier."""
        if first.error is None:
            changes = (SAME if name == first.name else SAME_FOR_ANOTHER,)
            return TicketRow(index, self.source, name, identifier, None, None, first.index, changes)
        error = follows(self.wording.row(first.index), identifier, "is invalid", first.error)
        return TicketRow(index, self.source, name, identifier, None, error)

    def _not_a_ticket(self, row: Any) -> str:
        if isinstance(row, UnreadableRow):
            return row.reason if row.line is None or self.wording.has_lines else f"line {row.line}: {row.reason}"
        return f"the row is {described(row)}: write a mapping of ticket fields"


def follows(first: str, identifier: str | None, outcome: str, error: str | None = None) -> str:
    """Return why a row that follows another one has no ticket.

    :param first: the other row.
    :param identifier: of both.
    :param outcome: of the other row's ticket.
    :param error: of the other row.
    """
    return f"`identifier` {excerpt(identifier)} is that of {first}, which {outcome}{f': {error}' if error else ''}"


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
        return f"airflow-{digest.hexdigest()}"[:KEY_LENGTH]


def _merge(ticket: dict[str, Any], defaults: Mapping[str, str]) -> dict[str, Any]:
    """Apply the defaults to a ticket, except those for which the ticket gives another form of the same thing."""
    applied = {
        field: value for field, value in defaults.items() if _ALTERNATIVES.get(field, frozenset()).isdisjoint(ticket)
    }
    return applied | ticket


# Values


def _as_ticket(row: Any) -> dict[str, Any] | None:
    """Return a row's fields, without nulls, and with text types as plain text; None if it is not a record."""
    if type(row) is dict and all(type(value) is str for value in row.values()):
        return row if UNSENDABLE not in row or not is_unsendable(row) else None
    if isinstance(row, UnreadableRow) or not is_record(row) or is_unsendable(row):
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
    """Return the name of a field of a row that can't be sent; anything but text becomes a name that no field has."""
    return for_terminal(name) if isinstance(name, str) else f"{type(name).__name__} {excerpt(name)}"


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
