"""Small servers, each in its own process: one that creates tickets at once, and one in Jira's shape.

``python -m benchmarks.servers leen|jira [SERVICE_TIME]`` prints its port.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import subprocess
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, NamedTuple, Self

import httpx


class Reply(NamedTuple):
    """What is sent after so many seconds."""

    body: Any
    status: int = 200
    delay: float = 0.0
    retry_after: int | None = None


Answer = Callable[[str, bytes], Reply]


class Connection(asyncio.Protocol):
    """HTTP/1.1 as far as the clients here speak it: one request after the other, with a Content-Length."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, end, rest = self._received.partition(b"\r\n\r\n")
        if not end:
            return
        length = 0
        for line in head.split(b"\r\n")[1:]:
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        if len(rest) < length:
            return
        self._received = b""
        reply = self._answer(head.split(b" ", 2)[1].decode(), rest)
        if reply.delay:
            asyncio.get_running_loop().call_later(reply.delay, self._send, reply)
        else:
            self._send(reply)

    def _send(self, reply: Reply) -> None:
        body = json.dumps(reply.body).encode()
        head = f"HTTP/1.1 {reply.status} X\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        if reply.retry_after is not None:
            head += f"Retry-After: {reply.retry_after}\r\n"
        self._transport.write(head.encode() + b"\r\n" + body)


_NUMBERS = itertools.count(1)


def leen(_path: str, body: bytes) -> Reply:
    """Say of every ticket that it was created, as Leen's bulk endpoint does for vendor ids."""
    tickets = json.loads(body)["tickets"]
    results = [
        {
            "success": True,
            "request_index": position,
            "identifier": ticket["identifier"],
            "ticket_id": None,
            "vendor_ticket_id": f"SEC-{next(_NUMBERS)}",
            "error": None,
        }
        for position, ticket in enumerate(tickets)
    ]
    return Reply({"total": len(tickets), "succeeded": len(tickets), "failed": 0, "results": results})


class Jira:
    """Creates issues, and counts calls and issues; told so, the call of one number gets a 502, another one a 429."""

    def __init__(self, service_time: float) -> None:
        self._service_time = service_time
        self._bad_gateway = self._rate_limit = 0
        self._calls: list[float] = []
        self._names: list[str] = []
        self._hit: dict[str, str] = {}

    def __call__(self, path: str, body: bytes) -> Reply:
        if path == "/_begin":
            self.__init__(self._service_time)  # type: ignore[misc]  # all as at the start
            self._bad_gateway, self._rate_limit = json.loads(body)
            return Reply({})
        if path == "/_stats":
            return Reply({"calls": self._calls, "names": self._names, "hit": self._hit})
        self._calls.append(time.time())
        name = json.loads(body)["fields"]["summary"]
        if len(self._calls) == self._rate_limit:
            self._hit["429"] = name
            return Reply({}, 429, self._service_time, retry_after=1)
        self._names.append(name)
        if len(self._calls) == self._bad_gateway:
            self._hit["502"] = name
            return Reply({}, 502, self._service_time)
        number = len(self._names)
        return Reply({"id": str(number), "key": f"SEC-{number}"}, 201, self._service_time)


class Server:
    """One of them, in its own process, while the context is open."""

    def __init__(self, kind: str, service_time: float = 0.0) -> None:
        self._command = [sys.executable, "-m", "benchmarks.servers", kind, str(service_time)]

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE, text=True, start_new_session=True)
        assert self._process.stdout is not None
        self.url = f"http://127.0.0.1:{int(self._process.stdout.readline())}"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def ask(self, path: str, body: Any = None) -> Any:
        """Ask Jira's stand-in for its own purposes."""
        return httpx.post(self.url + path, json=body, trust_env=False).json()


async def _serve(answer: Answer) -> None:
    server = await asyncio.get_running_loop().create_server(lambda: Connection(answer), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    _, kind, seconds = sys.argv
    asyncio.run(_serve(leen if kind == "leen" else Jira(float(seconds))))
