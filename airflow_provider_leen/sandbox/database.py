"""The sandbox's SQLite tables: the vendor's tickets, and Leen's copies.

One row of ``tickets`` is one ticket in the vendor, as it is now, or as it was when a person deleted it. One row of
``leen`` is Leen's copy of a ticket, as of ``synced_at``. ``tickets.sync_due`` says when Leen's copy catches up: null
if it has nothing to learn, infinity if only a sync on demand updates it. ``tickets.persisted`` says that Leen stored
the ticket itself, and with it the identifier: a ticket that only a sync brings in has none there. ``moved`` holds the
keys that tickets had before they were moved. ``*_words`` hold a text as a search index would see it.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_SHARED = """
    connection_id TEXT NOT NULL,
    ticket_id TEXT NOT NULL UNIQUE,
    vendor_key TEXT NOT NULL,
    project_key TEXT NOT NULL,
    identifier TEXT,
    name TEXT NOT NULL,
    description TEXT,
    type_id TEXT NOT NULL,
    status TEXT NOT NULL,
    priority TEXT NOT NULL,
    assignee_id TEXT,
    parent TEXT,
    created REAL NOT NULL,
    updated REAL NOT NULL,
    status_updated REAL NOT NULL,
    closed REAL,
"""
SHARED = tuple(line.split()[0] for line in _SHARED.strip().splitlines())
"""The columns that the vendor's tickets and Leen's copies have in common."""

_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS tickets (
    seq INTEGER PRIMARY KEY, {_SHARED}
    number INTEGER NOT NULL,
    name_words TEXT NOT NULL,
    description_words TEXT NOT NULL,
    persisted INTEGER NOT NULL,
    by_person INTEGER NOT NULL,
    sync_due REAL,
    deleted INTEGER NOT NULL DEFAULT 0
);
CREATE UNIQUE INDEX IF NOT EXISTS by_key ON tickets (connection_id, project_key, number);
CREATE INDEX IF NOT EXISTS by_due_time ON tickets (sync_due) WHERE sync_due IS NOT NULL;
CREATE TABLE IF NOT EXISTS leen (
    seq INTEGER PRIMARY KEY, {_SHARED}
    synced_at REAL NOT NULL
);
CREATE INDEX IF NOT EXISTS by_identifier ON leen (connection_id, identifier);
CREATE TABLE IF NOT EXISTS moved (
    connection_id TEXT NOT NULL,
    vendor_key TEXT NOT NULL,
    project_key TEXT NOT NULL,
    number INTEGER NOT NULL,
    ticket_id TEXT NOT NULL,
    PRIMARY KEY (connection_id, vendor_key)
);
"""


class Database:
    """One SQLite connection, which the server's thread and a test's share.

    :param path: an SQLite file, kept; None for memory.
    """

    def __init__(self, path: str | Path | None) -> None:
        self._lock = threading.RLock()
        self._connection = sqlite3.connect(path or ":memory:", check_same_thread=False)
        self._connection.row_factory = sqlite3.Row
        # Data survive the process, but not a crash of the machine: a sync of the disk would take 10 ms.
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = OFF")
        self._connection.executescript(_SCHEMA)

    def close(self) -> None:
        """Close it."""
        with self._lock:
            self._connection.close()

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[sqlite3.Row]:
        """Return the rows of a query."""
        with self._lock:
            return self._connection.execute(sql, parameters).fetchall()

    def value(self, sql: str, parameters: Sequence[Any] = ()) -> Any:
        """Return the value of a query for a single value."""
        return self.rows(sql, parameters)[0][0]

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction."""
        with self._lock, self._connection:
            yield self._connection

    def insert(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Add rows of the same columns to the vendor's tickets, in a transaction that is open."""
        columns = rows[0].keys()
        values = ", ".join(f":{column}" for column in columns)
        self._connection.executemany(f"INSERT INTO tickets ({', '.join(columns)}) VALUES ({values})", rows)

    def change(self, table: str, ticket_id: str, values: Mapping[str, Any]) -> None:
        """Change columns of one ticket, in a transaction that is open."""
        assignments = ", ".join(f"{column} = ?" for column in values)
        self._connection.execute(f"UPDATE {table} SET {assignments} WHERE ticket_id = ?", (*values.values(), ticket_id))
