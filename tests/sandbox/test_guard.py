"""What the pages of other sites can do with a sandbox on the same machine: nothing."""

from __future__ import annotations

import socket
from typing import Any

import httpx
import pytest

from airflow_provider_leen.sandbox.guard import CONTROL_HEADERS, answers_to, refusal
from airflow_provider_leen.sandbox.server import SandboxServer
from tests.sandbox.conftest import BULK, Post, ticket

LOOPBACK = ["127.0.0.1", "127.0.0.1:8765", "127.9.9.9:1", "localhost", "LocalHost.:8765", "[::1]", "[::1]:8765"]
FOREIGN = ["evil.example", "evil.example:8765", "127.0.0.1.evil.example", "localhost.evil.example", "notlocalhost"]
NONSENSE = ["", ":", "a@127.0.0.1", "127.0.0.1 evil.example", "127.0.0.1/", "[::1", "::1", "127.0.0.1:80:80"]


@pytest.mark.parametrize("listens_on", ["127.0.0.1", "localhost", "10.1.2.3", "0.0.0.0", "::"])
def test_it_answers_to_loopback_wherever_it_listens(listens_on: str) -> None:
    assert [host for host in LOOPBACK if not answers_to(host, listens_on)] == []
    assert [host for host in NONSENSE if answers_to(host, listens_on)] == []


@pytest.mark.parametrize(
    ("listens_on", "host", "answered"),
    [
        *(("127.0.0.1", host, False) for host in [*FOREIGN, "10.1.2.3", "192.168.0.1:8765", "0.0.0.0"]),
        ("10.1.2.3", "10.1.2.3:8765", True),
        ("10.1.2.3", "10.1.2.4:8765", False),
        ("leen.lab.example", "Leen.Lab.example:8765", True),
        ("leen.lab.example", "evil.example", False),
        # No page of another site has such a name: it is an address, or has no dot.
        ("0.0.0.0", "192.168.0.7:8765", True),
        ("0.0.0.0", "[fe80::1]:8765", True),
        ("::", "sandbox:8765", True),
        ("0.0.0.0", socket.gethostname(), True),
        ("0.0.0.0", "evil.example", False),
        ("0.0.0.0", "192.168.0.7.evil.example", False),
    ],
)
def test_it_answers_only_on_its_own_address(listens_on: str, host: str, answered: bool) -> None:
    assert answers_to(host, listens_on) is answered


OURS = ("host", "127.0.0.1:8765")


@pytest.mark.parametrize(
    ("path", "headers", "problem"),
    [
        ("/", [OURS], None),
        ("/v1/itsm/tickets", [OURS], None),
        ("/v1/itsm/tickets", [], "no Host header"),
        ("/v1/itsm/tickets", [OURS, ("host", "evil.example")], "evil.example"),
        ("/", [("host", "evil.example")], "evil.example"),
        ("/v1/itsm/tickets", [OURS, ("origin", "http://127.0.0.1:8765")], None),
        ("/v1/itsm/tickets", [OURS, ("origin", "http://127.0.0.1:8080")], "other sites"),
        ("/v1/itsm/tickets", [OURS, ("origin", "https://evil.example")], "other sites"),
        ("/v1/itsm/tickets", [OURS, ("origin", "null")], "other sites"),
        ("/v1/itsm/tickets", [OURS, ("origin", "http://[")], "other sites"),
        ("/v1/itsm/tickets", [OURS, ("sec-fetch-site", "cross-site")], "other sites"),
        ("/v1/itsm/tickets", [OURS, ("sec-fetch-site", "same-origin")], None),
        # A link from Airflow's page, or from the tracker's.
        ("/", [OURS, ("sec-fetch-site", "cross-site")], None),
        ("/_sandbox/reset", [OURS], "X-Leen-Sandbox: 1"),
        ("/_sandbox/reset", [OURS, ("x-leen-sandbox", "1")], None),
        ("/_sandbox/reset", [OURS, ("x-leen-sandbox", "1"), ("origin", "https://evil.example")], "other sites"),
    ],
)
def test_which_requests_are_let_in(path: str, headers: list[tuple[str, str]], problem: str | None) -> None:
    said = refusal(path, headers, "127.0.0.1")
    assert (said is None) if problem is None else (said is not None and problem in said)


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({}, id="without the header"),
        pytest.param({"Origin": "https://evil.example"}, id="a page's form"),
        pytest.param(CONTROL_HEADERS | {"Origin": "https://evil.example"}, id="a page that somehow sends the header"),
        pytest.param(CONTROL_HEADERS | {"Host": "evil.example"}, id="a page whose name leads here"),
    ],
)
@pytest.mark.parametrize(
    "route", ["POST reset", "POST sync", "POST faults", "DELETE faults", "POST jobs", "GET tickets"]
)
def test_no_page_reaches_the_control_routes(
    sandbox: SandboxServer, post: Post, route: str, headers: dict[str, str]
) -> None:
    post(ticket())
    sandbox.inject("latency", seconds=0)
    method, name = route.split()
    form = {"data": {"kind": "lost"}} if method == "POST" else {}
    reply = httpx.request(method, f"{sandbox.url}/_sandbox/{name}", headers=headers, trust_env=False, **form)  # type: ignore[arg-type]
    assert reply.status_code == 403
    assert reply.json()["type"] == "forbidden"
    assert len(sandbox.tickets()) == 1
    assert post(ticket()).status_code == 200


def test_a_page_gets_no_permission_to_send_the_header(sandbox: SandboxServer) -> None:
    asks: dict[str, Any] = {
        "Origin": "https://evil.example",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "x-leen-sandbox",
    }
    reply = httpx.options(f"{sandbox.url}/_sandbox/reset", headers=asks, trust_env=False)
    assert reply.status_code == 403
    assert not [name for name in reply.headers if name.lower().startswith("access-control")]


@pytest.mark.parametrize("headers", [{"Origin": "https://evil.example"}, {"Host": "evil.example"}])
def test_what_is_refused_neither_counts_nor_uses_up_a_fault(
    sandbox: SandboxServer, client: httpx.Client, headers: dict[str, str]
) -> None:
    sandbox.inject("status", status=503, times=1)
    assert client.post(BULK, headers=headers, json={"tickets": [ticket()]}).status_code == 403
    assert client.get("/itsm/projects", headers=headers).status_code == 403
    assert sandbox.requests == []
    assert client.post(BULK, json={"tickets": [ticket()]}).status_code == 503


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1"])
def test_its_page_is_seen_under_every_name_of_loopback(sandbox: SandboxServer, name: str) -> None:
    url = sandbox.url.replace("127.0.0.1", name)
    assert httpx.get(url, headers={"Sec-Fetch-Site": "cross-site"}, trust_env=False).status_code == 200
    assert httpx.get(url, headers={"Host": "evil.example"}, trust_env=False).status_code == 403
