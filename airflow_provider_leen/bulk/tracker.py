"""Reads tickets from the tracker, else from Leen, right before they are changed.

One search asks the tracker for up to 50 tickets, by their Jira keys, else by this package's keys. The tracker refuses
the whole search if one of the tickets is gone, so a refused search is halved. A ticket that is unknown when it is asked
for alone counts as gone only if the same search finds another ticket of its project, but not this one. A ticket that
can't be read, for any reason, is not changed.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from airflow_provider_leen.api import jira
from airflow_provider_leen.api.client import AsyncLeenClient
from airflow_provider_leen.api.errors import (
    LeenAuthError,
    LeenConfigError,
    LeenError,
    LeenNotFoundError,
    LeenValidationError,
)
from airflow_provider_leen.api.jira import Record
from airflow_provider_leen.api.reservations import SearchReply, read_search
from airflow_provider_leen.bulk.asking import ask_all
from airflow_provider_leen.bulk.lookup import NEVER
from airflow_provider_leen.bulk.plan import Reading

log = logging.getLogger(__name__)

AT_ONCE = 50
"""Tickets a search."""

OTHERS = 3
"""Tickets of a project that may show that a search finds its tickets at all."""

_REFUSED = (LeenValidationError, LeenNotFoundError)
"""A search is refused if one of its tickets is unknown."""


class Asked(NamedTuple):
    """A ticket that is to be read.

    :param key: this package's key, which its description ends with; a ticket that was moved is known by it.
    :param vendor_ticket_id: the tracker's id, as it is known.
    :param ticket_id: Leen's.
    :param written_at: when we wrote it last: an older copy of Leen's says nothing.
    """

    key: str
    vendor_ticket_id: str | None
    ticket_id: str | None
    written_at: float


class TicketReader:
    """Reads tickets.

    :param client: the API.
    :param others: by Jira project, tickets of ours that may show that a search finds tickets of the project at all.
    """

    def __init__(self, client: AsyncLeenClient, others: Mapping[str, Sequence[str]]) -> None:
        self._client = client
        self._others = others
        self._finds: dict[str, bool] = {}
        self._some: dict[str, list[str]] = {}

    async def read(self, asked: Sequence[Asked]) -> dict[str, Reading | None]:
        """Read tickets; None for one that can't be read.

        :return: by their keys.
        :raises LeenError: the API key or the connection can't be used.
        """
        shown: dict[str, Reading | None] = {it.key: None for it in asked}
        at_tracker = [it for it in asked if it.vendor_ticket_id and jira.is_issue_key(it.vendor_ticket_id)]
        for start in range(0, len(at_tracker), AT_ONCE):
            await self._search_for(at_tracker[start : start + AT_ONCE], shown)

        await self._by_our_keys([it for it in asked if shown[it.key] is None], shown)

        async def by_id(it: Asked) -> None:
            shown[it.key] = await self._from_leen(it)

        await ask_all(by_id, [it for it in asked if shown[it.key] is None and it.ticket_id])
        unread = sum(reading is None for reading in shown.values())
        if unread:
            log.warning("Not read, and so not changed in this run: %d of %d tickets.", unread, len(asked))
        return shown

    async def _search_for(self, group: Sequence[Asked], shown: dict[str, Reading | None]) -> None:
        try:
            reply = await self._search(jira.jql_for_issues([str(it.vendor_ticket_id) for it in group]))
        except _REFUSED:
            if len(group) == 1:
                await self._not_found(group[0], shown)
            else:
                middle = len(group) // 2
                await self._search_for(group[:middle], shown)
                await self._search_for(group[middle:], shown)
            return
        except (LeenAuthError, LeenConfigError):
            raise
        except LeenError as error:
            log.warning("The tracker could not be asked for %d tickets: %s", len(group), error)
            return
        records = jira.read_hits(reply)
        left = []
        for it in group:
            record = _its_record(it, records, is_alone=len(group) == 1)
            if record is None:
                left.append(it)
            else:
                shown[it.key] = _reading(record)
        if len(group) > 1:
            # A page may be shorter than what was asked for.
            alone = [[it] for it in left] if len(left) == len(group) else [left] if left else []
            for rest in alone:
                await self._search_for(rest, shown)
        elif left and reply.is_empty:
            await self._not_found(left[0], shown)

    async def _by_our_keys(self, left: Sequence[Asked], shown: dict[str, Reading | None]) -> None:
        """Search for tickets that can't be asked for by their Jira keys. Of those with one key the oldest counts."""
        for keys in jira.in_searches([it.key for it in left]):
            records = await self._found(jira.jql_for(keys))
            if records is None:
                return
            for it in left:
                mine = sorted((r for r in records if r.key == it.key), key=lambda r: r.created_at or NEVER)
                # One with another Jira key was moved, or is a clone.
                if mine and (it.vendor_ticket_id or mine[0].vendor_ticket_id) == mine[0].vendor_ticket_id:
                    shown[it.key] = _reading(mine[0])

    async def _not_found(self, it: Asked, shown: dict[str, Reading | None]) -> None:
        """It is gone, if a search finds another ticket of its project: one of ours, or where those are gone, any."""
        mine = str(it.vendor_ticket_id)
        project = str(jira.project_of(mine))
        ours = self._others.get(project, ())
        if await self._is_any_found(ours, mine) or await self._is_any_found(await self._some_of(project), mine):
            shown[it.key] = await self._asked_again(it)

    async def _asked_again(self, it: Asked) -> Reading | None:
        """Ask once more for a ticket that was not found: the search itself may have failed."""
        with _unless_fatal():
            try:
                reply = await self._search(jira.jql_for_issues([str(it.vendor_ticket_id)]))
            except _REFUSED:
                return Reading("gone")
            if reply.is_empty:
                return Reading("gone")
            record = _its_record(it, jira.read_hits(reply), is_alone=True)
            return None if record is None else _reading(record)
        return None

    async def _is_any_found(self, others: Sequence[str], mine: str) -> bool:
        for other in others:
            if other.casefold() != mine.casefold() and await self._is_found(other):
                return True
        return False

    async def _some_of(self, project: str) -> Sequence[str]:
        if project not in self._some:
            records = await self._found(jira.jql_for_project(project)) or []
            keys = [record.vendor_ticket_id for record in records if record.vendor_ticket_id]
            self._some[project] = [key for key in keys if jira.project_of(key) == project][:OTHERS]
        return self._some[project]

    async def _is_found(self, vendor_ticket_id: str) -> bool:
        if vendor_ticket_id not in self._finds:
            self._finds[vendor_ticket_id] = bool(await self._found(jira.jql_for_issues([vendor_ticket_id])))
        return self._finds[vendor_ticket_id]

    async def _found(self, jql: str) -> list[Record] | None:
        """Return the tickets that a search finds; None if it can't be made."""
        with _unless_fatal():
            return jira.read_hits(await self._search(jql))
        return None

    async def _search(self, jql: str) -> SearchReply:
        return read_search(await self._client.search_page(jql))

    async def _from_leen(self, it: Asked) -> Reading | None:
        with _unless_fatal():
            record = jira.read_ticket(await self._client.get_ticket(str(it.ticket_id)))
            is_newer = record.updated_at is not None and record.updated_at > it.written_at
            is_it = (record.ticket_id or "").casefold() == str(it.ticket_id).casefold() and _may_be(it, record)
            return _reading(record) if is_it and is_newer else None
        return None


