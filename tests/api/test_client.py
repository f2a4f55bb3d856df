"""What the client asks for and what it makes of the answers: endpoints, pages, repetitions."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from email.utils import formatdate, parsedate_to_datetime
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest

from airflow_provider_leen.api.client import AsyncLeenClient
from airflow_provider_leen.api.errors import (
    LeenConfigError,
    LeenConnectError,
    LeenError,
    LeenNotFoundError,
    LeenOutcomeUnknownError,
    LeenRateLimitError,
    LeenResponseError,
    LeenServerError,
    LeenValidationError,
)
from airflow_provider_leen.api.models import TicketCreate
from airflow_provider_leen.api.retry import Effect, effect_of_write
from airflow_provider_leen.api.settings import LeenSettings
from airflow_provider_leen.api.sync_client import LeenClient
from airflow_provider_leen.sandbox.server import SandboxServer

TICKET = {"name": "SQL built from strings", "project_vendor_id": "SEC", "type": "Task"}
BULK = "/v1/itsm/tickets/bulk/sync"


def settings_of(sandbox: SandboxServer, **changes: Any) -> LeenSettings:
    given = {"timeout": 60.0, "max_retries": 2, "max_retry_wait": 0.01} | changes
    return LeenSettings(
        base_url=sandbox.base_url, api_key=sandbox.api_key, connection_id=sandbox.connection_id, **given
    )


@pytest.fixture
def client(sandbox: SandboxServer) -> Iterator[LeenClient]:
    with LeenClient(settings_of(sandbox)) as client:
        yield client


Scripted = Callable[..., LeenClient]


@pytest.fixture
def scripted() -> Iterator[Scripted]:
    """Makes a client that gets these replies, in order: a status, or what is to be a 200's body."""
    clients: list[LeenClient] = []

    def make(*replies: Any) -> LeenClient:
        remaining = iter(replies)

        def answer(request: httpx.Request) -> httpx.Response:
            content = next(remaining)
            if isinstance(content, int):
                return httpx.Response(content)
            return (
                httpx.Response(200, content=content)
                if isinstance(content, bytes)
                else httpx.Response(200, json=content)
            )

        settings = LeenSettings(base_url="https://leen.test/v1", api_key="k", connection_id="c", max_retries=0)
        clients.append(LeenClient(settings, transport=httpx.MockTransport(answer)))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


# Tickets


def test_a_created_ticket_can_be_fetched_changed_and_listed(client: LeenClient) -> None:
    created = client.create_ticket(TICKET | {"identifier": "scan-1"})
    assert created.name == TICKET["name"]
    assert client.get_ticket(created.id) == created
    found = client.get_ticket_by_identifier("scan-1")
    assert found is not None
    assert found.id == created.id
    changed = client.update_ticket(created.id, status="CLOSED", description="see #1")
    assert changed is not None
    assert (changed.status, changed.description) == ("CLOSED", "see #1")
    assert [ticket.id for ticket in client.iter_tickets()] == [created.id]


def test_a_request_carries_both_headers_and_only_what_was_given(client: LeenClient, sandbox: SandboxServer) -> None:
    client.bulk_create_tickets([TicketCreate(**TICKET), TICKET])
    [request] = sandbox.requests
    assert (request.method, request.path, request.query) == ("POST", BULK, "")
    assert request.body == {"tickets": [TICKET, TICKET]}
    assert request.headers["x-connection-id"] == sandbox.connection_id
    assert request.headers["content-type"] == "application/json"
    assert request.headers["user-agent"].startswith("airflow-provider-leen/")


@pytest.mark.parametrize("count", [0, 51])
def test_a_bulk_call_takes_one_to_fifty_tickets(client: LeenClient, sandbox: SandboxServer, count: int) -> None:
    with pytest.raises(LeenConfigError, match=f"1 to 50 tickets, not {count}"):
        client.bulk_create_tickets([TICKET] * count)
    assert sandbox.requests == []


