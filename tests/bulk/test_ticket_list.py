"""Which created tickets a search is tested with before its silence proves anything."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

from airflow_provider_leen.bulk.table import TicketTable
from airflow_provider_leen.bulk.ticket_list import TicketList
from tests.bulk.runs import VENDOR, rows_of, settings_for

NOW = time.time()


def test_a_search_is_tested_with_tickets_of_the_project_that_carry_their_keys_and_are_old_enough() -> None:
    rows = rows_of([{"name": name} for name in ("embedded", "without its key", "new", "unknown")], VENDOR)
    embedded, without, new, unknown = (str(row.key) for row in rows)
    table = TicketTable()
    for key, ago, is_embedded in (
        (embedded, 3600, True),
        (without, 3600, False),
        (new, 1, True),
        (unknown, 3600, True),
    ):
        table.sent([key], NOW - ago, NOW - ago, "here", is_embedded, False)
    table.created({key: [None, f"SEC-{number}"] for number, key in enumerate((embedded, without, new))})
    ledger: Any = SimpleNamespace(table=table, now=lambda: NOW)
    tickets = TicketList(rows, ledger, lambda row: VENDOR, settings_for("http://leen.example/v1"))
    assert [control.key for control in tickets.controls("SEC")] == [embedded]
    assert tickets.controls("OTHER") == []
