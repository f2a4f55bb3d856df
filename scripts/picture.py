"""Draw the flow of a ticket, ``docs/images/flow.svg``, for light and dark pages: ``python -m scripts.picture``."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from pathlib import Path

PICTURE = Path(__file__).resolve().parent.parent / "docs" / "images" / "flow.svg"

WIDTH, HEIGHT = 1000, 308
BOX = (172, 68)

STYLE = """
text { font: 13px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; fill: #52525b; }
.title { font-weight: 600; font-size: 15px; fill: #18181b; }
.box { fill: #ffffff; stroke: #a1a1aa; }
.ours { stroke: #1d4ed8; stroke-width: 1.5; }
.frame { fill: #eff4ff; stroke: #bfd0f7; }
.arrow { fill: none; stroke: #52525b; stroke-width: 1.5; }
.head { fill: #52525b; }
@media (prefers-color-scheme: dark) {
  text { fill: #a1a1aa; }
  .title { fill: #fafafa; }
  .box { fill: #18181b; stroke: #71717a; }
  .ours { stroke: #93c5fd; }
  .frame { fill: #1a2233; stroke: #334766; }
  .arrow { stroke: #a1a1aa; }
  .head { fill: #a1a1aa; }
}
"""


@dataclass(frozen=True)
class Box:
    """A box with a title and lines under it.

    :param ours: whether it is a part of this package.
    """

    left: int
    top: int
    title: str
    lines: tuple[str, ...]
    ours: bool = True

    def __str__(self) -> str:
        middle = self.left + BOX[0] // 2
        texts = [f'<text class="title" x="{middle}" y="{self.top + 22}">{escape(self.title)}</text>']
        texts += [
            f'<text x="{middle}" y="{self.top + 41 + 17 * number}">{escape(line)}</text>'
            for number, line in enumerate(self.lines)
        ]
        kind = "box ours" if self.ours else "box"
        rectangle = f'<rect class="{kind}" x="{self.left}" y="{self.top}" width="{BOX[0]}" height="{BOX[1]}" rx="8"/>'
        return "\n".join([rectangle, *texts])


BOXES = (
    Box(12, 40, "Findings", ("a list, a task's output,", "JSON, CSV or SARIF"), ours=False),
    Box(222, 40, "Rows", ("read, checked,", "fitted to the tracker")),
    Box(432, 40, "Batches", ("up to 50 tickets each,", "several at a time")),
    Box(816, 40, "Leen", ("one call or one job", "for each batch"), ours=False),
    Box(816, 134, "Tracker", ("Jira",), ours=False),
    Box(432, 134, "Ledger", ("knows what was sent;", "a retry reads it first")),
    Box(624, 134, "Look-up", ("asks for what was sent", "without an answer")),
    Box(222, 134, "Results", ("one for each row,", "whatever happens")),
    Box(12, 236, "Tab", ("each ticket, in the", "page of task and run")),
    Box(222, 236, "Gate", ("fails the run if", "too many tickets failed")),
    Box(432, 236, "failed_tickets", ("the rows that may be", "sent again")),
)

ARROWS = (
    "M184 74 H216",  # findings to rows
    "M394 74 H426",  # rows to batches
    "M604 74 H810",  # batches to Leen
    "M902 108 V128",  # Leen to the tracker
    "M518 108 V128",  # batches to the ledger
    "M624 168 H610",  # look-up to the ledger
    "M816 168 H802",  # tracker to look-up
    "M432 168 H400",  # ledger to results
    "M308 202 V230",  # results to the gate
    "M308 219 H98 V230",  # results to the tab
    "M308 219 H518 V230",  # results to failed_tickets
)


def picture() -> str:
    """Return the picture."""
    arrows = [f'<path class="arrow" marker-end="url(#head)" d="{path}"/>' for path in ARROWS]
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" text-anchor="middle">',
        "<title>Findings become rows, batches, tickets in the tracker, and a result for each row</title>",
        f"<style>{STYLE}</style>",
        '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path class="head" d="M0 0 L8 4 L0 8 z"/></marker></defs>',
        '<rect class="frame" x="203" y="6" width="602" height="206" rx="12"/>',
        '<text x="504" y="27">one Airflow task, however often it is retried</text>',
        *arrows,
        *map(str, BOXES),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


if __name__ == "__main__":
    PICTURE.write_text(picture())
