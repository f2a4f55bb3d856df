"""The judge's own book of a sequence of days: what is held at the tracker, who did it, and whether it may be. Pure.

It knows nothing of the register. It is told what people do and which lists a run was given, and sees what the tracker
holds after the runs of a day.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from qa.chaos.check import KNOWN_NOT_TO_EXIST

ALWAYS_ALLOWED = 5
"""So many tickets may be closed in a run, whatever share that is."""

CLONE = "CLONE - "
"""What the name of a ticket begins with that a person has cloned."""

KEPT = ("name", "description", "priority", "project", "identifier", "assignee", "vendor_ticket_id")
"""What no run may change of a ticket."""


@dataclass
class Ticket:
    """A ticket that the tracker holds, or has held.

    :param by: who has set its status last.
    :param is_touched: whether a person did anything to it since then.
    :param is_closing_known: whether a run has said that it closed it.
    :param is_defended: whether a person has reopened it after that; then it stays open until its finding is listed.
    """

    held: dict[str, Any]
    by: Literal["us", "person"] = "us"
    is_touched: bool = False
    is_closing_known: bool = False
    is_defended: bool = False
    is_deleted: bool = False
    names: set[str] = field(default_factory=set)

    @property
    def finding(self) -> str:
        name: str = self.held["name"]
        return name.removeprefix(CLONE)

    @property
    def is_clone(self) -> bool:
        name: str = self.held["name"]
        return name.startswith(CLONE)

    @property
    def is_open(self) -> bool:
        return not self.is_deleted and self.held["status"] not in ("CLOSED", "RESOLVED")


@dataclass(frozen=True)
class Listed:
    """The list that a run was given.

    :param run: its id.
    :param is_whole: whether what is missing has gone, as far as the run can know.
    :param was_seen: whether the run has surely taken note of it.
    """

    run: str
    findings: frozenset[str]
    is_whole: bool = True
    was_seen: bool = True


@dataclass(frozen=True)
class Ended:
    """The results of a run.

    :param state: the Dag run's.
    :param summary: XCom ``return_value``.
    :param has_said: whether the log says why it failed, or the process was killed so that it could say nothing.
    """

    run: str
    state: str
    summary: Mapping[str, Any] | None
    has_said: bool = True


class Book:
    """What is known of one sequence.

    :param reconciles: whether tickets may be closed and reopened.
    """

    def __init__(self, *, reconciles: bool, close_after: int, max_new: int, max_close_rate: float) -> None:
        self.tickets: dict[str, Ticket] = {}
        self.lists: list[Listed] = []
        self.left_alone: set[str] = set()
        """Findings whose tickets a person had a hand in, so that they need not be in step."""
        self.forgotten: set[str] = set()
        """Findings of which the register has lost what it knew."""
        self.awaits: set[str] = set()
        """Findings that were away since their newest ticket was filed, so that they may get another one."""
        self._reconciles = reconciles
        self._close_after = close_after
        self._max_new = max_new
        self.max_close_rate = max_close_rate

    # What happens to it

    def person(self, action: str, ticket_id: str) -> None:
        """Note what a person has done to a ticket, before the tracker is looked at again."""
        ticket = self.tickets[ticket_id]
        self.left_alone.add(ticket.finding)
        if action == "clone":
            return
        ticket.is_touched = True
        if action == "reopen":
            ticket.is_defended = ticket.by == "us" and ticket.is_closing_known
        if action in ("close", "reopen"):
            ticket.by, ticket.is_closing_known = "person", False
        ticket.is_deleted = action == "delete"

    def forget(self) -> None:
        """Note that the register has lost a part, and continues."""
        self.forgotten |= {ticket.finding for ticket in self.tickets.values()}
        self.forgotten |= {finding for listed in self.lists for finding in listed.findings}

    def look(self, held: Iterable[dict[str, Any]]) -> None:
        """Take the tracker as it is, after people were at work."""
        for ticket in held:
            known = self.tickets.setdefault(ticket["ticket_id"], Ticket(ticket, by="person"))
            known.held = ticket
            known.names.add(ticket["vendor_ticket_id"])

    # Judging

    def judge(
        self, held: Sequence[dict[str, Any]], lists: Sequence[Listed], *, may_change: bool = True
    ) -> Iterator[str]:
        """Yield what is wrong about what the runs have made of the tracker, a sentence each.

        :param held: what the tracker holds now.
        :param lists: the lists of the runs since it was looked at last.
        :param may_change: whether these runs may change anything at all.
        """
        self._note(lists)
        now = {ticket["ticket_id"]: ticket for ticket in held}
        before = {key: dict(ticket.held) for key, ticket in self.tickets.items() if not ticket.is_deleted}
        new = [ticket for key, ticket in now.items() if key not in self.tickets]
        decided = len(self._due())
        yield from self._gone_or_edited(before, now)
        if not may_change and (new or any(now[key] != ticket for key, ticket in before.items() if key in now)):
            yield "wrong: a run that must change nothing has changed tickets"
        yield from self._filed(new, lists)
        closed = [key for key in before if key in now and self.tickets[key].is_open and not _is_open(now[key])]
        reopened = [key for key in before if key in now and not self.tickets[key].is_open and _is_open(now[key])]
        yield from self._closed(closed, lists, decided)
        yield from self._reopened(reopened, lists)
        for ticket in held:
            known = self.tickets.setdefault(ticket["ticket_id"], Ticket(ticket))
            known.held = ticket
            known.names.add(ticket["vendor_ticket_id"])
        for key in (*closed, *reopened):
            self.tickets[key].by = "us"
            self.tickets[key].is_touched = self.tickets[key].is_closing_known = False
        yield from self._doubled()

    def judge_run(self, ended: Ended, rows: Sequence[str], *, speaks: bool = True) -> Iterator[str]:
        """Yield what is wrong about what a run says.

        :param rows: the names of the list's rows.
        :param speaks: whether it was the last one to end, so that the tracker must be as it says.
        """
        if ended.state != "success" and not ended.has_said:
            yield f"silent: run {ended.run} failed without a message"
        if ended.summary is None:
            if ended.state == "success":
                yield f"silent: run {ended.run} is green without a summary"
            return
        results = ended.summary["results"]
        if [result["name"] for result in results[: len(rows)]] != list(rows):
            yield f"silent: the results of run {ended.run} are not those of its rows"
        if ended.state == "success" and (ended.summary["unknown"] or ended.summary["unsent"]):
            yield f"silent: run {ended.run} is green with unknown or unsent tickets"
        for number, result in enumerate(results if speaks else ()):
            yield from self._claim(result, listed=number < len(rows))

    def out_of_step(self, found: Collection[str]) -> list[str]:
        """Return where tickets and findings differ, in a sentence each; what people had a hand in may."""
        wrong = []
        open_tickets = Counter(it.finding for it in self.tickets.values() if it.is_open and not it.is_clone)
        filed = Counter(it.finding for it in self.tickets.values() if not it.is_clone)
        for finding in sorted({*found, *open_tickets}):
            if finding in self.left_alone:
                continue
            if not filed[finding]:
                wrong.append(f"lost: {finding} has no ticket")
            elif self._reconciles and finding not in self.forgotten:
                wanted = int(finding in found)
                if open_tickets[finding] != wanted:
                    wrong.append(f"stuck: {finding} has {open_tickets[finding]} open tickets, not {wanted}")
        return wrong

    def _note(self, lists: Sequence[Listed]) -> None:
        for listed in lists:
            if all(listed.run != it.run for it in self.lists):
                self.lists.append(listed)
        self.awaits |= {
            ticket.finding
            for ticket in self.tickets.values()
            if self._most_missing(ticket.finding) >= self._close_after
        }
        listed_now = {finding for listed in lists for finding in listed.findings}
        for ticket in self.tickets.values():
            if ticket.finding in listed_now:
                ticket.is_defended = False

    def _missing(self, finding: str) -> int:
        """Return how many runs in a row may have taken note that a finding is missing, up to now."""
        return self._counts(finding)[-1]

    def _most_missing(self, finding: str) -> int:
        return max(self._counts(finding))

    def _counts(self, finding: str) -> list[int]:
        counts = [0]
        for listed in self.lists:
            if finding in listed.findings:
                counts.append(0 if listed.was_seen else counts[-1])
            else:
                counts.append(counts[-1] + listed.is_whole)
        return counts

    def _due(self) -> list[str]:
        """Return the open tickets that may have been about to be closed for some time."""
        return [
            key
            for key, ticket in self.tickets.items()
            if ticket.is_open and not ticket.is_clone and self._missing(ticket.finding) > self._close_after
        ]

    def _gone_or_edited(self, before: Mapping[str, dict[str, Any]], now: Mapping[str, dict[str, Any]]) -> Iterator[str]:
        for key, ticket in before.items():
            if key not in now:
                yield f"wrong: {ticket['vendor_ticket_id']} has disappeared"
            elif any(now[key][name] != ticket[name] for name in KEPT):
                yield f"undone: fields of {ticket['vendor_ticket_id']} were changed: {ticket} to {now[key]}"

    def _filed(self, new: Sequence[dict[str, Any]], lists: Sequence[Listed]) -> Iterator[str]:
        listed = {finding for it in lists for finding in it.findings}
        if len(new) > self._max_new:
            yield f"wrong: {len(new)} tickets were filed, more than max_new"
        for ticket in new:
            finding = ticket["name"]
            earlier = [it for it in self.tickets.values() if it.finding == finding and not it.is_clone]
            if finding not in listed:
                yield f"wrong: {finding} is in no list, and was filed"
            if all(it.is_deleted for it in earlier) and finding in self.forgotten:
                continue
            if earlier and not (self._reconciles and finding in self.awaits):
                yield f"doubled: {finding} was filed again: {_keys(earlier)} and {ticket['vendor_ticket_id']}"
            self.awaits.discard(finding)

    def _closed(self, closed: Sequence[str], lists: Sequence[Listed], decided: int) -> Iterator[str]:
        may_close = self._reconciles and any(it.is_whole and it.findings for it in lists)
        listed = {finding for it in lists if it.was_seen for finding in it.findings}
        for key in closed:
            ticket = self.tickets[key]
            name = f"{ticket.held['vendor_ticket_id']} of {ticket.finding}"
            if not may_close or ticket.is_clone or ticket.finding in listed:
                yield f"wrong: {name} was closed, and nothing says that its finding has gone"
            elif self._missing(ticket.finding) < self._close_after:
                yield f"wrong: {name} was closed too early"
            if ticket.is_defended:
                yield f"undone: {name} was reopened by a person, and closed"
        was_open = sum((it.is_open or it.by == "person") and not it.is_clone for it in self.tickets.values())
        most = max(ALWAYS_ALLOWED, self.max_close_rate * was_open) * max(1, len(lists)) + decided
        if len(closed) > most:
            yield f"wrong: {len(closed)} of {was_open} tickets were closed, and the brake allows {most}"

    def _reopened(self, reopened: Sequence[str], lists: Sequence[Listed]) -> Iterator[str]:
        listed = {finding for it in lists for finding in it.findings}
        for key in reopened:
            ticket = self.tickets[key]
            name = f"{ticket.held['vendor_ticket_id']} of {ticket.finding}"
            if not self._reconciles or ticket.is_clone or ticket.finding not in listed:
                yield f"wrong: {name} was reopened, and its finding is not back"
            elif ticket.by == "person" or ticket.is_touched:
                yield f"undone: {name} was closed or changed by a person, and reopened"

    def _doubled(self) -> Iterator[str]:
        ours = [it for it in self.tickets.values() if not it.is_clone and not it.is_deleted]
        for key, count in Counter(_key_in(it.held) for it in ours).items():
            if count > 1:
                yield f"doubled: {count} tickets carry the key {key}"
        for finding, count in Counter(it.finding for it in ours if it.is_open).items():
            if count > 1 and finding not in self.left_alone:
                yield f"doubled: {finding} has {count} open tickets"

    def _claim(self, result: Mapping[str, Any], *, listed: bool) -> Iterator[str]:
        finding, status = str(result["name"]), result["status"]
        mine = [it for it in self.tickets.values() if it.finding == finding]
        if status in ("created", "existing", "reopened") and not mine:
            yield f"lost: {finding} is called {status}, and has no ticket"
        elif status in ("created", "existing") and not any(
            result["vendor_ticket_id"] in (None, *it.names) for it in mine
        ):
            yield f"wrong: {finding} is called {result['vendor_ticket_id']}, and its tickets are {_keys(mine)}"
        elif status in KNOWN_NOT_TO_EXIST and listed and not self._reconciles and any(not it.is_deleted for it in mine):
            yield f"wrong: {finding} is called {status}, and {_keys(mine)} exists"
        is_open = any(it.is_open for it in mine if not it.is_clone)
        if status == "closed" and is_open and finding not in self.left_alone:
            yield f"wrong: {finding} is called closed, and is open"
        if status == "reopened" and not is_open:
            yield f"wrong: {finding} is called reopened, and is closed"
        if status == "closed":
            for ticket in mine:
                ticket.is_closing_known = not ticket.is_open and ticket.by == "us"


def _is_open(held: Mapping[str, Any]) -> bool:
    return held["status"] not in ("CLOSED", "RESOLVED")


def _keys(tickets: Iterable[Ticket]) -> list[str]:
    return [str(ticket.held["vendor_ticket_id"]) for ticket in tickets]


def _key_in(held: Mapping[str, Any]) -> str:
    """Return the key that stands at the end of a description."""
    return str(held["description"] or "").rpartition("airflow-")[2][:24]
