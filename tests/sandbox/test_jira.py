from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_leen.sandbox.jira import PROJECTS, USERS, Refused, examine
from airflow_provider_leen.sandbox.schemas import TicketBody

SEC_ID = PROJECTS[0].id
UNKNOWN = "00000000-0000-4000-8000-00000000dead"
ANOTHER = "00000000-0000-4000-8000-00000000beef"


def ticket(**fields: Any) -> TicketBody:
    return TicketBody.model_validate({"name": "SQL from strings", "project_vendor_id": "SEC", "type": "Task"} | fields)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"name": "  "}, "The summary is blank; a ticket needs a title."),
        ({"name": "x" * 256}, "The summary is 256 characters long; Jira takes at most 255."),
        ({"name": "🔥" * 128}, "The summary is 256 characters long; Jira takes at most 255."),
        ({"name": "one\ntwo"}, "The summary contains a line break; Jira takes a single line."),
        ({"description": "x" * 32_768}, "The description is 32768 characters long; Jira takes at most 32767."),
        ({"project_vendor_id": "NOPE"}, "No project has the key 'NOPE'; there are SEC, APP."),
        (
            {"project_vendor_id": None},
            "No project was given: project_id or project_vendor_id is needed.",
        ),
        (
            {"project_id": PROJECTS[0].id},
            "Both project_id and project_vendor_id were given; give one of them.",
        ),
        (
            {"project_vendor_id": None, "project_id": UNKNOWN},
            f"Leen knows no project with the ID {UNKNOWN}.",
        ),
        ({"type": None}, "No issue type was given: type or type_vendor_id is needed."),
        ({"type": "task"}, "Project SEC has no issue type 'task'; it has Epic, Story, Bug, Task, Sub-task."),
        ({"type_vendor_id": "99"}, "Project SEC has no issue type with the ID '99'."),
        ({"type_id": "99"}, "Project SEC has no issue type with the ID '99'."),
        ({"type": "Sub-task"}, "Issue type Sub-task needs a parent, and none was given."),
        (
            {"priority": "urgent"},
            "There is no priority 'urgent'; there are CRITICAL, HIGH, MEDIUM, LOW, INFORMATIONAL, UNKNOWN.",
        ),
        ({"assigned_user_id": UNKNOWN}, f"Leen knows no user with the ID {UNKNOWN}."),
        ({"assigned_user_vendor_id": "nobody"}, "No user has the account ID 'nobody'."),
        (
            {"assigned_user_vendor_id": USERS[4].account_id},
            "Eve Larsen can't be assigned tickets: the account is inactive.",
        ),
        (
            {"assigned_user_id": USERS[0].id, "assigned_user_vendor_id": USERS[0].account_id},
            "Both assigned_user_id and assigned_user_vendor_id were given; give one of them.",
        ),
        ({"parent_ticket_vendor_id": "SEC-9"}, "The parent ticket SEC-9 doesn't exist."),
        ({"parent_ticket_id": UNKNOWN}, f"The parent ticket {UNKNOWN} doesn't exist."),
        (
            {"parent_ticket_id": UNKNOWN, "parent_ticket_vendor_id": "SEC-9"},
            "Both parent_ticket_id and parent_ticket_vendor_id were given; give one of them.",
        ),
    ],
)
def test_jiras_refusals_have_a_reason(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(Refused) as caught:
        examine(ticket(**fields))
    assert str(caught.value) == reason


@pytest.mark.parametrize(
    ("fields", "priority", "type_id", "by_vendor_id"),
    [
        pytest.param({}, "Medium", "10034", True, id="project key"),
        pytest.param({"project_vendor_id": None, "project_id": SEC_ID.upper()}, "Medium", "10034", False, id="UUID"),
        pytest.param({"priority": "CRITICAL"}, "Highest", "10034", True, id="normalised priority"),
        pytest.param({"priority": "Lowest"}, "Lowest", "10034", True, id="Jira's priority"),
        pytest.param({"type": "Nonsense", "type_vendor_id": "10033"}, "Medium", "10033", True, id="type id beats type"),
        pytest.param({"name": "x" * 255, "description": "x" * 32_767}, "Medium", "10034", True, id="as long as can be"),
        pytest.param({"status": "Nonsense"}, "Medium", "10034", True, id="Jira ignores status"),
    ],
)
def test_what_jira_accepts(fields: dict[str, Any], priority: str, type_id: str, by_vendor_id: bool) -> None:
    accepted = examine(ticket(**fields))
    assert accepted.project.key == "SEC"
    assert (accepted.priority, accepted.type_id, accepted.by_vendor_id) == (priority, type_id, by_vendor_id)


@pytest.mark.parametrize(
    ("fields", "by_vendor_id"),
    [
        ({}, False),
        ({"type_vendor_id": "10034"}, True),
        ({"type_id": "10034"}, True),
        ({"assigned_user_id": USERS[0].id}, False),
        ({"assigned_user_vendor_id": USERS[0].account_id}, True),
        ({"parent_ticket_id": ANOTHER}, False),
        ({"parent_ticket_vendor_id": "SEC-101"}, True),
    ],
)
def test_any_vendor_id_counts_as_vendor_ids_used(fields: dict[str, Any], by_vendor_id: bool) -> None:
    body = ticket(project_vendor_id=None, project_id=PROJECTS[1].id, **fields)
    assert examine(body, parents={"SEC-101", ANOTHER}).by_vendor_id is by_vendor_id


def test_a_sub_task_with_an_existing_parent_is_accepted() -> None:
    body = ticket(type="Sub-task", parent_ticket_vendor_id="SEC-101")
    assert examine(body, parents={"SEC-101"}).parent == "SEC-101"
