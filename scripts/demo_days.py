"""The three days of the demo: which findings each report has, what must come of them, and what is shown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from airflow_provider_leen.api.text import for_terminal, one_line
from scripts.demo_screen import green

Finding = dict[str, Any]

_TITLE_WIDTH = 80


class DemoError(Exception):
    """The demo could not do what it is there to show; the message is for a person."""


@dataclass(frozen=True)
class Day:
    """One day.

    :param title: what has happened since the day before.
    :param findings: the day's report.
    :param expected: how many tickets must end how.
    :param held: how many tickets exist afterwards.
    :param synced_afterwards: whether Leen synchronizes with the tracker in the night after it.
    """

    name: str
    title: str
    findings: list[Finding]
    expected: Mapping[str, int]
    held: int
    synced_afterwards: bool = False

    @property
    def new(self) -> int:
        """How many tickets are to be filed."""
        return self.expected["created"]


def three_days(findings: Sequence[Finding]) -> list[Day]:
    """Spread a scan's findings over three days, as if people had fixed and written code in between.

    :raises DemoError: the scan found too little.
    """
    new_on_tuesday, back, gone, *new_on_wednesday = _six_apart(findings)
    later = [new_on_tuesday, *new_on_wednesday]
    monday = [finding for finding in findings if finding not in later]
    tuesday = [*(finding for finding in monday if finding != back), new_on_tuesday]
    wednesday = [*(finding for finding in monday if finding != gone), *new_on_wednesday]
    filed = len(monday)
    return [
        Day(
            "monday",
            "Monday: the first run",
            monday,
            {"created": filed},
            held=filed,
            synced_afterwards=True,
        ),
        Day(
            "tuesday",
            "Tuesday: Leen has synchronized with the tracker. 1 finding is new, 1 is gone",
            tuesday,
            {"created": 1, "existing": filed - 1, "closed": 1},
            held=filed + 1,
        ),
        Day(
            "wednesday",
            "Wednesday: no sync since Monday night. 3 findings are new, 2 are gone, 1 is back",
            wednesday,
            {"created": 3, "existing": filed - 2, "closed": 1, "reopened": 1, "pending": 1},
            held=filed + 4,
        ),
    ]


def _six_apart(findings: Sequence[Finding]) -> list[Finding]:
    """Return six findings from all over the report, each the only one of its check in its file."""
    place = {id(finding): (finding["filename"], finding["test_id"]) for finding in findings}
    often = Counter(place.values())
    alone = [finding for finding in findings if often[place[id(finding)]] == 1]
    if len(alone) < 6:
        raise DemoError(f"The scan found too little to show: {len(findings)} findings.")
    return alone[:: len(alone) // 6][:6]


def check_day(
    day: Day,
    outcome: Mapping[str, Any],
    tickets: Sequence[Mapping[str, Any]],
    duplicates: Mapping[str, Sequence[Any]],
) -> None:
    """Compare what the Dag reports with what the local Leen holds: the demo must not be taken at its word.

    :param outcome: of the Dag run, as ``run_dag.py`` writes it.
    :param tickets: what the local Leen holds.
    :param duplicates: what it holds twice.
    :raises DemoError: they disagree, or something else happened than was expected.
    """
    summary = outcome["returned"]["reconcile"]
    if outcome["run"] != "success" or not summary:
        raise DemoError(f"{day.name}: the Dag run ended as '{outcome['run']}'; tasks: {outcome['states']}.")
    counted = {status: count for status, count in Counter(row["status"] for row in summary["results"]).items() if count}
    if counted != day.expected:
        raise DemoError(f"{day.name}: the results are {counted}, and should be {dict(day.expected)}.")
    if len(tickets) != day.held or duplicates["by_identifier"]:
        raise DemoError(
            f"{day.name}: the local Leen holds {len(tickets)} tickets, and should hold {day.held}, none of them twice; "
            f"twice are {duplicates['by_identifier'][:3]}."
        )


def day_lines(day: Day, summary: Mapping[str, Any], calls: int) -> list[str]:
    """Say what a day's run did, in a table.

    :param summary: the summary of the reconciling task.
    :param calls: how many calls have filed tickets.
    """
    remarks = {
        "created": f"in {calls} {'calls' if calls > 1 else 'call'}",
        "existing": "have their ticket already: not filed again",
        "reopened": "the finding is back: its own ticket, not a new one",
        "closed": "the finding is gone",
        "pending": "the finding is gone, but Leen does not know the ticket: closed by the first run after a sync",
    }
    words = {"created": "filed", "existing": "known"}
    lines = [f"    {'findings':<10}{len(day.findings):>5}"]
    for status, remark in remarks.items():
        rows = [row for row in summary["results"] if row["status"] == status]
        if rows:
            lines.append(f"    {words.get(status, status):<10}{len(rows):>5}  {remark}")
            if len(rows) <= 3:
                lines += [f"      {row['vendor_ticket_id']}  {_title(row)}" for row in rows]
    failed = f"    {'failed':<10}{summary['failed']:>5}  {green('the gate has passed')}"
    return [*lines, failed, f"    {'tracker':<10}{day.held:>5}  {green('tickets, none of them twice')}"]


def _title(row: Mapping[str, Any]) -> str:
    return for_terminal(one_line(str(row["name"] or row["identifier"]), _TITLE_WIDTH))