@pytest.mark.parametrize(
    ("ticket", "said"),
    [
        pytest.param({"project_vendor_id": "SEC"}, "name: Field required", id="without a name"),
        pytest.param(TICKET | {"nmae": "x"}, "nmae: ", id="an unknown field"),
        pytest.param(TICKET | {"name": 5}, "name: ", id="a wrong type"),
        pytest.param("a text", "valid dictionary", id="no mapping"),
        pytest.param([["name", "x"]], "valid dictionary", id="a list of pairs"),
    ],
)
def test_a_ticket_that_cant_be_sent_is_refused_by_position_and_field(
    client: LeenClient, sandbox: SandboxServer, ticket: Any, said: str
) -> None:
    with pytest.raises(LeenConfigError, match=f"ticket 1 can't be sent: .*{said}"):
        client.bulk_create_tickets([TICKET, ticket])
    with pytest.raises(LeenConfigError, match=f"The ticket can't be sent: .*{said}"):
        client.create_ticket(ticket)
    assert sandbox.requests == []


def test_text_arrives_as_it_was_given(client: LeenClient, sandbox: SandboxServer) -> None:
    description = "Zoë 👩‍🚀 \u0000 {{ conn.x.password }} " + "x" * 30_000
    client.bulk_create_tickets([TICKET | {"description": description}])
    assert sandbox.tickets()[0]["description"] == description


@pytest.mark.parametrize("ticket_id", ["", ".", "..", "a\nb", "\ud800"])
def test_an_id_that_would_lead_elsewhere_is_refused(client: LeenClient, sandbox: SandboxServer, ticket_id: str) -> None:
    for call in (client.get_ticket, client.get_ticket_by_identifier, client.update_ticket):
        with pytest.raises(LeenConfigError, match="give the id"):
            call(ticket_id)
    assert sandbox.requests == []


@pytest.mark.parametrize(
    "identifier",
    [
        "a/b",
        "/",
        "a/../b",
        "..a",
        "100%",
        "%2F",
        "%",
        "what?",
        "#1",
        "Zoë",
        "two words",
        "a+b",
        "a&b=c",
        ";:@,",
        "日本",
    ],
)
def test_an_odd_identifier_finds_its_ticket_and_no_other(client: LeenClient, identifier: str) -> None:
    client.create_ticket(TICKET)
    created = client.create_ticket(TICKET | {"identifier": identifier})
    found = client.get_ticket_by_identifier(identifier)
    assert found is not None
    assert (found.id, found.identifier) == (created.id, identifier)
    assert client.get_ticket_by_identifier(f"{identifier}x") is None


def test_a_ticket_that_leen_does_not_know_is_none_by_identifier_and_an_error_by_id(client: LeenClient) -> None:
    assert client.get_ticket_by_identifier("nobody") is None
    with pytest.raises(LeenNotFoundError, match="Leen knows no such ticket"):
        client.get_ticket("00000000-0000-4000-8000-000000000000")


@pytest.mark.parametrize(
    "fault", [{"body": "detail_text", "message": "Not Found"}, {"body": "html"}, {"body": "empty"}]
)
def test_a_404_that_is_not_leens_own_is_no_answer(
    client: LeenClient, sandbox: SandboxServer, fault: dict[str, Any]
) -> None:
    sandbox.inject("status", method="GET", path="/v1/itsm/tickets/by-identifier", status=404, **fault)
    with pytest.raises(LeenNotFoundError, match="Check the Base URL"):
        client.get_ticket_by_identifier("scan-1")
    assert sandbox.count("GET") == 1


UUID = "cccccccc-0000-4000-8000-000000000003"


def test_another_ticket_than_the_one_that_was_asked_for_is_a_response_error(scripted: Scripted) -> None:
    assert scripted({"id": UUID.upper()}).get_ticket(UUID).name is None
    with pytest.raises(LeenResponseError, match="answered with another"):
        scripted({"id": UUID[:-1] + "4"}).get_ticket(UUID)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"id": "t-1", "identifier": "scan-2"}, "whose identifier is 'scan-2'"),
        ({"id": "t-1"}, "whose identifier is None"),
        ({"id": "t-1", "identifier": "scan-1", "errors": ["gone"]}, "which contradicts itself"),
        ({"id": " ", "identifier": "scan-1"}, "a ticket without an id"),
    ],
)
def test_a_look_up_that_is_answered_with_another_ticket_finds_nothing_out(
    scripted: Scripted, answer: dict[str, Any], said: str
) -> None:
    with pytest.raises(LeenResponseError, match=f"{said}.*it is unknown") as caught:
        scripted(answer).get_ticket_by_identifier("scan-1")
    assert caught.value.status == 200


