"""What a request body may look like, as the sandbox sees it.

Separate from :mod:`airflow_provider_leen.api.models` on purpose: a mistake in the client's models must not be shared
by what they are tested against. Like Leen's schema, these bodies tolerate unknown fields.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

UUID_PATTERN = r"^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$"
# The limit is no limit: with any constraint at all, pydantic refuses half a surrogate pair, which is no text.
Text = Annotated[str, Field(min_length=0)]
Status = Literal["OPEN", "TODO", "IN_PROGRESS", "IN_REVIEW", "BLOCKED", "PENDING", "RESOLVED", "CLOSED"]
UUIDText = Annotated[str, Field(pattern=UUID_PATTERN)]


class TicketBody(BaseModel):
    """A ticket to be created (Leen's ``ITSMTicketCreateRequestModel``)."""

    name: Text
    project_id: UUIDText | None = None
    project_vendor_id: Text | None = None
    type: Text | None = None
    type_vendor_id: Text | None = None
    type_id: Text | None = None
    description: Text | None = None
    status: Text | None = None
    priority: Text | None = None
    assigned_user_id: UUIDText | None = None
    assigned_user_vendor_id: Text | None = None
    parent_ticket_id: UUIDText | None = None
    parent_ticket_vendor_id: Text | None = None
    identifier: Text | None = None

    @property
    def vendor_type(self) -> str | None:
        """The issue type's Jira id, under its present or its deprecated name."""
        return self.type_vendor_id if self.type_vendor_id is not None else self.type_id


class BulkBody(BaseModel):
    """The body of a bulk call (Leen's ``ITSMTicketBulkCreateRequestModel``)."""

    tickets: list[TicketBody] = Field(min_length=1, max_length=50)


class TicketPatch(BaseModel):
    """The fields of a ticket that can be changed; what is left out stays."""

    name: Text | None = None
    description: Text | None = None
    status: Text | None = None
    priority: Text | None = None
    assigned_user_id: UUIDText | None = None
    assigned_user_vendor_id: Text | None = None


class TicketUpdates(BaseModel):
    """What a bulk update changes; what is left out stays."""

    model_config = ConfigDict(extra="forbid")

    status: Text | None = None
    priority: Text | None = None
    assigned_user_id: UUIDText | None = None
    name: Text | None = None
    description: Text | None = None


class UpdateBody(BaseModel):
    """The body of a bulk update."""

    ticket_ids: list[UUIDText] = Field(min_length=1, max_length=50)
    updates: TicketUpdates
