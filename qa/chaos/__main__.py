"""The chaos test by itself: ``python -m qa.chaos --runs 300``. Each run can be repeated alone by its seed."""

from __future__ import annotations

import time

from qa.chaos.lab import Lab
from qa.chaos.plan import draw_plan
from qa.chaos.program import Arguments, keep, run
from qa.chaos.report import closing_report, line
from qa.chaos.run import Outcome


def main() -> int:
    arguments = Arguments("qa.chaos", __doc__, "runs", 300).read()
    plans = [draw_plan(arguments.seed, number, short=arguments.short) for number in arguments.numbers]
    disturbed = sum(bool(plan.disturbances) for plan in plans)
    print(f"--- seed {arguments.seed}: {len(plans)} runs, {disturbed} of them disturbed", flush=True)
    print("--- starting Airflow (half a minute)", flush=True)
    started = time.monotonic()
    ended = 0

    def tell(outcome: Outcome) -> None:
        nonlocal ended
        ended += 1
        print(f"{ended:>4} {line(outcome)}", flush=True)
        if outcome.problems:
            kept = keep(f"chaos-{outcome.plan.seed}-{outcome.plan.index}", [(log.name, log) for log in outcome.logs])
            print(f"     the tries' logs are kept in {kept}", flush=True)

    with Lab(min(arguments.slots, len(plans)), python=arguments.python) as lab:
        outcomes = lab.perform(plans, tell)
        version = lab.airflow.version
    print(closing_report(outcomes, version=version, seed=arguments.seed, seconds=time.monotonic() - started))
    return 1 if any(outcome.problems for outcome in outcomes) else 0


if __name__ == "__main__":
    run(main)
