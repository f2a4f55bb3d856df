"""The ASGI layer before the app: refuses foreign pages, records requests, limits the rate, applies faults."""

from __future__ import annotations

import asyncio
import time
from asyncio import FIRST_COMPLETED, Event
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, Literal

from airflow_provider_leen.sandbox.faults import EDITS, FaultRule, Faults, Limiter
from airflow_provider_leen.sandbox.guard import refusal
from airflow_provider_leen.sandbox.recorder import RecordedRequest, Recorder
from airflow_provider_leen.sandbox.replies import Reply, error_reply, garble, limited, refused

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

Outcome = int | Literal["lost"]


class Gate:
    """Wraps the app.

    :param app: the app.
    :param host: the address on which the sandbox listens.
    :param calls_per_second: calls beyond this get a 429 with ``Retry-After: 1``; None for no limit.
    :param latency: the least seconds of each call, default 0.
    """

    def __init__(
        self,
        app: App,
        *,
        host: str,
        recorder: Recorder,
        faults: Faults,
        calls_per_second: int | None = None,
        latency: float = 0.0,
    ) -> None:
        self._app = app
        self._host = host
        self._recorder = recorder
        self._faults = faults
        self._limiter = Limiter(calls_per_second)
        self._latency = latency
        self._previous: dict[str, Reply] = {}
        self.stopping = Event()
        """Ends every wait, so that the server can stop at once."""

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Serve one request. A cancelled one ends silently: the server has cut off its connection."""
        try:
            problem = refusal(scope["path"], _decoded(scope["headers"]), self._host)
            if problem is not None:
                await _send_whole(send, refused(problem))
            elif scope["path"].startswith(("/v1", "/v2")):
                await self._serve_api(scope, receive, send)
            else:
                await self._app(scope, receive, send)
        except asyncio.CancelledError:
            await _client_left(receive)

    async def _serve_api(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        started = time.time()
        exchange = _Exchange(self._app, scope, receive, send, self.stopping)
        if not await exchange.read():
            return
        record = RecordedRequest(
            method=scope["method"],
            path=scope["path"],
            query=scope["query_string"].decode("latin-1"),
            headers=exchange.headers(),
            raw=exchange.body,
            started=started,
        )
        self._recorder.begin(record)
        outcome: Outcome = "lost"
        try:
            outcome = await self._serve(record, exchange)
        finally:
            self._recorder.end(record, now=time.time(), status=outcome)
            exchange.finish()

    async def _serve(self, record: RecordedRequest, exchange: _Exchange) -> Outcome:
        if not self._limiter.allows(time.monotonic()):
            self._faults.struck["calls_per_second"] += 1
            return await exchange.answer(limited())
        chosen = self._faults.choose(record.method, record.path, record.ticket_names)
        latency = self._latency + sum(rule.duration for rule in chosen if rule.kind == "latency")
        if latency and not await exchange.sleep(latency):
            return await exchange.hang_up()
        for until in [rule.until for rule in chosen if rule.until]:
            while not until():
                if not await exchange.sleep(0.002):
                    return await exchange.hang_up()
        rule = next((rule for rule in chosen if rule.kind != "latency"), None)
        if rule is None:
            reply = self._previous[record.path] = await exchange.ask()
            return await exchange.answer(reply)
        return await self._misbehave(rule, record, exchange)

    async def _misbehave(self, rule: FaultRule, record: RecordedRequest, exchange: _Exchange) -> Outcome:
        true_reply = await exchange.ask() if rule.commits else Reply(200)
        previous = self._previous.get(record.path, true_reply)
        if rule.commits:
            self._previous[record.path] = true_reply
        match rule.kind:
            case "lost":
                return await exchange.hang_up()
            case "stall":
                await exchange.sleep(rule.duration, or_client_leaves=True)
                return await exchange.hang_up()
            case "cut":
                return await exchange.cut(true_reply)
            case "trickle":
                return await exchange.trickle(true_reply, rule.duration)
            case "previous":
                return await exchange.answer(previous)
            case kind if kind in ("garbage", "bomb", *EDITS):
                return await exchange.answer(garble(rule, true_reply))
            case _:
                return await exchange.answer(error_reply(rule, record.ticket_names, now=time.time()))


class _Exchange:
    """One request and the ways to end it."""

    def __init__(
        self, app: App, scope: MutableMapping[str, Any], receive: Receive, send: Send, stopping: Event
    ) -> None:
        self._app = app
        self._scope = scope
        self._receive = receive
        self._send = send
        self._stopping = stopping
        self._departure: asyncio.Task[None] | None = None
        self.body = b""

    async def read(self) -> bool:
        """Read the request's body; return false if the client left before its end."""
        chunks: list[bytes] = []
        more = True
        while more:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                return False
            chunks.append(message.get("body", b""))
            more = message.get("more_body", False)
        self.body = b"".join(chunks)
        return True

    def headers(self) -> dict[str, str]:
        """The request's headers, without the API key."""
        decoded = dict(_decoded(self._scope["headers"]))
        if "x-api-key" in decoded:
            decoded["x-api-key"] = "***"
        return decoded

    async def ask(self) -> Reply:
        """Let the app process the request, and keep its reply."""
        status = 500
        headers: tuple[tuple[bytes, bytes], ...] = ()
        body = b""

        async def receive() -> Message:
            return {"type": "http.request", "body": self.body, "more_body": False}

        async def send(message: Message) -> None:
            nonlocal status, headers, body
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = tuple((k, v) for k, v in message.get("headers", ()) if k.lower() != b"content-length")
            else:
                body += message.get("body", b"")

        await self._app(self._scope, receive, send)
        return Reply(status, body, headers)

    async def answer(self, reply: Reply) -> Outcome:
        """Send a whole reply."""
        if self._departure is not None and self._departure.done():
            return "lost"
        await _send_whole(self._send, reply)
        return reply.status

    async def hang_up(self) -> Outcome:
        """Close the connection, no matter what was sent so far.

        ASGI has no way to do this. The ``send`` of uvicorn's two protocols is a method of an object that holds the
        transport. The server counts the request as done once it has seen the connection close, so this waits.
        """
        transport: asyncio.Transport = self._send.__self__.transport  # type: ignore[attr-defined]
        transport.close()
        await self._watch_client()
        return "lost"

    async def cut(self, reply: Reply) -> Outcome:
        """Send the head and half of the body, then close the connection."""
        await _send_head(self._send, reply)
        half = reply.body[: len(reply.body) // 2]
        await self._send({"type": "http.response.body", "body": half, "more_body": True})
        return await self.hang_up()

    async def trickle(self, reply: Reply, interval: float) -> Outcome:
        """Send the body byte by byte, then blanks, until the client leaves."""
        await self._send({"type": "http.response.start", "status": reply.status, "headers": list(reply.headers)})
        position = 0
        while await self.sleep(interval, or_client_leaves=True):
            byte = reply.body[position : position + 1] or b" "
            await self._send({"type": "http.response.body", "body": byte, "more_body": True})
            position += 1
        return await self.hang_up()

    async def sleep(self, seconds: float, *, or_client_leaves: bool = False) -> bool:
        """Wait.

        :return: whether the time is up; false when the server stops, or the client left and that counts.
        """
        stop: asyncio.Future[Any] = asyncio.ensure_future(self._stopping.wait())
        departure = self._watch_client()
        ends = {stop, departure} if or_client_leaves else {stop}
        try:
            done, _ = await asyncio.wait(ends, timeout=seconds, return_when=FIRST_COMPLETED)
        finally:
            stop.cancel()
        return not done

    def finish(self) -> None:
        """Stop watching the client."""
        if self._departure is not None:
            self._departure.cancel()

    def _watch_client(self) -> asyncio.Task[None]:
        if self._departure is None:
            self._departure = asyncio.ensure_future(_client_left(self._receive))
        return self._departure


def _decoded(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[str, str]]:
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers]


async def _send_whole(send: Send, reply: Reply) -> None:
    await _send_head(send, reply)
    await send({"type": "http.response.body", "body": reply.body})


async def _send_head(send: Send, reply: Reply) -> None:
    length = (b"content-length", str(len(reply.body)).encode())
    headers = [*reply.headers] if reply.status in (204, 304) else [*reply.headers, length]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})


async def _client_left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
