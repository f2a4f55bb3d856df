"""Runs a Dag that succeeds and one that fails at its threshold. Started by ``test_lineage.py``.

In its own process, since Airflow loads its listeners once.
"""

from __future__ import annotations

from tests.operators.dags import bulk_dag, tickets
from tests.support.airflow_run import run

if __name__ == "__main__":
    assert run(bulk_dag(tickets(2))).states == {"create": "success"}
    assert run(bulk_dag([{"name": "refused", "priority": "URGENT"}, *tickets(2)], max_failures=0)).states == {
        "create": "failed"
    }
