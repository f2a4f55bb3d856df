"""What an operator learns from its task instance: what its keys are unique within, and where its ledger is."""

from __future__ import annotations

import hashlib
import json
import logging
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow_provider_leen.api.errors import LeenConfigError
from airflow_provider_leen.bulk.ledger import FolderLedger, LedgerStore, MemoryLedger, TaskStateLedger
from airflow_provider_leen.bulk.tickets import KeyScope

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_leen.api.settings import LeenSettings

log = logging.getLogger(__name__)


def key_scope(context: Context, settings: LeenSettings) -> KeyScope:
    """Return what the keys of this task instance's tickets are unique within."""
    ti = context["ti"]
    map_index = -1 if ti.map_index is None else ti.map_index
    # A UUID in capitals is the same connection.
    connection_id = settings.connection_id.lower()
    return KeyScope(ti.dag_id, ti.run_id, ti.task_id, map_index, settings.base_url, connection_id)


def ledger_store(context: Context, *, durable: bool, ledger_path: object) -> LedgerStore:
    """Choose where this task instance's ledger is: a folder, Airflow's task state store, or nowhere."""
    if not durable:
        return MemoryLedger()
    # An object-storage path, too.
    folder = "" if ledger_path is None else str(ledger_path).strip()
    if folder:
        return FolderLedger(_folder(folder, context), context["ti"].try_number)
    state = context.get("task_state_store")
    if state is None:
        log.info(
            "Nothing remembers what this try sends: this Airflow has no task state store. A retry will take every "
            "ticket for sent without an answer. Set ledger_path for the next runs, so that theirs know."
        )
        return MemoryLedger()
    from airflow.sdk import NEVER_EXPIRE  # type: ignore[attr-defined]  # missing in Airflow's stub

    return TaskStateLedger(state.get, partial(state.set, retention=NEVER_EXPIRE))


def earlier_try_since(context: Context, store: LedgerStore) -> float | None:
    """Say since when an earlier try may have sent what the ledger does not remember, if there was one.

    :return: seconds since the epoch.
    """
    from airflow.providers.common.compat.sdk import conf

    forgets = not store.remembers or conf.getboolean("state_store", "clear_on_success", fallback=False)
    if context["ti"].try_number <= 1 or not forgets:
        return None
    started = context["dag_run"].start_date
    return started.timestamp() if started else 0.0


def _folder(ledger_path: str, context: Context) -> Any:
    """Return the folder of this task instance's ledger."""
    from airflow.providers.common.compat.sdk import ObjectStoragePath

    if "://" not in ledger_path and not ledger_path.startswith("/"):
        # Relative to a worker's own folder, which the next try's worker may not have; "None" of an empty template, too.
        raise LeenConfigError(
            f"`ledger_path` is {ledger_path!r}: write an object-storage URL or the absolute path of a folder that all "
            "workers reach."
        )
    ti = context["ti"]
    names = json.dumps([ti.dag_id, ti.run_id, ti.task_id, ti.map_index])
    try:
        return ObjectStoragePath(ledger_path) / hashlib.sha256(names.encode()).hexdigest()[:32]
    except (ValueError, ImportError) as error:
        problem = str(error)
    raise LeenConfigError(
        f"`ledger_path` {ledger_path!r} can't be used: {problem}; an object store needs its Airflow provider installed."
    )
