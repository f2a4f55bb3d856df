"""The requests and replies of the Leen API, as pydantic models.

A request model is strict: a field that Leen does not document is refused, so that a typo can't vanish. A reply model
is tolerant: unknown fields are kept, and a field that Leen may leave out is optional.

Sources: Leen's OpenAPI document for ``POST /itsm/tickets/bulk/sync`` (the whole request and reply), its pages on
``POST /itsm/tickets`` and ``GET /itsm/users`` (the ticket and user records), and its demo app (projects).
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

MAX_TICKETS_PER_CALL = 50
"""The most tickets that one bulk call may carry."""


class TicketCreate(BaseModel):
    """A ticket to be created (Leen's ``ITSMTicketCreateRequestModel``).

    Only the shape is checked here; the rules between fields are checked in :mod:`airflow_provider_leen.bulk.tickets`.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    name: str
    project_id: str | None = None
    project_vendor_id: str | None = None
    type: str | None = None
    type_vendor_id: str | None = None
    type_id: str | None = Field(default=None, deprecated="Leen calls this field type_vendor_id.")
    description: str | None = None
    status: str | None = None
    priority: str | None = None
    assigned_user_id: str | None = None
    assigned_user_vendor_id: str | None = None
    parent_ticket_id: str | None = None
    parent_ticket_vendor_id: str | None = None
    identifier: str | None = None


class _Reply(BaseModel):
    model_config = ConfigDict(extra="allow")


class BulkResult(_Reply):
    """What became of one ticket of a bulk call (Leen's ``ITSMBulkCreateTicketResult``)."""

    success: bool
    request_index: int
    identifier: str | None = None
    ticket_id: str | None = None
    vendor_ticket_id: str | None = None
    error: str | None = None


class BulkReply(_Reply):
    """The reply to a bulk call (Leen's ``ITSMTicketBulkCreateSyncResponseModel``)."""

    total: int
    succeeded: int
    failed: int
    results: list[BulkResult]


class Ticket(_Reply):
    """A ticket as Leen knows it. Only ``id`` can be relied upon; the rest is null or absent where unknown."""

    id: str
    name: str | None = None
    description: str | None = None
    identifier: str | None = None
    project_id: str | None = None
    type: str | None = None
    type_vendor_id: str | None = None
    status: str | None = None
    priority: str | None = None
    url: str | None = None
    ticket_created_at: str | None = None
    vendor_attributes: dict[str, Any] | None = None


class Project(_Reply):
    """A project of the tracker, as synced into Leen."""

    id: str
    name: str | None = None


class User(_Reply):
    """A user of the tracker, as synced into Leen."""

    id: str
    name: str | None = None
    email: str | None = None
    status: str | None = None
    vendor_attributes: dict[str, Any] | None = None
