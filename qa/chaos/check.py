"""Judges a run from the outside: what the vendor holds, and what was on the wire, against what the task says. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_leen.bulk.statuses import STATUSES
from qa.chaos.plan import Fate

EXIST = ("created", "existing")
KNOWN_NOT_TO_EXIST = ("rejected", "invalid", "unsent")

FITTING: dict[Fate, tuple[str, ...]] = {
    "good": ("created", "unknown"),
    "invalid": ("invalid",),
    "refused": ("rejected", "unknown"),
    # Made by the vendor after all where the reply was lost before anything could be refused.
    "poison": ("rejected", "created", "unknown"),
}


PUBLISHED = ("return_value", "failed_tickets", "results", "failed rows")
"""The XComs and files that speak for the task. (Links are pushed by Airflow itself, once the task has ended.)"""

LATE = 0.2
"""Seconds after its end within which an XCom or a file may still be its own."""


@dataclass(frozen=True)
class Evidence:
    """The results of a run.

    :param rows: the list that the newest try has read.
    :param before: the list that the tries before it had, where it was edited.
    :param state: the Dag run's.
    :param summary: XCom ``return_value``.
    :param failed: XCom ``failed_tickets``.
    :param held: the vendor's tickets.
    :param doubtful: the identifiers in bulk calls that got no clear and prompt reply.
    :param ended_at: when the newest try has ended, in seconds since the epoch.
    :param published: when each XCom was pushed, by key, and each file written, by name.
    :param calls_into_gap: how many bulk calls there were after a value was taken out of the ledger; None if none was.
    """

    rows: Sequence[dict[str, Any]]
    fates: Sequence[Fate]
    state: str
    summary: dict[str, Any] | None
    failed: Any
    held: Sequence[dict[str, Any]]
    doubtful: Iterable[str]
    ended_at: float | None = None
    published: Mapping[str, float] = field(default_factory=dict)
    calls_into_gap: int | None = None
    before: Sequence[dict[str, Any]] = ()


@dataclass(frozen=True)
class Allowances:
    """What may be left open at the end of a run.

    :param unknown: tickets may stay unknown.
    :param unsent: tickets may stay unsent, since the API refused the key, or the machine was too busy for it to answer.
    :param unseen: unknown tickets need not have arrived: a kill may have hit between ledger and wire, a request was
        swallowed when the API went away, or a reply came too late on a busy machine.
    :param rejected: good tickets may be rejected, since whole requests were refused.
    """

    unknown: bool = False
    unsent: bool = False
    unseen: bool = False
    rejected: bool = False


def problems(seen: Evidence, allowed: Allowances) -> list[str]:
    """Return what is wrong, a sentence each; nothing if each ticket exists once and all are reported."""
    if seen.summary is None:
        # With a gap in its ledger a try knows nothing, and says so by failing.
        silent = [] if seen.calls_into_gap is not None else [f"silent: the run ended as {seen.state} without a summary"]
        return [*silent, *_doubled(seen), *_gap(seen)]
    results = seen.summary["results"]
    if [result["request_index"] for result in results] != list(range(len(seen.rows))):
        return [f"silent: {len(results)} results for {len(seen.rows)} rows, or out of order"]
    return [
        *_published_last(seen),
        *_tally(seen.summary),
        *_fates(seen, results, allowed),
        *_doubled(seen),
        *_in_vendor(seen, results),
        *_contents(seen, results),
        *_verdict(seen, allowed),
        *_handed_on(seen, results),
        *_gap(seen),
    ]


def _tally(summary: dict[str, Any]) -> Iterator[str]:
    counted = Counter(result["status"] for result in summary["results"])
    said = {status: summary[status] for status in STATUSES}
    if said != {status: counted[status] for status in STATUSES}:
        yield f"silent: the summary says {said}, its results {dict(counted)}"


def _fates(seen: Evidence, results: Sequence[dict[str, Any]], allowed: Allowances) -> Iterator[str]:
    doubtful = set(seen.doubtful)
    for row, fate, result in zip(seen.rows, seen.fates, results, strict=True):
        status = result["status"]
        fitting = FITTING[fate] + (("unsent",) if allowed.unsent else ())
        if fate == "good" and allowed.rejected:
            fitting += ("rejected",)
        if status not in fitting:
            yield f"wrong: a {fate} ticket is {status}: {_told(result)}"
        if result["name"] != row.get("name"):
            yield f"silent: row {result['request_index']} is {row.get('name')!r}, its result {result['name']!r}"
        if status == "unknown" and not allowed.unseen and result["identifier"] not in doubtful:
            yield f"wrong: unknown, but every call that it was in was answered: {_told(result)}"


def _doubled(seen: Evidence) -> Iterator[str]:
    for identifier, tickets in _by_identifier(seen.held).items():
        if len(tickets) > 1:
            yield f"doubled: {[ticket['vendor_ticket_id'] for ticket in tickets]} with identifier {identifier}"


def _in_vendor(seen: Evidence, results: Sequence[dict[str, Any]]) -> Iterator[str]:
    held = _by_identifier(seen.held)
    told = {result["identifier"]: result for result in results if result["identifier"]}
    for result in told.values():
        there = held.get(result["identifier"], [])
        if result["status"] in EXIST and not there:
            yield f"lost: it is called {result['status']} and does not exist: {_told(result)}"
        elif result["status"] in KNOWN_NOT_TO_EXIST and there:
            yield f"wrong: it is called {result['status']} and exists: {_told(result)}"
        elif there and result["vendor_ticket_id"] not in (None, there[0]["vendor_ticket_id"]):
            yield f"wrong: {there[0]['vendor_ticket_id']} is called {result['vendor_ticket_id']}: {_told(result)}"
    gone = _gone(seen)
    for identifier in held.keys() - told.keys():
        if gone[held[identifier][0]["name"]]:
            continue
        yield f"silent: {held[identifier][0]['vendor_ticket_id']} exists and no result has its identifier"


def _contents(seen: Evidence, results: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Count by name, too: keys that change between tries would hide a double from a count by identifier."""
    held = Counter(ticket["name"] for ticket in seen.held)
    least = Counter(result["name"] for result in results if result["status"] in EXIST)
    most = least + Counter(result["name"] for result in results if result["status"] == "unknown")
    most += _gone(seen)
    for name in held.keys() | least.keys():
        if not least[name] <= held[name] <= most[name]:
            yield f"doubled or lost: {held[name]} tickets are named {name!r}, {least[name]} to {most[name]} were told"


