"""What is known of a ticket: facts, from which its status follows.

A status is never set. It is read from the facts, so that no two places can disagree on it. The facts are stated at a
:class:`~.table.TicketTable`.

A *sending* is one request that left, or may have left. A ticket may have several. Only what closes a sending (a
refusal, a withdrawal, a proof) makes the ticket safe to send again, and a refusal of the last one leaves those before
it open.

A change of a ticket is an entry of its own, under a key of its own, with the same facts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from airflow_provider_leen.bulk.statuses import Proved, Status, UpdateStatus

CLOCK_SKEW = 60.0
"""Seconds by which the clocks of two hosts may differ."""


class Sending(NamedTuple):
    """A request that left with a ticket, or may have left. The tickets of one request share it.

    :param at: when it was put on record, in seconds since the epoch; it left later.
    :param leaves_by: it has left by then, or it never leaves.
    :param host: whose clock that is.
    :param embedded: whether the ticket's key is in its description, so that a search can prove its absence.
    :param as_job: whether it was submitted as a job, which may create the ticket at any later time.
    :param job: the job's id, where it is known.
    :param reason: why its outcome is unknown, for a person; empty where nothing is on record.
    :param settled_after: seconds after it left from when on nothing more comes of it, as its try was set up.
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
        """Return until when it may have left, by the clock of a host."""
        return self.leaves_by + (0.0 if host == self.host else CLOCK_SKEW)


class Label(NamedTuple):
    """What a list calls a ticket.

    :param lease: the number of the lease of the try whose list that is.
    """

    name: str | None
    identifier: str | None
    lease: int


@dataclass(slots=True)
class Ticket:
    """The facts about one ticket. Only the methods of :class:`~.table.TicketTable` change them.

    :param sendings: those that no reply has closed, in order; what proves the ticket leaves them, as they tell when
        it was made.
    :param proved: that it exists (``created`` by us, or ``existing`` before) or that the change was made.
    :param refusal: why it was refused last.
    :param named: ids in replies that contradict themselves or one another.
    :param label: what a list called it, where that was recorded.
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
        """What follows from the facts."""
        if self.proved is not None:
            return self.proved
        if self.sendings or self.named:
            return "unknown"
        return "unsent" if self.refusal is None else "rejected"

    @property
    def error(self) -> str | None:
        """Why it is neither created nor existing, for a person; None where nothing is on record."""
        if self.proved is not None or not (self.sendings or self.named):
            return None if self.proved else self.refusal
        said = []
        if self.sendings and (self.sendings[0].reason or not self.named):
            said.append(self.sendings[0].reason or _without_reason(self.sendings[0]))
        if self.refusal is not None:
            said.append(f"Sent again, and refused: {self.refusal}")
        if self.named:
            said.append(f"Replies that contradict one another name {', '.join(self.named)}.")
        return " ".join(said)


def _without_reason(sending: Sending) -> str:
    if sending.job:
        return f"It was submitted in job {sending.job}, whose end is not on record."
    return "It was sent, and no reply is on record."
