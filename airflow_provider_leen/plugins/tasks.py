"""Reads a task instance's tickets from its XComs. Pure functions; an unusable value becomes a remark.

Leen's tasks are recognised by their operators, or, for a user's own operator class, by the shape of the values.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from airflow_provider_leen.api.models import Ticket
from airflow_provider_leen.api.text import one_line
from airflow_provider_leen.bulk.statuses import FAILED, SUCCEEDED
from airflow_provider_leen.bulk.summary import Progress, counted
from airflow_provider_leen.bulk.watch import ENDED
from airflow_provider_leen.plugins.places import FOLDERS, Place, may_be_allowed, place_of

CREATES_MANY = "LeenBulkCreateTicketsOperator"
CREATES_ONE = "LeenCreateTicketOperator"
LEEN_OPERATORS = frozenset({CREATES_MANY, CREATES_ONE, "LeenUpdateTicketsOperator", "LeenReconcileTicketsOperator"})
GATE = "LeenTicketFailureSensor"

FAILURES = ("unknown", *(status for status in FAILED if status != "unknown"), "unreadable")
"""The most urgent first. ``unreadable``: an entry of the summary that is not a result."""

STATUSES = (*FAILURES, *(status for status in SUCCEEDED if status != "existing"), "filed", "existing")
"""In the order in which the page shows them, last those about which nothing was done. ``filed``: created or found, by
the operator that creates one."""

UNREADABLE = object()
"""Stands for the value of an XCom that is not JSON, or that Python refuses to read."""

_HIGHEST_COUNT = 10**9


@dataclass(frozen=True)
class TaskRecord:
    """A task instance in Airflow's database.

    :param map_index: -1 if the task is not mapped.
    :param operator: the name of the operator's class.
    :param values: its XComs by key.
    :param rendered: its template fields as Airflow recorded them, None without a record.
    :param label: its rendered ``map_index_template``.
    """

    task_id: str
    map_index: int
    state: str | None
    operator: str | None
    values: Mapping[str, Any]
    rendered: Mapping[str, Any] | None = None
    label: str | None = None

    @property
    def name(self) -> str:
        """The task's name, with its index if it is mapped, and the rendered ``map_index_template``."""
        if self.map_index < 0:
            return self.task_id
        # With the index: two instances may have the same label.
        index = str(self.map_index)
        return f"{self.task_id}[{index if self.label in (None, index) else f'{index}: {one_line(self.label, 80)}'}]"


@dataclass(frozen=True)
class Gate:
    """The decision of a gate.

    :param verdict: a sentence for a person, None if it has not decided yet.
    :param judges: the ids of the tasks whose tickets it judged, as far as they are known.
    """

    name: str
    state: str | None
    verdict: str | None = None
    judges: Sequence[str] = ()


def read_gate(record: TaskRecord) -> Gate | None:
    """Read a gate's decision; None if the task is not a gate."""
    if record.operator != GATE:
        return None
    value = record.values.get("verdict")
    value = value if isinstance(value, Mapping) else {}
    verdict, tasks = value.get("verdict"), value.get("tasks")
    return Gate(
        record.name,
        record.state,
        one_line(verdict, 500) if isinstance(verdict, str) else None,
        [task for task in tasks if isinstance(task, str)] if isinstance(tasks, list) else [],
    )


@dataclass(frozen=True)
class TaskTickets:
    """The tickets of one task instance.

    :param may_change: whether the task has not ended yet.
    :param counts: the number of tickets by status; empty if unknown.
    :param results: one entry for each ticket, if they are in XCom.
    :param results_path: the file that has them otherwise, if it may be read.
    :param place: the location of that file.
    :param withheld: whether there are results, and they can't be shown; ``remark`` says why.
    :param ticket_url: the URL of a ticket's page, with ``{vendor_ticket_id}`` in it.
    :param remark: what a person should know besides the counts.
    """

    name: str
    state: str | None
    may_change: bool
    progress: Progress | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    results: Sequence[Any] = ()
    results_path: str | None = None
    place: Place | None = None
    withheld: bool = False
    ticket_url: str | None = None
    remark: str | None = None


def read_task(record: TaskRecord, folders: Sequence[Place] = ()) -> TaskTickets | None:
    """Read the outcome of a task's tickets.

    :param folders: below which files may be read.
    :return: None if it is no task of Leen's.
    """
    value = record.values.get("return_value")
    progress = _progress(record.values.get("progress"))
    summary = _as_summary(record, value)
    if record.operator not in LEEN_OPERATORS and progress is None and summary is None:
        return None
    may_change = record.state not in ENDED
    at_work = may_change and record.state != "up_for_retry"
    # While a task waits for Leen's jobs, its XCom has the results so far.
    if at_work or value is None:
        remark = _while_unknown(record.state, progress)
        return TaskTickets(record.name, record.state, may_change, progress, remark=remark)
    if value is UNREADABLE:
        remark = (
            "Its XCom return_value can't be read (it is not JSON, or nested too deeply), so no ticket can be shown."
        )
        return TaskTickets(record.name, record.state, may_change, progress, withheld=True, remark=remark)
    if summary is None:
        remark = (
            f"Its XCom return_value is not a summary of tickets (but of type {type(value).__name__}), so their outcome "
            "can't be shown. A custom XCom backend may keep it where this page can't read it."
        )
        return TaskTickets(record.name, record.state, may_change, progress, withheld=True, remark=remark)
    return _read_summary(record, summary, may_change, folders)


