"""Sequences of days by themselves: ``python -m qa.chaos.days --runs 50``. Each can be repeated alone by its seed."""

from __future__ import annotations

import time
from pathlib import Path

from qa.chaos.days.plan import draw_sequence
from qa.chaos.days.play import Outcome, Play
from qa.chaos.days.report import closing_report, line
from qa.chaos.lab import Lab
from qa.chaos.program import Arguments, keep, run


def main() -> int:
    parser = Arguments("qa.chaos.days", __doc__, "sequences", 50)
    parser.add_argument(
        "--story", action="store_true", help="keep the story of each one, not only of those that failed"
    )
    arguments = parser.read()
    sequences = [draw_sequence(arguments.seed, number, short=arguments.short) for number in arguments.numbers]
    print(f"--- seed {arguments.seed}: {len(sequences)} sequences of days", flush=True)
    print("--- starting Airflow (half a minute)", flush=True)
    started = time.monotonic()

    def tell(outcome: Outcome) -> None:
        print(line(outcome), flush=True)
        if outcome.problems or arguments.story:
            print(f"     the story and the tries' logs are kept in {_keep(outcome)}", flush=True)

    with Lab(min(arguments.slots, len(sequences)), python=arguments.python) as lab:
        if any(days.is_deferrable for days in sequences):
            lab.airflow.start_triggerer()
        outcomes = lab.share(sequences, lambda slot, days: Play(lab.airflow, slot, days).perform(), tell)
        version = lab.airflow.version
    print(closing_report(outcomes, version=version, seed=arguments.seed, seconds=time.monotonic() - started))
    return 1 if any(outcome.problems for outcome in outcomes) else 0


def _keep(outcome: Outcome) -> Path:
    run_of = {log: next(part for part in log.parts if part.startswith("run_id=")) for log in outcome.logs}
    logs = [(f"{run_id.rpartition('-days-')[2] or run_id}.{log.name}", log) for log, run_id in run_of.items()]
    story = "\n".join(outcome.story) + "\n"
    return keep(f"days-{outcome.days.seed}-{outcome.days.index}", logs, [("story.txt", story)])


if __name__ == "__main__":
    run(main)
