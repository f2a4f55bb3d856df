"""Reading tickets before they are changed: one search for up to 50, what is gone, what was moved, and Leen's copies."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from airflow_provider_leen.api.client import AsyncLeenClient
from airflow_provider_leen.api.errors import LeenAuthError
from airflow_provider_leen.bulk.plan import Reading
from airflow_provider_leen.bulk.tracker import Asked, TicketReader
from airflow_provider_leen.sandbox.server import SandboxServer
from tests.bulk.runs import settings_for

pytestmark = pytest.mark.anyio
SEARCH = "/v1/itsm/passthrough/tickets/search"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def key(number: int) -> str:
    return f"airflow-{number:024x}"


async def filed(client: AsyncLeenClient, number: int) -> list[Asked]:
    """File tickets that carry their keys."""
    asked = []
    for start in range(0, number, 50):
        numbers = range(start, min(start + 50, number))
        bodies = [
            {"name": f"Finding {it}", "project_vendor_id": "SEC", "type": "Task", "description": f"Text\n\n{key(it)}"}
            for it in numbers
        ]
        claims = await client.send_bulk_create(bodies)
        asked += [
            Asked(key(it), claim.vendor_ticket_id, None, time.time() - 5)
            for it, claim in zip(numbers, claims, strict=True)
        ]
    return asked


async def read(
    sandbox: SandboxServer, act: Callable[[Sequence[str]], Any] = lambda keys: None, number: int = 3, **known: Any
) -> tuple[Mapping[str, Reading | None], int]:
    """File tickets, let people act, then read them all; return what is shown, and the number of searches."""
    async with AsyncLeenClient(settings_for(sandbox.base_url)) as client:
        asked = await filed(client, number)
        keys = [str(it.vendor_ticket_id) for it in asked]
        act(keys)
        others = known.pop("others", {"SEC": keys})
        shown = await TicketReader(client, others).read([it._replace(**known) for it in asked])
        return shown, sandbox.count("GET", SEARCH)


def states(shown: Mapping[str, Reading | None]) -> list[str | None]:
    return [None if it is None else it.state for it in shown.values()]


async def test_fifty_tickets_are_read_in_one_search(sandbox: SandboxServer) -> None:
    shown, searches = await read(sandbox, lambda keys: sandbox.people.close(keys[1]), 120)
    assert states(shown)[:3] == ["open", "closed", "open"]
    assert None not in shown.values()
    assert searches == 3
    assert all(it and it.updated_at and abs(it.updated_at - time.time()) < 600 for it in shown.values())


async def test_a_ticket_that_is_gone_is_distinguished_from_the_others(sandbox: SandboxServer) -> None:
    shown, searches = await read(sandbox, lambda keys: sandbox.people.delete(keys[30]), 40)
    assert states(shown) == ["open"] * 30 + ["gone"] + ["open"] * 9
    assert searches <= 13


async def test_where_ours_are_gone_any_ticket_of_the_project_shows_that_the_search_finds_its_tickets(
    sandbox: SandboxServer,
) -> None:
    def act(keys: Sequence[str]) -> None:
        for gone in keys[:4]:
            sandbox.people.delete(gone)

    shown, searches = await read(sandbox, act, 5, others={"SEC": ["SEC-102", "SEC-103", "SEC-104"]})
    assert states(shown) == ["gone"] * 4 + ["open"]
    assert searches <= 18


async def test_nothing_is_gone_where_no_other_ticket_is_found(sandbox: SandboxServer) -> None:
    shown, _ = await read(sandbox, lambda keys: sandbox.people.delete(keys[0]), 1)
    assert states(shown) == [None]


async def test_a_ticket_that_was_moved_is_found_under_its_new_key(sandbox: SandboxServer) -> None:
    shown, _ = await read(sandbox, lambda keys: sandbox.people.move(keys[1], "APP"))
    assert [it and it.vendor_ticket_id for it in shown.values()] == ["SEC-101", "APP-101", "SEC-103"]


async def test_a_ticket_that_was_moved_and_rewritten_is_found_where_it_is(sandbox: SandboxServer) -> None:
    def act(keys: Sequence[str]) -> None:
        sandbox.people.move(keys[0], "APP")
        sandbox.people.edit("APP-101", {"description": "Mine."})

    shown, _ = await read(sandbox, act, 1)
    assert [it and it.vendor_ticket_id for it in shown.values()] == ["APP-101"]


async def test_the_reply_to_another_question_is_not_the_ticket(sandbox: SandboxServer) -> None:
    class Crossed(AsyncLeenClient):
        async def search_page(self, jql: str) -> Any:
            return await super().search_page(jql.replace("SEC-101", "SEC-102"))

    async with Crossed(settings_for(sandbox.base_url)) as client:
        asked = await filed(client, 2)
        sandbox.people.edit("SEC-102", {"description": "Mine."})
        sandbox.people.close("SEC-102")
        assert states(await TicketReader(client, {"SEC": ["SEC-102"]}).read(asked[:1])) == ["open"]


async def test_a_clone_is_not_the_ticket(sandbox: SandboxServer) -> None:
    def act(keys: Sequence[str]) -> None:
        sandbox.people.clone(keys[0])
        sandbox.people.close(keys[0])

    shown, _ = await read(sandbox, act)
    assert states(shown) == ["closed", "open", "open"]


async def test_a_ticket_that_carries_another_key_is_not_read(sandbox: SandboxServer) -> None:
    shown, _ = await read(sandbox, number=1, key=key(99))
    assert states(shown) == [None]


async def test_a_ticket_whose_description_was_rewritten_is_known_by_its_jira_key(sandbox: SandboxServer) -> None:
    shown, _ = await read(sandbox, lambda keys: sandbox.people.edit(keys[0], {"description": "Mine."}))
    assert states(shown) == ["open"] * 3


async def test_where_jira_keys_can_t_be_searched_for_ours_can(sandbox: SandboxServer) -> None:
    def act(keys: Sequence[str]) -> None:
        sandbox.people.close(keys[0])
        sandbox.people.clone(keys[0])
        sandbox.inject("status", status=400, method="GET", path=SEARCH, times=2)

    assert states((await read(sandbox, act, 1, others={"SEC": ["SEC-1"]}))[0]) == ["closed"]


async def test_a_ticket_of_which_only_leens_id_is_known_is_found_by_our_key(sandbox: SandboxServer) -> None:
    shown, searches = await read(sandbox, number=2, vendor_ticket_id=None)
    assert (states(shown), searches) == (["open", "open"], 1)


async def test_if_the_tracker_cannot_be_asked_leen_is_believed_if_its_copy_is_newer_than_our_write(
    sandbox: SandboxServer,
) -> None:
    def act(keys: Sequence[str]) -> None:
        sandbox.people.close(keys[0])
        sandbox.sync()
        sandbox.inject("status", method="GET", path=SEARCH)

    async with AsyncLeenClient(settings_for(sandbox.base_url, max_retries=0)) as client:
        asked = await filed(client, 2)
        act([str(it.vendor_ticket_id) for it in asked])
        ids = {it.vendor_ticket_id: it.id async for it in client.iter_tickets()}
        asked = [it._replace(ticket_id=ids[it.vendor_ticket_id]) for it in asked]
        assert states(await TicketReader(client, {}).read(asked)) == ["closed", "open"]
        asked = [it._replace(written_at=time.time() + 5) for it in asked]
        assert states(await TicketReader(client, {}).read(asked)) == [None, None]


async def test_a_key_that_is_refused_is_no_unread_ticket(sandbox: SandboxServer) -> None:
    with pytest.raises(LeenAuthError):
        await read(sandbox, lambda keys: sandbox.inject("status", status=401, method="GET", path=SEARCH))
