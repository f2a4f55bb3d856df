"""A benchmark's result: figures, each with a limit or a peer, and curves to draw."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

REPEATS = 3

Curve = list[tuple[float, float]]


@dataclass(frozen=True)
class Figure:
    """One line of the table.

    :param what: was measured.
    :param value: with its unit.
    :param beside: the limit, or what a peer did in the same run.
    :param holds: whether the limit is kept; None where there is none.
    """

    what: str
    value: str
    beside: str = ""
    holds: bool | None = None

    @property
    def verdict(self) -> str:
        """Say whether the limit is kept."""
        return {True: "yes", False: "**no**", None: ""}[self.holds]


@dataclass
class Report:
    """What one benchmark has found.

    :param figures: for the table.
    :param curves: by name, points to draw.
    """

    figures: list[Figure] = field(default_factory=list)
    curves: dict[str, Curve] = field(default_factory=dict)

    def add(self, what: str, value: str, beside: str = "", holds: bool | None = None) -> None:
        """Add a figure."""
        self.figures.append(Figure(what, value, beside, holds))


def median_of(measure: Callable[[], float], repeats: int = REPEATS) -> float:
    """Measure several times and return the median."""
    return statistics.median(measure() for _ in range(repeats))


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)


def table_of(report: Report) -> str:
    """Return a report's figures as a table in Markdown."""
    rows = [(figure.what, figure.value, figure.beside, figure.verdict) for figure in report.figures]
    return table(("what", "figure", "limit or peer", "holds"), rows)
