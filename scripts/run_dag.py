"""Run one example Dag with real Airflow and write what came of it to a JSON file. Started by ``demo.py``.

Usage: ``run_dag.py DAG_ID OUTCOME_FILE``, in an environment that names Airflow's home and its connections.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parent.parent / "example_dags"


def main(dag_id: str, outcome_file: str) -> None:
    sys.path.insert(0, str(EXAMPLES))
    dag = getattr(importlib.import_module(dag_id), dag_id)()
    run = dag.test()
    instances = run.get_task_instances()
    outcome = {
        "run": str(run.state),
        "states": {instance.task_id: str(instance.state) for instance in instances},
        "returned": {instance.task_id: instance.xcom_pull(task_ids=instance.task_id) for instance in instances},
    }
    Path(outcome_file).write_text(json.dumps(outcome))


if __name__ == "__main__":
    main(*sys.argv[1:])
