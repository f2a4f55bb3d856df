from __future__ import annotations

import json
from datetime import datetime
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from airflow_provider_leen.sandbox.jira import PROJECTS, USERS
from airflow_provider_leen.sandbox.schemas import TicketBody
from airflow_provider_leen.sandbox.server import SandboxServer
from airflow_provider_leen.sandbox.store import Store
from airflow_provider_leen.sandbox.tickets import create_many
from tests.contract.validate import reply_problems
from tests.sandbox.conftest import BULK, Post, ticket

SEC_ID = PROJECTS[0].id


def by_uuid(**fields: Any) -> dict[str, Any]:
    return {"name": "SQL from strings", "project_id": SEC_ID, "type": "Task"} | fields


# Bulk creation


def test_each_ticket_of_a_bulk_call_has_its_result(post: Post, sandbox: SandboxServer) -> None:
    reply = post(ticket(identifier="one"), ticket(priority="urgent", identifier="two"), by_uuid(identifier="three"))
    assert reply.status_code == 200
    body = reply.json()
    assert reply_problems(body) == []
    assert (body["total"], body["succeeded"], body["failed"]) == (3, 2, 1)
    by_key, refused, with_uuid = body["results"]
    nothing = {"ticket_id": None, "vendor_ticket_id": None}
    assert by_key == {
        "success": True,
        "request_index": 0,
        "identifier": "one",
        "ticket_id": None,
        "vendor_ticket_id": "SEC-101",
        "error": None,
    }
    assert refused.pop("error").startswith("There is no priority 'urgent'")
    assert refused == {"success": False, "request_index": 1, "identifier": "two", **nothing}
    assert with_uuid["vendor_ticket_id"] == "SEC-102"
    assert with_uuid["ticket_id"] == sandbox.tickets()[1]["ticket_id"]


def test_ticket_numbers_count_per_project_and_connection(post: Post, client: httpx.Client) -> None:
    post(ticket(), ticket(project_vendor_id="APP"))
    assert post(ticket()).json()["results"][0]["vendor_ticket_id"] == "SEC-102"
    client.headers["X-CONNECTION-ID"] = "1ee00000-0000-4000-8000-000000000002"
    assert post(ticket()).json()["results"][0]["vendor_ticket_id"] == "SEC-101"


def test_an_identifier_is_made_where_none_is_given_and_may_be_used_twice(post: Post, sandbox: SandboxServer) -> None:
    first, second = post(ticket(), ticket()).json()["results"]
    assert first["identifier"] != second["identifier"]
    same = post(ticket(identifier="same"), ticket(identifier="same"))
    assert same.json()["succeeded"] == 2
    assert [group["count"] for group in sandbox.duplicates()["by_identifier"]] == [2]
    assert sandbox.duplicates()["by_content"][0]["vendor_ticket_ids"] == ["SEC-101", "SEC-102", "SEC-103", "SEC-104"]


@pytest.mark.parametrize(
    ("body", "location"),
    [
        ({"tickets": []}, ["body", "tickets"]),
        ({"tickets": [ticket()] * 51}, ["body", "tickets"]),
        ({}, ["body", "tickets"]),
        ({"tickets": [ticket(), {"type": "Task"}]}, ["body", "tickets", 1, "name"]),
        ({"tickets": [ticket(name=7)]}, ["body", "tickets", 0, "name"]),
        ({"tickets": [by_uuid(project_id="SEC")]}, ["body", "tickets", 0, "project_id"]),
        ({"tickets": [ticket(name="\ud800")]}, ["body", "tickets", 0, "name"]),
    ],
)
def test_a_body_that_is_not_well_formed_is_refused_whole(
    client: httpx.Client, sandbox: SandboxServer, body: Any, location: list[Any]
) -> None:
    reply = client.post(BULK, content=json.dumps(body), headers={"Content-Type": "application/json"})
    assert reply.status_code == 422
    error = reply.json()
    assert error.keys() == {"type", "code", "message", "detail"}
    assert error["detail"][0]["loc"] == location
    assert error["detail"][0].keys() == {"loc", "msg", "type"}
    assert sandbox.tickets() == []


