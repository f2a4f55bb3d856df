"""What the chaos test prints. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from qa.chaos.run import Outcome


def line(outcome: Outcome) -> str:
    """Report the outcome of a run in a line, and each problem in a line."""
    plan = outcome.plan
    counts = ", ".join(
        f"{outcome.counts[name]} {name}"
        for name in ("created", "rejected", "invalid", "unknown", "unsent")
        if outcome.counts.get(name)
    )
    disturbed = ", ".join(outcome.disturbances.elements())
    text = (
        f"run {plan.index}: {len(plan.rows)} tickets in {plan.calls} batches -> {outcome.state} after "
        f"{outcome.tries} tries ({outcome.seconds:.0f} s): {counts}{'; ' + disturbed if disturbed else ''}"
    )
    if outcome.problems:
        repeat = f"python -m qa.chaos --seed {plan.seed} --only {plan.index}{' --short' if plan.short else ''}"
        text = "\n     ".join(
            [f"{text}  *** FAILED, repeat it with {repeat}", *(cut(problem) for problem in outcome.problems[:10])]
        )
    return text


def closing_report(outcomes: Sequence[Outcome], *, version: str, seed: int, seconds: float) -> str:
    """Say what was survived."""
    faults: Counter[str] = sum((outcome.faults for outcome in outcomes), Counter())
    disturbances: Counter[str] = sum((outcome.disturbances for outcome in outcomes), Counter())
    counts: Counter[str] = sum((Counter(outcome.counts) for outcome in outcomes), Counter())
    failed = [outcome for outcome in outcomes if outcome.problems]
    disturbed = [outcome for outcome in outcomes if outcome.disturbances]
    complete = [outcome for outcome in outcomes if outcome.state == "success"]
    retries = sum(max(0, outcome.tries - 1) for outcome in outcomes)
    embedded = [outcome for outcome in outcomes if outcome.plan.embed]
    rows = [
        ("Airflow", version),
        ("seed", str(seed)),
        ("runs", f"{len(outcomes)}, {len(disturbed)} of them disturbed, in {seconds / 60:.1f} minutes"),
        ("ended complete", f"{len(complete)} (with embedded keys {_of(complete, embedded)})"),
        ("ended by naming what is unknown", str(sum(outcome.counts.get("unknown", 0) > 0 for outcome in outcomes))),
        ("ended since the key was refused", str(sum(outcome.counts.get("unsent", 0) > 0 for outcome in outcomes))),
        ("retries used", str(retries)),
        ("disturbances", listed(disturbances)),
        ("faults", listed(faults)),
        (
            "tickets",
            listed(Counter({name: counts[name] for name in ("created", "rejected", "invalid", "unknown", "unsent")})),
        ),
        (
            "runs with a ticket lost, doubled, silent or overwritten",
            ", ".join(str(o.plan.index) for o in failed) or "none",
        ),
    ]
    width = max(len(name) for name, _ in rows)
    return "\n".join(["---", *(f"{name:<{width}}  {value}" for name, value in rows)])


def _of(some: Sequence[Outcome], embedded: Sequence[Outcome]) -> str:
    both = sum(outcome.plan.embed for outcome in some)
    return f"{both} of {len(embedded)}"


def listed(counter: Counter[str]) -> str:
    total = f"{sum(counter.values())}: " if len(counter) > 1 else ""
    return total + (", ".join(f"{count} {name}" for name, count in counter.most_common() if count) or "none")


def cut(text: str, limit: int = 250) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
