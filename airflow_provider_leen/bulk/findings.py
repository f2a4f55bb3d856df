"""What a register knows of each finding and its ticket, as plain data, and how a change of a ticket moves it on.

Everything is immutable: a step returns a new :class:`History`. :func:`.plan.plan` decides the steps; the story of a run
records each new history as a fact before it matters.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

Shown = Literal["open", "closed"]
"""What a ticket can be changed to, and what the tracker shows of one."""

By = Literal["us", "person"]


@dataclass(frozen=True, slots=True)
class Change:
    """A change of a ticket that is on record, and whose outcome is not.

    :param wanted: what the ticket is to be.
    :param sent_at: until when the request may have left, in seconds since the epoch.
    :param job: the job's id; empty if the reply was lost.
    :param ended: whether the job is known to have ended, but not how this ticket fared.
    """

    wanted: Shown
    sent_at: float
    job: str = ""
    ended: bool = False


@dataclass(frozen=True, slots=True)
class History:
    """What earlier runs have seen and done since a ticket was filed.

    :param missing: the Dag runs whose complete lists, one after another, did not have the finding; as many as were
        needed.
    :param away: whether it was missing so often that being found again makes it a returned finding; until that has been
        dealt with.
    :param close_since: since when its ticket is to be closed, in seconds since the epoch; the brake has counted it.
    :param closed_by: who closed the ticket, where it is known to be closed.
    :param closed_at: when the try that sent our closing saw its end; None if nobody saw it.
    :param deleted: whether the ticket is gone from the tracker.
    :param held: whether a person reopened the ticket, so that it is not closed before its finding was listed again.
    :param late: whether our closing was still under way when its finding was back.
    :param refusal: why the tracker refused to reopen the ticket.
    :param change: the change whose outcome is not on record.
    :param changed_at: until when our last change may have left.
    :param sent_by: the task of a Dag run that sent our last change.
    :param made_by: the one that saw or learnt that our last change was made, while nothing else is known.
    """

    missing: tuple[str, ...] = ()
    away: bool = False
    close_since: float | None = None
    closed_by: By | None = None
    closed_at: float | None = None
    deleted: bool = False
    held: bool = False
    late: bool = False
    refusal: str = ""
    change: Change | None = None
    changed_at: float | None = None
    sent_by: str = ""
    made_by: str = ""

    @property
    def is_open(self) -> bool:
        """Whether the ticket is open, as far as is known."""
        return self.closed_by is None and not self.deleted

    # A list

    def listed(self) -> History:
        """Its finding is in a list, of whatever kind."""
        if not self.missing and self.change is None and self.close_since is None and not self.held:
            return self
        is_closing = self.change is not None and self.change.wanted == "closed"
        return replace(self, missing=(), close_since=None, held=False, late=self.late or is_closing)

    def missed(self, run: str, close_after: int) -> History:
        """Its finding is not in the complete list of a Dag run. A run that was cleared counts once."""
        missing = self.missing
        if run not in missing and len(missing) < close_after:
            missing = (*missing, run)
        return replace(self, missing=missing, away=self.away or len(missing) >= close_after)

    def dealt_with(self) -> History:
        """The return of its finding needs nothing more."""
        return replace(self, away=False, late=False)

    # What a reading showed

    def seen_open(self) -> History:
        """It is open, whatever was known."""
        return replace(self, closed_by=None, closed_at=None, refusal="", change=None, made_by="")

    def seen_closed(self) -> History:
        """It is closed, and not by us, as far as can be proved."""
        return replace(self, closed_by="person", closed_at=None, close_since=None, change=None, made_by="")

    def seen_gone(self) -> History:
        """It is no longer in the tracker."""
        return replace(self, deleted=True, closed_by=None, closed_at=None, close_since=None, change=None, made_by="")

    # A change of ours

    def sent(self, wanted: Shown, at: float, by: str = "") -> History:
        """A request that changes it is about to leave: recorded before it does."""
        return replace(self, change=Change(wanted, at), changed_at=at, sent_by=by, made_by="")

    def submitted(self, job: str) -> History:
        """The change is in this job."""
        return self if self.change is None else replace(self, change=replace(self.change, job=job))

    def made(self, seen_at: float | None = None, by: str = "") -> History:
        """The change was made.

        :param seen_at: when the try that sent it saw its end; None if it was learnt otherwise.
        :param by: the task of a Dag run that saw or learnt it.
        """
        if self.change is None:
            return self
        if self.change.wanted == "open":
            return replace(self.seen_open().dealt_with(), made_by=by)
        return replace(self, closed_by="us", closed_at=seen_at, close_since=None, change=None, made_by=by)

    def refused(self, reason: str) -> History:
        """The tracker refused the change."""
        if self.change is None:
            return self
        return replace(self, change=None, refusal=reason if self.change.wanted == "open" else self.refusal)

    def withdrawn(self) -> History:
        """The request did nothing."""
        return replace(self, change=None)

    def ended(self) -> History:
        """The job has ended without saying how this ticket fared."""
        return self if self.change is None else replace(self, change=replace(self.change, ended=True))

    # As a fact

    def as_json(self) -> dict[str, Any]:
        """Return what differs from a new ticket's history, in plain JSON types."""
        new = History()
        facts = {item.name: getattr(self, item.name) for item in fields(self)}
        stated = {name: value for name, value in facts.items() if value != getattr(new, name)}
        if self.missing:
            stated["missing"] = list(self.missing)
        if self.change is not None:
            stated["change"] = {item.name: getattr(self.change, item.name) for item in fields(self.change)}
        return stated

    @classmethod
    def from_json(cls, stated: Mapping[str, Any]) -> History:
        """Return what :meth:`as_json` stated.

        :raises TypeError, KeyError: it is nothing of this kind.
        """
        given = dict(stated)
        if "missing" in given:
            given["missing"] = tuple(given["missing"])
        if "change" in given:
            given["change"] = Change(**given["change"])
        return cls(**given)


@dataclass(frozen=True, slots=True)
class Finding:
    """A finding, and what is known of its newest ticket.

    :param identifier: as the register knows it.
    :param generation: how many tickets it had before this one.
    :param ticket: ``none`` was filed, or each was refused or is absent; ``filed`` by us; ``unknown`` whether it was
        filed; ``taken over`` from a list of tickets that existed before, and never changed; ``unwanted``, since the
        finding is known to want none.
    :param ticket_id: Leen's id of the ticket.
    :param vendor_ticket_id: the tracker's.
    :param follows: the tracker's id of the ticket before this one.
    :param is_new: whether this task has filed it, in an earlier try.
    """

    identifier: str
    generation: int = 0
    ticket: Literal["none", "filed", "unknown", "taken over", "unwanted"] = "none"
    ticket_id: str | None = None
    vendor_ticket_id: str | None = None
    follows: str | None = None
    history: History = field(default_factory=History)
    is_new: bool = False

    def successor(self) -> Finding:
        """Return the finding as it waits for a new ticket that names this one."""
        return Finding(self.identifier, self.generation + 1, follows=self.vendor_ticket_id or self.ticket_id)
