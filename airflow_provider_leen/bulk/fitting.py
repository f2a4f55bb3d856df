"""Fits a ticket to the tracker's limits: one pure step, after the defaults are applied and before the checks.

A name that is too long is cut, and the description begins with the whole name. Limits are Jira's, in UTF-16 code units.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from airflow_provider_leen.api.errors import LeenConfigError
from airflow_provider_leen.api.text import MAX_DESCRIPTION, MAX_NAME, clean, count_unsafe, cut, for_terminal
from airflow_provider_leen.bulk.reading import parse_text
from airflow_provider_leen.bulk.validation import Problem, Wording, described, excerpt

KEY_LENGTH = len("airflow-") + 24

PRIORITIES = ("CRITICAL", "HIGH", "MEDIUM", "LOW", "INFORMATIONAL", "UNKNOWN")
"""Leen's names."""

LEFT_OUT = "control characters are removed"
HALF_REPLACED = "half a surrogate pair is replaced"
ONE_LINE = "line breaks in the name become spaces"
NAME_CUT = "the name is cut, and the description begins with the whole name"
PRIORITY = "the priority is mapped"
NO_IDENTIFIER = "the identifier is a scanner's placeholder, and is removed"
CUT = "the description is cut"
CUT_FOR_KEY = "the description is cut to make room for the key"

SAME = "the identifier is an earlier row's: the two share one ticket"
SAME_FOR_ANOTHER = "the identifier is that of an earlier row with another name: the two share one ticket"

_PLACEHOLDER = "requires login"
"""Semgrep, without a login, writes this instead of a fingerprint into every finding."""

_BREAK = re.compile("[\r\n\u2028\u2029]")


class Fitting:
    """Fits the tickets of one list.

    :param priority_map: maps the list's priorities to the tickets': see :func:`read_priority_map`.
    :param embed_key: whether descriptions end with the ticket's key, which needs room.
    :param called: how messages name the map.
    :raises LeenConfigError: the map can't be used.
    """

    def __init__(
        self, priority_map: Any = None, *, embed_key: bool = False, called: str = Wording.priority_map
    ) -> None:
        names = {name.casefold(): name for name in PRIORITIES}
        given = read_priority_map(priority_map, called)
        self.embed_key = embed_key
        self._exact = {said: names.get(_folded(meant), meant) for said, meant in given.items()}
        # Of two names that differ only in case, the first.
        self._in_any_case = names | {_folded(said): meant for said, meant in reversed(self._exact.items())}

    def fit(self, ticket: Mapping[Any, Any]) -> tuple[dict[Any, Any], tuple[str, ...]]:
        """Return a ticket as it is sent, and the changes, as texts for a person.

        :param ticket: with its defaults; values that are not text are not changed.
        """
        changes: list[str] = []
        fitted = cleaned(ticket, changes)
        name, priority = fitted.get("name"), fitted.get("priority")
        if isinstance(priority, str):
            fitted["priority"] = self._exact.get(priority) or self._in_any_case.get(_folded(priority), priority)
            if fitted["priority"] != priority:
                changes.append(PRIORITY)
        if fitted.get("identifier") == _PLACEHOLDER:
            del fitted["identifier"]
            changes.append(NO_IDENTIFIER)
        if isinstance(name, str) and (len(name) > MAX_NAME // 2 or not name.isprintable()):
            _fit_name(fitted, name, changes)
        if self.embed_key or NAME_CUT in changes:
            self._fit_description(fitted, changes)
        return fitted, tuple(dict.fromkeys(changes))

    def _fit_description(self, fitted: dict[Any, Any], changes: list[str]) -> None:
        room = MAX_DESCRIPTION - (len("\n\n") + KEY_LENGTH if self.embed_key else 0)
        if isinstance(description := fitted.get("description"), str):
            fitted["description"] = cut(description, room)
            if fitted["description"] != description:
                changes.append(CUT_FOR_KEY if self.embed_key else CUT)


def read_priority_map(value: Any, called: str = Wording.priority_map) -> dict[str, str]:
    """Return the operator's ``priority_map``, checked.

    :param value: a mapping from the rows' priorities to the tickets' (one of Leen's names in any case, or the tracker's
        name of a priority), a text that holds such a mapping, or None.
    :param called: how messages name it.
    :raises LeenConfigError: it can't be used.
    """
    if isinstance(value, str):
        value = parse_text(value, "priority_map")
    if value is None:
        return {}
    advice = "write a mapping of texts, such as {'ERROR': 'HIGH', 'WARNING': 'MEDIUM'}"
    if not isinstance(value, Mapping):
        raise LeenConfigError(f"{called} is {described(value)}: {advice}.")
    for said, meant in value.items():
        if not isinstance(said, str) or not isinstance(meant, str) or not meant.strip():
            raise LeenConfigError(f"{called} has {excerpt(said)}: {excerpt(meant)}, {advice}.")
    return {clean(said): clean(meant) for said, meant in value.items()}


def cleaned(ticket: Mapping[Any, Any], changes: list[str]) -> dict[Any, Any]:
    """Return a ticket without control characters in its values; in field names they are shown escaped.

    :param changes: the changes are added to it.
    """
    result: dict[Any, Any] = {}
    for field, value in ticket.items():
        # Most texts are printable and need no cleaning.
        if isinstance(field, str) and not field.isprintable():
            field = for_terminal(field)
        if isinstance(value, str) and not value.isprintable():
            left_out, halves = count_unsafe(value)
            if left_out:
                changes.append(LEFT_OUT)
            if halves:
                changes.append(HALF_REPLACED)
            value = clean(value)
        result[field] = value
    return result


def refused_by_tracker(ticket: Mapping[str, Any], wording: Wording) -> Iterator[Problem]:
    """Yield what Jira surely refuses of a ticket as it is sent; only the tracker itself knows the rest.

    :param ticket: fitted, and checked.
    :param wording: how messages name arguments.
    """
    description, priority = ticket.get("description", ""), ticket.get("priority", PRIORITIES[0])
    if cut(description, MAX_DESCRIPTION) != description:
        yield Problem(
            f"`description` has {len(description)} characters, and Jira takes {MAX_DESCRIPTION:,}",
            f"shorten it, or set {wording.embed_identifier}, which cuts it and adds the key at its end",
        )
    if priority not in PRIORITIES:
        yield Problem(
            f"`priority` {excerpt(priority)} is none of Leen's ({', '.join(PRIORITIES)})",
            f"unless the tracker has one of this name, map it with {wording.priority_map}",
        )


def _fit_name(fitted: dict[Any, Any], name: str, changes: list[str]) -> None:
    """Put a name on one line, and cut it; after a cut, the description begins with the whole name."""
    if _BREAK.search(name):
        changes.append(ONE_LINE)
        name = " ".join(name.split())
    fitted["name"] = cut(name, MAX_NAME)
    if fitted["name"] == name:
        return
    changes.append(NAME_CUT)
    description = fitted.get("description", "")
    if isinstance(description, str) and description.partition("\n")[0].rstrip() != name:
        fitted["description"] = f"{name}\n\n{description}" if description else name


def _folded(priority: str) -> str:
    return priority.strip().casefold()
