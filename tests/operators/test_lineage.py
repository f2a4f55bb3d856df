"""What OpenLineage is told of a task, where its provider is installed; elsewhere nothing is different."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from airflow_provider_leen.operators.leen import LeenBulkCreateTicketsOperator
from airflow_provider_leen.operators.update import LeenUpdateTicketsOperator
from airflow_provider_leen.sandbox.server import SandboxServer
from tests.operators.dags import tickets

ROOT = Path(__file__).resolve().parents[2]


def python(*arguments: str, **environment: str) -> None:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def counts_told(event: dict[str, Any]) -> dict[str, int]:
    facet = event["run"]["facets"]["leen_tickets"]
    return {name: value for name, value in facet.items() if not name.startswith("_")}


def test_openlineage_is_told_the_counts_also_of_a_task_that_failed(sandbox: SandboxServer, airflow_home: Path) -> None:
    events = airflow_home / "events.json"
    python(
        "-m",
        "tests.operators.lineage_run",
        AIRFLOW_HOME=str(airflow_home),
        AIRFLOW__OPENLINEAGE__TRANSPORT=json.dumps({"type": "file", "log_file_path": str(events), "append": True}),
    )
    told = [json.loads(line) for line in events.read_text().splitlines()]
    complete, fail = [event for event in told if "leen_tickets" in event["run"]["facets"]]
    none = dict.fromkeys(("existing", "invalid", "unknown", "unsent"), 0)
    assert complete["eventType"] == "COMPLETE"
    assert counts_told(complete) == {"total": 2, "succeeded": 2, "failed": 0, "created": 2, "rejected": 0, **none}
    assert fail["eventType"] == "FAIL"
    assert counts_told(fail) == {"total": 3, "succeeded": 2, "failed": 1, "created": 2, "rejected": 1, **none}


def test_a_task_that_ended_before_it_knew_anything_tells_nothing() -> None:
    create = LeenBulkCreateTicketsOperator(task_id="create", tickets=tickets(1))
    update = LeenUpdateTicketsOperator(task_id="update", ticket_ids=[], updates={"status": "DONE"})
    assert create.get_openlineage_facets_on_complete(None) is None
    assert update.get_openlineage_facets_on_complete(None) is None


def test_an_update_tells_its_own_counts() -> None:
    update = LeenUpdateTicketsOperator(task_id="update", ticket_ids=[], updates={"status": "DONE"})
    update.counts = {"total": 1, "updated": 1}
    lineage = update.get_openlineage_facets_on_complete(None)
    assert lineage is not None
    facet = lineage.run_facets["leen_tickets"]
    assert (facet.total, facet.updated) == (1, 1)


def test_without_the_provider_the_operators_are_the_same() -> None:
    python(
        "-c",
        "import sys\n"
        "sys.modules |= dict.fromkeys(('airflow.providers.openlineage.extractors', 'openlineage'))\n"
        "from airflow_provider_leen.tasks.lineage import counts_in\n"
        "from airflow_provider_leen.operators.leen import LeenBulkCreateTicketsOperator as Operator\n"
        "assert counts_in({'total': 1, 'results': []}) == {'total': 1}\n"
        "Operator(task_id='create', tickets=[])\n",
    )
