"""What OpenLineage is told of a task, where its provider is installed; elsewhere nothing is different."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from airflow.providers.common.compat.sdk import DAG, Asset, AssetAlias

from airflow_provider_leen.operators.create import LeenCreateTicketOperator
from airflow_provider_leen.operators.leen import LeenBulkCreateTicketsOperator
from airflow_provider_leen.operators.update import LeenUpdateTicketsOperator
from airflow_provider_leen.sandbox.server import SandboxServer
from tests.operators.dags import DEFAULTS, create, tickets
from tests.support.airflow_home import python_in
from tests.support.airflow_run import AIRFLOW


def counts_told(event: dict[str, Any]) -> dict[str, int]:
    facet = event["run"]["facets"]["leen_tickets"]
    return {name: value for name, value in facet.items() if not name.startswith("_")}


def test_openlineage_gets_the_counts_even_of_a_task_that_failed(sandbox: SandboxServer, airflow_home: Path) -> None:
    events = airflow_home / "events.json"
    python_in(
        airflow_home,
        "-m",
        "tests.operators.lineage_run",
        AIRFLOW_CONN_LEEN_DEFAULT=sandbox.airflow_conn,
        AIRFLOW__OPENLINEAGE__TRANSPORT=json.dumps({"type": "file", "log_file_path": str(events), "append": True}),
    )
    told = [json.loads(line) for line in events.read_text().splitlines()]
    complete, fail = [event for event in told if "leen_tickets" in event["run"]["facets"]]
    none = dict.fromkeys(("existing", "invalid", "unknown", "unsent"), 0)
    assert complete["eventType"] == "COMPLETE"
    assert counts_told(complete) == {"total": 2, "succeeded": 2, "failed": 0, "created": 2, "rejected": 0, **none}
    assert fail["eventType"] == "FAIL"
    assert counts_told(fail) == {"total": 3, "succeeded": 2, "failed": 1, "created": 2, "rejected": 1, **none}


def test_a_task_that_ended_before_it_knew_anything_reports_nothing() -> None:
    create = LeenBulkCreateTicketsOperator(task_id="create", tickets=tickets(1))
    update = LeenUpdateTicketsOperator(task_id="update", ticket_ids=[], updates={"status": "DONE"})
    assert create.get_openlineage_facets_on_complete(None) is None
    assert update.get_openlineage_facets_on_complete(None) is None


def test_an_update_reports_its_own_counts() -> None:
    update = LeenUpdateTicketsOperator(task_id="update", ticket_ids=[], updates={"status": "DONE"})
    update.counts = {"total": 1, "updated": 1}
    lineage = update.get_openlineage_facets_on_complete(None)
    assert lineage is not None
    facet = lineage.run_facets["leen_tickets"]
    assert (facet.total, facet.updated) == (1, 1)


def test_without_the_provider_the_operators_are_the_same(tmp_path: Path) -> None:
    python_in(
        tmp_path,
        "-c",
        "import sys\n"
        "sys.modules |= dict.fromkeys(('airflow.providers.openlineage.extractors', 'openlineage'))\n"
        "from airflow_provider_leen.tasks.lineage import counts_in\n"
        "from airflow_provider_leen.operators.leen import LeenBulkCreateTicketsOperator as Operator\n"
        "assert counts_in({'total': 1, 'results': []}) == {'total': 1}\n"
        "Operator(task_id='create', tickets=[])\n",
    )


# Asset events


def extras_of(uri: str) -> list[dict[str, Any]]:
    from airflow.utils.session import create_session
    from sqlalchemy import select

    if AIRFLOW >= (3, 0):
        from airflow.models.asset import AssetEvent, AssetModel

        of_asset = select(AssetEvent.extra).join(AssetModel, AssetModel.id == AssetEvent.asset_id)
        wanted = of_asset.where(AssetModel.uri == uri).order_by(AssetEvent.id)
    else:
        from airflow.models.dataset import DatasetEvent, DatasetModel  # type: ignore[import-not-found,unused-ignore]

        of_asset = select(DatasetEvent.extra).join(DatasetModel, DatasetModel.id == DatasetEvent.dataset_id)
        wanted = of_asset.where(DatasetModel.uri == uri).order_by(DatasetEvent.id)
    with create_session() as session:
        return list(session.scalars(wanted))


def test_an_asset_among_the_outlets_gets_the_counts_with_its_event(sandbox: SandboxServer, run_dag: Any) -> None:
    asset, alias = Asset("https://tracker.example/tickets"), AssetAlias("by-alias")
    with DAG("leen_test", schedule=None) as dag:
        created = create([{"name": "refused", "priority": "URGENT"}, *tickets(2)], outlets=[asset, alias])
        one = LeenCreateTicketOperator(task_id="one", ticket={"name": "one", **DEFAULTS}, outlets=[asset])
        ids = "{{ ti.xcom_pull('one')['id'] }}"
        update = LeenUpdateTicketsOperator(
            task_id="update", ticket_ids=ids, updates={"status": "CLOSED"}, poll_interval=0.01, outlets=[asset]
        )
        created >> one >> update
    if AIRFLOW < (3, 0):
        # dag.test() of Airflow 2 makes no asset known.
        DAG.bulk_write_to_db([dag])  # type: ignore[attr-defined]
    assert set(run_dag(dag).states.values()) == {"success"}
    of_many, of_one, of_update = extras_of(asset.uri)
    assert (of_many["total"], of_many["created"], of_many["rejected"]) == (3, 2, 1)
    assert (of_one["total"], of_one["created"], of_one["failed"]) == (1, 1, 0)
    assert (of_update["total"], of_update["updated"]) == (1, 1)
