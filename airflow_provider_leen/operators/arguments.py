"""Checks of operator arguments that are not templated; each refusal says what to write instead."""

from __future__ import annotations

import math
from typing import Any

from airflow_provider_leen.api.errors import LeenConfigError


def check_whole_number(name: str, value: Any, least: int, most: int | None = None) -> None:
    """Refuse what is no whole number in a range."""
    if type(value) is not int or value < least or (most is not None and value > most):
        bound = f"from {least} to {most}" if most is not None else f"of {least} or more"
        raise LeenConfigError(f"`{name}` is {value!r}: write a whole number {bound}.")


def check_seconds(name: str, value: Any) -> None:
    """Refuse what is no number of seconds above 0."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise LeenConfigError(f"`{name}` is {value!r}: write a number of seconds above 0.")


def check_flag(name: str, value: Any) -> None:
    """Refuse what is neither True nor False: a text such as 'False' would count as true."""
    if not isinstance(value, bool):
        raise LeenConfigError(f"`{name}` is {value!r}: write True or False.")


def check_choice(name: str, value: Any, choices: tuple[str, str]) -> None:
    """Refuse what is none of two words."""
    if value not in choices:
        raise LeenConfigError(f"`{name}` is {value!r}: write '{choices[0]}' or '{choices[1]}'.")
