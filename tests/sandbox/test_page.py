from __future__ import annotations

import httpx

from airflow_provider_leen.sandbox.server import SandboxServer
from tests.sandbox.conftest import Post, ticket


def get(sandbox: SandboxServer, query: str = "") -> str:
    reply = httpx.get(f"{sandbox.url}/{query}", trust_env=False)
    assert reply.status_code == 200
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
    page = get(sandbox)
    assert "<script" not in page
    assert page.count("&lt;script&gt;alert(1)&lt;/script&gt;") == 2


def test_thousands_of_tickets_come_in_pages(post: Post, sandbox: SandboxServer) -> None:
    for number in range(5):
        post(*[ticket(name=f"Batch {number}")] * 50)
    first, last = get(sandbox), get(sandbox, "?page=3")
    assert (first.count("Batch 4"), first.count("Batch 0")) == (50, 0)
    assert (last.count("Batch 0"), last.count("<td class")) == (50, 50 * 6)
    assert "Older" in first
    assert "Newer" in last
