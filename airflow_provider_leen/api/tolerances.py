"""How far a reply may differ from what was sent, or from Leen's documentation, and still be accepted."""

from __future__ import annotations

import unicodedata
from typing import Any

from airflow_provider_leen.api.text import clean

SHORTEST_CUT_IDENTIFIER = 64
"""The fewest characters of an identifier that Leen has cut."""

SHORTEST_CUT_NAME = 200
"""The fewest characters of a name that the tracker has cut."""


def is_blank(value: Any) -> bool:
    """Return whether a field is empty: a blank error text is no error, an empty id no id."""
    return not (value.strip() if isinstance(value, str) else value)


def normalised(identifier: str) -> str:
    """Return an identifier as it is compared with others of ours: it stays one however it is composed or padded."""
    return unicodedata.normalize("NFC", identifier).strip()


def likeness(ours: str | None, theirs: str | None) -> int:
    """Return how alike two identifiers are: 3 equal, 2 normalised, 1 cut to at least 64 characters, 0 not the same."""
    if not ours or not theirs:
        return 0
    if ours == theirs:
        return 3
    # Texts of very different lengths are not normalised, which is slow for megabytes.
    longest = 4 * min(len(ours), len(theirs)) + SHORTEST_CUT_IDENTIFIER
    one, other = (_normal(text[:longest]).strip().casefold() for text in (ours, theirs))
    if one == other:
        return 2
    return int(_is_cut(one, other, SHORTEST_CUT_IDENTIFIER) or _is_cut(other, one, SHORTEST_CUT_IDENTIFIER))


def is_same_identifier(ours: str | None, theirs: str | None) -> bool:
    """Return whether two identifiers are the same: Leen may normalise them, or cut them to at least 64 characters."""
    return likeness(ours, theirs) > 0


def is_same_name(ours: str, theirs: str | None) -> bool:
    """Return whether a ticket's name in the tracker is ours, apart from white space and a cut at 200 or more."""
    if theirs is None:
        return False
    one, other = (" ".join(_normal(text).split()) for text in (ours, theirs))
    return one == other or _is_cut(one, other.removesuffix("…"), SHORTEST_CUT_NAME)


def _is_cut(whole: str, cut: str, shortest: int) -> bool:
    return len(cut) >= shortest and whole.startswith(cut)


def _normal(text: str) -> str:
    return unicodedata.normalize("NFC", clean(text))
