"""What remembering costs: ``python -m qa.chaos.ledger_cost``.

5,000 tickets, 4 batches in flight, against a sandbox that takes 200 ms a call, under a scheduler; with the ledger and
without, in turns.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
import uuid
from pathlib import Path

from qa.chaos.scheduler import SchedulerAirflow
from qa.chaos.slot import Slot

TICKETS = 5000
LATENCY = 0.2
MOST = 1.05
"""The ledger may make the sending take so many times as long."""

DAGS = ("cost_durable", "cost_forgetful")


def measure(airflow: SchedulerAirflow, slot: Slot, dag_id: str, run_id: str, tickets: Path) -> tuple[float, float]:
    """Run the task once; return the seconds from its first call to its last reply, and those of the task instance."""
    slot.begin()
    conf = {
        "tickets_path": str(tickets),
        "conn": slot.conn_id,
        "connection_id": str(uuid.uuid4()),
        "ledger_path": "",
    }
    airflow.trigger(dag_id, run_id, conf)
    while not (look := airflow.look(dag_id, run_id)).ended:
        time.sleep(0.5)
    calls = slot.bulk_calls
    if look.run != "success" or len(slot.tickets(conf["connection_id"])) != TICKETS:
        raise RuntimeError(f"{run_id} ended as {look.run} with {len(calls)} calls")
    sending = max(call.finished or 0.0 for call in calls) - min(call.started for call in calls)
    return sending, look.seconds or 0.0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m qa.chaos.ledger_cost", description=__doc__)
    parser.add_argument("--times", type=int, default=3, help="runs with the ledger and without, default 3")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="leen-slots-") as name:
        folder = Path(name)
        tickets = folder / "tickets.jsonl"
        row = {"project_vendor_id": "SEC", "description": "What a scanner has to say. " * 20}
        tickets.write_text("".join(json.dumps(row | {"name": f"finding {n}"}) + "\n" for n in range(TICKETS)))
        figures: dict[str, list[tuple[float, float]]] = {dag_id: [] for dag_id in DAGS}
        with (
            Slot(0, folder, latency=LATENCY, timeout=30.0) as slot,
            SchedulerAirflow({slot.conn_id: slot.airflow_conn}) as airflow,
        ):
            # The first task on a new Airflow is slow.
            measure(airflow, slot, DAGS[0], "warm-up", tickets)
            for number in range(arguments.times):
                for dag_id in DAGS:
                    sending, whole = measure(airflow, slot, dag_id, f"{dag_id}-{number}", tickets)
                    figures[dag_id].append((sending, whole))
                    print(f"{dag_id:<15} sending {sending:6.2f} s   task {whole:6.2f} s", flush=True)
    ratios = {}
    for position, what in enumerate(("sending", "task")):
        medians = [statistics.median(figure[position] for figure in figures[dag_id]) for dag_id in DAGS]
        ratios[what] = medians[0] / medians[1]
        more = 100 * (ratios[what] - 1)
        print(f"{what:<8} {medians[0]:.2f} s with the ledger, {medians[1]:.2f} s without (medians): {more:+.1f} %")
    return 0 if ratios["sending"] <= MOST else 1


if __name__ == "__main__":
    sys.exit(main())