@pytest.mark.parametrize("answer", [{}, [], None, "text", {"id": 5}, {"name": "x"}])
def test_a_reply_that_is_no_ticket_is_a_response_error_when_reading(scripted: Scripted, answer: Any) -> None:
    with pytest.raises(LeenResponseError, match="Leen's reply is not a ticket") as caught:
        scripted(answer).get_ticket("t-1")
    assert caught.value.status == 200


@pytest.mark.parametrize("answer", [{}, [], b"", b"<html>", {"id": 5}])
def test_a_reply_that_is_no_ticket_leaves_a_created_ticket_unknown(scripted: Scripted, answer: Any) -> None:
    with pytest.raises(LeenOutcomeUnknownError, match="POST /itsm/tickets") as caught:
        scripted(answer).create_ticket(TICKET | {"identifier": "scan-1"})
    assert caught.value.identifiers == ["scan-1"]


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param({"id": "u-1", "identifier": "scan-2"}, id="another identifier"),
        pytest.param({"id": "u-1", "name": "Another finding"}, id="another name, without an identifier"),
        pytest.param({"id": "u-1", "identifier": "scan-1", "error": "timed out"}, id="an error"),
        pytest.param({"id": "u-1", "identifier": "scan-1", "success": False}, id="no success"),
        pytest.param({"id": " ", "identifier": "scan-1"}, id="a blank id"),
    ],
)
def test_a_created_ticket_that_may_be_another_is_unknown_and_named(scripted: Scripted, answer: Any) -> None:
    with pytest.raises(LeenOutcomeUnknownError, match="does not prove that 'scan-1' was created") as caught:
        scripted(answer).create_ticket(TICKET | {"identifier": "scan-1"})
    assert caught.value.identifiers == ["scan-1"]
    assert ("u-1" in str(caught.value)) is (answer["id"] == "u-1")


@pytest.mark.parametrize(
    "answer",
    [
        {"id": "u-1", "identifier": "SCAN-1 ", "name": "cut"},
        {"id": "u-1", "identifier": None, "name": " SQL  built from strings"},
        {"id": "u-1", "identifier": "", "error": None, "errors": []},
    ],
)
def test_a_created_ticket_may_come_back_normalised(scripted: Scripted, answer: Any) -> None:
    assert scripted(answer).create_ticket(TICKET | {"identifier": "scan-1"}).id == "u-1"


@pytest.mark.parametrize("status", [201, 202, 204, 303, 304, 402, 408, 409, 425, 451, 499, 500])
def test_another_status_leaves_a_created_ticket_unknown(scripted: Scripted, status: int) -> None:
    with pytest.raises(LeenError) as caught:
        scripted(status).create_ticket(TICKET)
    assert effect_of_write(caught.value) is Effect.UNKNOWN


UUID = "00000000-0000-4000-8000-000000000000"


@pytest.mark.parametrize("answer", [{"id": UUID.replace("0", "1")}, {"error": "no"}, {"id": UUID, "errors": ["no"]}])
def test_an_update_whose_reply_is_about_another_ticket_is_unknown(scripted: Scripted, answer: Any) -> None:
    with pytest.raises(LeenOutcomeUnknownError, match="does not prove it"):
        scripted(answer).update_ticket(UUID, status="DONE")


def test_the_reply_about_another_job_is_no_answer(scripted: Scripted) -> None:
    assert scripted({"id": "J-1", "status": "SUCCESS"}).get_job("j-1").status == "SUCCESS"
    for other in ({"id": "j-2"}, {"job_id": "j-2", "id": "j-1"}):
        with pytest.raises(LeenConnectError, match="asked for the job j-1"):
            scripted(other | {"status": "SUCCESS"}).get_job("j-1")


