"""People at work in Jira: what the search sees at once, and what Leen shows only after a sync."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import httpx
import pytest

from airflow_provider_leen.sandbox.guard import CONTROL_HEADERS
from airflow_provider_leen.sandbox.jira import PROJECTS, STATUSES
from airflow_provider_leen.sandbox.schemas import TicketBody
from airflow_provider_leen.sandbox.server import SandboxServer
from airflow_provider_leen.sandbox.store import Store
from airflow_provider_leen.sandbox.tickets import create_many
from tests.sandbox.conftest import Post, ticket

KEY = "airflow-0123456789abcdef01234567"
Search = Callable[[str], list[dict[str, Any]]]


@pytest.fixture
def search(client: httpx.Client) -> Search:
    """Asks Jira through Leen: ``search(jql)``."""

    def search(jql: str) -> list[dict[str, Any]]:
        reply = client.get("/itsm/passthrough/tickets/search", params={"jql": jql})
        assert reply.status_code == 200, reply.text
        issues: list[dict[str, Any]] = reply.json()["issues"]
        return issues

    return search


@pytest.fixture
def filed(client: httpx.Client) -> str:
    """Leen's id of SEC-101, whose description ends with a key; Leen knows it."""
    body = ticket(project_vendor_id=None, project_id=PROJECTS[0].id, description=f"Why.\n\n{KEY}", identifier="scan-1")
    result = client.post("/itsm/tickets/bulk/sync", json={"tickets": [body]}).json()["results"][0]
    assert result["vendor_ticket_id"] == "SEC-101"
    return str(result["ticket_id"])


BY_KEY = f'description ~ "\\"{KEY}\\""'


def test_a_ticket_that_a_person_closes_is_closed_in_jira_at_once_and_in_leen_after_a_sync(
    filed: str, sandbox: SandboxServer, client: httpx.Client, search: Search
) -> None:
    before = client.get(f"/itsm/tickets/{filed}").json()
    sandbox.people.close("SEC-101")
    fields = search(BY_KEY)[0]["fields"]
    assert fields["status"] == {"name": "Done", "statusCategory": {"key": "done", "name": "Done"}}
    assert fields["resolution"] == {"name": "Done"}
    assert fields["updated"] == fields["resolutiondate"] > fields["created"]
    assert client.get(f"/itsm/tickets/{filed}").json() == before

    assert sandbox.sync() == 1
    after = client.get(f"/itsm/tickets/{filed}").json()
    assert (before["status"], after["status"], after["identifier"]) == ("TODO", "CLOSED", "scan-1")
    assert after["closed_at"] == after["status_updated_at"] == fields["resolutiondate"]
    assert (before["closed_at"], after["vendor_attributes"]["data"]["statusCategory"]) == (None, "Done")

    sandbox.people.reopen("SEC-101", status="IN_PROGRESS")
    fields = search(BY_KEY)[0]["fields"]
    assert fields["status"]["statusCategory"]["key"] == "indeterminate"
    assert (fields["resolution"], fields["resolutiondate"]) == (None, None)
    assert client.get(f"/itsm/tickets/{filed}").json() == after
    assert (sandbox.sync(), sandbox.sync()) == (1, 0)
    assert client.get(f"/itsm/tickets/{filed}").json()["status"] == "IN_PROGRESS"


@pytest.mark.parametrize("status", STATUSES)
def test_each_status_has_its_category(filed: str, sandbox: SandboxServer, search: Search, status: str) -> None:
    sandbox.people.close("SEC-101", status=status)
    shown = search(BY_KEY)[0]["fields"]["status"]
    assert (shown["name"], shown["statusCategory"]["key"]) == STATUSES[status]  # type: ignore[index]


def test_a_ticket_that_a_person_moves_has_a_new_key_and_is_found_by_the_old_one(
    filed: str, sandbox: SandboxServer, client: httpx.Client, search: Search, post: Post
) -> None:
    post(ticket(project_vendor_id="APP"))
    assert sandbox.people.move("SEC-101", "APP") == "APP-102"
    for jql in (BY_KEY, "key = SEC-101", "key = APP-102"):
        [issue] = search(jql)
        assert (issue["key"], issue["fields"]["project"]["key"]) == ("APP-102", "APP")
        assert issue["fields"]["description"].endswith(KEY)
    old = client.get(f"/itsm/tickets/{filed}").json()
    assert (old["vendor_attributes"]["id"], old["project_id"]) == ("SEC-101", PROJECTS[0].id)
    sandbox.sync()
    new = client.get("/itsm/tickets/by-identifier/scan-1").json()
    assert (new["id"], new["vendor_attributes"]["id"], new["project_id"]) == (filed, "APP-102", PROJECTS[1].id)
    assert post(ticket()).json()["results"][0]["vendor_ticket_id"] == "SEC-102", "a key is given once"
    assert sandbox.people.move("SEC-101", "SEC") == "SEC-103"
    assert [issue["key"] for issue in search("key in (SEC-101, APP-102)")] == ["SEC-103"]
    assert "SEC-103" in httpx.get(f"{sandbox.url}/?ticket=SEC-101", trust_env=False).text


