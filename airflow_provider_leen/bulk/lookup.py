"""What a look-up proves about a ticket with an unknown outcome. Pure decisions; :mod:`.settle` makes the requests.

A look-up may prove that the ticket exists: by an id that a contradictory reply named, by its identifier, or by its key
in a description. Only an empty search for its embedded key, late enough and reliable, proves that it does not exist.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from airflow_provider_leen.api.content import is_uuid
from airflow_provider_leen.api.jira import Record
from airflow_provider_leen.api.settings import LeenSettings
from airflow_provider_leen.api.tolerances import is_same_identifier, is_same_name
from airflow_provider_leen.bulk.state import CLOCK_SKEW, Sending
from airflow_provider_leen.bulk.tickets import TicketRow

NEVER = 1e11
"""Seconds since the epoch: a time that never comes."""


class Created(NamedTuple):
    """The ids of a ticket that exists."""

    ticket_id: str | None
    vendor_ticket_id: str | None


@dataclass(slots=True)
class UnknownTicket:
    """A ticket that was sent and has an unknown outcome.

    :param row: the ticket.
    :param name: its name, as sent.
    :param project: its project, as sent: Leen's id or the tracker's.
    :param sendings: its open sendings, the earliest first; none if two tickets were given the same id.
    :param final_from: the time after which its sendings can have no further effect; see :func:`final_from`.
    :param named: the ids that contradictory replies named.
    :param findings: what the look-ups found, for a person.
    """

    row: TicketRow
    name: str
    project: str
    sendings: tuple[Sending, ...]
    final_from: float
    named: tuple[str, ...] = ()
    findings: str = ""

    @property
    def key(self) -> str:
        """Its key."""
        return str(self.row.key)

    @property
    def may_carry_key(self) -> bool:
        """Whether a search for its key may find it."""
        return any(sending.embedded for sending in self.sendings)

    @property
    def surely_carries_key(self) -> bool:
        """Whether it carries its key, if it exists: only then does an empty search prove anything."""
        return bool(self.sendings) and all(sending.embedded for sending in self.sendings)

    @property
    def may_be_absent(self) -> bool:
        """Whether a search can ever prove that it does not exist."""
        return self.surely_carries_key and self.final_from < NEVER


class Control(NamedTuple):
    """A ticket of this run that carries its key: finding it proves that the search finds such tickets."""

    key: str
    vendor_ticket_id: str | None


def project_of(body: Mapping[str, Any]) -> str:
    """Return the project in a request's body."""
    return str(body.get("project_id") or body.get("project_vendor_id"))


def settled_after(settings: LeenSettings) -> float:
    """Return the seconds after a request until its effects are final and visible to the tracker's search.

    It may take that long to connect and to answer, to be processed for as long again, and then the search index lags.
    """
    return 2 * (settings.timeout + settings.connect_timeout) + settings.settle_time


def final_from(sendings: Sequence[Sending], settings: LeenSettings, host: str) -> float:
    """Return the time after which a ticket's open sendings can have no further effect.

    A job may be queued for an unknown time: until its end is recorded, this time never comes. A try with shorter
    timeouts than the one that sent does not shorten it.

    :param host: this machine, whose clock the time refers to.
    """
    if not sendings or any(sending.as_job for sending in sendings):
        return NEVER
    patience = settled_after(settings)
    return max(sending.left_by(host) + max(sending.settled_after, patience) for sending in sendings)


def why_not_by_id(record: Record, ticket: UnknownTicket) -> str | None:
    """Return why a ticket whose id a reply named is not proved to be this one; None if it is."""
    if reason := _why_not_at_all(record, ticket):
        return reason
    if record.key == ticket.key or is_same_identifier(ticket.key, record.identifier):
        return None
    if ticket.project.casefold() not in record.projects:
        return "it is not proved to be of this project"
    return _why_not_by_name_and_time(record, ticket)


def why_not_by_identifier(record: Record, ticket: UnknownTicket) -> str | None:
    """Return why a ticket that Leen has under this identifier is not proved to be this one; None if it is.

    Another run may have a ticket with the same identifier and the same name.
    """
    if reason := _why_not_at_all(record, ticket):
        return reason
    if not is_same_identifier(ticket.row.identifier, record.identifier):
        return "it has another identifier"
    if ticket.may_carry_key and record.key == ticket.key:
        return None
    if ticket.surely_carries_key:
        return "its description does not end with this ticket's key"
    return _why_not_by_name_and_time(record, ticket)


def is_that_of(record: Record, ticket: UnknownTicket) -> bool:
    """Return whether the ticket that Leen has under a created ticket's identifier is that ticket.

    A generated key as the identifier is enough: no other run has it.
    """
    if not is_same_identifier(ticket.row.identifier, record.identifier):
        return False
    return why_not_by_id(record, ticket) is None or why_not_by_identifier(record, ticket) is None


def _why_not_at_all(record: Record, ticket: UnknownTicket) -> str | None:
    if record.contradictions:
        return f"its record contradicts itself ({record.contradictions[0]})"
    if record.key is not None and record.key != ticket.key:
        return "it carries another ticket's key"
    return None


def _why_not_by_name_and_time(record: Record, ticket: UnknownTicket) -> str | None:
    if not is_same_name(ticket.name, record.name):
        return "it has another name"
    kind = _kind_of(ticket.project)
    if ticket.project.casefold() not in record.projects and any(_kind_of(name) == kind for name in record.projects):
        return "it is of another project"
    if record.created_at is None:
        return "it does not say when it was created"
    if not ticket.sendings or not (
        ticket.sendings[0].at - CLOCK_SKEW <= record.created_at <= ticket.final_from + CLOCK_SKEW
    ):
        return "it was created at a time when this one can't have been"
    return None


def _kind_of(project: str) -> str:
    """Return the kind of a project's name: only names of the same kind can be compared."""
    return "Leen's id" if is_uuid(project) else "the tracker's id" if project.isdecimal() else "the tracker's key"


def clashing(found: Mapping[str, Created]) -> list[str]:
    """Return the keys of tickets that were found for two rows."""
    seen = Counter(id_ for ids in found.values() for id_ in _ids(ids))
    return [key for key, ids in found.items() if any(seen[id_] > 1 for id_ in _ids(ids))]


def _ids(ids: Created) -> list[tuple[str, str]]:
    """Return the ids that are not None, each with its kind."""
    return [(whose, id_.casefold()) for whose, id_ in ids._asdict().items() if id_]


def by_key(records: Iterable[Record], wanted: Collection[str]) -> dict[str, Created]:
    """Return the tickets that carry the wanted keys; of two with the same key, the older one."""
    found: dict[str, Record] = {}
    for record in records:
        key = record.key
        if key is None or key not in wanted or record.contradictions:
            continue
        known = found.get(key)
        is_older = known is None or (record.created_at or NEVER) < (known.created_at or NEVER)
        if is_older and (record.ticket_id or record.vendor_ticket_id):
            found[key] = record
    return {key: created(record) for key, record in found.items()}


def created(record: Record) -> Created:
    """Return the ids of a ticket that exists."""
    return Created(record.ticket_id, record.vendor_ticket_id)