def test_a_bulk_call_keeps_what_leen_said_of_each_ticket(scripted: Scripted) -> None:
    results = [
        {"success": True, "request_index": 1, "identifier": "made-by-leen", "vendor_ticket_id": "SEC-1"},
        {"success": False, "request_index": 2, "error": "no"},
    ]
    reply = scripted({"total": 2, "succeeded": 1, "failed": 1, "results": results}).bulk_create_tickets([TICKET] * 2)
    assert (reply.total, reply.succeeded, reply.failed) == (2, 1, 1)
    assert [(r.success, r.request_index, r.identifier, r.vendor_ticket_id, r.error) for r in reply.results] == [
        (True, 0, "made-by-leen", "SEC-1", None),
        (False, 1, None, None, "no"),
    ]


@pytest.mark.parametrize("answer", [{}, [], b"", {"id": 5}, 204])
def test_an_update_whose_reply_is_no_ticket_is_done_nevertheless(scripted: Scripted, answer: Any) -> None:
    assert scripted(answer).update_ticket("t-1", status="DONE") is None


# Pages


def queries(sandbox: SandboxServer) -> list[dict[str, str]]:
    return [{name: values[0] for name, values in parse_qs(request.query).items()} for request in sandbox.requests]


def test_pages_are_fetched_one_after_the_other_until_the_last(client: LeenClient, sandbox: SandboxServer) -> None:
    ids = [client.create_ticket(TICKET | {"name": f"finding {number}"}).id for number in range(5)]
    sandbox_requests = sandbox.count()
    tickets = client.iter_tickets(limit=2)
    assert sandbox.count() == sandbox_requests
    assert next(tickets).id == ids[0]
    assert sandbox.count() == sandbox_requests + 1
    assert [ticket.id for ticket in tickets] == ids[1:]
    assert sandbox.count() == sandbox_requests + 3


@pytest.mark.parametrize("since", [datetime(2026, 1, 1, tzinfo=UTC), date(2026, 1, 1), "2026-01-01T00:00:00+00:00"])
def test_updated_since_is_sent_with_the_first_page_only(
    client: LeenClient, sandbox: SandboxServer, since: date | str
) -> None:
    users = list(client.iter_users(updatedSince=since, limit=1, name=None))
    assert len(users) > 2
    first, *rest = queries(sandbox)
    assert first["updatedSince"].startswith("2026-01-01")
    assert set(first) == {"updatedSince", "limit"}
    assert all(set(query) == {"cursor", "limit"} for query in rest)
    assert len(rest) == len(users) - 1


def test_users_and_projects_are_listed_and_filtered(client: LeenClient) -> None:
    everybody = list(client.iter_users())
    assert list(client.iter_users(email=everybody[1].email)) == [everybody[1]]
    assert {project.name for project in client.iter_projects(limit=1)} == {
        project.name for project in client.iter_projects()
    }
    assert len(list(client.iter_projects())) == 2


def test_the_vendor_is_searched_page_by_page(client: LeenClient, sandbox: SandboxServer) -> None:
    client.bulk_create_tickets([TICKET | {"description": f"key-{number}"} for number in range(3)])
    assert [hit["key"] for hit in client.search_tickets('description ~ "key-1"')] == ["SEC-102"]
    client.bulk_create_tickets([TICKET] * 50)
    client.bulk_create_tickets([TICKET] * 50)
    before = sandbox.count("GET")
    assert len(client.search_tickets("project = SEC")) == 103
    assert sandbox.count("GET") == before + 2


def ids_of(client: LeenClient) -> list[str]:
    return [ticket.id for ticket in client.iter_tickets()]


@pytest.mark.parametrize(
    ("pages", "ids"),
    [
        pytest.param([[{"id": "a"}]], ["a"], id="a bare list"),
        pytest.param([{"tickets": [{"id": "a"}]}], ["a"], id="another name of the list"),
        pytest.param([{"items": [{"id": "a"}], "next_cursor": ""}], ["a"], id="an empty cursor"),
        pytest.param([{"items": [], "next_cursor": "1"}, {"items": [{"id": "a"}]}], ["a"], id="an empty page"),
        pytest.param(
            [{"issues": [{"id": "a"}], "nextPageToken": "1"}, {"issues": [{"id": "b"}]}], ["a", "b"], id="Jira's token"
        ),
        pytest.param([{"items": [{"id": "a", "tags": ["x"], "new": {"b": 1}}]}], ["a"], id="fields not documented"),
    ],
)
def test_pages_of_other_shapes_are_read(scripted: Scripted, pages: list[Any], ids: list[str]) -> None:
    assert ids_of(scripted(*pages)) == ids


