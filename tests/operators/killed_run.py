"""Runs two tasks that change tickets, each to be killed, and tells what they left. Started by ``test_update.py``.

Arguments: the file to tell it in, and the tickets' ids. Airflow's home and the connection are in the environment.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_leen.operators.update import LeenUpdateTicketsOperator
from tests.support.airflow_run import run


def main(file: str, *ids: str) -> None:
    with DAG("leen_killed", schedule=None) as dag:
        first, second = (
            LeenUpdateTicketsOperator(
                task_id=task_id,
                ticket_ids=list(ids),
                updates={"status": "CLOSED"},
                batch_size=1,
                max_concurrent_batches=1,
                trigger_rule="all_done",
            )
            for task_id in ("first", "second")
        )
        first >> second
    outcome = run(dag)
    told = {
        "errors": [type(error).__name__ for error in outcome.exceptions],
        "results": [outcome.xcom(task.task_id)["results"] for task in (first, second)],
    }
    Path(file).write_text(json.dumps(told))


if __name__ == "__main__":
    main(*sys.argv[1:])
