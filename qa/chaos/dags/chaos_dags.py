"""The Dags of the chaos tests: one for each way to cut a list into batches, and those in which something is killed."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_leen.operators.leen import LeenBulkCreateTicketsOperator
from airflow_provider_leen.operators.update import LeenUpdateTicketsOperator
from airflow_provider_leen.sensors.sync import LeenTicketSyncSensor

RETRIES = 5
BATCHING = ((50, 4), (50, 1), (20, 8), (10, 3), (3, 2))


def _from_conf(name: str) -> str:
    return "{{ dag_run.conf['" + name + "'] }}"


LEEN: dict[str, Any] = {"leen_conn_id": _from_conf("conn"), "connection_id": _from_conf("connection_id")}


def _dag(dag_id: str, **arguments: Any) -> DAG:
    with DAG(dag_id, schedule=None, catchup=False, max_active_runs=16) as dag:
        LeenBulkCreateTicketsOperator(
            task_id="create",
            tickets_path=_from_conf("tickets_path"),
            ticket_defaults={"type": "Task"},
            **LEEN,
            ledger_path=_from_conf("ledger_path"),
            results_path="{{ dag_run.conf.get('results_path', '') }}",
            retry_delay=timedelta(0),
            **{"retries": RETRIES, **arguments},
        )
    return dag


for _size, _concurrency in BATCHING:
    for _name, _embed in (("plain", False), ("embed", True)):
        _dag(
            f"chaos_{_name}_{_size}_{_concurrency}",
            embed_identifier=_embed,
            batch_size=_size,
            max_concurrent_batches=_concurrency,
        )

for _name, _embed in (("plain", False), ("embed", True)):
    _dag(f"kill_{_name}", embed_identifier=_embed, batch_size=10, max_concurrent_batches=1, retries=3)

_dag("kill_triggerer", deferrable=True, poll_interval=0.5, batch_size=10, max_concurrent_batches=1, retries=0)

with _dag("wait_triggerer", retries=0) as _waiting:
    LeenTicketSyncSensor(
        task_id="synced",
        results=_waiting.get_task("create").output,
        deferrable=True,
        poke_interval=0.5,
        timeout=120,
        **LEEN,
    )

    @task(retries=0)
    def known(**context: Any) -> list[str]:
        """Create tickets that Leen knows at once."""
        from airflow_provider_leen.hooks.leen import LeenHook

        conf = context["dag_run"].conf
        ticket = {"name": "known", "project_vendor_id": "SEC", "type": "Task"}
        with LeenHook(conf["conn"], connection_id=conf["connection_id"]) as hook:
            return [hook.create_ticket(ticket).id for _ in range(3)]

    LeenUpdateTicketsOperator(
        task_id="update",
        ticket_ids=known(),
        updates={"status": "CLOSED"},
        batch_size=2,
        deferrable=True,
        poll_interval=0.5,
        **LEEN,
    )
