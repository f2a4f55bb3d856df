"""What the demo shows: lines, counts that go up in place on a terminal, and colour there alone."""

from __future__ import annotations

import os
import sys
from typing import Self

TERMINAL = sys.stdout.isatty()
COLOUR = TERMINAL and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"


def say(text: str) -> None:
    print(f"--- {text}", flush=True)


def bold(text: str) -> str:
    return f"\033[1m{text}\033[0m" if COLOUR else text


def green(text: str) -> str:
    return f"\033[32m{text}\033[0m" if COLOUR else text


class Counting:
    """A count that goes up: on a terminal in place, elsewhere a line for each quarter.

    :param text: what is counted.
    :param total: where it ends.
    """

    def __init__(self, text: str, total: int) -> None:
        self._text = text
        self._total = total
        self._shown = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if TERMINAL and self._shown:
            print("\r\033[K", end="", flush=True)

    def show(self, count: int, remark: str = "") -> None:
        """Show the count, unless it has not gone up."""
        if count <= self._shown:
            return
        quarter_reached = 4 * count // self._total > 4 * self._shown // self._total
        line = f"    {count:>5} {self._text}{remark}"
        if TERMINAL:
            print(f"\r\033[K{line}", end="", flush=True)
        elif quarter_reached:
            print(line, flush=True)
        self._shown = count
