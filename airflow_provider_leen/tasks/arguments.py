"""Checks of arguments: literals when the Dag file is parsed, rendered values when the task runs.

Each refusal says what to write instead.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from airflow_provider_leen.api.errors import LeenConfigError
from airflow_provider_leen.tasks.templates import is_template


@dataclass(frozen=True)
class Argument:
    """The allowed values of an argument.

    :param accepts: returns whether a value can be used.
    :param advice: what to write instead of one that can't.
    :param parse: converts a text that a template rendered to; after a ``ValueError``, the text is kept.
    :param optional: whether None, the text ``None`` and the empty text mean "no value".
    """

    accepts: Callable[[Any], bool]
    advice: str
    parse: Callable[[str], Any] = str
    optional: bool = False

    def check(self, name: str, value: Any) -> None:
        """Refuse what can't be used.

        :raises LeenConfigError: naming the argument, what it holds and what to write instead.
        """
        if not (self.optional and value is None) and not self.accepts(value):
            raise LeenConfigError(f"`{name}` is {value!r:.200}: {self.advice}.")

    def __call__(self, name: str, value: Any) -> Any:
        """Return a rendered value, parsed if it is a text.

        :raises LeenConfigError: it can't be used.
        """
        if isinstance(value, str):
            value = self._parsed(value.strip())
        self.check(name, value)
        return value

    def _parsed(self, text: str) -> Any:
        if self.optional and text in ("", "None"):
            return None
        try:
            return self.parse(text)
        except ValueError:
            return text


def check_source(tickets: Any, tickets_path: Any) -> None:
    """Refuse two sources of tickets, or none.

    :raises LeenConfigError: as above.
    """
    if (tickets is None) == (tickets_path is None):
        raise LeenConfigError("Pass exactly one of `tickets` and `tickets_path`.")


def check_literals(task: Any, checks: Mapping[str, Argument]) -> None:
    """Refuse unusable literals of the Dag file; templates are checked once they are rendered.

    :raises LeenConfigError: naming the argument, what it holds and what to write instead.
    """
    for name, argument in checks.items():
        value = getattr(task, name)
        if not is_template(value):
            argument.check(name, value)


def whole_number(least: int, most: int | None = None) -> Argument:
    """A whole number in a range."""
    bound = f"from {least} to {most}" if most is not None else f"of {least} or more"
    return Argument(
        lambda value: type(value) is int and value >= least and (most is None or value <= most),
        f"write a whole number {bound}",
        int,
    )


def choice(*words: str) -> Argument:
    """One of some words."""
    *others, last = map(repr, words)
    return Argument(lambda value: value in words, f"write {', '.join(others)} or {last}")


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


_FLAGS = {"true": True, "false": False}

FLAG = Argument(
    lambda value: isinstance(value, bool), "write True or False", lambda text: _FLAGS.get(text.lower(), text)
)
"""True or False only: a text such as 'False' in the Dag file would count as true."""

OPTIONAL_FLAG = replace(FLAG, advice="write True or False, or leave it out", optional=True)
"""The same, if the default depends on another argument."""

SECONDS = Argument(lambda value: _number(value) and 0 < value < math.inf, "write a number of seconds above 0", float)

MAX_FAILURES = Argument(
    lambda value: type(value) is int and value >= 0, "write a whole number from 0, or leave it out", int, optional=True
)

MAX_FAILURE_RATE = Argument(
    lambda value: _number(value) and 0 <= value <= 1, "write a number from 0 to 1 (0.05 for 5 %)", float, optional=True
)

RATE = replace(MAX_FAILURE_RATE, optional=False)
"""The same, if it is required."""

THRESHOLDS = {"max_failures": MAX_FAILURES, "max_failure_rate": MAX_FAILURE_RATE}
