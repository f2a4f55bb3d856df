"""Run one example Dag with real Airflow, again and again, and write the outcome of each run to a file.

Started by ``demo.py`` as ``run_dag.py DAG_ID``, in an environment that names Airflow's home and its connections. Each
line that it reads asks for one run: ``{"conf": {…}, "outcome": "path"}``.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

EXAMPLES = Path(__file__).resolve().parent.parent / "example_dags"


def main(dag_id: str) -> None:
    sys.path.insert(0, str(EXAMPLES))
    dag = getattr(importlib.import_module(dag_id), dag_id)()
    for line in sys.stdin:
        asked = json.loads(line)
        written = Path(f"{asked['outcome']}.part")
        written.write_text(json.dumps(run(dag, asked["conf"])))
        written.rename(asked["outcome"])


def run(dag: Any, conf: dict[str, Any]) -> dict[str, Any]:
    run = dag.test(run_conf=conf)
    instances = run.get_task_instances()
    return {
        "run": str(run.state),
        "states": {instance.task_id: str(instance.state) for instance in instances},
        "returned": {instance.task_id: instance.xcom_pull(task_ids=instance.task_id) for instance in instances},
    }


if __name__ == "__main__":
    main(*sys.argv[1:])
