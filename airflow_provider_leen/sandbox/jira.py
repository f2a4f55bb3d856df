"""The sandbox's Jira: its projects, users and refusals.

:func:`examine` decides, :class:`Refused` is a refusal with its reason. No I/O.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from airflow_provider_leen.sandbox.schemas import Status, TicketBody

__all__ = ["Workflow"]

MAX_SUMMARY = 255
MAX_DESCRIPTION = 32_767


@dataclass(frozen=True, slots=True)
class Project:
    """A Jira project, with its UUID in Leen."""

    id: str
    key: str
    name: str


@dataclass(frozen=True, slots=True)
class User:
    """A Jira user, with its UUID in Leen."""

    id: str
    account_id: str
    name: str
    email: str
    active: bool = True


PROJECTS = (
    Project("5ec00000-0000-4000-8000-000000000001", "SEC", "Security"),
    Project("a9900000-0000-4000-8000-000000000002", "APP", "Applications"),
)

ISSUE_TYPES = {"10031": "Epic", "10032": "Story", "10033": "Bug", "10034": "Task", "10035": "Sub-task"}
"""Issue type id to name, the same in both projects."""

USERS = (
    User("c0000000-0000-4000-8000-000000000001", "712020:0a1b2c01", "Ada Okafor", "ada@example.com"),
    User("c0000000-0000-4000-8000-000000000002", "712020:0a1b2c02", "Bruno Meier", "bruno@example.com"),
    User("c0000000-0000-4000-8000-000000000003", "712020:0a1b2c03", "Chiara Rossi", "chiara@example.com"),
    User("c0000000-0000-4000-8000-000000000004", "712020:0a1b2c04", "Dmitri Petrov", "dmitri@example.com"),
    User("c0000000-0000-4000-8000-000000000005", "712020:0a1b2c05", "Eve Larsen", "eve@example.com", active=False),
)

PRIORITIES = {
    "CRITICAL": "Highest",
    "HIGH": "High",
    "MEDIUM": "Medium",
    "LOW": "Low",
    "INFORMATIONAL": "Lowest",
    "UNKNOWN": "Medium",
}
"""Leen's normalised priority to Jira's name; Jira's own names are accepted as well."""

DEFAULT_PRIORITY = "Medium"

STATUSES: dict[Status, tuple[str, str]] = {
    "OPEN": ("Open", "new"),
    "TODO": ("To Do", "new"),
    "IN_PROGRESS": ("In Progress", "indeterminate"),
    "IN_REVIEW": ("In Review", "indeterminate"),
    "BLOCKED": ("Blocked", "indeterminate"),
    "PENDING": ("Pending", "indeterminate"),
    "RESOLVED": ("Resolved", "done"),
    "CLOSED": ("Done", "done"),
}
"""Leen's normalised status to Jira's name and the key of its category."""

STATUS_CATEGORIES = {"new": "To Do", "indeterminate": "In Progress", "done": "Done"}
"""Key to name."""

FIRST_STATUS: Status = "TODO"
"""The status of a new ticket."""

_BY_ID = {project.id: project for project in PROJECTS}
_BY_KEY = {project.key: project for project in PROJECTS}
_USER_BY_ID = {user.id: user for user in USERS}
_USER_BY_ACCOUNT = {user.account_id: user for user in USERS}


class Refused(Exception):
    """Jira, or Leen before it, refuses to create this ticket; the message says why.

    :param not_found: the ticket names a UUID that Leen does not know.
    """

    def __init__(self, message: str, *, not_found: bool = False) -> None:
        super().__init__(message)
        self.not_found = not_found


class Workflow(BaseModel):
    """Which statuses a ticket can be given through Leen. People can set any.

    :param transitions: by status, the statuses that it leads to; a missing one leads to all.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    transitions: dict[Status, list[Status]] = {}

    def check(self, key: str, current: Status, wanted: Status) -> None:
        """Refuse a transition that does not exist.

        :raises Refused: it doesn't.
        """
        possible = self.transitions.get(current, STATUSES)
        if wanted != current and wanted not in possible:
            ways = f"leads to {', '.join(possible)} only" if possible else "leads nowhere"
            raise Refused(f"{key} can't be given the status {wanted}: in this workflow {current} {ways}.")


def is_done(status: str) -> bool:
    """Whether a ticket of this status counts as closed."""
    return status in ("RESOLVED", "CLOSED")


@dataclass(frozen=True, slots=True)
class Accepted:
    """The project and Jira's values of an accepted ticket."""

    project: Project
    type_id: str
    priority: str
    assignee: User | None
    parent: str | None
    by_vendor_id: bool
    """A vendor-id field was used, so a bulk call leaves no row in Leen."""


