"""The state of each finding and its ticket in a register, as plain data, and its transitions.

Everything is immutable: a step returns a new :class:`History`. :func:`.plan.plan` decides the steps; a run records each
new history before it acts on it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from pydantic import TypeAdapter

Shown = Literal["open", "closed"]
"""The states that a ticket can be changed to, and that the tracker shows."""

By = Literal["us", "person"]


@dataclass(frozen=True, slots=True)
class Change:
    """A recorded change of a ticket without a recorded outcome.

    :param wanted: the wanted state.
    :param sent_at: until when the request may have been sent, in seconds since the epoch.
    :param job: the job's id; empty if the reply was lost.
    :param ended: whether the job has ended without this ticket's outcome.
    :param away: of a reopening, whether the finding has been away once more since: its next return is another one.
    """

    wanted: Shown
    sent_at: float
    job: str = ""
    ended: bool = False
    away: bool = False


@dataclass(frozen=True, slots=True)
class History:
    """What earlier runs have seen and done since a ticket was filed.

    :param missing: the consecutive Dag runs whose complete lists did not have the finding; at most as many as needed.
    :param away: whether it was missing long enough that finding it again makes it a returned finding; until that is
        handled.
    :param close_since: since when its ticket is to be closed, in seconds since the epoch; the brake has counted it.
    :param closed_by: who closed the ticket, if it is known to be closed.
    :param closed_at: when the try that sent our closing saw its end; None if nobody saw it.
    :param deleted: whether the ticket is gone from the tracker.
    :param held: whether a person reopened the ticket, so that it is not closed until its finding was listed again.
    :param late: whether our closing was still running when its finding was back.
    :param refusal: why the tracker refused to reopen the ticket.
    :param change: the change without a recorded outcome.
    :param changed_at: until when our last change may have been made, as far as known.
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
        """Whether the ticket is open, as far as known."""
        return self.closed_by is None and not self.deleted

    # A list

    def listed(self) -> History:
        """Its finding is in a list, complete or not."""
        if not self.missing and self.change is None and self.close_since is None and not self.held:
            return self
        is_closing = self.change is not None and self.change.wanted == "closed"
        return replace(self, missing=(), close_since=None, held=False, late=self.late or is_closing)

    def missed(self, run: str, close_after: int) -> History:
        """Its finding is not in the complete list of a Dag run. A cleared run counts once."""
        missing = self.missing
        if run not in missing and len(missing) < close_after:
            missing = (*missing, run)
        is_away = len(missing) >= close_after
        change = self.change
        if change is not None and change.wanted == "open" and is_away:
            change = replace(change, away=True)
        return replace(self, missing=missing, away=self.away or is_away, change=change)

    def dealt_with(self) -> History:
        """The return of its finding has been handled."""
        return replace(self, away=False, late=False)

    # Readings

    def seen_open(self) -> History:
        """It was read as open."""
        return replace(self, closed_by=None, closed_at=None, refusal="", change=None, made_by="")

    def seen_closed(self) -> History:
        """It was read as closed, and we are not proved to have closed it."""
        return replace(self, closed_by="person", closed_at=None, close_since=None, change=None, made_by="")

    def seen_gone(self) -> History:
        """It is no longer in the tracker."""
        return replace(self, deleted=True, closed_by=None, closed_at=None, close_since=None, change=None, made_by="")

    # A change of ours

    def sent(self, wanted: Shown, at: float, by: str = "") -> History:
        """A request that changes it is about to be sent; recorded before."""
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
        changed_at = self.changed_at
        if seen_at is not None:
            changed_at = min(seen_at, self.change.sent_at)
        if self.change.wanted == "open":
            opened = replace(self.seen_open(), changed_at=changed_at, made_by=by)
            return opened if self.change.away else opened.dealt_with()
        return replace(
            self, closed_by="us", closed_at=seen_at, close_since=None, change=None, changed_at=changed_at, made_by=by
        )

    def refused(self, reason: str) -> History:
        """The tracker refused the change."""
        if self.change is None:
            return self
        return replace(self, change=None, refusal=reason if self.change.wanted == "open" else self.refusal)

    def withdrawn(self) -> History:
        """The request had no effect."""
        return replace(self, change=None)

    def ended(self) -> History:
        """The job has ended without this ticket's outcome."""
        return self if self.change is None else replace(self, change=replace(self.change, ended=True))

    # As a fact

    def as_json(self) -> dict[str, Any]:
        """Return the differences from a new ticket's history, in plain JSON types."""
        stated: dict[str, Any] = _JSON.dump_python(self, mode="json", exclude_defaults=True)
        return stated

    @classmethod
    def from_json(cls, stated: Mapping[str, Any]) -> History:
        """Read the output of :meth:`as_json`.

        :raises ValueError: it has another form.
        """
        return _JSON.validate_python(stated)


_JSON = TypeAdapter(History)


@dataclass(frozen=True, slots=True)
class Finding:
    """A finding and the state of its newest ticket.

    :param identifier: as in the register.
    :param generation: how many tickets it had before this one.
    :param ticket: ``none`` was filed, or each was refused or is absent; ``filed`` by us; ``unknown`` whether it was
        filed; ``taken over`` from a list of tickets that existed before, and never changed; ``unwanted``, if the
        finding needs none.
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
        """Return the finding in the state of waiting for a new ticket that names this one."""
        return Finding(self.identifier, self.generation + 1, follows=self.vendor_ticket_id or self.ticket_id)
