"""A task's ledger: its owner, its store, and whether records may be lost."""

from __future__ import annotations

import hashlib
import json
import logging
from concurrent.futures import Executor
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow_provider_leen.bulk.journal import Journal, Owner
from airflow_provider_leen.bulk.ledger import Ledger
from airflow_provider_leen.bulk.stores import FolderStore, MemoryStore, Store, TaskStateStore
from airflow_provider_leen.bulk.tickets import KeyScope
from airflow_provider_leen.tasks.files import object_path

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_leen.api.settings import LeenSettings

log = logging.getLogger(__name__)


def key_scope(context: Context, settings: LeenSettings) -> KeyScope:
    """Return the scope of the keys of this task instance's tickets."""
    # A UUID in capitals is the same connection.
    return KeyScope(**identity_of(context), base_url=settings.base_url, connection_id=settings.connection_id.lower())


def open_store(context: Context, *, durable: bool, ledger_path: str | None) -> Store:
    """Choose the store of this task instance's ledger: a folder, Airflow's task state store, or memory."""
    from airflow.providers.common.compat.sdk import conf

    if not durable:
        return MemoryStore()
    if ledger_path and ledger_path.strip():
        names = json.dumps(list(identity_of(context).values()))
        folder = object_path("ledger_path", ledger_path.strip())
        return FolderStore(folder / hashlib.sha256(names.encode()).hexdigest()[:32])
    state = context.get("task_state_store")
    if state is None:
        log.info(
            "There is no durable ledger: this Airflow has no task state store. A retry treats the outcome of every "
            "ticket as unknown. Set ledger_path for the next runs."
        )
        return MemoryStore()
    from airflow.sdk import NEVER_EXPIRE  # type: ignore[attr-defined]  # missing in Airflow's stub

    return TaskStateStore(
        state.get,
        partial(state.set, retention=NEVER_EXPIRE),
        state.delete,
        worker_side_backend=bool(conf.get("workers", "state_store_backend", fallback="")),
    )


def make_ledger(context: Context, store: Store, threads: Executor, *, embedded: bool) -> Ledger:
    """Return the ledger of this try."""
    return Ledger(Journal(store, Owner(identity_of(context), context["ti"].try_number)), threads, embedded=embedded)


def may_have_forgotten(context: Context, store: Store) -> float | None:
    """Return since when an earlier try may have sent tickets although the ledger is empty; None if it can't have.

    A try that reached this point has written a lease. The lease is gone only without a durable ledger, or if the task's
    state was discarded when the task was cleared (Airflow 3.4 does so by default).

    :return: seconds since the epoch.
    """
    from airflow.providers.common.compat.sdk import conf

    ti, run = context["ti"], context["dag_run"]
    if ti.try_number <= 1:
        return None
    was_cleared = (ti.max_tries or 0) > (context["task"].retries or 0) or (getattr(run, "clear_number", 0) or 0) > 0
    discards = conf.getboolean("state_store", "clear_on_success", fallback=False)
    if store.durable and not was_cleared and not discards:
        return None
    return run.start_date.timestamp() if run.start_date else 0.0


def identity_of(context: Context) -> dict[str, Any]:
    """Return what identifies this task instance, the same for all its tries."""
    ti = context["ti"]
    map_index = -1 if ti.map_index is None else ti.map_index
    identity = {"dag_id": ti.dag_id, "run_id": ti.run_id, "task_id": ti.task_id, "map_index": map_index}
    # For Airflow 3.4's task loops, whose iterations differ only in this.
    region_id = getattr(ti, "region_id", None)
    return identity | ({"region_id": str(region_id)} if region_id else {})
