"""The facts about all tickets of a run, by key.

A :class:`TicketTable` has a method for each kind of fact: sent, refused, created, and so on. One call states a fact: it
changes the table and adds the fact to the list that the ledger has not written yet. The ledger takes that list with
:meth:`TicketTable.take`, as values of plain JSON. A later try passes the values to :meth:`TicketTable.replay`, which
calls the same methods. So memory and record can't disagree, and facts of earlier tries are treated like Leen's replies.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import ClassVar, Concatenate, ParamSpec, TypeAlias, TypeVar

from airflow_provider_leen.bulk.state import Label, Sending, Ticket
from airflow_provider_leen.bulk.statuses import Proved
from airflow_provider_leen.bulk.values import EXITS, Fact, Value, check_version, pack, plain, unreadable

MAX_NAMED = 10
"""The most ids of a ticket from contradictory replies that are kept."""

Ids: TypeAlias = Mapping[str, Sequence[str | None]]
"""By key: Leen's id of the ticket and the vendor's, None if unknown."""

P = ParamSpec("P")
Table = TypeVar("Table", bound="TicketTable")

FACTS: dict[str, Callable[..., None]] = {}
"""The methods that state a fact, by name: the vocabulary of the ledger."""


def fact(method: Callable[Concatenate[Table, P], None]) -> Callable[Concatenate[Table, P], None]:
    """Make a method state a fact: its call is also added to the list that is to be recorded.

    Its arguments are plain JSON and positional; the first one is a list of keys or a mapping by key.
    """
    FACTS[method.__name__] = method

    @wraps(method)
    def state(table: Table, /, *args: P.args, **kwargs: P.kwargs) -> None:
        stated = plain(args)
        if stated[0]:
            method(table, *stated, **kwargs)
            table.pending.append([method.__name__, *stated])

    return state


class TicketTable(dict[str, Ticket]):
    """The facts about all tickets of a run, by key; unknown ones are created on access.

    :param forgotten: a sending that may have included every ticket, if the record of earlier tries is gone.
    """

    exits: ClassVar[str] = EXITS
    """What a person can do where a part of the record can't be read."""

    def __init__(self, forgotten: Sending | None = None) -> None:
        super().__init__()
        self.pending: list[Fact] = []
        """Facts that are not yet recorded; the ledger takes them."""
        self._from_the_start = () if forgotten is None else (forgotten,)
        # By id, case-folded, the key of the ticket that has it; empty if two claim it.
        self._owner: dict[str, str] = {}
        # By job id, its keys; none where the id was given twice.
        self._jobs: dict[str, list[str]] = {}

    def __missing__(self, key: str) -> Ticket:
        ticket = self[key] = Ticket(self._from_the_start)
        return ticket

    def open_jobs(self) -> dict[str, list[str]]:
        """Return the jobs with tickets of unknown outcome, each with all its keys in order.

        A job id that was returned for two requests is left out: its results can't be assigned.
        """
        return {job: list(keys) for job, keys in self._jobs.items() if any(self._may_be_in(job, key) for key in keys)}

    def keys_in_job(self, job: str) -> list[str] | None:
        """Return the keys of a job in order; none if its id was returned twice; None if it is unknown."""
        return self._jobs.get(job)

    # Facts of a sending

    @fact
    def sent(
        self,
        keys: Sequence[str],
        at: float,
        leaves_by: float,
        host: str,
        embedded: bool,
        as_job: bool,
        settled_after: float = 0.0,
        /,
    ) -> None:
        """They are about to be sent in one request. The ledger states this when it writes it."""
        times = float(at), float(leaves_by)
        alone = (Sending(*times, str(host), bool(embedded), bool(as_job), settled_after=float(settled_after)),)
        for key in keys:
            ticket = self[key]
            ticket.sendings = ticket.sendings + alone if ticket.sendings else alone

    @fact
    def withdrawn(self, keys: Sequence[str], /) -> None:
        """Their last sending certainly had no effect: it was not sent, or was refused before it was processed."""
        for key in keys:
            self[key].sendings = self[key].sendings[:-1]

    @fact
    def refused(self, reasons: Mapping[str, str], job: str = "", /) -> None:
        """Their last sending, or the one in the job, was refused because of the ticket itself."""
        for key, reason in reasons.items():
            ticket = self[key]
            ticket.refusal = reason or "Leen gave no reason."
            if job:
                ticket.sendings = tuple(sending for sending in ticket.sendings if sending.job != job)
            else:
                ticket.sendings = ticket.sendings[:-1]

    @fact
    def unknown(self, keys: Sequence[str], reason: str, left_by: float | None = None, /) -> None:
        """Why the outcome of their last sending is unknown; and when it had been sent at the latest, if known."""

        def change(sending: Sending) -> Sending:
            known = sending.leaves_by if left_by is None else min(sending.leaves_by, float(left_by))
            return sending._replace(reason=reason, leaves_by=known)

        self._change_last(keys, change)

    @fact
    def named(self, ids: Mapping[str, Sequence[str]], /) -> None:
        """Ids that a contradictory reply named for them."""
        for key, named in ids.items():
            self._add_named(self[key], named)

    @fact
    def submitted(self, keys: Sequence[str], job: str, /) -> None:
        """Their last sending is in this job; ``keys`` are all keys of the job, in order."""
        self._change_last(keys, lambda sending: sending._replace(job=job))
        self._jobs[job] = list(keys) if self._jobs.get(job, keys) == keys else []

    @fact
    def job_ended(self, keys: Sequence[str], job: str, at: float, host: str, /) -> None:
        """Their job has ended without their outcome; it creates nothing after this time."""
        for key in keys:
            ticket = self[key]
            ticket.sendings = tuple(
                sending._replace(leaves_by=float(at), host=str(host), as_job=False, job="")
                if sending.job == job
                else sending
                for sending in ticket.sendings
            )

    # Facts that decide the outcome

    @fact
    def created(self, ids: Ids, /) -> None:
        """Leen reported without contradiction that they were created."""
        self._prove(ids, "created")

    @fact
    def found(self, ids: Ids, /) -> None:
        """A look-up proved that they were created. It decides between two tickets that were given the same id."""
        self._prove(ids, "created", decides=True)

    @fact
    def existing(self, ids: Ids, /) -> None:
        """They existed before."""
        self._prove(ids, "existing")

    @fact
    def changed(self, keys: Sequence[str], /) -> None:
        """The changes were made."""
        for key in keys:
            self[key].proved = "updated"

    @fact
    def absent(self, keys: Sequence[str], /) -> None:
        """It is proved that they don't exist."""
        for key in keys:
            ticket = self[key]
            ticket.sendings, ticket.named = (), ()

    # Facts for people

    @fact
    def labelled(self, labels: Mapping[str, Sequence[str | None]], lease: int, /) -> None:
        """Their name and identifier in a try's list, in case they are missing from it later."""
        for key, (name, identifier) in labels.items():
            self[key].label = Label(name, identifier, lease)

    # Record and replay

    def take(self) -> list[Value]:
        """Return the facts that are not yet recorded, as values, in order."""
        facts, self.pending = self.pending, []
        return pack(facts)

    def replay(self, value: Value) -> None:
        """State the facts of a recorded value, without recording them again.

        :raises LeenLedgerError: it has another version, or can't be read.
        """
        try:
            check_version(value, self.exits)
            for name, *stated in value["facts"]:
                FACTS[name](self, *stated)
        except (KeyError, TypeError, ValueError, AttributeError, IndexError):
            raise unreadable(value, self.exits) from None

    def _may_be_in(self, job: str, key: str) -> bool:
        ticket = self[key]
        return ticket.status == "unknown" and any(sending.job == job for sending in ticket.sendings)

    def _change_last(self, keys: Sequence[str], change: Callable[[Sending], Sending]) -> None:
        # The tickets of one request still share its sending.
        changed: dict[tuple[Sending, ...], tuple[Sending, ...]] = {}
        for key in keys:
            ticket = self[key]
            if ticket.sendings:
                before = ticket.sendings
                ticket.sendings = changed.setdefault(before, (*before[:-1], change(before[-1])))

    def _prove(self, ids: Ids, proved: Proved, *, decides: bool = False) -> None:
        for key, (ticket_id, vendor_ticket_id) in ids.items():
            ticket = self[key]
            mine = list(filter(None, (ticket_id, vendor_ticket_id)))
            folded = list(map(str.casefold, mine))
            owners = set(map(self._owner.get, folded)) - {key, None}
            if owners - {""} if decides else owners:
                self._dispute(key, mine, {owner for owner in owners if owner})
                continue
            self._owner |= dict.fromkeys(folded, key)
            if ticket.proved is None:
                ticket.proved = proved
                if ticket.named:
                    ticket.named = tuple(one for one in ticket.named if one not in mine)
            else:
                # A second ticket for the same key has other ids, and does not replace the first one.
                self._add_named(ticket, _beyond(ticket, ticket_id, vendor_ticket_id))
            ticket.ticket_id = ticket.ticket_id or ticket_id
            ticket.vendor_ticket_id = ticket.vendor_ticket_id or vendor_ticket_id

    def _dispute(self, key: str, ids: Sequence[str], owners: set[str]) -> None:
        """Two tickets have the same id: it no longer proves either of them."""
        for owner in owners:
            ticket = self[owner]
            self._add_named(ticket, [one for one in (ticket.ticket_id, ticket.vendor_ticket_id) if one])
            ticket.proved = ticket.ticket_id = ticket.vendor_ticket_id = None
        folded = [one.casefold() for one in ids]
        self._owner |= dict.fromkeys((one for one in folded if self._owner.get(one, key) != key), "")
        self._add_named(self[key], ids)

    @staticmethod
    def _add_named(ticket: Ticket, ids: Sequence[str]) -> None:
        ticket.named = tuple(dict.fromkeys((*ticket.named, *ids)))[:MAX_NAMED]


def _beyond(ticket: Ticket, ticket_id: str | None, vendor_ticket_id: str | None) -> list[str]:
    """Return the given ids that differ from those that a ticket has."""
    pairs = ((ticket.ticket_id, ticket_id), (ticket.vendor_ticket_id, vendor_ticket_id))
    return [given for known, given in pairs if known and given and known != given]
