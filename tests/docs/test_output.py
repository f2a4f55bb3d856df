"""What the pages show is what comes: the summary, the messages."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from configparser import ConfigParser
from typing import Any

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_leen.bulk.summary import check_summary
from airflow_provider_leen.get_provider_info import get_provider_info
from airflow_provider_leen.operators.leen import LeenBulkCreateTicketsOperator
from airflow_provider_leen.sandbox.server import SandboxServer
from airflow_provider_leen.sensors.leen import LeenTicketFailureSensor
from tests.docs.pages import Block, in_language
from tests.docs.test_commands import sandbox_output
from tests.operators.dags import DEFAULTS, REMEMBERING, bulk_dag, tickets
from tests.support.airflow_run import AirflowRun

SANDBOX_COMMAND = ["python", "-m", "airflow_provider_leen.sandbox"]

RunDag = Callable[..., AirflowRun]


@in_language("json")
def test_the_summary_shown_is_what_its_three_rows_give(block: Block, run_dag: RunDag, sandbox: SandboxServer) -> None:
    shown: dict[str, Any] = json.loads(block.text)
    check_summary(shown)
    rows = [
        {"name": "Rotate the deploy key", "priority": "HIGH"},
        {"name": "Remove the unused admin account", "priority": "URGENT"},
        {"name": "Close the debug port", "prority": "LOW"},
    ]
    real: dict[str, Any] = {**run_dag(bulk_dag(rows)).summary()}
    assert without_keys(json.dumps(shown)) == without_keys(json.dumps(real))


def without_keys(text: str) -> str:
    return re.sub(r"airflow-[0-9a-f]{24}", "airflow-…", text)


def sandbox_says(run_dag: RunDag, sandbox: SandboxServer) -> str:
    lines = sandbox_output(SANDBOX_COMMAND)
    return re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:8765", "".join(lines))


def lost_reply_says(run_dag: RunDag, sandbox: SandboxServer) -> str:
    sandbox.inject("lost")
    [error] = run_dag(bulk_dag(tickets(2))).exceptions
    return f"{error}\n"


def gate_says(run_dag: RunDag, sandbox: SandboxServer) -> str:
    spoilt = {(0, 4), (2, 1), (2, 7)}
    lists = [
        [{"name": f"Rotate key {row}"} | ({"priority": "SHINY"} if (part, row) in spoilt else {}) for row in range(30)]
        for part in range(3)
    ]
    with DAG("leen_gate", schedule=None) as dag:
        create = LeenBulkCreateTicketsOperator.partial(
            task_id="create_tickets", ticket_defaults=DEFAULTS, **REMEMBERING
        ).expand(tickets=lists)
        LeenTicketFailureSensor(task_id="gate", results=create.output)
    [error] = run_dag(dag).exceptions
    return f"{error}\n"


SAID = {
    "Leen sandbox": sandbox_says,
    "The outcome of 2 tickets": lost_reply_says,
    "3 of 90 tickets failed": gate_says,
}
"""How a text that is shown begins, and what says it. What begins otherwise is no message of ours."""

_OTHERS = ("JiraOperator(",)


@in_language("text")
def test_a_text_shown_is_what_is_said(block: Block, run_dag: RunDag, sandbox: SandboxServer) -> None:
    if block.text.startswith(_OTHERS) or block.page.name == "architecture.md":  # a diagram
        return
    [says] = [producer for beginning, producer in SAID.items() if block.text.startswith(beginning)]
    assert without_keys(block.text) == without_keys(says(run_dag, sandbox))


@in_language("ini")
def test_a_setting_shown_is_one_that_is_read(block: Block) -> None:
    shown = ConfigParser(interpolation=None)
    shown.read_string(block.text)
    known = get_provider_info()["config"]
    assert all(set(shown[section]) <= known[section]["options"].keys() for section in shown.sections())
