"""People at work at the tracker."""

from __future__ import annotations

import time
from typing import Any

from qa.chaos.days.book import Book
from qa.chaos.slot import Slot

MADE_WITHIN = 9.0
"""Seconds after its filing from when on a ticket is cloned, so that the copy is known as one."""

LATER = 120.0
"""By so many seconds the deeds of people are dated later: else they fall into the time in which a change is our own."""


def do(action: str, finding: str, book: Book, slot: Slot, connection_id: str) -> str | None:
    """Do something to the newest ticket of a finding; return the ticket's id, None where it can't be done."""
    mine = [
        (key, ticket)
        for key, ticket in book.tickets.items()
        if ticket.finding == finding and not ticket.is_clone and not ticket.is_deleted
    ]
    if not mine:
        return None
    key, ticket = mine[-1]
    is_too_late = (action == "close" and not ticket.is_open) or (action == "reopen" and ticket.is_open)
    if is_too_late or (action == "clone" and time.time() < ticket.held["created"] + MADE_WITHIN):
        return None
    given: list[Any] = []
    options: dict[str, Any] = {"connection_id": connection_id, "ago": 0.0 if action == "clone" else -LATER}
    if action == "move":
        given = ["APP" if ticket.held["project"] == "SEC" else "SEC"]
    elif action == "edit":
        given = [{"priority": "LOW"}]
    getattr(slot.people, action)(ticket.held["vendor_ticket_id"], *given, **options)
    return key