def _gone(seen: Evidence) -> Counter[str]:
    """Count the rows by name that an edit has taken out of the list: an earlier try may have made their tickets."""
    return Counter(row["name"] for row in seen.before if "name" in row) - Counter(
        row["name"] for row in seen.rows if "name" in row
    )


def _verdict(seen: Evidence, allowed: Allowances) -> Iterator[str]:
    assert seen.summary is not None
    unknown, unsent = seen.summary["unknown"], seen.summary["unsent"]
    if unknown and not allowed.unknown:
        yield f"incomplete: {unknown} tickets stayed unknown although the faults were over and a retry was left"
    if unsent and not allowed.unsent:
        yield f"incomplete: {unsent} tickets stayed unsent although the faults were over and a retry was left"
    if seen.state == "success" and (unknown or unsent):
        yield f"silent: the run is green with {unknown} unknown and {unsent} unsent tickets"
    if seen.state != "success" and not unknown and not unsent:
        yield f"wrong: the run is {seen.state} although every ticket's fate is known"


def _handed_on(seen: Evidence, results: Sequence[dict[str, Any]]) -> Iterator[str]:
    again = [row for row, result in zip(seen.rows, results, strict=True) if result["status"] in KNOWN_NOT_TO_EXIST]
    if seen.failed != again:
        yield f"silent: failed_tickets holds {len(seen.failed or [])} rows, not the {len(again)} that can be sent again"


def _published_last(seen: Evidence) -> Iterator[str]:
    """The newest try speaks for the task: what was pushed after its end comes from one that it has replaced."""
    for key in PUBLISHED:
        at = seen.published.get(key)
        if at is not None and seen.ended_at is not None and at > seen.ended_at + LATE:
            yield f"overwritten: {key} came {at - seen.ended_at:.1f} s after the newest try had ended"


def _gap(seen: Evidence) -> Iterator[str]:
    if seen.calls_into_gap is not None and seen.state == "success":
        yield "silent: the run is green although a value of its ledger is missing"
    if seen.calls_into_gap:
        yield f"wrong: {seen.calls_into_gap} calls were made although a value of the ledger is missing"


def _by_identifier(held: Iterable[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    tickets: dict[str, list[dict[str, Any]]] = {}
    for ticket in held:
        tickets.setdefault(ticket["identifier"], []).append(ticket)
    return tickets


def _told(result: dict[str, Any]) -> str:
    return f"#{result['request_index']} {result['name']!r} ({result['identifier']}): {result['error']}"
