"""The sandbox's tickets, in SQLite: the vendor's side and what Leen knows of it.

One row is one ticket in the vendor. ``ticket_id`` is its UUID in Leen, which Leen knows from ``synced_at`` on (null:
never). ``persisted`` says that Leen stored the ticket itself, and with it the identifier: a ticket that only a sync
brings in has none there. ``*_words`` hold the text as a search index would see it.
"""

from __future__ import annotations

import re
import sqlite3
import threading
import time
import uuid
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from airflow_provider_leen.sandbox.jira import Accepted, parent_of
from airflow_provider_leen.sandbox.schemas import TicketBody

_SCHEMA = """
CREATE TABLE IF NOT EXISTS tickets (
    seq INTEGER PRIMARY KEY,
    connection_id TEXT NOT NULL,
    project_key TEXT NOT NULL,
    number INTEGER NOT NULL,
    vendor_key TEXT NOT NULL,
    ticket_id TEXT NOT NULL UNIQUE,
    identifier TEXT NOT NULL,
    name TEXT NOT NULL,
    description TEXT,
    type_id TEXT NOT NULL,
    status TEXT NOT NULL,
    priority TEXT NOT NULL,
    assignee_id TEXT,
    parent TEXT,
    created REAL NOT NULL,
    updated REAL NOT NULL,
    persisted INTEGER NOT NULL,
    synced_at REAL,
    name_words TEXT NOT NULL,
    description_words TEXT NOT NULL
);
CREATE UNIQUE INDEX IF NOT EXISTS by_key ON tickets (connection_id, project_key, number);
CREATE INDEX IF NOT EXISTS by_identifier ON tickets (connection_id, identifier);
"""

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
    :param sync_after: seconds after which Leen sees a ticket that was created with vendor ids; None (default): never.
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
        """Holds for tickets created from now on."""
        self._search_lag = search_lag
        self._clock = clock
        self._lock = threading.RLock()  # the server's thread and a test's share one SQLite connection
        self._db = sqlite3.connect(path or ":memory:", check_same_thread=False)
        self._db.row_factory = sqlite3.Row
        # Enough to survive the process; a sandbox need not survive the machine, and a sync of the disk takes 10 ms.
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = OFF")
        self._db.executescript(_SCHEMA)

    def close(self) -> None:
        """Close the database."""
        with self._lock:
            self._db.close()

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
        with self._lock, self._db:
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
                        "status": "TODO",
                        "priority": accepted.priority,
                        "assignee_id": accepted.assignee and accepted.assignee.id,
                        "parent": accepted.parent,
                        "created": now,
                        "updated": now,
                        "persisted": persisted,
                        "synced_at": now if persisted else self._sync_time(now),
                        "name_words": words(body.name),
                        "description_words": words(body.description or ""),
                    }
                )
            if rows:
                columns = rows[0].keys()
                values = ", ".join(f":{column}" for column in columns)
                self._db.executemany(f"INSERT INTO tickets ({', '.join(columns)}) VALUES ({values})", rows)
        return created

    def _next_number(self, connection_id: str, project: str) -> int:
        sql = "SELECT MAX(number) FROM tickets WHERE connection_id = ? AND project_key = ?"
        highest = self._db.execute(sql, (connection_id, project)).fetchone()[0]
        return FIRST_NUMBER if highest is None else highest + 1

    def _sync_time(self, created: float) -> float | None:
        return None if self.sync_after is None else created + self.sync_after

    def update(self, ticket_id: str, changes: dict[str, Any]) -> None:
        """Change columns of one ticket."""
        values = changes | {"updated": self._clock()}
        if "name" in changes:
            values["name_words"] = words(changes["name"])
        if "description" in changes:
            values["description_words"] = words(changes["description"] or "")
        assignments = ", ".join(f"{column} = ?" for column in values)
        with self._lock, self._db:
            self._db.execute(f"UPDATE tickets SET {assignments} WHERE ticket_id = ?", (*values.values(), ticket_id))

    def sync(self) -> int:
        """Let Leen see every ticket of the vendor at once, and say how many were new to it."""
        now = self._clock()
        with self._lock, self._db:
            sql = "UPDATE tickets SET synced_at = ? WHERE synced_at IS NULL OR synced_at > ?"
            return self._db.execute(sql, (now, now)).rowcount

    def parents(self, connection_id: str, tickets: Iterable[TicketBody]) -> Collection[str]:
        """Which of the parents that the tickets name exist: Jira keys, and UUIDs of tickets that Leen knows."""
        named = {parent for ticket in tickets if (parent := parent_of(ticket)) is not None}
        if not named:
            return ()
        marks = ", ".join("?" * len(named))
        known = self._select(f"connection_id = ? AND vendor_key IN ({marks})", (connection_id, *named))
        in_leen = self._select(self._seen(f"connection_id = ? AND ticket_id IN ({marks})"), (connection_id, *named))
        return {row["vendor_key"] for row in known} | {row["ticket_id"] for row in in_leen}

    def get(self, connection_id: str, ticket_id: str) -> sqlite3.Row | None:
        """The ticket with this UUID, if Leen knows it."""
        return self._first(self._seen("connection_id = ? AND ticket_id = ?"), (connection_id, ticket_id))

    def get_by_identifier(self, connection_id: str, identifier: str) -> sqlite3.Row | None:
        """The newest ticket that Leen stored under this identifier."""
        return self._first("connection_id = ? AND identifier = ? AND persisted", (connection_id, identifier))

    def page(self, connection_id: str, *, since: float, limit: int, offset: int) -> Sequence[sqlite3.Row]:
        """Tickets that Leen knows, oldest first."""
        where = self._seen("connection_id = ? AND updated >= ?")
        return self._select(where, (connection_id, since), f"ORDER BY seq LIMIT {limit:d} OFFSET {offset:d}")

    def search(
        self, connection_id: str, where: str, parameters: Sequence[Any], *, limit: int, offset: int
    ) -> Sequence[sqlite3.Row]:
        """Tickets of the vendor that meet an SQL condition (from :func:`.jql.compile_jql`), newest first."""
        return self._select(
            f"connection_id = ? AND created <= ? AND ({where})",
            (connection_id, self._clock() - self._search_lag, *parameters),
            f"ORDER BY seq DESC LIMIT {limit:d} OFFSET {offset:d}",
        )

    def all(self, connection_id: str | None = None) -> Sequence[sqlite3.Row]:
        """What the vendor holds, oldest first, of one tenant or of all."""
        if connection_id is None:
            return self._select("1", (), "ORDER BY seq")
        return self._select("connection_id = ?", (connection_id,), "ORDER BY seq")

    def named(self, names: Collection[str]) -> Sequence[sqlite3.Row]:
        """The tickets that the vendor holds under these keys or ids of Leen, in whatever tenant, oldest first."""
        marks = ", ".join("?" * len(names))
        where = f"vendor_key IN ({marks}) OR ticket_id IN ({marks})"
        return self._select(where, (*names, *map(str.lower, names)), "ORDER BY seq")

    def matching(self, text: str, *, limit: int, offset: int = 0) -> tuple[Sequence[sqlite3.Row], int]:
        """What the vendor holds with this text in key, title, description or identifier, newest first, and how many.

        :param text: in any case; empty for everything.
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
        with self._lock:
            total = self._db.execute(f"SELECT COUNT(*) FROM tickets WHERE {where}", parameters).fetchone()[0]
            order = f"ORDER BY seq DESC LIMIT {limit:d} OFFSET {offset:d}"
            return self._select(where, parameters, order), total

    def counts(self) -> dict[str, int]:
        """How many tickets each project holds, over all tenants."""
        with self._lock:
            rows = self._db.execute("SELECT project_key, COUNT(*) FROM tickets GROUP BY 1 ORDER BY 1").fetchall()
        return {row[0]: row[1] for row in rows}

    def duplicates(self) -> dict[str, list[dict[str, Any]]]:
        """Tickets that exist more than once in one tenant: by identifier, and by project, name and description."""
        return {
            "by_identifier": self._repeated("identifier"),
            "by_content": self._repeated("project_key, name, description"),
        }

    def _repeated(self, columns: str) -> list[dict[str, Any]]:
        sql = (
            f"SELECT connection_id, {columns}, COUNT(*) AS count, GROUP_CONCAT(vendor_key, ' ') AS vendor_ticket_ids "
            f"FROM tickets GROUP BY connection_id, {columns} HAVING COUNT(*) > 1 ORDER BY MIN(seq)"
        )
        with self._lock:
            rows = [dict(row) for row in self._db.execute(sql)]
        return [row | {"vendor_ticket_ids": row["vendor_ticket_ids"].split()} for row in rows]

    def clear(self) -> None:
        """Forget every ticket."""
        with self._lock, self._db:
            self._db.execute("DELETE FROM tickets")

    def _seen(self, where: str) -> str:
        return f"{where} AND synced_at <= {self._clock()!r}"

    def _first(self, where: str, parameters: Sequence[Any]) -> sqlite3.Row | None:
        rows = self._select(where, parameters, "ORDER BY seq DESC LIMIT 1")
        return rows[0] if rows else None

    def _select(self, where: str, parameters: Sequence[Any], order: str = "") -> list[sqlite3.Row]:
        with self._lock:
            return self._db.execute(f"SELECT * FROM tickets WHERE {where} {order}", parameters).fetchall()
