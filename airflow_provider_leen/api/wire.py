"""One request to Leen over the network, and its reply: the only module that uses httpx."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import httpx

from airflow_provider_leen import __version__
from airflow_provider_leen.api.content import address
from airflow_provider_leen.api.errors import LeenConfigError, LeenConnectError, LeenError, LeenOutcomeUnknownError
from airflow_provider_leen.api.replies import Reply, UnreadableReplyError, read_body, safe_from
from airflow_provider_leen.api.request_log import unlogged
from airflow_provider_leen.api.retry import error_from_reply
from airflow_provider_leen.api.settings import LeenSettings

_NOTHING_SENT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
    httpx.LocalProtocolError,
    httpx.InvalidURL,
)
_PIECE = 64 * 1024
_DROP_ON_CLOSE, _KEEP_ON_CLOSE = (struct.pack("ii", drop, 0) for drop in (1, 0))
_ACKNOWLEDGED_WITHIN = getattr(socket, "TCP_USER_TIMEOUT", None)  # Linux


class Wire:
    """Makes calls to Leen, each once, without retries; the error says what happened.

    :param settings: where Leen is and how patient to be.
    :param transport: replaces the network in tests.
    """

    def __init__(self, settings: LeenSettings, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self.safe = safe_from(settings.api_key)
        """Removes the API key from a text."""
        self._settings = settings
        self._transport = transport
        self._http: httpx.AsyncClient | None = None

    def open(self) -> None:
        """Load the certificates now instead of at the first call: this reads files, which would block an event loop."""
        self._client()

    async def close(self) -> None:
        """Close the connections; it can be used again afterwards."""
        if self._http is not None:
            await self._http.aclose()
            self._http = None

    async def send(
        self,
        method: str,
        path: str,
        *,
        content: bytes | None = None,
        params: Mapping[str, Any] | None = None,
        leaves_by: float | None = None,
    ) -> Reply:
        """Send a request once and return its reply if it is a success; otherwise raise.

        :param leaves_by: seconds since the epoch; long after this time nothing is sent any more.
        """
        settings = self._settings
        call = f"{method} {path}"
        failure: LeenError
        departure = _Departure(settings, leaves_by)
        try:
            async with departure.deadline:
                with unlogged(self.safe):
                    reply = await self._fetch(method, path, content, params, departure)
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, UnreadableReplyError) as error:
            reason = self.safe(_reason(error))
            if isinstance(error, _NOTHING_SENT) or departure.is_at_proxy:
                failure = LeenConnectError(
                    f"Leen could not be reached at {settings.base_url} ({reason}), so nothing was sent. "
                    "Check the network, the proxy and the Base URL of the Airflow connection."
                )
            else:
                if isinstance(error, httpx.TimeoutException | TimeoutError):
                    reason = f"no complete reply within {settings.timeout:g} s"
                failure = _lost_reply(method, call, reason)
        else:
            if 200 <= reply.status < 300:
                return reply
            failure = error_from_reply(call, reply, datetime.now(UTC))
        # Raised outside of the except block: a chained httpx error would carry the request with its headers.
        raise failure

    async def _fetch(
        self,
        method: str,
        path: str,
        content: bytes | None,
        params: Mapping[str, Any] | None,
        departure: _Departure,
    ) -> Reply:
        request = self._client().stream(
            method,
            address(self._settings.base_url, path),
            content=None if content is None else departure.pieces(content),
            headers=None if content is None else {"Content-Length": str(len(content))},
            params=params,
            extensions={"trace": departure.trace},
        )
        async with request as response:
            # httpx would unpack the body without a limit: read the raw bytes.
            body = await read_body(
                cast(httpx.AsyncByteStream, response.stream), response.headers.get("content-encoding", "")
            )
            departure.arrived()
            return Reply.of(response.status_code, response.headers, body, self.safe)

    def _client(self) -> httpx.AsyncClient:
        if self._http is None:
            try:
                self._http = self._new_client()
            except (OSError, ValueError, ImportError, httpx.InvalidURL) as error:
                # Not its text: it may quote the proxy's URL with a password.
                reason = type(error).__name__
            else:
                return self._http
            raise LeenConfigError(
                f"TLS or the proxy can't be set up ({reason}): check 'Verify TLS' (the path must hold certificates in "
                "PEM form) and 'Proxy' of the Airflow connection, and SSL_CERT_FILE, SSL_CERT_DIR, HTTPS_PROXY and "
                "ALL_PROXY in the worker's environment; a SOCKS proxy needs the package socksio."
            )
        return self._http

    def _new_client(self) -> httpx.AsyncClient:
        settings = self._settings
        encrypted = settings.base_url.startswith("https:")
        return httpx.AsyncClient(
            headers={
                # A new connection for each call. On a reused one, a server that once answers twice shifts all later
                # replies by one call, and a server that is about to close it loses a call that it may have read.
                "Connection": "close",
                "X-API-KEY": settings.api_key,
                "X-CONNECTION-ID": settings.connection_id,
                "User-Agent": f"airflow-provider-leen/{__version__}",
                "Accept": "application/json",
                "Accept-Encoding": "identity",
                "Content-Type": "application/json",
            },
            timeout=httpx.Timeout(settings.timeout, connect=settings.connect_timeout, pool=settings.connect_timeout),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=0),
            verify=_tls(settings.verify) if encrypted else False,
            # Plain http is loopback: it never goes through a proxy, not even one from the environment.
            proxy=settings.proxy if encrypted else None,
            trust_env=encrypted,
            transport=self._transport,
        )


class _Departure:
    """Tracks whether a request has left, since a timeout means different things before and after.

    httpx's own timeout is for one read, so a trickling reply would never time out; this deadline is for the whole
    reply, from the moment the request leaves. A proxy's CONNECT is not yet the request.

    A process that was suspended while it connected, or whose machine slept, must not send the request any more: another
    try may have taken over, and counts on it. So nothing may stay behind in this machine's buffers, either, when the
    call ends early or the process is killed: a server that stalled would get it later.

    :param leaves_by: when it leaves at the latest, but for the time that it takes to connect.
    """

    def __init__(self, settings: LeenSettings, leaves_by: float | None) -> None:
        self.deadline = asyncio.timeout(None)
        self.is_at_proxy = False
        self._settings = settings
        self._socket: socket.socket | None = None
        monotonic, clock = _clocks()
        # It may have been suspended before this, right after it had looked at the clock.
        self._began = monotonic, clock if leaves_by is None else min(clock, leaves_by)

    async def trace(self, event: str, info: dict[str, Any]) -> None:
        if event.endswith("connect_tcp.complete"):
            self._leave_nothing_behind(info["return_value"].get_extra_info("socket"))
        elif event.endswith("send_request_headers.started"):
            self.is_at_proxy = info["request"].method == b"CONNECT"
            self._be_in_time(httpx.ConnectTimeout)
            seconds = self._settings.connect_timeout if self.is_at_proxy else self._settings.timeout
            self.deadline.reschedule(asyncio.get_running_loop().time() + seconds)

    async def pieces(self, content: bytes) -> AsyncIterator[bytes]:
        """Yield the body; a long one may be stopped between two pieces, too."""
        for start in range(0, len(content), _PIECE):
            self._be_in_time(httpx.WriteTimeout)
            yield content[start : start + _PIECE]

    def arrived(self) -> None:
        """The reply is complete: the connection can be closed in order."""
        if self._socket is not None:
            with suppress(OSError):  # the server may have reset it behind its reply
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _KEEP_ON_CLOSE)

    def _leave_nothing_behind(self, connection: socket.socket) -> None:
        self._socket = connection
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _DROP_ON_CLOSE)
        if _ACKNOWLEDGED_WITHIN is not None:
            with suppress(OSError):  # some sandboxes of containers lack it
                milliseconds = max(1, int(self._settings.timeout * 1000))
                connection.setsockopt(socket.IPPROTO_TCP, _ACKNOWLEDGED_WITHIN, milliseconds)

    def _be_in_time(self, refusal: type[httpx.TimeoutException]) -> None:
        late = max(now - began for now, began in zip(_clocks(), self._began, strict=True))
        if late > self._settings.timeout + self._settings.connect_timeout:
            raise refusal(f"about to leave only after {late:.0f} s")


def _clocks() -> tuple[float, float]:
    """Return two clocks: a monotonic one, and one that keeps running while the machine sleeps."""
    return time.monotonic(), time.time()


def _tls(verify: bool | str) -> ssl.SSLContext | bool:
    if isinstance(verify, bool):
        return verify
    folder = Path(verify).is_dir()
    return ssl.create_default_context(cafile=None if folder else verify, capath=verify if folder else None)


def _lost_reply(method: str, call: str, reason: str) -> LeenError:
    if method == "GET":
        return LeenConnectError(f"Leen did not answer {call} ({reason}); nothing was changed.")
    return LeenOutcomeUnknownError(f"{call} was sent, but its reply was lost ({reason}).")


def _reason(error: Exception) -> str:
    text = str(error).rstrip(".")
    if isinstance(error, UnreadableReplyError):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
