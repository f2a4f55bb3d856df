"""The chaos test by itself: ``python -m qa.chaos --runs 300``. Each run can be repeated alone by its seed."""

from __future__ import annotations

import argparse
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

from qa.chaos.lab import Lab
from qa.chaos.plan import draw_plan
from qa.chaos.report import closing_report, line
from qa.chaos.run import Outcome
from qa.support.environment import python_with_airflow


def main() -> int:
    arguments = _arguments()
    python = python_with_airflow(arguments.airflow)
    seed = random.randrange(10**6) if arguments.seed is None else arguments.seed
    numbers = arguments.only or range(arguments.runs)
    plans = [draw_plan(seed, number, short=arguments.short) for number in numbers]
    disturbed = sum(bool(plan.disturbances) for plan in plans)
    print(f"--- seed {seed}: {len(plans)} runs, {disturbed} of them disturbed", flush=True)
    print("--- starting Airflow (half a minute)", flush=True)
    started = time.monotonic()
    ended = 0

    def tell(outcome: Outcome) -> None:
        nonlocal ended
        ended += 1
        print(f"{ended:>4} {line(outcome)}", flush=True)
        if outcome.problems:
            print(f"     the tries' logs are kept in {_keep_logs(outcome)}", flush=True)

    with Lab(min(arguments.slots, len(plans)), python=python) as lab:
        outcomes = lab.perform(plans, tell)
        version = lab.airflow.version
    print(closing_report(outcomes, version=version, seed=seed, seconds=time.monotonic() - started))
    return 1 if any(outcome.problems for outcome in outcomes) else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m qa.chaos", description=__doc__)
    parser.add_argument("--runs", type=int, default=300, help="default 300")
    parser.add_argument("--seed", type=int, help="of all runs; random by default, and printed")
    parser.add_argument("--only", type=int, action="append", help="only the run of this number; may be repeated")
    parser.add_argument("--slots", type=int, default=4, help="runs at the same time, default 4")
    parser.add_argument(
        "--short", action="store_true", help="draw the runs as the test does that is in `make test-all`"
    )
    parser.add_argument("--airflow", metavar="VERSION", help="another Airflow, 2.11.2 say; default: the installed one")
    return parser.parse_args()


def _keep_logs(outcome: Outcome) -> Path:
    folder = Path(tempfile.mkdtemp(prefix=f"leen-chaos-{outcome.plan.seed}-{outcome.plan.index}-"))
    for log in outcome.logs:
        (folder / log.name).write_bytes(log.read_bytes())
    return folder


if __name__ == "__main__":
    # As Ctrl-C: what was started ends, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