def examine(ticket: TicketBody, parents: Collection[str] = ()) -> Accepted:
    """Decide whether Jira creates this ticket.

    :param ticket: the ticket, well-formed.
    :param parents: those of the parents named by the call that exist: Jira keys and, for tickets in Leen, their UUIDs.
    :raises Refused: it doesn't.
    """
    check_summary(ticket.name)
    check_description(ticket.description)
    project = find_project(ticket)
    type_id = _find_type(ticket, project)
    parent = _find_parent(ticket, parents)
    if ISSUE_TYPES[type_id] == "Sub-task" and parent is None:
        raise Refused("Issue type Sub-task needs a parent, and none was given.")
    vendor_fields = (
        ticket.project_vendor_id,
        ticket.vendor_type,
        ticket.assigned_user_vendor_id,
        ticket.parent_ticket_vendor_id,
    )
    return Accepted(
        project=project,
        type_id=type_id,
        priority=find_priority(ticket.priority),
        assignee=find_assignee(ticket.assigned_user_id, ticket.assigned_user_vendor_id),
        parent=parent,
        by_vendor_id=any(value is not None for value in vendor_fields),
    )


def length(text: str) -> int:
    """A text's length as Jira counts it: UTF-16 code units."""
    return len(text.encode("utf-16-le")) // 2


def check_summary(name: str) -> None:
    """Refuse a title that Jira's summary field can't hold.

    :raises Refused: it is blank, too long or more than one line.
    """
    if not name.strip():
        raise Refused("The summary is blank; a ticket needs a title.")
    if length(name) > MAX_SUMMARY:
        raise Refused(f"The summary is {length(name)} characters long; Jira takes at most {MAX_SUMMARY}.")
    if "\n" in name or "\r" in name:
        raise Refused("The summary contains a line break; Jira takes a single line.")


def check_description(description: str | None) -> None:
    """Refuse a description that is too long for Jira.

    :raises Refused: it is.
    """
    if description is not None and length(description) > MAX_DESCRIPTION:
        raise Refused(
            f"The description is {length(description)} characters long; Jira takes at most {MAX_DESCRIPTION}."
        )


def find_project(ticket: TicketBody) -> Project:
    """Find the project that a ticket names.

    :raises Refused: there is none, or the ticket names none, or names it twice.
    """
    if ticket.project_id is not None and ticket.project_vendor_id is not None:
        raise Refused("Both project_id and project_vendor_id were given; give one of them.")
    if ticket.project_id is not None:
        project = _BY_ID.get(ticket.project_id.lower())
        if project is None:
            raise Refused(f"Leen knows no project with the ID {ticket.project_id}.", not_found=True)
        return project
    if ticket.project_vendor_id is None:
        raise Refused("No project was given: project_id or project_vendor_id is needed.")
    project = _BY_KEY.get(ticket.project_vendor_id)
    if project is None:
        raise Refused(f"No project has the key '{ticket.project_vendor_id}'; there are {', '.join(_BY_KEY)}.")
    return project


def _find_type(ticket: TicketBody, project: Project) -> str:
    if ticket.vendor_type is not None:
        if ticket.vendor_type not in ISSUE_TYPES:
            raise Refused(f"Project {project.key} has no issue type with the ID '{ticket.vendor_type}'.")
        return ticket.vendor_type
    if ticket.type is None:
        raise Refused("No issue type was given: type or type_vendor_id is needed.")
    for type_id, name in ISSUE_TYPES.items():
        if name == ticket.type:
            return type_id
    raise Refused(f"Project {project.key} has no issue type '{ticket.type}'; it has {', '.join(ISSUE_TYPES.values())}.")


def find_priority(priority: str | None) -> str:
    """Return Jira's name of a priority, given by Leen's or Jira's name.

    :raises Refused: there is no such priority.
    """
    if priority is None:
        return DEFAULT_PRIORITY
    if priority in PRIORITIES:
        return PRIORITIES[priority]
    if priority in PRIORITIES.values():
        return priority
    raise Refused(f"There is no priority '{priority}'; there are {', '.join(PRIORITIES)}.")


def find_assignee(user_id: str | None, account_id: str | None) -> User | None:
    """Find the user that a ticket is to be assigned to.

    :raises Refused: there is no such user, both forms were given, or the user is inactive.
    """
    if user_id is not None and account_id is not None:
        raise Refused("Both assigned_user_id and assigned_user_vendor_id were given; give one of them.")
    if user_id is not None:
        user = _USER_BY_ID.get(user_id.lower())
        if user is None:
            raise Refused(f"Leen knows no user with the ID {user_id}.", not_found=True)
    elif account_id is not None:
        user = _USER_BY_ACCOUNT.get(account_id)
        if user is None:
            raise Refused(f"No user has the account ID '{account_id}'.")
    else:
        return None
    if not user.active:
        raise Refused(f"{user.name} can't be assigned tickets: the account is inactive.")
    return user


def _find_parent(ticket: TicketBody, parents: Collection[str]) -> str | None:
    if ticket.parent_ticket_id is not None and ticket.parent_ticket_vendor_id is not None:
        raise Refused("Both parent_ticket_id and parent_ticket_vendor_id were given; give one of them.")
    parent = parent_of(ticket)
    if parent is None or parent in parents:
        return parent
    raise Refused(f"The parent ticket {parent} doesn't exist.", not_found=ticket.parent_ticket_id is not None)


def parent_of(ticket: TicketBody) -> str | None:
    """The parent that a ticket names: a UUID (in lower case) or a Jira key."""
    if ticket.parent_ticket_id is not None:
        return ticket.parent_ticket_id.lower()
    return ticket.parent_ticket_vendor_id
