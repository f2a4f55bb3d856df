"""One scope of a register, opened by one run after another; without Airflow and pytest, as ``s3_days`` needs it."""

from __future__ import annotations

from typing import Any

from airflow_provider_leen.bulk.journal import Owner
from airflow_provider_leen.bulk.register_journal import RegisterJournal
from airflow_provider_leen.bulk.register_ledger import WAITS_AT_MOST, RegisterLedger
from airflow_provider_leen.bulk.register_reading import Identity
from airflow_provider_leen.bulk.register_store import RegisterStore
from airflow_provider_leen.bulk.register_table import Entry

HERE = Identity("semgrep/repo-a", "https://leen.example.com/v1", "connection")
A, B = ({"dag_id": "d", "run_id": run, "task_id": "t", "map_index": -1} for run in "ab")


class Clock:
    """A time that passes when somebody waits."""

    def __init__(self) -> None:
        self.time = 1_764_000_000.0

    def __call__(self) -> float:
        return self.time

    async def pause(self, seconds: float) -> None:
        self.time += seconds


def ledger_at(
    store: RegisterStore,
    task: dict[str, Any] = A,
    try_number: int = 1,
    *,
    identity: Identity = HERE,
    clock: Clock | None = None,
    waits: float = WAITS_AT_MOST,
) -> RegisterLedger:
    clock = clock or Clock()
    journal = RegisterJournal(store, Owner(task, try_number), identity, now=clock, sleep=lambda _seconds: None)
    return RegisterLedger(journal, None, host="h", now=clock, pause=clock.pause, waits=waits)


async def filing(ledger: RegisterLedger, *identifiers: str) -> None:
    """Open, and file a ticket for each finding that the register does not know."""
    table = await ledger.open()
    for identifier in identifiers:
        key = table.key_for(identifier)
        if table[key].status == "unsent":
            table.announced[key] = Entry(identifier, 0, "SEC")
            await ledger.leave(await ledger.intend([key]))
            table.created({key: [None, f"SEC-{identifier}"]})


async def day(ledger: RegisterLedger, *identifiers: str) -> dict[str, str]:
    await filing(ledger, *identifiers)
    await ledger.close()
    return {known.identifier: known.status for known in ledger.table.all_known()}
