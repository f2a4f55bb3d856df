"""The facts about a ticket, from which its status follows.

A status is never set: it is derived from the facts, so it can't be inconsistent. Facts are stated at a
:class:`~.table.TicketTable`.

A *sending* is one request that was sent, or may have been. A ticket may have several. Only when a refusal, a withdrawal
or a proof closes a sending may the ticket be sent again; a refusal of the last sending leaves earlier ones open.

A change of a ticket is an entry with its own key, with the same facts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from airflow_provider_leen.bulk.statuses import Proved, Status, UpdateStatus

CLOCK_SKEW = 60.0
"""Seconds by which the clocks of two hosts may differ."""


class Sending(NamedTuple):
    """A request that was sent with a ticket, or may have been. The tickets of one request share it.

    :param at: when it was recorded, in seconds since the epoch, before it was sent.
    :param leaves_by: it was sent by then, or never.
    :param host: the machine whose clock that is.
    :param embedded: whether the ticket's key is in its description, so that a search can prove its absence.
    :param as_job: whether it was submitted as a job, which may create the ticket at any later time.
    :param job: the job's id, if it is known.
    :param reason: why its outcome is unknown, for a person; empty if nothing is recorded.
    :param settled_after: the seconds after which it can have no further effect, by its try's settings.
    """

    at: float
    leaves_by: float
    host: str
    embedded: bool
    as_job: bool = False
    job: str = ""
    reason: str = ""
    settled_after: float = 0.0

    def left_by(self, host: str) -> float:
        """Return until when it may have been sent, by the clock of a host."""
        return self.leaves_by + (0.0 if host == self.host else CLOCK_SKEW)


class Label(NamedTuple):
    """A ticket's name and identifier in a list.

    :param lease: the number of the lease of the try with that list.
    """

    name: str | None
    identifier: str | None
    lease: int


@dataclass(slots=True)
class Ticket:
    """The facts about one ticket. Only the methods of :class:`~.table.TicketTable` change them.

    :param sendings: those that no reply has closed, in order; a proof keeps them, since they show when the ticket was
        created.
    :param proved: that it exists (``created`` by us, or ``existing`` before) or that the change was made.
    :param refusal: the reason of the last refusal.
    :param named: ids in contradictory replies.
    :param label: its name in a list, if that was recorded.
    """

    sendings: tuple[Sending, ...] = ()
    proved: Proved | None = None
    ticket_id: str | None = None
    vendor_ticket_id: str | None = None
    refusal: str | None = None
    named: tuple[str, ...] = ()
    label: Label | None = None

    @property
    def status(self) -> Status | UpdateStatus:
        """The status that follows from the facts."""
        if self.proved is not None:
            return self.proved
        if self.sendings or self.named:
            return "unknown"
        return "unsent" if self.refusal is None else "rejected"

    @property
    def error(self) -> str | None:
        """Why it is neither created nor existing, for a person; None if nothing is recorded."""
        if self.proved is not None or not (self.sendings or self.named):
            return None if self.proved else self.refusal
        said = []
        if self.sendings and (self.sendings[0].reason or not self.named):
            said.append(self.sendings[0].reason or _without_reason(self.sendings[0]))
        if self.refusal is not None:
            said.append(f"Sent again, and refused: {self.refusal}")
        if self.named:
            said.append(f"Contradictory replies name {', '.join(self.named)}.")
        return " ".join(said)


def _without_reason(sending: Sending) -> str:
    if sending.job:
        return f"It was submitted in job {sending.job}, whose end is not recorded."
    return "It was sent, and no reply is recorded."