def test_a_ticket_that_a_person_deletes_is_gone_from_jira_at_once_and_from_leen_after_a_sync(
    filed: str, sandbox: SandboxServer, client: httpx.Client, search: Search, post: Post
) -> None:
    sandbox.people.delete("SEC-101")
    assert search(BY_KEY) == []
    assert sandbox.tickets() == []
    reply = client.get("/itsm/passthrough/tickets/search", params={"jql": "key = SEC-101"})
    assert (reply.status_code, "'SEC-101' does not exist" in reply.json()["message"]) == (400, True)
    assert client.get(f"/itsm/tickets/{filed}").status_code == 200
    refused = client.patch(f"/itsm/tickets/{filed}", json={"status": "CLOSED"})
    assert (refused.status_code, refused.json()["message"]) == (404, "Jira has no ticket SEC-101 any more.")

    assert sandbox.sync() == 1
    assert client.get(f"/itsm/tickets/{filed}").status_code == 404
    assert client.get("/itsm/tickets").json()["items"] == []
    assert post(ticket()).json()["results"][0]["vendor_ticket_id"] == "SEC-102", "a key is given once"
    for act in (sandbox.people.close, sandbox.people.delete, sandbox.people.clone):
        with pytest.raises(LookupError, match="no ticket SEC-101"):
            act("SEC-101")


def test_one_key_that_does_not_exist_fails_the_whole_search(filed: str, client: httpx.Client) -> None:
    reply = client.get("/itsm/passthrough/tickets/search", params={"jql": "key in (SEC-101, SEC-999)"})
    assert (reply.status_code, reply.json()["type"]) == (400, "invalid_jql")


def test_a_clone_has_the_description_and_the_key_in_it_but_no_identifier(
    filed: str, sandbox: SandboxServer, client: httpx.Client, search: Search
) -> None:
    sandbox.people.close("SEC-101")
    assert sandbox.people.clone("SEC-101") == "SEC-102"
    clone, original = search(BY_KEY)
    assert (original["key"], clone["key"]) == ("SEC-101", "SEC-102")
    assert clone["fields"]["summary"] == "CLONE - SQL from strings"
    assert clone["fields"]["description"] == original["fields"]["description"]
    assert clone["fields"]["status"]["statusCategory"]["key"] == "new"
    assert len(client.get("/itsm/tickets").json()["items"]) == 1
    assert sandbox.sync() == 2
    items = client.get("/itsm/tickets").json()["items"]
    assert [item["identifier"] for item in items] == ["scan-1", None]
    assert sandbox.duplicates() == {"by_identifier": [], "by_content": []}


def test_a_person_may_edit_a_ticket_and_take_the_key_out_of_it(
    filed: str, sandbox: SandboxServer, client: httpx.Client, search: Search
) -> None:
    sandbox.people.edit("SEC-101", {"description": "Nothing to see.", "priority": "LOW"})
    assert search(BY_KEY) == []
    # What Leen changes meanwhile is in its copy, what the person changed is not.
    changed = client.patch(f"/itsm/tickets/{filed}", json={"status": "IN_REVIEW"}).json()
    assert (changed["status"], changed["priority"], changed["description"][-3:]) == ("IN_REVIEW", "MEDIUM", KEY[-3:])
    sandbox.sync()
    known = client.get(f"/itsm/tickets/{filed}").json()
    assert (known["status"], known["priority"], known["description"]) == ("IN_REVIEW", "LOW", "Nothing to see.")


def test_what_leen_learnt_by_a_sync_is_updated_since_then(
    filed: str, sandbox: SandboxServer, client: httpx.Client, post: Post
) -> None:
    post(ticket(name="By keys"))
    sandbox.people.close("SEC-101", ago=3600)
    known_at = max(held["updated"] for held in sandbox.tickets())
    since = datetime.fromtimestamp(known_at + 0.000001).astimezone().isoformat()

    def listed() -> list[str]:
        return [item["name"] for item in client.get("/itsm/tickets", params={"updatedSince": since}).json()["items"]]

    assert listed() == []
    assert sandbox.sync() == 2
    assert listed() == ["SQL from strings", "By keys"]
    assert {held["in_leen"] for held in sandbox.tickets()} == {True}
    assert min(held["synced_at"] for held in sandbox.tickets()) > known_at


