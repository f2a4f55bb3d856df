"""Text from outside (Leen's replies, findings, files), made safe before it is published, logged, sent or shown.

PostgreSQL refuses U+0000, UTF-8 has no half surrogate pairs, a terminal obeys control characters, and marks of the
writing direction make a text read as another one.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

_UNSAFE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""Control characters but tab and line breaks, and the marks that change the writing direction."""

_NOT_FOR_A_TERMINAL = re.compile(f"{_UNSAFE.pattern}|\r|[\ud800-\udfff]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_MAX_DEPTH = 50


def clean(text: str) -> str:
    """Return a text without control characters; half a surrogate pair becomes U+FFFD. Tab and line breaks stay."""
    if text.isprintable() and _SURROGATE.search(text) is None:
        # Marks of the writing direction are not printable, so there are none.
        return text
    text = _UNSAFE.sub("", text)
    if _SURROGATE.search(text) is None:
        return text
    # Two halves that belong together are joined on the way.
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def clean_json(value: Any, each: Callable[[str], str] = clean, _depth: int = 0) -> Any:
    """Return a value of plain JSON types with each text in it, keys included, cleaned; too deep nesting is cut off.

    :param each: cleans a text.
    """
    if isinstance(value, str):
        return each(value)
    if not isinstance(value, dict | list):
        return value
    if _depth == _MAX_DEPTH:
        return "…"
    if isinstance(value, list):
        return [clean_json(entry, each, _depth + 1) for entry in value]
    return {clean_json(key, each): clean_json(entry, each, _depth + 1) for key, entry in value.items()}


def cut(text: str, limit: int) -> str:
    """Return a text of at most so many UTF-16 code units, Jira's count, with ``…`` at its end where it was cut."""
    if 2 * len(text) <= limit:
        return text
    units = text.encode("utf-16-le")
    if len(units) <= 2 * limit:
        return text
    # A pair that the cut has parted is dropped.
    return units[: 2 * (limit - 1)].decode("utf-16-le", "ignore") + "…"


def one_line(text: str, limit: int) -> str:
    """Return a text cleaned, on one line, cut to so many characters."""
    # What is cut away is not worth cleaning; a run of white space may be long, too.
    text = " ".join(clean(text[: 10 * limit]).split())
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def for_terminal(text: str) -> str:
    r"""Return a text as a terminal may show it: what it would obey stands there as ``\x1b``."""
    return _NOT_FOR_A_TERMINAL.sub(lambda found: ascii(found.group())[1:-1], text)