def page(number: int, cursor: str) -> dict[str, Any]:
    return {"items": [{"id": f"{number}"}], "next_cursor": cursor}


@pytest.mark.parametrize(
    ("pages", "why"),
    [
        pytest.param([page(1, "x"), page(2, "y"), page(3, "x")], "a cursor came twice", id="a cursor that repeats"),
        pytest.param([page(1, "x"), page(2, "x")], "a cursor came twice", id="the same cursor"),
        pytest.param(
            [{"items": [], "next_cursor": str(n)} for n in range(99)], "20 empty pages in a row", id="empty pages"
        ),
        pytest.param([page(n, str(n)) for n in range(199)], "there are too many", id="no end"),
    ],
)
def test_a_listing_that_does_not_end_is_an_error_and_not_cut_off(
    scripted: Scripted, pages: list[Any], why: str
) -> None:
    with pytest.raises(LeenResponseError, match=f"don't end \\({why}\\)"):
        list(scripted(*pages).iter_tickets(max_pages=30))
    with pytest.raises(LeenResponseError, match=f"don't end \\({why}\\)"):
        scripted(*pages).search_tickets("key = SEC-1")


def test_empty_pages_in_between_do_not_end_a_listing(scripted: Scripted) -> None:
    pages = [{"items": [{"id": "a"}] if n % 19 == 0 else [], "next_cursor": str(n)} for n in range(60)]
    assert ids_of(scripted(*pages, {"items": []})) == ["a"] * 4


@pytest.mark.parametrize(
    "page",
    [
        {},
        {"items": None},
        {"items": {"id": "a"}},
        "text",
        None,
        b"",
        {"items": ["a"]},
        {"items": [{"name": "a"}]},
        {"items": [], "next_cursor": 7},
        {"items": [], "next_cursor": {"x": "y" * 1000}},
    ],
    ids=lambda page: repr(page)[:30],
)
def test_a_reply_that_is_no_page_is_a_response_error(scripted: Scripted, page: Any) -> None:
    with pytest.raises(LeenResponseError, match="Leen's reply") as caught:
        ids_of(scripted(page))
    assert len(str(caught.value)) < 200


def test_the_check_says_what_it_found(client: LeenClient, sandbox: SandboxServer, scripted: Scripted) -> None:
    assert "it sees projects such as '" in client.check()
    assert queries(sandbox) == [{"limit": "1"}]
    assert "no project yet" in scripted({"items": []}).check()
    assert "no project yet" in scripted({"items": ["odd"]}).check()


# Repetitions, counted on the wire (max_retries is 2): of each kind in the tables of `test_retry.py` and `wire.py` one


CALLS: dict[str, Callable[[LeenClient], Any]] = {
    "GET": lambda client: list(client.iter_projects()),
    "POST": lambda client: client.create_ticket(TICKET | {"identifier": "scan-1"}),
    "bulk": lambda client: client.bulk_create_tickets([TICKET | {"identifier": "scan-1"}]),
}


@pytest.mark.parametrize(
    ("call", "fault", "requests", "error"),
    [
        ("GET", {"kind": "status", "status": 503, "retry_after": 60}, 3, LeenServerError),
        ("GET", {"kind": "status", "status": 408}, 1, LeenResponseError),
        ("GET", {"kind": "rate_limit"}, 3, LeenRateLimitError),
        ("GET", {"kind": "rate_limit", "retry_after": 60, "retry_after_date": True}, 1, LeenRateLimitError),
        ("GET", {"kind": "garbage"}, 3, LeenConnectError),
        *((call, {"kind": "status", "status": 503, "retry_after": 0}, 1, LeenServerError) for call in ("POST", "bulk")),
        *((call, {"kind": "status", "status": 422}, 1, LeenValidationError) for call in ("POST", "bulk")),
        *((call, {"kind": "rate_limit"}, 3, LeenRateLimitError) for call in ("POST", "bulk")),
        *((call, {"kind": "lost", "commit": True}, 1, LeenOutcomeUnknownError) for call in ("POST", "bulk")),
        *((call, {"kind": "garbage"}, 1, LeenOutcomeUnknownError) for call in ("POST", "bulk")),
    ],
    ids=lambda value: f"{value}" if isinstance(value, str | dict) else None,
)
def test_a_read_is_repeated_unless_a_4xx_says_no_and_a_write_only_after_a_429(
    client: LeenClient, sandbox: SandboxServer, call: str, fault: dict[str, Any], requests: int, error: type[LeenError]
) -> None:
    method = "GET" if call == "GET" else "POST"
    sandbox.inject(**fault, method=method, path="/v1/itsm")
    with pytest.raises(error) as caught:
        CALLS[call](client)
    assert type(caught.value) is error
    if isinstance(caught.value, LeenOutcomeUnknownError):
        assert caught.value.identifiers == ["scan-1"]
    assert sandbox.count(method) == requests


