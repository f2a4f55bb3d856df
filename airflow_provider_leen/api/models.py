"""The requests and replies of the Leen API, as pydantic models.

A request model is strict: a field that Leen does not document is refused, so that typos are noticed. A reply model is
tolerant: unknown fields are kept, and fields that Leen may omit are optional.

Sources: Leen's OpenAPI document for ``POST /itsm/tickets/bulk/sync`` (the whole request and reply), its pages on
``POST /itsm/tickets`` and ``GET /itsm/users`` (the ticket and user records), on the bulk jobs and on
``GET /v2/vulnerability_findings`` (the fields of a job and of a finding), and its demo app (projects).
"""

from __future__ import annotations

import re
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["BulkReply", "BulkResult", "Finding", "Job", "Project", "Ticket", "TicketCreate", "User"]

MAX_TICKETS_PER_CALL = 50
"""The most tickets in one bulk call."""

MAX_FINDING_IDS = 100
"""The most ids that the list of vulnerability findings can be filtered by."""


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
    """The result of one ticket of a bulk call (Leen's ``ITSMBulkCreateTicketResult``)."""

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
    """A ticket as Leen knows it. Only ``id`` is certain; the rest is null or absent if unknown."""

    id: str
    name: str | None = None
    description: str | dict[str, Any] | None = None
    identifier: str | None = None
    project_id: str | None = None
    type: str | None = None
    type_vendor_id: str | None = None
    status: str | None = None
    priority: str | None = None
    url: str | None = None
    ticket_created_at: str | None = None
    vendor_attributes: dict[str, Any] | None = None

    @property
    def vendor_ticket_id(self) -> str | None:
        """The vendor's id, such as a Jira key. Leen does not document its field; a Jira issue's url ends with it."""
        found = re.search(r"/([A-Za-z][A-Za-z0-9_]*-\d+)/?$", self.url) if isinstance(self.url, str) else None
        other = self.vendor_attributes.get("id") if isinstance(self.vendor_attributes, dict) else None
        if found is not None:
            return found.group(1)
        return other if isinstance(other, str) and other else None


class Project(_Reply):
    """A project of the tracker, as synced into Leen."""

    id: str
    name: str | None = None
    vendor_attributes: dict[str, Any] | None = None

    @property
    def vendor_id(self) -> str | None:
        """The vendor's key, the value of ``project_vendor_id``. Leen does not document its field."""
        attributes = self.vendor_attributes or {}
        places = (self.model_extra, attributes, attributes.get("data"))
        keys = [place.get("key") for place in places if isinstance(place, dict)]
        return next((key for key in (*keys, attributes.get("id")) if isinstance(key, str) and key), None)


class User(_Reply):
    """A user of the tracker, as synced into Leen."""

    id: str
    name: str | None = None
    email: str | None = None
    status: str | None = None
    vendor_attributes: dict[str, Any] | None = None

    @property
    def vendor_id(self) -> str | None:
        """The vendor's id, the value of ``assigned_user_vendor_id``."""
        other = (self.vendor_attributes or {}).get("id")
        return other if isinstance(other, str) and other else None


class Job(_Reply):
    """An asynchronous job. Only its status and, once it has failed, its reason are documented.

    :mod:`airflow_provider_leen.api.jobs` interprets them.
    """

    status: str
    failure_reason: Any = None


class Finding(_Reply):
    """A vulnerability finding of Leen's V2 API. Only ``id`` is certain."""

    id: str
    title: str | None = None
    description: str | None = None
    severity: str | None = None
    state: str | None = None
    type: str | None = None
    first_seen: str | None = None
    last_seen: str | None = None
    ticket: dict[str, Any] | None = None
    has_fix: bool | None = None
    remediation: Any = None
    product: Any = None
    resource_related: Any = None
    vulnerabilities: Any = None

    @property
    def has_ticket(self) -> bool:
        """Whether the finding already has a ticket (``ticket`` with ``uid`` or ``url``)."""
        return bool(self.ticket and (self.ticket.get("uid") or self.ticket.get("url")))
