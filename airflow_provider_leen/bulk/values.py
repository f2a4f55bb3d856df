"""The format of facts in the ledger: versioned values of plain JSON, of limited size.

A fact is a list: its name, its keys (a list, or a mapping by key), and its other arguments. A value holds facts in the
order in which they were stated.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, TypeAlias

from airflow_provider_leen.api.errors import LeenLedgerLostError
from airflow_provider_leen.api.text import clean, clean_json

VERSION = 2
"""Written into each value; a value of another version is refused, never misread."""

MAX_VALUE = 60_000
"""The most bytes of JSON in a value; above 64 KB, Airflow's task state store warns."""

MAX_TEXT = 2_000
"""The most characters of a text in a fact, such as a reason."""

_TO_CLEAN = re.compile(rf'\\|[^"]{{{MAX_TEXT + 1}}}')
"""In JSON text: an escape, or a text that is too long."""

EXITS = (
    "Look into the tracker, then start a new Dag run. Or delete the whole ledger of this task (its state in Airflow, "
    "or its folder) and clear the task: then the outcome of every ticket is unknown, and `on_unknown` decides."
)
"""What a person can do if records of a ledger are lost."""

REGISTER_EXITS = "Restore it from a backup, or run `airflow leen register repair`."
"""The same for a register, which must never be deleted."""

Fact: TypeAlias = list[Any]
Value: TypeAlias = dict[str, Any]


def plain(value: Any) -> Any:
    """Return a copy in plain JSON types whose texts are clean and of limited length."""
    text = json.dumps(value, ensure_ascii=False)
    copy = json.loads(text)
    # Usually nothing has to be cleaned: this avoids a function call for each key.
    return copy if text.isprintable() and not _TO_CLEAN.search(text) else clean_json(copy, _cleaned)


def pack(facts: Iterable[Fact]) -> list[Value]:
    """Return facts as values, in order; a fact that is too large for one is split by its keys."""
    values: list[Value] = []
    room = 0
    for piece in (piece for fact in facts for piece in _pieces(fact)):
        size = _size(piece)
        if size > room:
            values.append({"v": VERSION, "facts": []})
            room = MAX_VALUE
        values[-1]["facts"].append(piece)
        room -= size
    return values


def check_version(value: Value, exits: str = EXITS) -> None:
    """Refuse a value of another release.

    :param exits: advice for a person.
    :raises LeenLedgerLostError: it did.
    """
    if value["v"] != VERSION:
        raise LeenLedgerLostError(
            "The ledger of this task was written by another release of airflow-provider-leen (version "
            f"{value['v']!r}, this one reads {VERSION}), so nothing was sent. Finish the Dag run with that release. "
            f"If you can't: {exits}"
        )


def unreadable(value: object, exits: str = EXITS) -> LeenLedgerLostError:
    """Return the error of an unreadable value."""
    return LeenLedgerLostError(
        f"The ledger of this task holds a value that can't be read: {json.dumps(value, default=repr)[:200]}. It may "
        f"hide tickets that were sent, so this try sends nothing. {exits}"
    )


def _cleaned(text: str) -> str:
    return clean(text)[:MAX_TEXT]


def _pieces(fact: Fact) -> Iterator[Fact]:
    name, keys, *rest = fact
    if len(keys) == 1 or _size(fact) <= MAX_VALUE:
        yield fact
        return
    entries, middle = list(keys), len(keys) // 2
    for half in (entries[:middle], entries[middle:]):
        yield from _pieces([name, {key: keys[key] for key in half} if isinstance(keys, dict) else half, *rest])


def _size(fact: Fact) -> int:
    return len(json.dumps(fact)) + len(", ")