@contextmanager
def _unless_fatal() -> Iterator[None]:
    """Suppress errors that leave a single ticket unread."""
    try:
        yield
    except (LeenAuthError, LeenConfigError):
        raise
    except LeenError:
        pass


def _its_record(it: Asked, records: Sequence[Record], *, is_alone: bool) -> Record | None:
    """Find a ticket among those that were found. One that was moved has another Jira key by now."""
    mine = str(it.vendor_ticket_id).casefold()
    found = [record for record in records if (record.vendor_ticket_id or "").casefold() == mine]
    found = found or [record for record in records if record.key == it.key]
    if not found and is_alone and len(records) == 1 and _is_elsewhere(it, records[0]):
        found = list(records)  # moved, and its description was rewritten
    return found[0] if len(found) == 1 and _may_be(it, found[0]) else None


def _is_elsewhere(it: Asked, record: Record) -> bool:
    """Return whether it has a Jira key of another project; one of the same project is another ticket's."""
    project = jira.project_of(record.vendor_ticket_id or "")
    return project is not None and project != jira.project_of(str(it.vendor_ticket_id))


def _may_be(it: Asked, record: Record) -> bool:
    return record.key in (None, it.key) and not record.contradictions


def _reading(record: Record) -> Reading | None:
    if record.is_closed is None:
        return None
    state = "closed" if record.is_closed else "open"
    return Reading(
        state,  # type: ignore[arg-type]
        record.updated_at,
        record.vendor_ticket_id,
        record.ticket_id,
        name=record.name,
    )