@pytest.mark.parametrize(
    ("header", "value", "status"),
    [
        ("X-API-KEY", None, 401),
        ("X-API-KEY", "wrong", 401),
        ("X-CONNECTION-ID", None, 401),
        ("X-CONNECTION-ID", "acme", 404),
    ],
)
@pytest.mark.parametrize("method_and_path", [("POST", BULK), ("GET", "/itsm/projects"), ("GET", "/itsm/tickets/x")])
def test_both_headers_are_needed(
    client: httpx.Client, header: str, value: str | None, status: int, method_and_path: tuple[str, str]
) -> None:
    method, path = method_and_path
    del client.headers[header]
    headers = {} if value is None else {header: value}
    reply = client.request(method, path, headers=headers, json={"tickets": [ticket()]} if method == "POST" else None)
    assert reply.status_code == status
    assert reply.json().keys() == {"type", "code", "message", "detail"}


def test_a_missing_route_answers_unlike_a_missing_ticket(client: httpx.Client) -> None:
    route, missing = client.get("/itsm/nope"), client.get("/itsm/tickets/x")
    assert (route.status_code, missing.status_code) == (404, 404)
    assert route.json() == {"detail": "Not Found"}
    assert missing.json()["type"] == "not_found"


def test_a_parent_is_found_by_key_and_by_uuid(post: Post) -> None:
    known = post(by_uuid()).json()["results"][0]
    vendor_only = post(ticket()).json()["results"][0]
    reply = post(
        by_uuid(type="Sub-task", parent_ticket_id=known["ticket_id"].upper()),
        ticket(type="Sub-task", parent_ticket_vendor_id=vendor_only["vendor_ticket_id"]),
        ticket(type="Sub-task", parent_ticket_vendor_id="APP-101"),
    )
    assert [result["success"] for result in reply.json()["results"]] == [True, True, False]


# What Leen knows, and what only the vendor knows


def test_a_ticket_made_with_vendor_ids_is_in_leen_only_after_a_sync(
    post: Post, client: httpx.Client, sandbox: SandboxServer
) -> None:
    post(ticket(identifier="mine"))
    ticket_id = sandbox.tickets()[0]["ticket_id"]
    assert client.get(f"/itsm/tickets/{ticket_id}").status_code == 404
    assert client.get("/itsm/tickets").json()["items"] == []
    assert sandbox.sync() == 1
    known = client.get(f"/itsm/tickets/{ticket_id}").json()
    assert (known["name"], known["identifier"]) == ("SQL from strings", None)
    assert client.get("/itsm/tickets/by-identifier/mine").status_code == 404


@pytest.mark.parametrize("identifier", ["VULN-1", "a/b//c/", "/", "50% a?b#c&d=e+f", "Żółć 漢字 🙂", '"quoted"', "..a"])
def test_a_ticket_is_found_by_any_printable_identifier(post: Post, client: httpx.Client, identifier: str) -> None:
    post(by_uuid(identifier=identifier))
    reply = client.get(f"/itsm/tickets/by-identifier/{quote(identifier, safe='')}")
    assert reply.status_code == 200
    assert reply.json()["identifier"] == identifier
    assert datetime.fromisoformat(reply.json()["ticket_created_at"]).tzinfo is not None


def test_of_several_tickets_with_one_identifier_the_newest_is_found(post: Post, client: httpx.Client) -> None:
    post(by_uuid(identifier="same", name="old"), by_uuid(identifier="same", name="new"))
    assert client.get("/itsm/tickets/by-identifier/same").json()["name"] == "new"


def test_another_connection_does_not_see_it(post: Post, client: httpx.Client) -> None:
    post(by_uuid(identifier="mine"))
    client.headers["X-CONNECTION-ID"] = "1ee00000-0000-4000-8000-000000000002"
    assert client.get("/itsm/tickets/by-identifier/mine").status_code == 404
    assert client.get("/itsm/tickets").json()["items"] == []
    assert client.get("/itsm/passthrough/tickets/search", params={"jql": "project = SEC"}).json()["issues"] == []


