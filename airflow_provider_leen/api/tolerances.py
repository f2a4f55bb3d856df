"""By how much Leen may differ from what was sent, or from its documentation, and is believed all the same."""

from __future__ import annotations

import unicodedata
from typing import Any

from airflow_provider_leen.api.text import clean

SHORTEST_CUT_IDENTIFIER = 64
"""An identifier that Leen has cut has at least so many characters."""

SHORTEST_CUT_NAME = 200
"""A name that the tracker has cut has at least so many characters."""


def is_blank(value: Any) -> bool:
    """Tell whether a field says nothing: an error text of blanks is no error, an empty id is none."""
    return not (value.strip() if isinstance(value, str) else value)


def likeness(ours: str | None, theirs: str | None) -> int:
    """Tell how alike two identifiers are: 3 equal, 2 normalised, 1 cut to at least 64 characters, 0 not the same."""
    if not ours or not theirs:
        return 0
    if ours == theirs:
        return 3
    # A text of megabytes is not worth its normalising: no form of a character is longer than a few others.
    longest = 4 * min(len(ours), len(theirs)) + SHORTEST_CUT_IDENTIFIER
    one, other = (_normal(text[:longest]).strip().casefold() for text in (ours, theirs))
    if one == other:
        return 2
    return int(_is_cut(one, other, SHORTEST_CUT_IDENTIFIER) or _is_cut(other, one, SHORTEST_CUT_IDENTIFIER))


def is_same_identifier(ours: str | None, theirs: str | None) -> bool:
    """Tell whether two identifiers are the same: Leen may normalise them, or cut them to at least 64 characters."""
    return likeness(ours, theirs) > 0


def is_same_name(ours: str, theirs: str | None) -> bool:
    """Tell whether a ticket's name in the tracker is ours, but for white space; it may be cut to 200 characters."""
    if theirs is None:
        return False
    one, other = (" ".join(_normal(text).split()) for text in (ours, theirs))
    return one == other or _is_cut(one, other.removesuffix("…"), SHORTEST_CUT_NAME)


def _is_cut(whole: str, cut: str, shortest: int) -> bool:
    return len(cut) >= shortest and whole.startswith(cut)


def _normal(text: str) -> str:
    return unicodedata.normalize("NFC", clean(text))
