"""How tickets, projects and users look in replies: Leen's records, Jira's issues, and the sandbox's own view."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime
from typing import Any

from airflow_provider_leen.sandbox.jira import (
    ISSUE_TYPES,
    PRIORITIES,
    PROJECTS,
    STATUS_CATEGORIES,
    STATUSES,
    USERS,
    Project,
    User,
)

SYNCED = "2026-01-05T08:00:00+00:00"
"""The time of Leen's sync of projects and users."""

_NORMALISED = {name: normalised for normalised, name in PRIORITIES.items() if normalised != "UNKNOWN"}
_USER_NAMES = {user.id: user.name for user in USERS}
_PROJECT_BY_KEY = {project.key: project for project in PROJECTS}


def iso(timestamp: float) -> str:
    """A time as Leen writes it: ISO 8601 with an offset."""
    return datetime.fromtimestamp(timestamp, UTC).isoformat()


def leen_ticket(row: sqlite3.Row) -> dict[str, Any]:
    """A ticket in Leen's form. A ticket known only by a sync has no identifier."""
    status, category = STATUSES[row["status"]]
    type_name = ISSUE_TYPES[row["type_id"]]
    in_leen = _is_uuid(row["parent"])
    return {
        "id": row["ticket_id"],
        "name": row["name"],
        "status": row["status"],
        "vendor_attributes": {
            "id": row["vendor_key"],
            "vendor": "JIRA",
            "created_at": iso(row["created"]),
            "updated_at": iso(row["updated"]),
            "type": type_name,
            "type_id": row["type_id"],
            "status": status,
            "priority": row["priority"],
            "data": {
                "vendor": "JIRA",
                "id": jira_id(row),
                "statusCategory": STATUS_CATEGORIES[category],
                "customFields": {},
            },
        },
        "active": True,
        "type": type_name,
        "type_id": row["type_id"],
        "parent_ticket_id": row["parent"] if in_leen else None,
        "description": row["description"],
        "ticket_created_at": iso(row["created"]),
        "due_date": None,
        "closed_at": None if row["closed"] is None else iso(row["closed"]),
        "assigned_user_id": row["assignee_id"],
        "created_by_user_id": None,
        "status_updated_at": iso(row["status_updated"]),
        "project_id": _PROJECT_BY_KEY[row["project_key"]].id,
        "tags": [],
        "priority": _NORMALISED[row["priority"]],
        "url": f"https://jira.example.com/browse/{row['vendor_key']}",
        "identifier": row["identifier"],
        "parent_ticket_vendor_id": None if in_leen else row["parent"],
        "assigned_user_vendor_id": None,
        "type_vendor_id": row["type_id"],
    }


def _is_uuid(parent: str | None) -> bool:
    return parent is not None and len(parent) == 36


def jira_id(row: sqlite3.Row) -> str:
    """Jira's numeric id of a ticket."""
    return str(10_000 + row["seq"])


def jira_issue(row: sqlite3.Row) -> dict[str, Any]:
    """A ticket in the form of Jira's search, without the identifier, which never reaches Jira."""
    project = _PROJECT_BY_KEY[row["project_key"]]
    status, category = STATUSES[row["status"]]
    done = row["closed"] is not None
    return {
        "id": jira_id(row),
        "key": row["vendor_key"],
        "fields": {
            "summary": row["name"],
            "description": row["description"],
            "created": iso(row["created"]),
            "updated": iso(row["updated"]),
            "issuetype": {"id": row["type_id"], "name": ISSUE_TYPES[row["type_id"]]},
            "priority": {"name": row["priority"]},
            "status": {
                "name": status,
                "statusCategory": {"key": category, "name": STATUS_CATEGORIES[category]},
            },
            "resolution": {"name": "Done"} if done else None,
            "resolutiondate": iso(row["closed"]) if done else None,
            "project": {"key": project.key, "name": project.name},
        },
    }


def held_ticket(row: sqlite3.Row) -> dict[str, Any]:
    """A ticket in the sandbox's own form, with Leen's and Jira's names."""
    return {
        "connection_id": row["connection_id"],
        "vendor_ticket_id": row["vendor_key"],
        "ticket_id": row["ticket_id"],
        "in_leen": row["synced_at"] is not None,
        "identifier": row["identifier"],
        "project": row["project_key"],
        "type": ISSUE_TYPES[row["type_id"]],
        "name": row["name"],
        "description": row["description"],
        "priority": row["priority"],
        "status": row["status"],
        "assignee": row["assignee_id"] and _USER_NAMES[row["assignee_id"]],
        "parent": row["parent"],
        "created": row["created"],
        "updated": row["updated"],
        "synced_at": row["synced_at"],
    }


def leen_project(project: Project) -> dict[str, Any]:
    """A project as Leen knows it."""
    attributes = {"id": project.key, "vendor": "JIRA", "created_at": SYNCED, "updated_at": SYNCED}
    return {"id": project.id, "name": project.name, "vendor_attributes": attributes}


def leen_user(user: User) -> dict[str, Any]:
    """A user as Leen knows it."""
    data = {"vendor": "JIRA", "accountType": "atlassian"}
    return {
        "id": user.id,
        "name": user.name,
        "email": user.email,
        "status": "ACTIVE" if user.active else "INACTIVE",
        "vendor_attributes": {
            "id": user.account_id,
            "vendor": "JIRA",
            "created_at": SYNCED,
            "updated_at": SYNCED,
            "data": data,
        },
    }
