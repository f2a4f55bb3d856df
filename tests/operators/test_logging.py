"""What a task leaves in its log: enough to see each outcome, never a flood."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest

from airflow_provider_leen.sandbox.server import SandboxServer
from tests.operators.dags import bulk_dag, counts, tickets, update_dag

ERRORS = 21
"""The most lines that a closing table takes beyond one without errors."""


@pytest.fixture
def info(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO)
    return caplog


def lines(info: pytest.LogCaptureFixture) -> list[str]:
    """What was logged beside Airflow's own lines."""
    records = [record for record in info.records if not record.name.startswith(("airflow.", "alembic", "sqlalchemy"))]
    return [line for record in records for line in record.getMessage().splitlines()]


def test_five_thousand_tickets_leave_at_most_150_lines(
    sandbox: SandboxServer, run_dag: Any, info: pytest.LogCaptureFixture
) -> None:
    run = run_dag(bulk_dag(tickets(5000), max_concurrent_batches=4))
    assert counts(run.summary()) == {"created": 5000}
    said = lines(info)
    assert len(said) <= 150 - ERRORS
    fold = said[said.index("::group::Sending 5000 tickets in 100 batches") : said.index("::endgroup::")]
    assert fold[1].startswith("Batch 1 of 100: 50 created (")
    assert fold[-1].startswith("Batch 100 of 100: 50 created (")


@pytest.mark.parametrize(("batch_size", "deferrable"), [(10, False), (50, True)])
def test_changing_five_thousand_tickets_leaves_at_most_150_lines(
    sandbox: SandboxServer,
    run_dag: Any,
    info: pytest.LogCaptureFixture,
    batch_size: int,
    deferrable: bool,
) -> None:
    sandbox.plan_jobs(seconds=0)
    ids = [str(UUID(int=number)) for number in range(5000)]
    run = run_dag(update_dag(ids, batch_size=batch_size, deferrable=deferrable))
    assert run.xcom("update")["rejected"] == 5000  # Leen knows none of them
    said = lines(info)
    assert len(said) <= 150  # the closing table with its errors is among them
    batches = 5000 // batch_size
    fold = said[said.index(f"::group::Sending 5000 tickets in {batches} batches") : said.index("::endgroup::")]
    assert fold[-1].startswith(f"Batch {batches} of {batches}: {batch_size} submitted (")


def test_the_counts_are_a_field_of_the_closing_line(
    sandbox: SandboxServer, run_dag: Any, info: pytest.LogCaptureFixture, task_log: Callable[[], str]
) -> None:
    given = tickets(3)
    given[1]["priority"] = "URGENT"
    run_dag(bulk_dag(given))
    if found := [vars(record).get("leen_tickets") for record in info.records if "Results of" in record.msg]:
        # Airflow 2 uses Python's logging.
        assert found[0] == {
            "total": 3, "succeeded": 2, "failed": 1,
            "created": 2, "existing": 0, "rejected": 1, "invalid": 0, "unknown": 0, "unsent": 0,
        }  # fmt: skip
    else:
        shown = task_log().partition("Results of 3 tickets")[2]
        assert "extra={'leen_tickets': {'total': 3, 'succeeded': 2, 'failed': 1, 'created': 2," in shown