def test_leen_and_the_search_see_a_ticket_when_its_time_has_come() -> None:
    now = 1000.0
    store = Store(sync_after=60, search_lag=5, clock=lambda: now)
    create_many(store, "c", [TicketBody.model_validate(ticket())])
    ticket_id = store.all()[0]["ticket_id"]

    def seen() -> tuple[bool, bool]:
        return store.leen.get("c", ticket_id) is not None, bool(store.search("c", "1", (), limit=9, offset=0))

    assert seen() == (False, False)
    now = 1005.0
    assert seen() == (False, True)
    now = 1060.0
    assert seen() == (True, True)
    store.close()


# Single tickets


def test_a_single_ticket_is_stored_in_leen_even_with_vendor_ids(client: httpx.Client) -> None:
    body = ticket(identifier="one", priority="HIGH", assigned_user_vendor_id=USERS[0].account_id, description="why")
    created = client.post("/itsm/tickets", json=body).json()
    assert created["vendor_attributes"]["id"] == "SEC-101"
    assert created["url"].endswith("/SEC-101")
    assert (created["project_id"], created["assigned_user_id"]) == (SEC_ID, USERS[0].id)
    assert (created["priority"], created["vendor_attributes"]["priority"]) == ("HIGH", "High")
    assert client.get("/itsm/tickets/by-identifier/one").json() == created
    assert client.get(f"/itsm/tickets/{created['id']}").json() == created


@pytest.mark.parametrize(
    ("fields", "status"),
    [({"type": "Nonsense"}, 422), ({"project_vendor_id": None, "project_id": USERS[0].id}, 404), ({"name": 1}, 422)],
)
def test_a_single_ticket_that_is_refused_is_an_error(client: httpx.Client, fields: dict[str, Any], status: int) -> None:
    reply = client.post("/itsm/tickets", json=ticket(**fields))
    assert reply.status_code == status
    assert reply.json().keys() == {"type", "code", "message", "detail"}


def test_a_ticket_is_changed_where_the_patch_says_so(client: httpx.Client, sandbox: SandboxServer) -> None:
    created = client.post("/itsm/tickets", json=ticket(description="old")).json()
    changes = {"status": "IN_PROGRESS", "priority": "LOW", "assigned_user_id": USERS[1].id, "name": "New title"}
    changed = client.patch(f"/itsm/tickets/{created['id']}", json=changes).json()
    assert {field: changed[field] for field in changes} == changes
    assert changed["description"] == "old"
    assert client.patch(f"/itsm/tickets/{created['id']}", json={"description": None}).json()["description"] is None
    assert sandbox.tickets()[0]["name"] == "New title"
    found = client.get("/itsm/passthrough/tickets/search", params={"jql": "summary ~ New"}).json()
    assert len(found["issues"]) == 1


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ({"colour": "red"}, 422, "colour can't be updated"),
        ({"status": "DONE"}, 422, "There is no status 'DONE'."),
        ({"priority": "urgent"}, 422, "There is no priority 'urgent'"),
        ({"name": "a\nb"}, 422, "line break"),
        ({"name": 7}, 422, "texts"),
        ({"assigned_user_id": SEC_ID}, 404, "Leen knows no user"),
    ],
)
def test_a_change_that_is_refused_changes_nothing(
    client: httpx.Client, body: dict[str, Any], status: int, message: str
) -> None:
    created = client.post("/itsm/tickets", json=ticket()).json()
    reply = client.patch(f"/itsm/tickets/{created['id']}", json=body)
    assert (reply.status_code, message in reply.json()["message"]) == (status, True)
    assert client.get(f"/itsm/tickets/{created['id']}").json() == created


# Lists


