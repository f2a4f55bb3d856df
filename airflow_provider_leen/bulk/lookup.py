"""What a look-up proves of a ticket whose outcome is unknown. Pure decisions; :mod:`.settle` asks.

A look-up may prove that the ticket exists: by an id that a contradictory reply named, by its identifier, or by its key
in a description. Only a search for its embedded key, late enough and without any reservation, proves that it does not.
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
"""Seconds since the epoch: stands for a time that doesn't come."""


class Created(NamedTuple):
    """The ids of a ticket that exists."""

    ticket_id: str | None
    vendor_ticket_id: str | None


@dataclass(slots=True)
class Unsettled:
    """A ticket that was sent, and whose outcome is unknown.

    :param row: the ticket.
    :param name: its name, as it was sent.
    :param project: its project, as it was sent: Leen's id or the tracker's.
    :param sendings: its open sendings, the earliest first; none where two tickets only have one id.
    :param final_from: from when on nothing more comes of any of them; see :func:`final_from`.
    :param named: the ids that contradictory replies named.
    :param findings: what was found out, for a person.
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
        """Whether it carries its key, if it exists: only then does it prove anything that a search does not find it."""
        return bool(self.sendings) and all(sending.embedded for sending in self.sendings)

    @property
    def may_be_absent(self) -> bool:
        """Whether a search can prove, at some time, that it does not exist."""
        return self.surely_carries_key and self.final_from < NEVER


class Control(NamedTuple):
    """A ticket of this run that carries its key, by which a search shows that it sees such tickets at all."""

    key: str
    vendor_ticket_id: str | None


def project_of(body: Mapping[str, Any]) -> str:
    """Return what a request's body calls the ticket's project."""
    return str(body.get("project_id") or body.get("project_vendor_id"))


def settled_after(settings: LeenSettings) -> float:
    """Say how many seconds after a request has left nothing more comes of it, and the tracker's search shows what did.

    It may take as long to connect and to answer, be worked on for as long again, and then the search index lags.
    """
    return 2 * (settings.timeout + settings.connect_timeout) + settings.settle_time


def final_from(sendings: Sequence[Sending], settings: LeenSettings, host: str) -> float:
    """Say from when on nothing more comes of any of a ticket's open sendings.

    A job may be in a queue for an unknown time: until its end is on record, this time does not come. A try that is less
    patient than the one that sent does not shorten it.

    :param host: this machine, by whose clock that is.
    """
    if not sendings or any(sending.as_job for sending in sendings):
        return NEVER
    patience = settled_after(settings)
    return max(sending.left_by(host) + max(sending.settled_after, patience) for sending in sendings)


def why_not_by_id(record: Record, ticket: Unsettled) -> str | None:
    """Say why a ticket that a reply named by its id is not proved to be this one; None where it is."""
    if reason := _why_not_at_all(record, ticket):
        return reason
    if record.key == ticket.key or is_same_identifier(ticket.key, record.identifier):
        return None
    if ticket.project.casefold() not in record.projects:
        return "nothing shows that it is of this project"
    return _why_not_by_name_and_time(record, ticket)


def why_not_by_identifier(record: Record, ticket: Unsettled) -> str | None:
    """Say why a ticket that Leen has under this identifier is not proved to be this one; None where it is.

    Another run may have a ticket with the same identifier, and the same name.
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


def is_that_of(record: Record, ticket: Unsettled) -> bool:
    """Tell whether what Leen has under the identifier of a ticket that nobody doubts to exist is that ticket.

    Its key, which is in no other run, is enough as its identifier.
    """
    if not is_same_identifier(ticket.row.identifier, record.identifier):
        return False
    return why_not_by_id(record, ticket) is None or why_not_by_identifier(record, ticket) is None


def _why_not_at_all(record: Record, ticket: Unsettled) -> str | None:
    if record.contradictions:
        return f"what was read of it contradicts itself ({record.contradictions[0]})"
    if record.key is not None and record.key != ticket.key:
        return "it carries another ticket's key"
    return None


def _why_not_by_name_and_time(record: Record, ticket: Unsettled) -> str | None:
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
        return "it was created at another time than this one could have been"
    return None


def _kind_of(project: str) -> str:
    """Tell which of its names a project is called by: only two of one kind can be compared."""
    return "Leen's id" if is_uuid(project) else "the tracker's id" if project.isdecimal() else "the tracker's key"


def clashing(found: Mapping[str, Created]) -> list[str]:
    """Return the keys of tickets that were found for two rows."""
    seen = Counter(id_ for ids in found.values() for id_ in _ids(ids))
    return [key for key, ids in found.items() if any(seen[id_] > 1 for id_ in _ids(ids))]


def _ids(ids: Created) -> list[tuple[str, str]]:
    """Return the ids that there are, each with whose it is."""
    return [(whose, id_.casefold()) for whose, id_ in ids._asdict().items() if id_]


def by_key(records: Iterable[Record], wanted: Collection[str]) -> dict[str, Created]:
    """Return the tickets that carry the keys that are wanted; of two that carry the same, the one that is older."""
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
