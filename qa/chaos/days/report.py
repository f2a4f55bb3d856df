"""What the sequences of days print. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from qa.chaos.days.play import Outcome
from qa.chaos.report import cut, listed


def line(outcome: Outcome) -> str:
    """Report the outcome of a sequence in a line, and each problem in a line."""
    days = outcome.days
    text = (
        f"sequence {days.index} ({days.kind}): {len(days.days)} days and {outcome.quiet_days} quiet ones, "
        f"{outcome.runs} runs with {outcome.tries} tries, {outcome.tickets} tickets ({outcome.seconds:.0f} s)"
    )
    if not outcome.problems:
        return text
    repeat = f"python -m qa.chaos.days --seed {days.seed} --only {days.index}{' --short' if days.short else ''}"
    return "\n     ".join([f"{text}  *** FAILED, repeat it with {repeat}", *map(cut, outcome.problems[:10])])


def closing_report(outcomes: Sequence[Outcome], *, version: str, seed: int, seconds: float) -> str:
    """Say what was survived."""

    def total(name: str) -> str:
        counters: list[Counter[str]] = [getattr(outcome, name) for outcome in outcomes]
        return listed(sum(counters, Counter()))

    failed = [str(outcome.days.index) for outcome in outcomes if outcome.problems]
    days = sum(len(outcome.days.days) + outcome.quiet_days for outcome in outcomes)
    rows = [
        ("Airflow", version),
        ("seed", str(seed)),
        ("sequences", f"{len(outcomes)} of {days} days in all, in {seconds / 60:.1f} minutes"),
        ("runs", f"{total('ended')}; {sum(outcome.tries for outcome in outcomes)} tries"),
        ("struck at a write", total("struck")),
        ("events", total("events")),
        ("faults", total("faults")),
        ("tickets", str(sum(outcome.tickets for outcome in outcomes))),
        ("sequences in which a promise is broken", ", ".join(failed) or "none"),
    ]
    width = max(len(name) for name, _ in rows)
    return "\n".join(["---", *(f"{name:<{width}}  {value}" for name, value in rows)])
