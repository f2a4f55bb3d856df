"""Sequences of days by themselves: ``python -m qa.chaos.days --runs 50``. Each can be repeated alone by its seed."""

from __future__ import annotations

import argparse
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

from qa.chaos.days.plan import draw_sequence
from qa.chaos.days.play import Outcome, Play
from qa.chaos.days.report import closing_report, line
from qa.chaos.lab import Lab
from qa.support.environment import python_with_airflow


def main() -> int:
    arguments = _arguments()
    python = python_with_airflow(arguments.airflow)
    seed = random.randrange(10**6) if arguments.seed is None else arguments.seed
    sequences = [
        draw_sequence(seed, number, short=arguments.short) for number in arguments.only or range(arguments.runs)
    ]
    print(f"--- seed {seed}: {len(sequences)} sequences of days", flush=True)
    print("--- starting Airflow (half a minute)", flush=True)
    started = time.monotonic()

    def tell(outcome: Outcome) -> None:
        print(line(outcome), flush=True)
        if outcome.problems or arguments.story:
            print(f"     the story and the tries' logs are kept in {_keep(outcome)}", flush=True)

    with Lab(min(arguments.slots, len(sequences)), python=python) as lab:
        if any(days.is_deferrable for days in sequences):
            lab.airflow.start_triggerer()
        outcomes = lab.share(sequences, lambda slot, days: Play(lab.airflow, slot, days).perform(), tell)
        version = lab.airflow.version
    print(closing_report(outcomes, version=version, seed=seed, seconds=time.monotonic() - started))
    return 1 if any(outcome.problems for outcome in outcomes) else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m qa.chaos.days", description=__doc__)
    parser.add_argument("--runs", type=int, default=50, help="sequences, default 50")
    parser.add_argument("--seed", type=int, help="of all sequences; random by default, and printed")
    parser.add_argument("--only", type=int, action="append", help="only the one of this number; may be repeated")
    parser.add_argument("--slots", type=int, default=4, help="sequences at the same time, default 4")
    parser.add_argument("--short", action="store_true", help="as the test does that is in `make test-all`")
    parser.add_argument(
        "--story", action="store_true", help="keep the story of each one, not only of those that failed"
    )
    parser.add_argument("--airflow", metavar="VERSION", help="another Airflow, 2.11.2 say; default: the installed one")
    return parser.parse_args()


def _keep(outcome: Outcome) -> Path:
    folder = Path(tempfile.mkdtemp(prefix=f"leen-days-{outcome.days.seed}-{outcome.days.index}-"))
    (folder / "story.txt").write_text("\n".join(outcome.story) + "\n")
    for log in outcome.logs:
        run = next(part for part in log.parts if part.startswith("run_id="))
        (folder / f"{run.rpartition('-days-')[2] or run}.{log.name}").write_bytes(log.read_bytes())
    return folder


if __name__ == "__main__":
    # As Ctrl-C: what was started ends, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
