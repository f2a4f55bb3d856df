from __future__ import annotations

import json
import re
from html import unescape
from urllib.parse import quote

import httpx
import pytest

from airflow_provider_leen.links.leen import filled
from airflow_provider_leen.sandbox.jira import USERS
from airflow_provider_leen.sandbox.server import SandboxServer
from tests.sandbox.conftest import Post, ticket


def get(sandbox: SandboxServer, query: str = "", *, status: int = 200) -> str:
    reply = httpx.get(f"{sandbox.url}/{query}", trust_env=False)
    assert reply.status_code == status
    assert sandbox.api_key not in reply.text
    return reply.text


def test_the_page_shows_tickets_newest_first_and_counts(post: Post, sandbox: SandboxServer) -> None:
    assert "No tickets yet." in get(sandbox)
    post(ticket(name="Older"), ticket(name="Newer"), ticket(project_vendor_id="APP"))
    page = get(sandbox)
    assert "3 tickets (APP 1, SEC 2)" in page
    assert page.index("Newer") < page.index("Older")


def test_what_a_scanner_found_cant_run_in_the_page(post: Post, sandbox: SandboxServer) -> None:
    evil = "<script>alert(1)</script>"
    post(ticket(name=evil, description=evil))
    shown = "&lt;script&gt;alert(1)&lt;/script&gt;"
    for query, times in [("", 1), ("?ticket=SEC-101", 2), ("?q=%3Cscript%3Ealert(1)%3C/script%3E", 3)]:
        page = get(sandbox, query)
        assert "<script" not in page
        assert page.count(shown) == times
    assert "<script" not in get(sandbox, "?ticket=%3Cscript%3E", status=404)


def test_thousands_of_tickets_come_in_pages(post: Post, sandbox: SandboxServer) -> None:
    for number in range(5):
        post(*[ticket(name=f"Batch {number}")] * 50)
    first, last = get(sandbox), get(sandbox, "?page=3")
    assert (first.count("Batch 4"), first.count("Batch 0")) == (50, 0)
    assert (last.count("Batch 0"), last.count("<td class")) == (50, 50 * 7)
    assert "Older" in first
    assert "Newer" in last


def keys_on(page: str) -> list[str]:
    """The keys of the tickets on a page, in their order."""
    return re.findall(r'(?:<td class="key">|<h2>)<a [^>]*>([A-Z]+-\d+)</a>', page)


def test_a_ticket_is_shown_whole(client: httpx.Client, sandbox: SandboxServer) -> None:
    user = USERS[0]
    parent = client.post("/itsm/tickets", json=ticket(name="The whole")).json()
    child = ticket(name="Child", type="Sub-task", parent_ticket_vendor_id="SEC-101", identifier="scan/7")
    fields = {"assigned_user_id": user.id, "priority": "HIGH", "description": "First line\n\nairflow-0f"}
    ticket_id = client.post("/itsm/tickets", json=child | fields).json()["id"]
    page = get(sandbox, "?ticket=SEC-102")
    assert keys_on(page) == ["SEC-102"]
    for text in ("Child", "scan/7", user.name, "High", "Sub-task", "First line\n\nairflow-0f", ticket_id, "TODO"):
        assert text in page
    assert '<a href="/?ticket=SEC-101">SEC-101</a>' in page
    assert parent["name"] not in page
    assert parent["name"] in get(sandbox, f"?ticket={parent['id']}")


def test_a_key_of_several_connections_shows_the_ticket_of_each(client: httpx.Client, sandbox: SandboxServer) -> None:
    other = "1ee00000-0000-4000-8000-000000000002"
    for connection_id in (sandbox.connection_id, other):
        headers = {"X-CONNECTION-ID": connection_id}
        client.post("/itsm/tickets", json=ticket(), headers=headers)
    page = get(sandbox, "?ticket=sec-101")
    assert keys_on(page) == ["SEC-101", "SEC-101"]
    assert sandbox.connection_id in page
    assert other in page


@pytest.mark.parametrize(
    ("query", "status", "keys", "missing"),
    [
        ("?tickets=SEC-103,SEC-101", 200, ["SEC-101", "SEC-103"], None),
        ("?tickets=SEC-103%2CSEC-101", 200, ["SEC-101", "SEC-103"], None),
        ("?tickets=SEC-102,APP-7,SEC-9", 200, ["SEC-102"], "No such ticket: APP-7, SEC-9."),
        ("?ticket=SEC-9", 404, [], "No such ticket: SEC-9."),
        ("?ticket=", 200, ["SEC-103", "SEC-102", "SEC-101"], None),
    ],
)
def test_the_tickets_that_are_named_are_shown(
    post: Post, sandbox: SandboxServer, query: str, status: int, keys: list[str], missing: str | None
) -> None:
    post(ticket(), ticket(), ticket())
    page = get(sandbox, query, status=status)
    assert keys_on(page) == keys
    assert ("No such ticket" in page) == (missing is not None)
    assert (missing or "") in page


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("strings", ["SEC-101"]),
        ("ŁÓDŹ", ["APP-101"]),
        ("orm/query.py", ["APP-101"]),
        ("CVE-2026", ["SEC-102"]),
        ("app-1", ["APP-101"]),
        ("nothing like it", []),
        ("!", []),
        (" ", ["APP-101", "SEC-102", "SEC-101"]),
    ],
)
def test_a_search_finds_title_description_identifier_and_key(
    post: Post, sandbox: SandboxServer, text: str, keys: list[str]
) -> None:
    post(ticket(), ticket(name="A", identifier="CVE-2026-1"))
    post(ticket(name="Żółta łódź", description="In orm/query.py:214", project_vendor_id="APP"))
    assert keys_on(get(sandbox, f"?q={quote(text)}")) == keys


def test_what_is_found_comes_in_pages_too(post: Post, sandbox: SandboxServer) -> None:
    for name in ("even & odd", "other"):
        for _ in range(3):
            post(*[ticket(name=name)] * 50)
    first = get(sandbox, "?q=even+%26+odd")
    assert "150 of them match" in first
    [older] = re.findall(r'<a href="([^"]*)">Older</a>', first)
    second = get(sandbox, unescape(older).removeprefix("/"))
    assert [len(keys_on(page)) for page in (first, second)] == [100, 50]


def test_the_links_of_the_sandboxs_connection_lead_to_the_tickets(post: Post, sandbox: SandboxServer) -> None:
    post(ticket(name="One"), ticket(name="Two"))
    pages = json.loads(sandbox.airflow_conn)["extra"]
    one = filled(pages["ticket_url"], "{vendor_ticket_id}", "SEC-101")
    both = filled(pages["search_url"], "{vendor_ticket_ids}", "SEC-101,SEC-102")
    for link, keys in [(one, ["SEC-101"]), (both, ["SEC-101", "SEC-102"])]:
        assert keys_on(get(sandbox, link.removeprefix(f"{sandbox.url}/"))) == keys
