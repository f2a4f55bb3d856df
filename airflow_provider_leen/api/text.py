"""Text from outside (Leen's replies, findings, files), made safe before it is published, logged, sent or shown.

PostgreSQL refuses U+0000, UTF-8 has no half surrogate pairs, a terminal obeys control characters, and marks of the
writing direction make a text look like another one.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

MAX_NAME = 255
MAX_DESCRIPTION = 32_767
"""The longest title and description that Jira takes, in UTF-16 code units, as :func:`cut` counts."""

_UNSAFE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""Control characters except tab and line breaks, and the marks that change the writing direction."""

_NOT_FOR_A_TERMINAL = re.compile(f"{_UNSAFE.pattern}|\r|[\ud800-\udfff]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_MAX_DEPTH = 50
_BEYOND_64_BITS = 2**63


def clean(text: str) -> str:
    """Return a text without control characters; half a surrogate pair becomes U+FFFD. Tab and line breaks stay."""
    if text.isprintable():
        # Neither half a pair nor a mark of the writing direction is printable.
        return text
    text = _UNSAFE.sub("", text)
    if _SURROGATE.search(text) is None:
        return text
    # Two halves that belong together are joined on the way.
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def count_unsafe(text: str) -> tuple[int, int]:
    """Return how many characters :func:`clean` removes from a text, and how many half pairs it replaces."""
    return len(_UNSAFE.findall(text)), clean(text).count("\ufffd") - text.count("\ufffd")


def clean_json(value: Any, each: Callable[[str], str] = clean, _depth: int = 0) -> Any:
    """Return a value of plain JSON types as any database takes it.

    Each text in it is cleaned, keys included; deep nesting is cut off; NaN and infinity become None, and integers of
    more than 64 bits a text.

    :param each: cleans a text.
    """
    if isinstance(value, str):
        return each(value)
    if isinstance(value, dict | list) and _depth == _MAX_DEPTH:
        return "…"
    if isinstance(value, list):
        return [clean_json(entry, each, _depth + 1) for entry in value]
    if isinstance(value, dict):
        return {clean_json(key, each): clean_json(entry, each, _depth + 1) for key, entry in value.items()}
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, int) and abs(value) >= _BEYOND_64_BITS:
        return hex(value)  # Python refuses to print the longest ones in decimal
    return value


def cut(text: str, limit: int) -> str:
    """Return a text of at most ``limit`` UTF-16 code units, with ``…`` at its end where it was cut."""
    if 2 * len(text) <= limit:
        return text
    units = text.encode("utf-16-le")
    if len(units) <= 2 * limit:
        return text
    # A surrogate pair that was cut in half is dropped.
    return units[: 2 * (limit - 1)].decode("utf-16-le", "ignore") + "…"


def shorten(text: str, limit: int) -> str:
    """Return a text of at most ``limit`` characters, with ``…`` at its end where it was cut."""
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def one_line(text: str, limit: int) -> str:
    """Return a text cleaned, on one line, with at most ``limit`` characters."""
    # Only the beginning is cleaned; runs of white space may be long, too.
    return shorten(" ".join(clean(text[: 10 * limit]).split()), limit)


def for_terminal(text: str) -> str:
    r"""Return a text that is safe on a terminal: control characters are written as ``\x1b``."""
    return _NOT_FOR_A_TERMINAL.sub(lambda found: ascii(found.group())[1:-1], text)
