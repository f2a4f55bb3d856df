"""Leen's copies of the vendor's tickets, as of the last sync or of Leen's own last change."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from airflow_provider_leen.sandbox.database import SHARED, Database

_COPIED = ("seq", *(column for column in SHARED if column != "identifier"))


class Copies:
    """Leen's copies. Syncs that are due are made on access.

    :param database: where they are.
    :param clock: the time in seconds since 1970.
    """

    def __init__(self, database: Database, clock: Callable[[], float]) -> None:
        self._db = database
        self._clock = clock

    def get(self, connection_id: str, ticket_id: str) -> sqlite3.Row | None:
        """The ticket with this UUID."""
        return self._newest("connection_id = ? AND ticket_id = ?", (connection_id, ticket_id))

    def get_by_identifier(self, connection_id: str, identifier: str) -> sqlite3.Row | None:
        """The newest ticket that Leen stored under this identifier."""
        return self._newest("connection_id = ? AND identifier = ?", (connection_id, identifier))

    def page(self, connection_id: str, *, since: float, limit: int, offset: int) -> Sequence[sqlite3.Row]:
        """Tickets that Leen wrote at this time or later, oldest first."""
        order = f"ORDER BY seq LIMIT {limit:d} OFFSET {offset:d}"
        return self._select("connection_id = ? AND synced_at >= ?", (connection_id, since), order)

    def known(self, connection_id: str, ticket_ids: Collection[str]) -> set[str]:
        """Which of these UUIDs Leen knows."""
        marks = ", ".join("?" * len(ticket_ids))
        rows = self._select(f"connection_id = ? AND ticket_id IN ({marks})", (connection_id, *ticket_ids))
        return {row["ticket_id"] for row in rows}

    def sync(self) -> int:
        """Sync Leen's copies, and return how many tickets were new, changed or gone."""
        now = self._clock()
        with self._db.writing() as db:
            db.execute("UPDATE tickets SET sync_due = ? WHERE sync_due > ?", (now, now))
        return self.catch_up()

    def catch_up(self) -> int:
        """Make the syncs that are due, and return the number of tickets."""
        now = self._clock()
        due = "FROM tickets WHERE sync_due <= ?"
        count: int = self._db.value(f"SELECT COUNT(*) {due}", (now,))
        if count:
            with self._db.writing() as db:
                db.execute(f"DELETE FROM leen WHERE ticket_id IN (SELECT ticket_id {due})", (now,))
                self.take("sync_due <= ? AND NOT deleted", (now,), at="sync_due")
                db.execute("UPDATE tickets SET sync_due = NULL WHERE sync_due <= ?", (now,))
        return count

    def take(self, where: str, parameters: Sequence[Any], *, at: str) -> None:
        """Copy tickets of the vendor.

        :param at: the column that says when.
        """
        columns = ", ".join(_COPIED)
        with self._db.writing() as db:
            db.execute(
                f"INSERT INTO leen ({columns}, identifier, synced_at) "
                f"SELECT {columns}, CASE WHEN persisted THEN identifier END, {at} FROM tickets WHERE {where}",
                parameters,
            )

    def change(self, ticket_id: str, values: Mapping[str, Any]) -> None:
        """Change columns of one copy, in a transaction that is open."""
        shared = {column: value for column, value in values.items() if column in SHARED}
        self._db.change("leen", ticket_id, shared | {"synced_at": self._clock()})

    def _newest(self, where: str, parameters: Sequence[Any]) -> sqlite3.Row | None:
        rows = self._select(where, parameters, "ORDER BY seq DESC LIMIT 1")
        return rows[0] if rows else None

    def _select(self, where: str, parameters: Sequence[Any], order: str = "") -> list[sqlite3.Row]:
        self.catch_up()
        return self._db.rows(f"SELECT * FROM leen WHERE {where} {order}", parameters)
