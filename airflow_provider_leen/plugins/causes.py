"""Errors that several tickets share. Errors that differ only in numbers count as one: "The name has … characters"."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_NUMBER = re.compile(r"(\d+)")
_MAX_COUNTED = 200
_MAX_SHOWN = 5
_MAX_SOUGHT = 200
"""The longest text that the page's filter takes."""


@dataclass
class Causes:
    """Counts errors by their texts without the numbers, up to a limit of different texts."""

    _numbers: dict[tuple[str, ...], list[str]] = field(default_factory=dict)
    _counts: dict[tuple[str, ...], int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self._counts)

    def add(self, error: str, count: int = 1) -> None:
        """Count an error."""
        parts = _NUMBER.split(error)
        self._add(tuple(parts[::2]), parts[1::2], count)

    def update(self, others: Causes) -> None:
        """Add what others have counted."""
        for words, count in others._counts.items():
            self._add(words, others._numbers[words], count)

    def _add(self, words: tuple[str, ...], numbers: list[str], count: int) -> None:
        if words not in self._counts and len(self._counts) >= _MAX_COUNTED:
            return
        known = self._numbers.setdefault(words, numbers)
        self._numbers[words] = [old if old == new else "…" for old, new in zip(known, numbers, strict=True)]
        self._counts[words] = self._counts.get(words, 0) + count

    def shared(self) -> list[dict[str, str | int]]:
        """Return the errors of several tickets, the most frequent first, each with a text to filter by."""
        frequent = sorted(self._counts, key=lambda words: -self._counts[words])[:_MAX_SHOWN]
        return [self._shown(words) for words in frequent if self._counts[words] > 1]

    def _shown(self, words: tuple[str, ...]) -> dict[str, str | int]:
        numbers = self._numbers[words]
        error = "".join(word + number for word, number in zip(words, [*numbers, ""], strict=True))
        sought = max(error.split("…"), key=len).strip()[:_MAX_SOUGHT].strip()
        return {"error": error, "count": self._counts[words], "sought": sought}