def _read_summary(
    record: TaskRecord, summary: Mapping[str, Any], may_change: bool, folders: Sequence[Place]
) -> TaskTickets:
    results = summary["results"]
    path = summary.get("results_path")
    place = remark = None
    if results or not isinstance(path, str):
        path = None
        counts = Counter(status_of(result) for result in results)
        if summary["total"] != len(results):
            remark = f"Its summary counts {summary['total']} tickets, but has {len(results)} results."
    else:
        counts = Counter({status: summary[status] for status in STATUSES if is_count(summary.get(status))})
        place = place_of(path)
        remark = _why_not(path, place, record.rendered, folders)
    ticket_url = record.values.get("ticket_url")
    remarks = [*([remark] if remark else []), *_remarks(summary)]
    return TaskTickets(
        record.name,
        record.state,
        may_change,
        counts={status: counts[status] for status in STATUSES if counts[status]},
        results=results,
        results_path=path if remark is None else None,
        place=place if remark is None else None,
        withheld=path is not None and remark is not None,
        ticket_url=ticket_url if isinstance(ticket_url, str) else None,
        remark=" ".join(remarks) or None,
    )


def _remarks(summary: Mapping[str, Any]) -> Iterator[str]:
    """Return the remarks of a summary besides its counts, with a register or when reconciling."""
    if summary.get("dry_run") is True:
        yield "A dry run: nothing was sent; this is what would be done."
    if summary.get("complete") is False:
        yield "The list was not complete: no ticket was closed."
    for name, sentence in _COUNTED.items():
        if is_count(count := summary.get(name)) and count:
            yield sentence.format(counted(count, "ticket"))


_COUNTED = {
    "waiting": "The list was empty: {} of findings that are gone stay open.",
    "closed_by_people": "Closed by people: {}.",
    "earlier_unknown": "Of findings that are no longer in the list, the outcome of {} is unknown.",
}


def _why_not(
    path: str, place: Place | None, rendered: Mapping[str, Any] | None, folders: Sequence[Place]
) -> str | None:
    """Return why the file with a task's results is not read; None if it may be."""
    if not folders or place is None or not may_be_allowed(place, folders):
        lists = "it lists none above this one" if folders else "it lists none"
        return (
            f"Its results are in the file {_shown(path)}. This page reads files only below the folders that an "
            f"administrator lists in the API server's {FOLDERS}: {lists}."
        )
    own = None if rendered is None else rendered.get("results_path")
    if own is None:
        return (
            f"Its results are in the file {_shown(path)}. This page reads only the file that the task's "
            "`results_path` was rendered to, and Airflow has no record of that (any more)."
        )
    # Otherwise, anyone who can write an XCom could make this server show another task's file.
    if not isinstance(own, str) or own.strip() != path.strip():
        return (
            f"Its summary names the file {_shown(path)}, which is not read: Airflow has recorded another "
            "`results_path` for this task. (A very long one is cut there, and a secret in it is masked.)"
        )
    return None


def _shown(path: str) -> str:
    return one_line(path, 300)


def status_of(result: Any) -> str:
    """Return the status of an entry of a summary."""
    status = result.get("status") if isinstance(result, Mapping) else None
    return status if isinstance(status, str) and status in STATUSES else "unreadable"


def _as_summary(record: TaskRecord, value: Any) -> Mapping[str, Any] | None:
    if not isinstance(value, Mapping):
        return None
    if record.operator == CREATES_ONE:
        return _summary_of_one(value)
    return value if is_count(value.get("total")) and isinstance(value.get("results"), list) else None


def _summary_of_one(ticket: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return a summary of the record of a single created ticket."""
    if not isinstance(ticket.get("id"), str):
        return None
    seen = Ticket.model_construct(url=ticket.get("url"), vendor_attributes=ticket.get("vendor_attributes"))
    result = {
        "request_index": 0,
        "success": True,
        "status": "filed",
        "name": ticket.get("name"),
        "identifier": ticket.get("identifier"),
        "ticket_id": ticket["id"],
        "vendor_ticket_id": seen.vendor_ticket_id,
        "url": ticket.get("url"),
    }
    return {"total": 1, "results": [result]}


def _progress(value: Any) -> Progress | None:
    fields = Progress.__annotations__
    if isinstance(value, Mapping) and all(is_count(value.get(name)) for name in fields):
        return cast(Progress, {name: value[name] for name in fields})
    return None


def _while_unknown(state: str | None, progress: Progress | None) -> str | None:
    """Return why the outcome of a task's tickets is not known (yet)."""
    if state == "skipped":
        return "It was skipped, and sent no tickets."
    if state in ("upstream_failed", "removed"):
        return f"It did not run (its state is {state})."
    if state in ENDED:
        return f"It ended ({state}) without publishing the outcome of its tickets: see the task's log."
    if state == "up_for_retry":
        return "Its last try published no results. Airflow will retry it."
    if state == "deferred":
        return "It waits for Leen's jobs."
    if state in ("running", "restarting"):
        return None if progress else "It is running, and has not counted its tickets yet."
    return "It has not started yet."


def is_count(value: Any) -> bool:
    """Return whether a value from outside can be a number of tickets, or a position among them."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _HIGHEST_COUNT
