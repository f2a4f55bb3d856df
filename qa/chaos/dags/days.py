"""The Dags of the days: one files findings, one reconciles them; what comes over a try is in the conf."""

from __future__ import annotations

import json
import os
import signal
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_leen.operators.leen import LeenBulkCreateTicketsOperator
from airflow_provider_leen.operators.reconcile import LeenReconcileTicketsOperator

RETRIES = 3

WRITES = ("create", "set", "write", "delete", "remove")
"""What a register's store is changed by."""


def _from_conf(name: str) -> str:
    return "{{ dag_run.conf['" + name + "'] }}"


def get_ready(context: Any) -> None:
    """Let a day last seconds in this process, and kill it at a write if the plan says so."""
    from airflow_provider_leen.bulk import changes, plan, register, register_journal, register_ledger

    register_ledger.SIGNS_EVERY, register_ledger.LOOKS_EVERY = 1.0, 0.3
    register_journal.STALE_AFTER = 6.0
    register.MADE_WITHIN = 8.0
    changes.WAITS_FOR_JOBS = 3.0
    # Longer than a request that was sent can have an effect.
    plan.WAIT_FOR_CHANGE = 30.0
    conf, number = context["dag_run"].conf, str(context["ti"].try_number)
    if number in conf["strikes"]:
        _strike_at_a_write(**conf["strikes"][number], note=Path(f"{conf['notes']}.{number}"))


def _strike_at_a_write(write: int, moment: str, how: str, note: Path) -> None:
    from airflow_provider_leen.bulk.register_store import RegisterStore

    written = 0

    def strike(what: str) -> None:
        note.write_text(json.dumps({"pid": os.getpid(), "at": f"{moment} {what}"}))
        if how == "both":
            os.kill(os.getppid(), signal.SIGKILL)
        # To this thread: another one would be struck when it gets its turn, and this one would write on.
        signal.pthread_kill(threading.get_ident(), signal.SIGSTOP if how == "stop" else signal.SIGKILL)

    def watched(name: str) -> Any:
        real = getattr(RegisterStore, name)

        def method(self: Any, key: str, *values: Any) -> Any:
            nonlocal written
            written += 1
            is_due, what = written == write, f"{name} {key.partition('/')[0]}"
            if is_due and moment == "before":
                strike(what)
            result = real(self, key, *values)
            if is_due and moment == "after":
                strike(what)
            return result

        return method

    for name in WRITES:
        setattr(RegisterStore, name, watched(name))


def _dag(dag_id: str, operator: Any, **arguments: Any) -> None:
    with DAG(dag_id, schedule=None, catchup=False, max_active_runs=16, render_template_as_native_obj=False):
        operator(
            task_id="create",
            tickets=_from_conf("tickets"),
            leen_conn_id=_from_conf("conn"),
            connection_id=_from_conf("connection_id"),
            register=_from_conf("register"),
            scope=_from_conf("scope"),
            ticket_defaults={"type": "Task"},
            batch_size=_from_conf("batch_size"),
            max_concurrent_batches=2,
            max_new=_from_conf("max_new"),
            poll_interval=0.3,
            retries=RETRIES,
            retry_delay=timedelta(0),
            pre_execute=get_ready,
            **arguments,
        )


_dag("days_create", LeenBulkCreateTicketsOperator, deferrable=_from_conf("deferrable"))
_dag(
    "days_reconcile",
    LeenReconcileTicketsOperator,
    close_after=_from_conf("close_after"),
    max_close_rate="{{ dag_run.conf.get('max_close_rate', 0.2) }}",
)
