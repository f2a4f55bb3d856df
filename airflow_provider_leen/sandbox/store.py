"""The vendor's tickets of all connection IDs, and Leen's copies of them (:attr:`Store.leen`)."""

from __future__ import annotations

import math
import re
import sqlite3
import time
import uuid
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from airflow_provider_leen.sandbox.copies import Copies
from airflow_provider_leen.sandbox.database import Database
from airflow_provider_leen.sandbox.jira import FIRST_STATUS, Accepted, Workflow, is_done, parent_of
from airflow_provider_leen.sandbox.schemas import TicketBody

FIRST_NUMBER = 101
_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Created:
    """The names of a ticket that was just created."""

    ticket_id: str
    vendor_key: str
    identifier: str


def words(text: str) -> str:
    """The words of a text in lower case, each between single spaces, so that a phrase is a substring."""
    return f" {' '.join(_WORD.findall(text.casefold()))} "


class Store:
    """Tickets of all connection IDs.

    :param path: an SQLite file, kept; None (default) for memory.
    :param sync_after: seconds after which Leen sees changes made past it; None (default): only after a sync on demand.
    :param search_lag: seconds after which the vendor's search sees a new ticket, default 0.
    :param clock: the time in seconds since 1970.
    """

    def __init__(
        self,
        path: str | Path | None = None,
        *,
        sync_after: float | None = None,
        search_lag: float = 0.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.sync_after = sync_after
        """Applies to later changes."""
        self.workflow = Workflow()
        """Which changes of status the vendor allows."""
        self._search_lag = search_lag
        self._clock = clock
        self._db = Database(path)
        self.leen = Copies(self._db, clock)

    def close(self) -> None:
        """Close the database."""
        self._db.close()

    # Writing

    def add(
        self,
        connection_id: str,
        tickets: Iterable[tuple[TicketBody, Accepted]],
        *,
        persist: bool | None = None,
        ago: float = 0.0,
    ) -> list[Created]:
        """Create tickets, in one transaction.

        :param connection_id: the tenant.
        :param tickets: what was asked for and what Jira makes of it.
        :param persist: whether Leen stores the tickets; None (default): those that came without vendor ids.
        :param ago: how many seconds ago they were created.
        """
        now = self._clock() - ago
        created: list[Created] = []
        rows: list[dict[str, Any]] = []
        with self._db.writing():
            last = self._db.value("SELECT COALESCE(MAX(seq), 0) FROM tickets")
            numbers: dict[str, int] = {}
            for body, accepted in tickets:
                project = accepted.project.key
                number = numbers.get(project) or self._next_number(connection_id, project)
                numbers[project] = number + 1
                ticket_id = str(uuid.uuid4())
                persisted = persist if persist is not None else not accepted.by_vendor_id
                identifier = body.identifier or f"{project}-{accepted.type_id}-{ticket_id[:8]}"
                key = f"{project}-{number}"
                created.append(Created(ticket_id, key, identifier))
                rows.append(
                    {
                        "connection_id": connection_id,
                        "project_key": project,
                        "number": number,
                        "vendor_key": key,
                        "ticket_id": ticket_id,
                        "identifier": identifier,
                        "name": body.name,
                        "description": body.description,
                        "type_id": accepted.type_id,
                        "status": FIRST_STATUS,
                        "priority": accepted.priority,
                        "assignee_id": accepted.assignee and accepted.assignee.id,
                        "parent": accepted.parent,
                        "created": now,
                        "updated": now,
                        "status_updated": now,
                        "persisted": persisted,
                        "by_person": False,
                        "sync_due": None if persisted else self._sync_time(now),
                        "name_words": words(body.name),
                        "description_words": words(body.description or ""),
                    }
                )
            if rows:
                self._db.insert(rows)
                self.leen.take("seq > ? AND persisted", (last,), at="created")
        return created

    def update(self, ticket_id: str, changes: Mapping[str, Any]) -> None:
        """Change columns of one ticket through Leen: at the vendor, and in Leen's copy."""
        values = _written(changes, self._clock())
        with self._db.writing():
            self._db.change("tickets", ticket_id, values)
            self.leen.change(ticket_id, values)

    def edit(self, ticket_id: str, changes: Mapping[str, Any], *, ago: float = 0.0) -> None:
        """Change columns of one ticket at the vendor; Leen learns of it later.

        :param ago: how many seconds ago that was.
        """
        self.leen.catch_up()
        now = self._clock()
        with self._db.writing() as db:
            self._db.change("tickets", ticket_id, _written(changes, now - ago))
            due = self._sync_time(now)
            sql = "UPDATE tickets SET sync_due = MIN(COALESCE(sync_due, ?), ?) WHERE ticket_id = ?"
            db.execute(sql, (due, due, ticket_id))

    def move(self, ticket: sqlite3.Row, project: str, *, ago: float = 0.0) -> str:
        """Move a ticket to another project, and return its new key. Its former keys still find it."""
        with self._db.writing() as db:
            number = self._next_number(ticket["connection_id"], project)
            key = f"{project}-{number}"
            former = tuple(
                ticket[name] for name in ("connection_id", "vendor_key", "project_key", "number", "ticket_id")
            )
            db.execute("INSERT INTO moved VALUES (?, ?, ?, ?, ?)", former)
            changes = {"project_key": project, "number": number, "vendor_key": key}
            self.edit(ticket["ticket_id"], changes, ago=ago)
        return key

    def clone(self, ticket: sqlite3.Row, name: str, *, ago: float = 0.0) -> str:
        """Add a copy of a ticket that a person made, and return its key. It has no identifier."""
        now = self._clock()
        with self._db.writing():
            number = self._next_number(ticket["connection_id"], ticket["project_key"])
            key = f"{ticket['project_key']}-{number}"
            copied = ("connection_id", "project_key", "description", "description_words", "type_id", "priority")
            new = {name: ticket[name] for name in (*copied, "assignee_id", "parent")}
            names = {"ticket_id": str(uuid.uuid4()), "vendor_key": key, "number": number, "name": name}
            times = dict.fromkeys(("created", "updated", "status_updated"), now - ago)
            fixed = {"status": FIRST_STATUS, "persisted": False, "by_person": True, "name_words": words(name)}
            self._db.insert([new | names | times | fixed | {"sync_due": self._sync_time(now)}])
        return key

    def clear(self) -> None:
        """Delete every ticket."""
        with self._db.writing() as db:
            for table in ("tickets", "leen", "moved"):
                db.execute(f"DELETE FROM {table}")

    def _next_number(self, connection_id: str, project: str) -> int:
        sql = "SELECT MAX(number) FROM {} WHERE connection_id = ? AND project_key = ?"
        used = [self._db.value(sql.format(table), (connection_id, project)) for table in ("tickets", "moved")]
        return max((number + 1 for number in used if number is not None), default=FIRST_NUMBER)

    def _sync_time(self, happened: float) -> float:
        return math.inf if self.sync_after is None else happened + self.sync_after

    # Reading what the vendor holds

    def find(self, connection_id: str, key: str) -> sqlite3.Row | None:
        """The ticket with this key, or with this key before it was moved."""
        where = f"connection_id = ? AND (vendor_key = ? OR {moved_from('?')})"
        rows = self._select(where, (connection_id, key, key))
        return rows[0] if rows else None

    def held(self, ticket_id: str) -> sqlite3.Row | None:
        """The ticket with this UUID, None if a person deleted it."""
        rows = self._select("ticket_id = ?", (ticket_id,))
        return rows[0] if rows else None

    def parents(self, connection_id: str, tickets: Iterable[TicketBody]) -> Collection[str]:
        """Which of the parents that the tickets name exist: Jira keys, and UUIDs of tickets that Leen knows."""
        named = {parent for ticket in tickets if (parent := parent_of(ticket)) is not None}
        if not named:
            return ()
        marks = ", ".join("?" * len(named))
        held = self._select(f"connection_id = ? AND vendor_key IN ({marks})", (connection_id, *named))
        return {row["vendor_key"] for row in held} | self.leen.known(connection_id, named)

    def search(
        self, connection_id: str, where: str, parameters: Sequence[Any], *, limit: int, offset: int
    ) -> Sequence[sqlite3.Row]:
        """Tickets that meet an SQL condition (from :func:`.jql.compile_jql`), newest first."""
        return self._select(
            f"connection_id = ? AND created <= ? AND ({where})",
            (connection_id, self._clock() - self._search_lag, *parameters),
            f"ORDER BY seq DESC LIMIT {limit:d} OFFSET {offset:d}",
        )

    def all(self, connection_id: str | None = None) -> Sequence[sqlite3.Row]:
        """All tickets, oldest first, of one tenant or of all."""
        where, parameters = ("connection_id = ?", (connection_id,)) if connection_id else ("1", ())
        return self._select(where, parameters, "ORDER BY seq")

    def named(self, names: Collection[str]) -> Sequence[sqlite3.Row]:
        """The tickets with these keys (or former keys) or ids of Leen, of any tenant, oldest first."""
        marks = ", ".join("?" * len(names))
        where = f"vendor_key IN ({marks}) OR ticket_id IN ({marks}) OR {moved_from(marks)}"
        return self._select(where, (*names, *map(str.lower, names), *names), "ORDER BY seq")

    def matching(self, text: str, *, limit: int, offset: int = 0) -> tuple[Sequence[sqlite3.Row], int]:
        """The tickets with this text in key, title, description or identifier, newest first, and how many there are.

        :param text: in any case; empty for all tickets.
        """
        where = "1"
        parameters: tuple[str, ...] = ()
        if text.strip():
            exact, in_words = text.strip().casefold(), words(text).strip()
            where = "instr(lower(vendor_key), ?) OR instr(lower(identifier), ?)"
            parameters = (exact, exact)
            if in_words:
                where += " OR instr(name_words, ?) OR instr(description_words, ?)"
                parameters += (in_words, in_words)
        total: int = self._db.value(f"SELECT COUNT(*) FROM tickets WHERE NOT deleted AND ({where})", parameters)
        return self._select(where, parameters, f"ORDER BY seq DESC LIMIT {limit:d} OFFSET {offset:d}"), total

    def counts(self) -> dict[str, int]:
        """The number of tickets of each project, over all tenants."""
        sql = "SELECT project_key, COUNT(*) FROM tickets WHERE NOT deleted GROUP BY 1 ORDER BY 1"
        return {row[0]: row[1] for row in self._db.rows(sql)}

    def duplicates(self) -> dict[str, list[dict[str, Any]]]:
        """Tickets that exist more than once in one tenant: by identifier, and by project, name and description.

        What a person cloned is none.
        """
        return {
            "by_identifier": self._repeated("identifier"),
            "by_content": self._repeated("project_key, name, description"),
        }

    def _repeated(self, columns: str) -> list[dict[str, Any]]:
        sql = (
            f"SELECT connection_id, {columns}, COUNT(*) AS count, GROUP_CONCAT(vendor_key, ' ') AS vendor_ticket_ids "
            "FROM tickets WHERE NOT deleted AND NOT by_person "
            f"GROUP BY connection_id, {columns} HAVING COUNT(*) > 1 ORDER BY MIN(seq)"
        )
        rows = [dict(row) for row in self._db.rows(sql)]
        return [row | {"vendor_ticket_ids": row["vendor_ticket_ids"].split()} for row in rows]

    def _select(self, where: str, parameters: Sequence[Any], order: str = "") -> list[sqlite3.Row]:
        """The tickets that a person has not deleted, with ``synced_at``, null where Leen does not know them."""
        self.leen.catch_up()
        synced_at = "(SELECT synced_at FROM leen WHERE leen.ticket_id = tickets.ticket_id) AS synced_at"
        sql = f"SELECT *, {synced_at} FROM tickets WHERE NOT deleted AND ({where}) {order}"
        return self._db.rows(sql, parameters)


def moved_from(marks: str) -> str:
    """An SQL condition: the ticket once had one of these keys."""
    moved = f"SELECT ticket_id FROM moved WHERE connection_id = tickets.connection_id AND vendor_key IN ({marks})"
    return f"ticket_id IN ({moved})"


def _written(changes: Mapping[str, Any], at: float) -> dict[str, Any]:
    """A change of a ticket, with the columns that depend on it."""
    values = {**changes, "updated": at}
    if "name" in changes:
        values["name_words"] = words(changes["name"])
    if "description" in changes:
        values["description_words"] = words(changes["description"] or "")
    if "status" in changes:
        values |= {"status_updated": at, "closed": at if is_done(changes["status"]) else None}
    return values
