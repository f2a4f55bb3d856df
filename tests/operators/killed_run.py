"""Runs a task that changes tickets, to be killed from outside, and tells what it left. Started by ``test_update.py``.

Arguments: the file to tell it in, and the tickets' ids. Airflow's home, which is empty, and the connection are in the
environment.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from airflow.utils.db import initdb
from airflow.utils.session import create_session
from sqlalchemy import select

from tests.airflow_run import run, xcom_model
from tests.operators.dags import update_dag


def main(file: str, *ids: str) -> None:
    initdb()
    outcome = run(update_dag(list(ids), batch_size=1))
    model = xcom_model()
    with create_session() as session:
        published = select(model.timestamp).filter_by(run_id=outcome.dag_run.run_id, key="return_value")
        published_at = session.scalars(published).one().timestamp()
    told = {
        "errors": [type(error).__name__ for error in outcome.exceptions],
        "results": outcome.xcom("update")["results"],
        "published_at": published_at,
    }
    Path(file).write_text(json.dumps(told))


if __name__ == "__main__":
    main(*sys.argv[1:])
