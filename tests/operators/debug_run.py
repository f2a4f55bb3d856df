"""Runs the demo's Dag, and Dags that fail, and shows all there is to see. Started by ``test_secrets.py``.

In its own process, since Airflow reads its log level once. The connections ``leen_default``, ``refusing`` and
``gone`` are in the environment.
"""

from __future__ import annotations

import importlib
import pickle
import sys
import traceback
from pathlib import Path
from typing import Any

from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_leen.hooks.leen import LeenHook
from airflow_provider_leen.operators.leen import LeenBulkCreateTicketsOperator
from tests.operators.dags import DEFAULTS, bulk_dag, create, tickets
from tests.support.airflow_run import AirflowRun, run

EXAMPLES = Path(__file__).resolve().parents[2] / "example_dags"


def main() -> None:
    sys.path.insert(0, str(EXAMPLES))
    show("demo", run(importlib.import_module("leen_bandit_demo").leen_bandit_demo(), package="bandit"))
    show("refusing", run(bulk_dag(tickets(3), leen_conn_id="refusing", retries=1)))
    show("gone", run(bulk_dag(tickets(3), leen_conn_id="gone", retries=1)))
    show("templates", run(templates()))
    for connection in ("leen_default", "refusing", "gone"):
        with LeenHook(connection) as hook:
            client = hook.get_conn()
            say(hook.test_connection(), [vars(thing) for thing in (hook, client)], hook, client, hook.settings)


def templates() -> DAG:
    """What a scanner's report may hold."""
    with DAG("leen_test", schedule=None) as dag:

        @task
        def upstream() -> list[dict[str, Any]]:
            return [{"name": "{{ conn.leen_default.password }}", "description": "{{ conn.leen_default.get_uri() }}"}]

        report = upstream()
        create(report)
        report >> create("{{ ti.xcom_pull(task_ids='upstream') }}", task_id="through_text")
        LeenBulkCreateTicketsOperator.partial(task_id="by_kwargs", ticket_defaults=DEFAULTS).expand_kwargs(
            report.map(lambda ticket: {"tickets": [ticket]})
        )
    return dag


def show(name: str, outcome: AirflowRun) -> None:
    say("OUTCOME", name, outcome.states)
    for error in outcome.exceptions:
        say("EXCEPTION", repr(error), str(error), error.args, vars(error))
        say("".join(traceback.format_exception(error)))
        say(pickle.dumps(error))
        for chained in (error.__cause__, error.__context__):
            say("CHAINED", repr(chained), vars(chained) if chained is not None else None)


def say(*things: Any) -> None:
    sys.stdout.write(" ".join(map(str, things)) + "\n")


if __name__ == "__main__":
    main()