@pytest.mark.parametrize(("kind", "requests"), [("lost", 1), ("rate_limit", 3)])
def test_an_update_is_a_write(client: LeenClient, sandbox: SandboxServer, kind: str, requests: int) -> None:
    sandbox.inject(kind, method="PATCH", path="/v1/itsm/tickets")
    with pytest.raises((LeenOutcomeUnknownError, LeenRateLimitError)):
        client.update_ticket("t-1", status="DONE")
    assert sandbox.count("PATCH") == requests


def test_a_call_succeeds_as_soon_as_leen_recovers(client: LeenClient, sandbox: SandboxServer) -> None:
    sandbox.inject("rate_limit", nth=(1, 2))
    assert client.bulk_create_tickets([TICKET]).succeeded == 1
    assert len(sandbox.tickets()) == 1
    sandbox.inject("lost", method="GET", path="/v1", nth=1)
    assert len(list(client.iter_projects())) == 2


@pytest.mark.parametrize("retry_after_date", [False, True])
def test_a_call_waits_as_long_as_leen_asks(sandbox: SandboxServer, retry_after_date: bool) -> None:
    seconds = 1 if retry_after_date else 0.2
    sandbox.inject("rate_limit", nth=1, retry_after=seconds, retry_after_date=retry_after_date)
    with LeenClient(settings_of(sandbox, max_retry_wait=2.0)) as client:
        client.bulk_create_tickets([TICKET])
    first, second = sandbox.requests
    until = first.started + 0.2
    if retry_after_date:
        until = parsedate_to_datetime(formatdate(first.started + 1)).timestamp()
    assert second.started >= until


def test_a_message_names_ten_tickets_at_most(client: LeenClient, sandbox: SandboxServer) -> None:
    sandbox.inject("short")
    with pytest.raises(LeenOutcomeUnknownError, match=r"finding 9: .*\n  … and 2 more") as caught:
        client.bulk_create_tickets([TICKET | {"name": f"finding {number}"} for number in range(12)])
    assert len(caught.value.identifiers) == 12


# Asynchronous code


def test_the_asynchronous_client_is_a_context_manager_and_can_be_used_again(sandbox: SandboxServer) -> None:
    async def use() -> list[str | None]:
        async with AsyncLeenClient(settings_of(sandbox)) as client:
            names = [project.name async for project in client.iter_projects()]
        await client.aclose()
        names += [project.name async for project in client.iter_projects()]
        await client.aclose()
        return names

    assert len(asyncio.run(use())) == 4


def test_one_send_is_one_request_with_any_reply(sandbox: SandboxServer) -> None:
    sandbox.inject("rate_limit", nth=1)

    async def send() -> None:
        async with AsyncLeenClient(settings_of(sandbox)) as client:
            with pytest.raises(LeenRateLimitError):
                await client.send_bulk_create([TICKET])
            assert sandbox.count("POST") == 1
            [result] = await client.send_bulk_create([TICKET])
            assert result.status == "succeeded"

    asyncio.run(send())


def test_half_a_surrogate_pair_can_be_sent(scripted: Scripted) -> None:
    client = scripted({"results": [{"success": True, "request_index": 0}]})
    assert len(client.run(client.aio.send_bulk_create([TICKET | {"description": "\ud800"}]))) == 1
