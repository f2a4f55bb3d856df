"""The facts of a register: a ticket table that maps a finding's identifier to its ticket, over all runs.

A finding has one ticket in each *generation*: the first is 0, and forgetting a ticket starts the next. A ticket's key
is made of the scope's id, the identifier and the generation, so it is the same in all runs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

from airflow_provider_leen.api.tolerances import normalised
from airflow_provider_leen.bulk.findings import History
from airflow_provider_leen.bulk.state import Sending, Ticket
from airflow_provider_leen.bulk.statuses import Proved
from airflow_provider_leen.bulk.table import Ids, TicketTable, fact
from airflow_provider_leen.bulk.values import REGISTER_EXITS

Record = dict[str, Any]
"""A line of a snapshot."""


class Entry(NamedTuple):
    """The finding of a ticket.

    :param identifier: the finding's identifier, as first given.
    :param generation: 0 for its first ticket.
    :param project: the ticket's project as sent, Leen's id or the tracker's; empty if others filed it.
    """

    identifier: str
    generation: int
    project: str


class Known(NamedTuple):
    """A finding in the register, for other modules.

    :param key: of its newest ticket.
    :param status: ``created`` or ``existing`` (there is a ticket, or it needs none), ``unknown``, ``rejected`` or
        ``unsent``.
    :param ticket_id: Leen's id of the ticket, if it is known.
    :param vendor_ticket_id: the tracker's.
    :param filed_at: when it was sent, in seconds since the epoch; None if we did not send it.
    :param given: whether it was taken over from ``known_path``: such a ticket is never changed.
    :param error: why its outcome is unknown, or why it was refused.
    """

    identifier: str
    generation: int
    project: str
    key: str
    status: str
    ticket_id: str | None
    vendor_ticket_id: str | None
    filed_at: float | None
    given: bool
    error: str | None


def key_of(scope_id: str, identifier: str, generation: int) -> str:
    """Return the key of a ticket."""
    text = f"{scope_id}\n{generation}\n{normalised(identifier)}"
    return f"airflow-{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:24]}"


class RegisterTable(TicketTable):
    """The facts about all tickets of a scope, by key.

    :param scope_id: the scope's random id.
    :param forgotten: a sending that may have included every ticket, if records are lost.
    """

    exits: ClassVar[str] = REGISTER_EXITS

    def __init__(self, scope_id: str, forgotten: Sending | None = None) -> None:
        super().__init__(forgotten)
        self.scope_id = scope_id
        self.reads_others = False
        """Whether another run's facts are replayed: tickets that it created exist before this run."""
        self.entries: dict[str, Entry] = {}
        self.announced: dict[str, Entry] = {}
        """Entries that are stated with the first fact about their tickets."""
        self.histories: dict[str, Record] = {}
        """By key, the reconciling history of tickets, as plain JSON; read it by :meth:`history`."""
        self.newest_list: float | None = None
        """The time of the newest reconciled list, in seconds since the epoch."""
        self._newest: dict[str, str] = {}
        self._forgotten: set[str] = set()
        self._stated: set[str] = set()
        self._given: set[str] = set()

    def key_for(self, identifier: str) -> str:
        """Return the key of a finding's current or next ticket."""
        newest = self._newest.get(normalised(identifier))
        if newest is not None and newest not in self._forgotten:
            return newest
        return key_of(self.scope_id, identifier, self.generation(identifier))

    def generation(self, identifier: str) -> int:
        """Return the generation of a finding's current or next ticket."""
        newest = self._newest.get(normalised(identifier))
        return 0 if newest is None else self.entries[newest].generation + (newest in self._forgotten)

    def known(self, identifier: str) -> Known | None:
        """Return a finding; None if it is unknown, or was forgotten."""
        newest = self._newest.get(normalised(identifier))
        return None if newest is None or newest in self._forgotten else self._known(newest)

    def all_known(self) -> Iterator[Known]:
        """Return all findings."""
        return (self._known(key) for key in self._newest.values() if key not in self._forgotten)

    def owner_of(self, ticket: str) -> str | None:
        """Return the identifier of the finding that has a ticket, by either of its ids; None where none is known to."""
        key = self._owner.get(ticket.strip().casefold())
        return self.entries[key].identifier if key else None

    def lacking_ids(self, since: float) -> list[Known]:
        """Return the tickets that we filed since a time, and whose Leen id is unknown."""
        return [
            known
            for known in self.all_known()
            if known.status in ("created", "existing") and not known.ticket_id and (known.filed_at or 0) >= since
        ]

    def history(self, key: str) -> History:
        """Return the reconciling history of a ticket."""
        return History.from_json(self.histories.get(key, {}))

    def filed(self, key: str) -> float | None:
        """Return when a ticket was last sent, None if we did not send it."""
        sendings = self[key].sendings
        return max(sending.at for sending in sendings) if sendings else None

    def enter(self, keys: Iterable[str]) -> None:
        """State the findings of tickets, once in each run.

        Facts of earlier runs are not enough: their snapshots don't include tickets that they did not file.
        """
        new = [key for key in keys if key not in self._stated]
        self._stated.update(new)
        self.entered({key: list(self.announced.get(key) or self.entries[key]) for key in new})

    # Facts

    @fact
    def entered(self, entries: Mapping[str, Sequence[Any]], /) -> None:
        """The findings of tickets."""
        for key, (identifier, generation, project) in entries.items():
            self._enter(key, Entry(str(identifier), int(generation), str(project)))

    @fact
    def taken_over(self, ids: Ids, /) -> None:
        """Others filed their tickets, or they need none."""
        for key, (ticket_id, vendor_ticket_id) in ids.items():
            self._take_over(key, ticket_id, vendor_ticket_id)

    @fact
    def renamed(self, ids: Ids, /) -> None:
        """New ids of tickets: Leen's from its list, the tracker's after a move."""
        for key, (ticket_id, vendor_ticket_id) in ids.items():
            ticket = self[key]
            ticket.ticket_id = ticket_id or ticket.ticket_id
            ticket.vendor_ticket_id = vendor_ticket_id or ticket.vendor_ticket_id
            self._own(key, ticket)

    @fact
    def forgotten(self, keys: Sequence[str], /) -> None:
        """Their findings get new tickets."""
        self._forgotten.update(keys)

    @fact
    def reconciled(self, histories: Mapping[str, Mapping[str, Any]], /) -> None:
        """The reconciling history of tickets."""
        self.histories |= {key: dict(history) for key, history in histories.items()}

    @fact
    def list_seen(self, runs: Sequence[str], at: float, /) -> None:
        """The list of a Dag run has reached its plan."""
        self.newest_list = max(float(at), self.newest_list or 0.0)

    def before(self, key: str) -> Known | None:
        """Return the ticket that a finding had before this one, unless it was forgotten."""
        identifier, generation, _ = self.entries[key]
        earlier = key_of(self.scope_id, identifier, generation - 1)
        return self._known(earlier) if earlier in self.entries and earlier not in self._forgotten else None

    def all_before(self, key: str) -> Iterator[Known]:
        """Return all tickets that a finding had before this one, the newest first, up to one that was forgotten."""
        known = self.before(key)
        while known is not None:
            if known.ticket_id or known.vendor_ticket_id:
                yield known
            known = self.before(known.key)

    # A snapshot

    def records(self) -> Iterator[Record]:
        """Return the facts to keep about each ticket, and about each running job."""
        for job, keys in self.open_jobs().items():
            yield {"job": job, "keys": keys}
        if self.newest_list is not None:
            yield {"newest_list": self.newest_list}
        for key, entry in self.entries.items():
            ticket = self[key]
            status = ticket.status
            if status not in ("rejected", "unsent") or entry.generation or key in self._forgotten:
                record = {"key": key, "id": entry.identifier, "gen": entry.generation, "project": entry.project}
                facts = (record | self._facts(key, ticket)).items()
                # A ticket that was found after a loss has filing time 0, and is ours.
                yield {name: value for name, value in facts if value or (name == "filed" and value is not None)}

    def restore(self, record: Record, *, is_own: bool) -> None:
        """Take over a line of a snapshot.

        :param is_own: whether this task and run wrote it, in an earlier try.
        """
        if "job" in record:
            self._jobs[record["job"]] = list(record["keys"])
            return
        if "newest_list" in record:
            self.newest_list = record["newest_list"]
            return
        key = record["key"]
        self._enter(key, Entry(record["id"], record.get("gen", 0), record.get("project", "")))
        if record.get("forgotten"):
            self._forgotten.add(key)
        if "history" in record:
            self.histories[key] = record["history"]
        ids = record.get("ticket"), record.get("vendor")
        if record.get("given"):
            self._take_over(key, *ids)
            return
        ticket = self[key]
        ticket.sendings = tuple(Sending(*sending) for sending in record.get("sent", ()))
        ticket.named = tuple(record.get("named", ()))
        ticket.refusal = record.get("refusal")
        if "proved" in record:
            ticket.proved = record["proved"] if is_own else "existing"
            ticket.ticket_id, ticket.vendor_ticket_id = ids
            if "filed" in record:
                ticket.sendings = (Sending(record["filed"], record["filed"], "", True),)
            self._own(key, ticket)

    def _facts(self, key: str, ticket: Ticket) -> Record:
        known: Record = {
            "ticket": ticket.ticket_id,
            "vendor": ticket.vendor_ticket_id,
            "named": list(ticket.named),
            "forgotten": key in self._forgotten,
            "history": self.histories.get(key),
        }
        if key in self._given:
            return known | {"given": True}
        if ticket.proved is not None:
            return known | {"proved": ticket.proved, "filed": self.filed(key)}
        return known | {"sent": [list(sending) for sending in ticket.sendings], "refusal": ticket.refusal}

    # What the facts change

    def _enter(self, key: str, entry: Entry) -> None:
        self.entries[key] = entry
        newest = self._newest.get(normalised(entry.identifier))
        if newest is None or self.entries[newest].generation <= entry.generation:
            self._newest[normalised(entry.identifier)] = key

    def _take_over(self, key: str, ticket_id: str | None, vendor_ticket_id: str | None) -> None:
        ticket = self[key]
        # Several findings may share such a ticket; one that is ours may not have its id.
        ticket.sendings, ticket.proved = (), "existing"
        ticket.ticket_id, ticket.vendor_ticket_id = ticket_id, vendor_ticket_id
        self._given.add(key)
        self._own(key, ticket)

    def _own(self, key: str, ticket: Ticket) -> None:
        for one in (ticket.ticket_id, ticket.vendor_ticket_id):
            if one:
                self._owner.setdefault(one.casefold(), key)

    def _prove(self, ids: Ids, proved: Proved, *, decides: bool = False) -> None:
        is_others = self.reads_others and proved == "created"
        super()._prove(ids, "existing" if is_others else proved, decides=decides)

    def _dispute(self, key: str, ids: Sequence[str], owners: set[str]) -> None:
        # A given ticket is not changed: only the ticket that claims its id becomes unknown.
        super()._dispute(key, ids, owners - self._given)

    def _known(self, key: str) -> Known:
        entry, ticket = self.entries[key], self[key]
        return Known(
            *entry,
            key,
            ticket.status,
            ticket.ticket_id,
            ticket.vendor_ticket_id,
            self.filed(key),
            key in self._given,
            ticket.error,
        )
