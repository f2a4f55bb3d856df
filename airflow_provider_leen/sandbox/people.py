"""People's changes in Jira, which Leen learns at its next sync."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from airflow_provider_leen.sandbox import jira
from airflow_provider_leen.sandbox.connections import TRACKER_ID
from airflow_provider_leen.sandbox.schemas import Status, TicketPatch, UUIDText
from airflow_provider_leen.sandbox.store import Store
from airflow_provider_leen.sandbox.tickets import changes

__all__ = ["Deed", "People"]


class Deed(BaseModel):
    """A person's change of a ticket.

    :param action: the kind of change.
    :param ticket: the ticket's key, or one that it had before it was moved.
    :param connection_id: the connection that the ticket belongs to, default the sandbox's tracker.
    :param status: the new status; default CLOSED for ``close``, TODO for ``reopen``.
    :param project: the key of the project that ``move`` moves it to.
    :param changes: the fields that ``edit`` changes, by Leen's names.
    :param ago: how many seconds ago the change was made, default 0; negative for later.
    """

    model_config = ConfigDict(extra="forbid")

    action: Literal["close", "reopen", "edit", "move", "delete", "clone"]
    ticket: str
    connection_id: UUIDText = TRACKER_ID
    status: Status | None = None
    project: str | None = None
    changes: TicketPatch = TicketPatch()
    ago: float = 0.0


class People:
    """People who change tickets in Jira. No workflow limits them.

    Each method takes a ticket's key, and the fields of a :class:`Deed` (``connection_id``, ``ago``) as options; it
    raises LookupError if there is no such ticket.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def close(self, ticket: str, **options: Any) -> None:
        """Close a ticket (``status``: default CLOSED)."""
        self.do(Deed(action="close", ticket=ticket, **options))

    def reopen(self, ticket: str, **options: Any) -> None:
        """Reopen a ticket (``status``: default TODO)."""
        self.do(Deed(action="reopen", ticket=ticket, **options))

    def edit(self, ticket: str, changes: Mapping[str, Any], **options: Any) -> None:
        """Change a ticket's fields, by Leen's names."""
        self.do(Deed(action="edit", ticket=ticket, changes=TicketPatch.model_validate(changes), **options))

    def move(self, ticket: str, project: str, **options: Any) -> str:
        """Move a ticket to another project, and return its new key."""
        return self.do(Deed(action="move", ticket=ticket, project=project, **options))

    def delete(self, ticket: str, **options: Any) -> None:
        """Delete a ticket."""
        self.do(Deed(action="delete", ticket=ticket, **options))

    def clone(self, ticket: str, **options: Any) -> str:
        """Clone a ticket, with its whole description, and return the clone's key."""
        return self.do(Deed(action="clone", ticket=ticket, **options))

    def do(self, deed: Deed) -> str:
        """Make a change, and return the key of the ticket, or of the clone, afterwards.

        :raises LookupError: there is no such ticket, or no such project to move it to.
        """
        store, ago = self._store, deed.ago
        ticket = store.find(deed.connection_id.lower(), deed.ticket)
        if ticket is None:
            raise LookupError(f"There is no ticket {deed.ticket}.")
        match deed.action:
            case "close":
                store.edit(ticket["ticket_id"], {"status": deed.status or "CLOSED"}, ago=ago)
            case "reopen":
                store.edit(ticket["ticket_id"], {"status": deed.status or jira.FIRST_STATUS}, ago=ago)
            case "edit":
                store.edit(ticket["ticket_id"], changes(deed.changes.model_dump(exclude_unset=True)), ago=ago)
            case "move":
                others = {project.key for project in jira.PROJECTS} - {ticket["project_key"]}
                if deed.project not in others:
                    raise LookupError(f"{deed.ticket} can be moved to {', '.join(others)}, not to {deed.project}.")
                return store.move(ticket, deed.project, ago=ago)
            case "delete":
                store.edit(ticket["ticket_id"], {"deleted": True}, ago=ago)
            case "clone":
                return store.clone(ticket, f"CLONE - {ticket['name']}"[: jira.MAX_SUMMARY], ago=ago)
        return str(ticket["vendor_key"])
