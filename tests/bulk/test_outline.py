"""What a run of changes knows survives a deferral, in few bytes."""

from __future__ import annotations

import json
from collections.abc import Callable
from uuid import UUID

import pytest
from airflow.models.trigger import Trigger

from airflow_provider_leen.bulk.outline import outline_of, read_outline, restore
from airflow_provider_leen.bulk.table import TicketTable
from airflow_provider_leen.triggers.leen import LeenJobsTrigger

IDS = [str(UUID(int=number << 64 | number)) for number in range(10_000)]
JOBS = [str(UUID(int=number << 70 | number)) for number in range(200)]
FIRST = IDS[:50]


def submitted(count: int) -> TicketTable:
    """Submit jobs of fifty tickets."""
    table = TicketTable()
    for number in range(count // 50):
        keys = IDS[number * 50 : (number + 1) * 50]
        table.sent(keys, 1.0, 11.0, "host", False, True)
        table.submitted(keys, JOBS[number])
    return table


def refused_in_part(table: TicketTable) -> None:
    table.changed(FIRST[::2])
    table.refused(dict.fromkeys(FIRST[1::2], "closed"), JOBS[0])


def crashed(table: TicketTable) -> None:
    table.unknown(FIRST, "lost")
    table.named({FIRST[7]: ["SEC-1"]})
    table.job_ended(FIRST, JOBS[0], 5.0, "host")


@pytest.mark.parametrize(
    "facts",
    [
        lambda table: None,
        lambda table: table.changed(FIRST),
        refused_in_part,
        crashed,
        lambda table: table.submitted(IDS[50:100], JOBS[0]),
    ],
    ids=["nothing", "changed", "refused in part", "crashed", "a job id that came twice"],
)
def test_each_ticket_has_the_same_status_after_the_wait_and_each_job_the_same_tickets(
    facts: Callable[[TicketTable], None],
) -> None:
    before, after, ids = submitted(150), TicketTable(), IDS[:170]
    facts(before)
    carried = json.dumps(outline_of(ids, before, before.open_jobs())._asdict())
    restore(ids, after, read_outline(json.loads(carried)))
    assert [(after[key].status, after[key].error) for key in ids] == [
        (before[key].status, before[key].error) for key in ids
    ]
    assert after.open_jobs() == before.open_jobs()


def test_the_trigger_of_ten_thousand_changes_is_small() -> None:
    table = submitted(10_000)
    carried = outline_of(IDS, table, jobs := table.open_jobs())._asdict()
    trigger = LeenJobsTrigger("leen_default", None, list(jobs), 10.0, None, carried)
    # With MySQL 64 KB is the limit, encrypted.
    assert len(Trigger(*trigger.serialize()).encrypted_kwargs) < 28_000


def test_an_error_that_many_tickets_share_is_carried_once() -> None:
    table = submitted(10_000)
    table.refused(dict.fromkeys(IDS[:5_000], "This status can't be reached from here. " * 20))
    assert len(json.dumps(outline_of(IDS, table, table.open_jobs())._asdict())) < 10_000
