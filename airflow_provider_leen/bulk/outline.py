"""A compact form of an update's state, to cross a deferral.

Airflow stores a trigger's arguments in one text of its database: with MySQL, at most 64 KB. So each outcome and each
job is written once, and the tickets as run lengths: how many consecutive ones share it. The ids are not included: the
process that continues has the list, too.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any, NamedTuple

from airflow_provider_leen.bulk.state import Ticket
from airflow_provider_leen.bulk.table import TicketTable

_ANOTHER_LIST = (
    "The list of ids has changed since the task began to wait for Leen's jobs, so their outcome can't be assigned."
)


class Outline(NamedTuple):
    """The state of a list of tickets. With lists instead of tuples, which Airflow stores with their class name.

    :param list_hash: identifies the list.
    :param outcomes: the different ones, each a status and an error, or ``job`` and the id of a running one.
    :param runs: run lengths: the number of an outcome, from 0, and how many consecutive tickets have it.
    """

    list_hash: str
    outcomes: list[list[str]]
    runs: list[list[int]]


def read_outline(carried: Any) -> Outline:
    """Read an outline from JSON.

    :raises ValueError: or KeyError, or TypeError: it is not an outline.
    """
    outcomes = [[str(status), str(text)] for status, text in carried["outcomes"]]
    runs = [[int(number), int(length)] for number, length in carried["runs"]]
    if not {number for number, _length in runs} <= set(range(len(outcomes))):
        raise ValueError("A run has no outcome.")
    return Outline(str(carried["list_hash"]), outcomes, runs)


def outline_of(ids: Sequence[str], table: TicketTable, jobs: Mapping[str, Sequence[str]]) -> Outline:
    """Return the outline of tickets.

    :param ids: the tickets, each once.
    :param jobs: the running jobs, with their tickets.
    """
    job_of = {key: job for job, keys in jobs.items() for key in keys}
    outcomes: dict[tuple[str, str], int] = {}
    of_each = [
        outcomes.setdefault(("job", job_of[key]) if key in job_of else _outcome(table[key]), len(outcomes))
        for key in ids
    ]
    runs = [[number, len(list(run))] for number, run in groupby(of_each)]
    return Outline(_hash(ids), list(map(list, outcomes)), runs)


def restore(ids: Sequence[str], table: TicketTable, outline: Outline) -> None:
    """Restore an outline into an empty table."""
    if outline.list_hash != _hash(ids):
        _state(table, "unknown", _ANOTHER_LIST, list(ids))
        return
    of_outcome: defaultdict[int, list[str]] = defaultdict(list)
    start = 0
    for number, length in outline.runs:
        of_outcome[number] += ids[start : start + length]
        start += length
    for number, (status, text) in enumerate(outline.outcomes):
        _state(table, status, text, of_outcome[number])


def _outcome(ticket: Ticket) -> tuple[str, str]:
    return ticket.status, ticket.error or ""


def _state(table: TicketTable, status: str, text: str, keys: list[str]) -> None:
    if status == "updated":
        table.changed(keys)
    elif status == "rejected":
        table.refused(dict.fromkeys(keys, text))
    elif status in ("job", "unknown"):
        table.sent(keys, 0.0, 0.0, "", False, True)
        if status == "job":
            table.submitted(keys, text)
        else:
            table.unknown(keys, text)


def _hash(ids: Sequence[str]) -> str:
    return hashlib.sha256(" ".join(ids).encode()).hexdigest()[:16]
