r"""The small part of JQL that a client needs, compiled to an SQL condition on the store.

Understood: ``key``, ``project`` (``=``, ``in``), ``summary``, ``description``, ``text`` (``~``), ``AND``, ``OR``,
parentheses, strings in either quotes with JQL's escapes, and an ``ORDER BY`` at the end, which is ignored. A ticket
that was moved is found by its former keys, too. ``~ "a b"``
asks for both words, ``~ "\"a b\""`` for the phrase.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from airflow_provider_leen.sandbox.store import moved_from, words

MAX_LENGTH = 5000

_TOKEN = re.compile(
    r"""\s*(?:
        (?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
      | (?P<sign>[(),=~])
      | (?P<word>[^\s"'(),=~\\]+)
    )""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))", re.DOTALL)
_CONTROL = {"n": "\n", "r": "\r", "t": "\t"}
_CONTAINS = {
    "summary": ("name_words",),
    "description": ("description_words",),
    "text": ("name_words", "description_words"),
}


class JQLError(ValueError):
    """The JQL can't be read; the message says why."""


@dataclass(frozen=True, slots=True)
class _Token:
    text: str
    kind: str

    @property
    def keyword(self) -> str:
        return self.text.lower() if self.kind != "string" else ""


@dataclass(frozen=True, slots=True)
class Condition:
    """An SQL condition and its parameters."""

    sql: str
    parameters: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    """The tickets that it names, which have to exist."""


def compile_jql(jql: str) -> Condition:
    """Compile a JQL query.

    :raises JQLError: it is too long or can't be read.
    """
    if len(jql) > MAX_LENGTH:
        raise JQLError(f"The JQL is {len(jql)} characters long; at most {MAX_LENGTH} are allowed.")
    parser = _Parser(_tokens(jql))
    condition = parser.either()
    if parser.keyword() == "order":
        return condition
    if parser.keyword() is not None:
        raise JQLError(f"Expected AND, OR or the end of the query, but got '{parser.take()}'.")
    return condition


def _tokens(jql: str) -> list[_Token]:
    tokens: list[_Token] = []
    position = 0
    end = len(jql.rstrip())
    while position < end:
        match = _TOKEN.match(jql, position, end)
        if match is None:
            raise JQLError(f"The query can't be read from position {position} on; is a quote missing there?")
        kind = match.lastgroup or ""
        text = match.group(kind)
        tokens.append(_Token(_unquote(text) if kind == "string" else text, kind))
        position = match.end()
    return tokens


def _unquote(text: str) -> str:
    def replace(match: re.Match[str]) -> str:
        code, character = match.groups()
        if code is not None:
            return chr(int(code, 16))
        if character.isalnum() and character not in _CONTROL:
            raise JQLError(f"'\\{character}' is no escape of JQL.")
        return _CONTROL.get(character, str(character))

    return _ESCAPE.sub(replace, text[1:-1])


class _Parser:
    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens = tokens
        self._position = 0

    def keyword(self) -> str | None:
        """The next token in lower case, empty for a string, None at the end."""
        return self._tokens[self._position].keyword if self._position < len(self._tokens) else None

    def take(self, *expected: str) -> str:
        keyword = self.keyword()
        if keyword is None:
            raise JQLError("The query ends too early.")
        if expected and keyword not in expected:
            raise JQLError(f"Expected {' or '.join(expected)}, but got '{self._tokens[self._position].text}'.")
        self._position += 1
        return self._tokens[self._position - 1].text

    def either(self) -> Condition:
        return self._joined("or", self._both)

    def _both(self) -> Condition:
        return self._joined("and", self._clause)

    def _joined(self, operator: str, part: Callable[[], Condition]) -> Condition:
        parts = [part()]
        while self.keyword() == operator:
            self.take()
            parts.append(part())
        sql = f" {operator.upper()} ".join(f"({condition.sql})" for condition in parts)
        parameters = tuple(value for condition in parts for value in condition.parameters)
        return Condition(sql, parameters, tuple(key for condition in parts for key in condition.keys))

    def _clause(self) -> Condition:
        if self.keyword() == "(":
            self.take()
            condition = self.either()
            self.take(")")
            return condition
        field = self.take().lower()
        if field in ("key", "issuekey"):
            keys = tuple(self._values())
            marks = ", ".join("?" * len(keys))
            return Condition(f"vendor_key IN ({marks}) OR {moved_from(marks)}", keys * 2, keys)
        if field == "project":
            projects = tuple(self._values())
            return Condition(f"project_key IN ({', '.join('?' * len(projects))})", projects)
        if field in _CONTAINS:
            self.take("~")
            return _contains(_CONTAINS[field], self._value())
        raise JQLError(f"Field '{field}' does not exist or can't be searched here.")

    def _values(self) -> list[str]:
        if self.take("=", "in") == "=":
            return [self._value()]
        self.take("(")
        values = [self._value()]
        while self.take(",", ")") == ",":
            values.append(self._value())
        return values

    def _value(self) -> str:
        if self.keyword() in {"(", ")", ",", "=", "~"}:
            raise JQLError(f"Expected a value, but got '{self.keyword()}'.")
        return self.take()


def _contains(columns: tuple[str, ...], query: str) -> Condition:
    phrase = len(query) > 2 and query.startswith('"') and query.endswith('"')
    sought = [words(query)] if phrase else [f" {word} " for word in words(query).split()]
    if not any(word.strip() for word in sought):
        raise JQLError("The text to search for contains no word.")
    each_column = " OR ".join("(" + " AND ".join([f"instr({column}, ?)"] * len(sought)) + ")" for column in columns)
    return Condition(each_column, tuple(sought) * len(columns))