def test_tickets_come_in_cursor_pages(post: Post, client: httpx.Client) -> None:
    post(*[by_uuid(name=f"Ticket {number}") for number in range(5)])
    names: list[str] = []
    cursor: str | None = None
    pages = 0
    while True:
        page = client.get("/itsm/tickets", params={"limit": 2} | ({"cursor": cursor} if cursor else {})).json()
        names += [item["name"] for item in page["items"]]
        assert (page["previous_cursor"] is None) == (pages == 0)
        pages += 1
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert (pages, names) == (3, [f"Ticket {number}" for number in range(5)])


def test_a_page_of_nothing_ends_the_list(post: Post, client: httpx.Client) -> None:
    post(by_uuid())
    assert client.get("/itsm/tickets", params={"limit": 0}).json()["next_cursor"] is None


@pytest.mark.parametrize(("path", "count"), [("/itsm/projects", 2), ("/itsm/users", 5)])
def test_projects_and_users_come_in_cursor_pages(client: httpx.Client, path: str, count: int) -> None:
    first = client.get(path, params={"limit": 1}).json()
    rest = client.get(path, params={"limit": 100, "cursor": first["next_cursor"]}).json()
    assert len({item["id"] for item in first["items"] + rest["items"]}) == count
    assert rest["next_cursor"] is None


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        ({"email": "ada@example.com"}, ["Ada Okafor"]),
        ({"status": "INACTIVE"}, ["Eve Larsen"]),
        ({"name": "Bruno Meier", "status": "INACTIVE"}, []),
    ],
)
def test_users_can_be_filtered(client: httpx.Client, filters: dict[str, str], names: list[str]) -> None:
    assert [user["name"] for user in client.get("/itsm/users", params=filters).json()["items"]] == names


def test_a_list_can_start_at_a_time_which_the_cursor_carries_on(post: Post, client: httpx.Client) -> None:
    post(*[by_uuid() for _ in range(3)])
    params: dict[str, Any] = {"limit": 1, "updatedSince": "2021-01-01T00:00:00+00:00"}
    first = client.get("/itsm/tickets", params=params).json()
    assert len(first["items"]) == 1
    assert client.get("/itsm/tickets", params={"cursor": first["next_cursor"]}).json()["next_cursor"] is None
    assert client.get("/itsm/tickets", params=params | {"cursor": first["next_cursor"]}).status_code == 422
    later = client.get("/itsm/tickets", params={"updatedSince": "2100-01-01T00:00:00Z"}).json()
    assert later["items"] == []


@pytest.mark.parametrize("params", [{"cursor": "nonsense"}, {"limit": "-1"}, {"updatedSince": "yesterday"}])
def test_parameters_that_make_no_sense_are_refused(client: httpx.Client, params: dict[str, str]) -> None:
    reply = client.get("/itsm/tickets", params=params)
    assert reply.status_code == 422
    assert reply.json().keys() == {"type", "code", "message", "detail"}


# Search in the vendor


def test_the_search_sees_the_vendors_text_but_no_identifier(post: Post, client: httpx.Client) -> None:
    post(ticket(identifier="hidden-1", description="Key: airflow-0f"), by_uuid(identifier="hidden-2"))

    def search(jql: str, **params: Any) -> Any:
        return client.get("/itsm/passthrough/tickets/search", params={"jql": jql, **params}).json()

    issue = search(r'description ~ "\"airflow-0f\""')["issues"][0]
    assert (issue["key"], issue["fields"]["summary"]) == ("SEC-101", "SQL from strings")
    assert datetime.fromisoformat(issue["fields"]["created"]).tzinfo is not None
    assert search("text ~ hidden")["issues"] == []
    first = search("project = SEC", limit=1)
    assert [issue["key"] for issue in first["issues"]] == ["SEC-102"]
    assert search("project = SEC", cursor=first["next_cursor"])["issues"][0]["key"] == "SEC-101"


@pytest.mark.parametrize(("params", "status"), [({"jql": "colour = red"}, 400), ({"jql": "x" * 5001}, 422), ({}, 422)])
def test_a_search_that_cant_be_read_is_refused(client: httpx.Client, params: dict[str, str], status: int) -> None:
    reply = client.get("/itsm/passthrough/tickets/search", params=params)
    assert reply.status_code == status
    assert reply.json()["message"]
