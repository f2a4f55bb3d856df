"""Reads tickets from Leen or from Jira's search, and writes the searches."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from airflow_provider_leen.api.models import Ticket
from airflow_provider_leen.api.reservations import SearchReply, errors_in

MAX_JQL = 5000
"""The longest search that Leen takes, in characters."""

_CLOSED = frozenset({"CLOSED", "RESOLVED"})
"""Leen's statuses of a closed ticket."""

_KEY = "airflow-[0-9a-f]{24}"
_KEY_AS_LAST_LINE = re.compile(rf"(?:\A|[\n>])[ \t]*({_KEY})(?:\s|</\w+>)*\Z")


@dataclass(frozen=True, slots=True)
class Record:
    """A ticket as Leen or the tracker shows it; None for what is not shown.

    :param ticket_id: Leen's id.
    :param vendor_ticket_id: the tracker's, such as a Jira key.
    :param key: this package's key in the last line of its description. Elsewhere a key is only a mention, for example
        in an incident's ticket that quotes the error of a failed task.
    :param created_at: in seconds since the epoch; None also if its offset from UTC is missing.
    :param projects: the names of its project: Leen's id, the tracker's key or id.
    :param contradictions: errors that the record itself reports.
    :param is_closed: whether it is closed.
    :param updated_at: when it was last changed, in seconds since the epoch.
    """

    ticket_id: str | None
    vendor_ticket_id: str | None
    identifier: str | None
    name: str | None
    key: str | None
    created_at: float | None
    projects: frozenset[str]
    contradictions: tuple[str, ...] = ()
    is_closed: bool | None = None
    updated_at: float | None = None


def is_key(identifier: str) -> bool:
    """Return whether an identifier is one of this package's keys, which are unique to a run."""
    return re.fullmatch(_KEY, identifier) is not None


def read_ticket(ticket: Ticket) -> Record:
    """Read one of Leen's tickets."""
    vendor_id = ticket.vendor_ticket_id
    return Record(
        _text(ticket.id),
        vendor_id,
        _text(ticket.identifier),
        _text(ticket.name),
        _key_in(ticket.description),
        read_time(ticket.ticket_created_at),
        _names(ticket.project_id, (ticket.model_extra or {}).get("project_vendor_id"), _project_of(vendor_id)),
        tuple(errors_in(ticket.model_extra or {})),
        None if ticket.status is None else ticket.status.strip().upper() in _CLOSED,
        read_time((ticket.vendor_attributes or {}).get("updated_at")),
    )


def read_hit(hit: Any) -> Record | None:
    """Read a hit of the search, which is a Jira issue or one of Leen's tickets; None if it is neither."""
    if not isinstance(hit, dict):
        return None
    fields = hit.get("fields")
    if not isinstance(fields, dict):
        if "key" not in hit:
            return _read_leens(hit)
        fields = hit
    issue_key = _text(hit.get("key"))
    project = fields.get("project")
    names = [project.get("id"), project.get("key")] if isinstance(project, dict) else [project]
    return Record(
        None,
        issue_key,
        None,
        _text(fields.get("summary")),
        _key_in(fields.get("description")),
        read_time(fields.get("created")),
        _names(*names, _project_of(issue_key)),
        is_closed=_is_closed(fields.get("status")),
        updated_at=read_time(fields.get("updated")),
    )


def read_hits(reply: SearchReply) -> list[Record]:
    """Read the tickets that a search found."""
    return [record for hit in reply.hits if (record := read_hit(hit)) is not None]


def read_time(text: Any) -> float | None:
    """Read an ISO 8601 time as seconds since the epoch; None if it is not one, or has no time zone."""
    try:
        moment = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
    return None if moment.tzinfo is None else moment.timestamp()


def jql_for(keys: Sequence[str]) -> str:
    """Write the JQL that finds tickets by the keys in their descriptions."""
    # A phrase inside a JQL string: the phrase's quotes and every backslash are escaped.
    return " OR ".join(f"description ~ {_in_jql(_in_jql(key))}" for key in keys)


def jql_for_issue(vendor_ticket_id: str) -> str:
    """Write the JQL that finds one ticket by its Jira key."""
    return f"key = {_in_jql(vendor_ticket_id)}"


def jql_for_issues(vendor_ticket_ids: Sequence[str]) -> str:
    """Write the JQL that finds tickets by their Jira keys; Jira refuses it if one of them does not exist."""
    return f"key in ({', '.join(map(_in_jql, vendor_ticket_ids))})"


def jql_for_project(project: str) -> str:
    """Write the JQL that finds the tickets of a Jira project."""
    return f"project = {_in_jql(project)}"


def in_searches(keys: Sequence[str]) -> Iterator[list[str]]:
    """Split keys into groups so that no search is too long for Leen, with room for one more key in each."""
    room = 0
    asked: list[str] = []
    for key in keys:
        length = len(jql_for([key])) + len(" OR ")
        if 2 * length > room and asked:
            yield asked
            asked = []
        room = (room if asked else MAX_JQL) - length
        asked.append(key)
    if asked:
        yield asked


def _in_jql(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _read_leens(hit: dict[str, Any]) -> Record | None:
    try:
        return read_ticket(Ticket.model_validate(hit))
    except ValidationError:
        return None


def _key_in(description: Any) -> str | None:
    found = _KEY_AS_LAST_LINE.search(_last_text(description))
    return found.group(1) if found else None


def _last_text(description: Any) -> str:
    """Return a description that is a text, or the last text of one in Atlassian's document format (nested nodes)."""
    if isinstance(description, str):
        return description
    if not isinstance(description, dict):
        return ""
    nodes = description.get("content")
    texts = (_last_text(node) for node in reversed(nodes if isinstance(nodes, list) else []))
    return _text(description.get("text")) or next((text for text in texts if text.strip()), "")


def is_issue_key(text: str) -> bool:
    """Return whether a text has the form of a Jira key, which no UUID has."""
    return _project_of(text) is not None


def _is_closed(status: Any) -> bool | None:
    category = status.get("statusCategory") if isinstance(status, dict) else None
    key = _text(category.get("key")) if isinstance(category, dict) else None
    return None if key is None else key.casefold() == "done"


def project_of(issue_key: str) -> str | None:
    """Return the key of the project that a Jira key names, in upper case; None if it is no Jira key."""
    project = _project_of(issue_key)
    return project and project.upper()


def _project_of(issue_key: str | None) -> str | None:
    found = re.fullmatch(r"([A-Za-z][A-Za-z0-9_]*)-\d+", issue_key or "")
    return found.group(1) if found else None


def _names(*names: Any) -> frozenset[str]:
    return frozenset(name.casefold() for name in names if isinstance(name, str) and name)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value.strip() else None
