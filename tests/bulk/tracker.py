"""A tracker with a Leen before it, on a raw socket, that counts the tickets it truly made. It is not the sandbox."""

from __future__ import annotations

import json
import re
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.api.wire import RawServer, reply

BULK = "/v1/itsm/tickets/bulk/sync"
UNKNOWN = {"type": "not_found", "code": "NOT_FOUND", "message": "No such ticket.", "detail": []}


@dataclass
class Tracker:
    """What it holds and how it behaves.

    :param lose: the posts, counted from 1, whose replies are lost; the tickets are made.
    :param drop: the posts that are lost before anything is made.
    :param late: the posts whose replies are lost, and after how many seconds their tickets are made.
    :param clock: its time.
    :param before_reply: is called with the number of a post, once its tickets are made.
    :param shape: makes the reply of the search of its hits.
    :param unknown: status and body of a look-up that finds nothing.
    :param stores: whether Leen stores what it makes, as it does without vendor ids.
    :param change: changes what Leen shows of a ticket.
    :param claim: changes what a reply to a post says of a ticket.
    """

    lose: tuple[int, ...] = ()
    drop: tuple[int, ...] = ()
    late: Mapping[int, float] = field(default_factory=dict)
    clock: Callable[[], float] = time.time
    before_reply: Callable[[int], None] = lambda number: None
    shape: Callable[[list[dict[str, Any]]], Any] = lambda hits: {"issues": hits}
    unknown: tuple[int, Any] = (404, UNKNOWN)
    stores: bool = False
    change: Callable[[dict[str, Any]], dict[str, Any]] = lambda record: record
    claim: Callable[[dict[str, Any]], dict[str, Any]] = lambda result: result
    made: list[dict[str, Any]] = field(default_factory=list)
    posts: int = 0
    posted_at: list[float] = field(default_factory=list)
    searches: list[str] = field(default_factory=list)
    under_way: list[tuple[float, dict[str, Any]]] = field(default_factory=list)
    """Tickets that are made later, and when."""
    base_url: str = ""

    def make(self, body: dict[str, Any], *, ago: float = 0.0) -> dict[str, Any]:
        """Make a ticket."""
        number = len(self.made) + 1
        ticket = {"body": body, "id": f"leen-{number}", "key": f"SEC-{number}", "at": self.clock() - ago}
        self.made.append(ticket)
        return ticket

    def counts(self) -> dict[str, int]:
        """How often each ticket was made, by its name."""
        return dict(Counter(ticket["body"]["name"] for ticket in self.made))

    def server(self) -> RawServer:
        """The server, to be entered."""
        server = RawServer(self._serve)
        self.base_url = f"http://127.0.0.1:{server.port}/v1"
        return server

    def _serve(self, server: RawServer, connection: socket.socket) -> None:
        while request := server.read(connection):
            head, _, body = request.partition(b"\r\n\r\n")
            method, target = head.split(b" ")[:2]
            answer = self._answer(method.decode(), target.decode(), body)
            if answer is None:
                return
            status, content = answer
            connection.sendall(reply(json.dumps(content).encode(), status=f"{status} -".encode()))

    def _answer(self, method: str, target: str, body: bytes) -> tuple[int, Any] | None:
        self._make_what_is_due()
        url = urlsplit(target)
        if method == "POST":
            assert url.path == BULK
            return self._post(json.loads(body)["tickets"])
        if url.path.endswith("/passthrough/tickets/search"):
            return 200, self._search(parse_qs(url.query)["jql"][0])
        asked = unquote(url.path.rpartition("/")[2])
        names = ("identifier",) if "/by-identifier/" in url.path else ("id",)
        for ticket in reversed(self.made if self.stores else []):
            if asked in [ticket["body"].get(names[0]), ticket.get(names[0])]:
                return 200, self.change(record_of(ticket))
        return self.unknown

    def _post(self, bodies: Sequence[dict[str, Any]]) -> tuple[int, Any] | None:
        self.posts += 1
        number = self.posts
        self.posted_at.append(self.clock())
        if number in self.late:
            self.under_way += [(self.clock() + self.late[number], body) for body in bodies]
        if number in self.drop or number in self.late:
            return None
        made = [self.make(body) for body in bodies]
        self.before_reply(number)
        if number in self.lose:
            return None
        results = [
            {
                "success": True,
                "request_index": index,
                "identifier": ticket["body"].get("identifier"),
                "ticket_id": ticket["id"] if self.stores else None,
                "vendor_ticket_id": ticket["key"],
                "error": None,
            }
            for index, ticket in enumerate(made)
        ]
        results = [self.claim(result) for result in results]
        failed = sum(not result["success"] for result in results)
        return 200, {"total": len(made), "succeeded": len(made) - failed, "failed": failed, "results": results}

    def _make_what_is_due(self) -> None:
        due = [body for at, body in self.under_way if at <= self.clock()]
        self.under_way = [(at, body) for at, body in self.under_way if body not in due]
        for body in due:
            self.make(body)

    def _search(self, jql: str) -> Any:
        self.searches.append(jql)
        keys = re.findall(r"airflow-[0-9a-f]{24}", jql)
        issues = re.findall(r'key = "([^"]*)"', jql)
        return self.shape(
            [
                issue_of(ticket)
                for ticket in self.made
                if ticket["key"] in issues or any(key in (ticket["body"].get("description") or "") for key in keys)
            ]
        )


def issue_of(ticket: dict[str, Any]) -> dict[str, Any]:
    """A ticket as Jira shows it."""
    fields = {
        "summary": ticket["body"]["name"],
        "description": ticket["body"].get("description"),
        "created": _iso(ticket["at"]),
        "project": {"key": "SEC"},
    }
    return {"id": ticket["key"].replace("SEC-", "100"), "key": ticket["key"], "fields": fields}


def record_of(ticket: dict[str, Any]) -> dict[str, Any]:
    """A ticket as Leen shows it."""
    body = ticket["body"]
    return {
        "id": ticket["id"],
        "name": body["name"],
        "identifier": body.get("identifier"),
        "description": body.get("description"),
        "project_id": body.get("project_id"),
        "url": f"https://tracker.test/browse/{ticket['key']}",
        "ticket_created_at": _iso(ticket["at"]),
    }


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()


@contextmanager
def tracker(**behaviour: Any) -> Iterator[Tracker]:
    """A tracker that is served."""
    known = Tracker(**behaviour)
    with known.server():
        yield known


def once(given: Sequence[dict[str, Any]]) -> dict[str, int]:
    """What the tracker counts where each ticket was made once."""
    return {ticket["name"]: 1 for ticket in given}