def test_a_sync_is_due_some_time_after_what_people_did() -> None:
    now = 1000.0
    store = Store(sync_after=60, clock=lambda: now)
    create_many(store, "c", [TicketBody.model_validate(ticket())], persist=True)
    held = store.all()[0]

    def status() -> str | None:
        row = store.leen.get("c", held["ticket_id"])
        return None if row is None else row["status"]

    now = 1010.0
    store.edit(held["ticket_id"], {"status": "CLOSED"})
    now = 1069.0
    assert status() == "TODO"
    store.edit(held["ticket_id"], {"status": "OPEN"})
    now = 1070.0
    assert status() == "OPEN", "a sync sees a ticket as it is then"
    store.edit(held["ticket_id"], {"deleted": True}, ago=500)
    now = 1129.0
    assert status() == "OPEN"
    now = 1130.0
    assert status() is None
    store.close()


def test_a_workflow_refuses_what_it_has_not_and_people_find_a_way(
    filed: str, sandbox: SandboxServer, client: httpx.Client, post: Post
) -> None:
    sandbox.workflow({"TODO": ["IN_PROGRESS"], "CLOSED": []})
    other = client.post("/itsm/tickets", json=ticket()).json()["id"]
    assert client.patch(f"/itsm/tickets/{other}", json={"status": "IN_PROGRESS"}).status_code == 200
    refused = client.patch(f"/itsm/tickets/{filed}", json={"status": "CLOSED"})
    reason = "SEC-101 can't be given the status CLOSED: in this workflow TODO leads to IN_PROGRESS only."
    assert (refused.status_code, refused.json()["message"]) == (422, reason)
    assert client.patch(f"/itsm/tickets/{filed}", json={"status": "TODO"}).status_code == 200

    body = {"ticket_ids": [filed, other], "updates": {"status": "CLOSED", "priority": "LOW"}}
    job = client.post("/itsm/tickets/bulk/update", json=body).json()["job_id"]
    ended = client.get(f"/jobs/{job}").json()
    assert ended["status"] == "FAILED"
    assert [(result["success"], result["error"]) for result in ended["failure_reason"]["results"]] == [
        (False, reason),
        (True, None),
    ]
    assert [held["priority"] for held in sandbox.tickets()] == ["Medium", "Low"]

    sandbox.people.reopen("SEC-102")
    sandbox.people.close("SEC-101")
    sandbox.sync()
    reply = client.patch(f"/itsm/tickets/{filed}", json={"status": "TODO"})
    assert "CLOSED leads nowhere" in reply.json()["message"]
    sandbox.reset()
    assert post(ticket()).status_code == 200


def test_another_process_can_let_people_work_and_set_a_workflow(
    filed: str, sandbox: SandboxServer, search: Search
) -> None:
    other = "1ee00000-0000-4000-8000-00000000000b"
    with httpx.Client(base_url=f"{sandbox.url}/_sandbox", headers=CONTROL_HEADERS, trust_env=False) as control:

        def do(action: str, key: str, **more: Any) -> Any:
            return control.post("/people", json={"action": action, "ticket": key, **more})

        assert do("close", "SEC-101", ago=60).json() == {"vendor_ticket_id": "SEC-101"}
        assert search("key = SEC-101")[0]["fields"]["status"]["name"] == "Done"
        assert do("clone", "SEC-101").json() == {"vendor_ticket_id": "SEC-102"}
        assert do("move", "SEC-102", project="APP").json() == {"vendor_ticket_id": "APP-101"}
        assert do("edit", "APP-101", changes={"name": "Another"}).status_code == 200
        assert search("key = APP-101")[0]["fields"]["summary"] == "Another"
        assert do("delete", "APP-101").status_code == 200
        for missing in (do("close", "SEC-9"), do("close", "SEC-101", connection_id=other), do("move", "SEC-101")):
            assert missing.status_code == 404
        assert do("sing", "SEC-101").status_code == 422
        assert do("edit", "SEC-101", changes={"status": "DONE"}).status_code == 422

        workflow = {"transitions": {"CLOSED": ["TODO"]}}
        assert control.post("/workflow", json=workflow).json() == workflow == control.get("/workflow").json()
        assert control.post("/workflow", json={"transitions": {"DONE": []}}).status_code == 422
