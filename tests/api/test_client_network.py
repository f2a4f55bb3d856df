"""The client on bad networks: what was sent, what is known, when a call ends, and where the key never shows."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from airflow_provider_leen.api import wire
from airflow_provider_leen.api.errors import (
    LeenConfigError,
    LeenConnectError,
    LeenError,
    LeenOutcomeUnknownError,
    LeenServerError,
)
from airflow_provider_leen.api.settings import LeenSettings
from airflow_provider_leen.api.sync_client import LeenClient
from airflow_provider_leen.sandbox.server import SandboxServer
from tests.api.wire import OK, RawServer, answering, make_certificate, reply, tunnel

KEY = "lk_live_f00d"
TICKET = {"name": "SQL built from strings", "project_vendor_id": "SEC", "type": "Task"}
LONG = TICKET | {"description": "x" * 100_000}

Connect = Callable[..., LeenClient]
Serve = Callable[[RawServer, socket.socket], None]


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Makes a client of a server on this machine: ``connect(server, timeout=1.0)``."""
    clients: list[LeenClient] = []

    def make(server: RawServer | str, **changes: Any) -> LeenClient:
        base_url = server if isinstance(server, str) else f"http://127.0.0.1:{server.port}/v1"
        given = {"timeout": 60.0, "max_retries": 2, "max_retry_wait": 0.01} | changes
        clients.append(LeenClient(LeenSettings(base_url=base_url, api_key=KEY, connection_id="c-1", **given)))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="session")
def tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


def read(client: LeenClient) -> Any:
    return list(client.iter_projects())


def write(client: LeenClient) -> Any:
    return client.bulk_create_tickets([TICKET])


def write_long(client: LeenClient) -> Any:
    return client.bulk_create_tickets([LONG])


def failure_of(call: Callable[[LeenClient], Any], client: LeenClient) -> LeenError:
    with pytest.raises(LeenError) as caught:
        call(client)
    return caught.value


# Servers that misbehave


def hang_up(server: RawServer, connection: socket.socket) -> None:
    """Closes the connection before the request is read."""
    server.requests.append(b"")


def swallow(server: RawServer, connection: socket.socket) -> None:
    """Closes the connection after the request was read."""
    server.read(connection)


def stall(server: RawServer, connection: socket.socket) -> None:
    server.read(connection)
    server.ending.wait()


def half_a_reply(server: RawServer, connection: socket.socket) -> None:
    server.read(connection)
    connection.sendall(OK[:-5])


def no_http(server: RawServer, connection: socket.socket) -> None:
    server.read(connection)
    connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")


def bad_gzip(server: RawServer, connection: socket.socket) -> None:
    server.read(connection)
    connection.sendall(reply(b"no gzip", b"content-encoding: gzip"))


def slow_head(server: RawServer, connection: socket.socket) -> None:
    server.read(connection)
    server.trickle(connection, b"HTTP/1.1 200 OK\r\nx-filler: " + b"x" * 200)


def slow_body(server: RawServer, connection: socket.socket) -> None:
    server.read(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 200\r\n\r\n")
    server.trickle(connection, b" " * 200)


LOSING = [hang_up, swallow, half_a_reply, no_http, bad_gzip]


@pytest.mark.parametrize("serve", LOSING)
def test_a_write_whose_reply_is_lost_is_not_sent_again(connect: Connect, serve: Serve) -> None:
    with RawServer(serve) as server:
        error = failure_of(write, connect(server))
    assert isinstance(error, LeenOutcomeUnknownError)
    assert error.identifiers == [TICKET["name"]]
    assert "was sent, but its reply was lost" in str(error)
    assert len(server.requests) == 1


@pytest.mark.parametrize("serve", LOSING)
def test_a_read_whose_reply_is_lost_is_sent_again(connect: Connect, serve: Serve) -> None:
    with RawServer(serve) as server:
        error = failure_of(read, connect(server))
    assert isinstance(error, LeenConnectError)
    assert "nothing was changed" in str(error)
    assert len(server.requests) == 3


@pytest.mark.parametrize(("serve", "call"), [(stall, read), (stall, write), (slow_head, write), (slow_body, write)])
def test_a_call_ends_after_its_timeout_however_the_reply_trickles(
    connect: Connect, serve: Serve, call: Callable[[LeenClient], Any]
) -> None:
    with RawServer(serve) as server:
        error = failure_of(call, connect(server, timeout=1.0, max_retries=0))
    # The whole trickle would take six seconds.
    assert "no complete reply within 1 s" in str(error)
    assert type(error) is (LeenConnectError if call is read else LeenOutcomeUnknownError)


def test_a_reply_that_trickles_and_ends_in_time_is_whole(connect: Connect) -> None:
    def serve(server: RawServer, connection: socket.socket) -> None:
        server.read(connection)
        connection.sendall(OK[:-8])
        server.trickle(connection, OK[-8:])

    with RawServer(serve) as server:
        assert read(connect(server)) == []


@pytest.mark.parametrize("call", [read, write])
def test_a_refused_connection_means_that_nothing_was_sent(connect: Connect, call: Callable[[LeenClient], Any]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    error = failure_of(call, connect(f"http://127.0.0.1:{port}/v1"))
    assert type(error) is LeenConnectError
    assert f"could not be reached at http://127.0.0.1:{port}/v1" in str(error)
    assert "nothing was sent" in str(error)


def test_an_address_that_is_too_long_is_not_sent(connect: Connect) -> None:
    with RawServer(answering(OK)) as server:
        error = failure_of(lambda client: client.update_ticket("x" * 70_000, status="CLOSED"), connect(server))
    assert type(error) is LeenConnectError
    assert server.connections == 0


@pytest.mark.parametrize(
    ("raised", "kind"),
    [
        (httpx.ConnectTimeout, LeenConnectError),
        (httpx.PoolTimeout, LeenConnectError),
        (httpx.LocalProtocolError, LeenConnectError),
        (httpx.UnsupportedProtocol, LeenConnectError),
        (httpx.WriteError, LeenOutcomeUnknownError),
        (httpx.WriteTimeout, LeenOutcomeUnknownError),
        (httpx.CloseError, LeenOutcomeUnknownError),
    ],
)
def test_what_cant_be_provoked_is_sorted_by_whether_something_was_sent(
    raised: type[httpx.TransportError], kind: type[LeenError]
) -> None:
    attempts = 0

    def fail(request: httpx.Request) -> httpx.Response:
        nonlocal attempts
        attempts += 1
        raise raised("", request=request)

    settings = LeenSettings(base_url="https://leen.test/v1", api_key=KEY, connection_id="c", max_retry_wait=0.01)
    with LeenClient(settings, transport=httpx.MockTransport(fail)) as client:
        assert type(failure_of(write, client)) is kind
    assert attempts == (4 if kind is LeenConnectError else 1)


REFUSAL = b'{"type": "invalid", "code": "invalid", "message": "no", "detail": []}'


@pytest.mark.parametrize(
    "first",
    [
        reply(REFUSAL, status=b"422 Unprocessable Entity"),
        reply(REFUSAL, status=b"404 Not Found"),
        reply(REFUSAL, status=b"401 Unauthorized"),
        reply(b"", status=b"204 No Content") + OK,
        OK,
    ],
    ids=["422", "404", "401", "204 with a body", "200"],
)
@pytest.mark.parametrize("pause", [0.0, 0.05], ids=["at once", "late"])
def test_the_rest_of_a_reply_is_never_taken_for_the_reply_to_the_next_call(
    connect: Connect, first: bytes, pause: float
) -> None:
    def serve(server: RawServer, connection: socket.socket) -> None:
        while server.read(connection):
            if len(server.requests) > 1:
                connection.sendall(OK)
            elif pause:
                connection.sendall(first)
                time.sleep(pause)
                connection.sendall(first)
            else:
                connection.sendall(first + first)

    with RawServer(serve) as server:
        client = connect(server)
        with suppress(LeenError):
            write(client)
        assert read(client) == []
        assert server.connections == len(server.requests) == 2


def test_many_calls_can_be_under_way_at_once(connect: Connect, sandbox: SandboxServer) -> None:
    sandbox.inject("latency", until=lambda: sandbox.count() >= 110)
    client = connect(sandbox.base_url)

    async def send_all() -> None:
        await asyncio.gather(*(client.aio.send_bulk_create([TICKET]) for _ in range(110)), return_exceptions=True)

    client.run(send_all())
    assert sandbox.peak_in_flight == 110


# Redirects


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_refused_and_the_key_goes_nowhere_else(connect: Connect, status: int) -> None:
    with RawServer(answering(OK)) as elsewhere:
        location = f"location: http://127.0.0.1:{elsewhere.port}/v1?a=b".encode()
        with RawServer(answering(reply(b"", location, status=b"%d Moved" % status))) as server:
            client = connect(server)
            for call in (read, write):
                error = failure_of(call, client)
                assert type(error) is LeenConfigError
                assert f"it points to http://127.0.0.1:{elsewhere.port}/v1)" in str(error)
            assert len(server.requests) == 2
        assert elsewhere.connections == 0


# TLS


def https(server: RawServer) -> str:
    return f"https://127.0.0.1:{server.port}/v1"


def test_an_unknown_certificate_is_refused_before_anything_is_sent(connect: Connect, tls: ssl.SSLContext) -> None:
    with RawServer(answering(OK), tls=tls) as server:
        error = failure_of(write, connect(https(server), max_retries=0))
    assert type(error) is LeenConnectError
    assert "CERTIFICATE_VERIFY_FAILED" in str(error)
    assert server.requests == []


def test_a_ca_bundle_may_be_a_folder_and_an_empty_one_trusts_no_server(
    connect: Connect, tls: ssl.SSLContext, tmp_path: Path
) -> None:
    with RawServer(answering(OK), tls=tls) as server:
        assert "CERTIFICATE_VERIFY_FAILED" in str(failure_of(read, connect(https(server), verify=str(tmp_path))))


def test_a_certificate_for_another_name_is_refused(connect: Connect, tls: ssl.SSLContext, certificate: Path) -> None:
    with RawServer(answering(OK), tls=tls) as server:
        error = failure_of(write, connect(f"https://localhost:{server.port}/v1", verify=str(certificate)))
    assert type(error) is LeenConnectError
    assert server.requests == []


def test_any_certificate_is_taken_when_verify_is_false(connect: Connect, tls: ssl.SSLContext) -> None:
    with RawServer(answering(OK), tls=tls) as server:
        assert read(connect(https(server), verify=False)) == []


def test_a_bundle_without_certificates_is_a_configuration_error(connect: Connect, tmp_path: Path) -> None:
    bundle = tmp_path / "ca.pem"
    bundle.write_text("no certificate")
    for verify in (str(bundle), str(tmp_path / "gone.pem")):
        error = failure_of(write, connect("https://127.0.0.1:1/v1", verify=verify))
        assert type(error) is LeenConfigError
        assert "'Verify TLS'" in str(error)


# Proxies and the environment


def refuse_tunnel(server: RawServer, connection: socket.socket) -> None:
    server.read(connection)
    connection.sendall(reply(b"no", status=b"403 Forbidden"))


def slow_tunnel(server: RawServer, connection: socket.socket) -> None:
    server.read(connection)
    server.trickle(connection, b"HTTP/1.1 200 OK\r\nx-filler: " + b"x" * 200)


@pytest.mark.parametrize("serve", [refuse_tunnel, swallow, no_http, hang_up])
@pytest.mark.parametrize("call", [read, write])
def test_a_proxy_that_opens_no_tunnel_means_that_nothing_was_sent(
    connect: Connect, serve: Serve, call: Callable[[LeenClient], Any]
) -> None:
    with RawServer(serve) as proxy:
        error = failure_of(call, connect("https://leen.invalid/v1", proxy=f"http://127.0.0.1:{proxy.port}"))
    assert type(error) is LeenConnectError
    assert "nothing was sent" in str(error)
    assert len(proxy.requests) == 3
    assert all(KEY.encode() not in request for request in proxy.requests)


@pytest.mark.parametrize("serve", [stall, slow_tunnel])
def test_a_proxy_that_stalls_means_that_nothing_was_sent(connect: Connect, serve: Serve) -> None:
    with RawServer(serve) as proxy:
        address = f"http://127.0.0.1:{proxy.port}"
        error = failure_of(write, connect("https://leen.invalid/v1", proxy=address, timeout=1.0, max_retries=0))
    assert type(error) is LeenConnectError
    assert "nothing was sent" in str(error)


def test_a_refused_tunnel_says_what_the_proxy_said(connect: Connect) -> None:
    with RawServer(refuse_tunnel) as proxy:
        error = failure_of(write, connect("https://leen.invalid/v1", proxy=f"http://127.0.0.1:{proxy.port}"))
    assert "403 Forbidden" in str(error)


@pytest.mark.parametrize("by", ["settings", "environment"])
def test_https_goes_through_the_proxys_tunnel(
    connect: Connect, tls: ssl.SSLContext, certificate: Path, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    with RawServer(answering(OK), tls=tls) as server, RawServer(tunnel) as proxy:
        address = f"http://127.0.0.1:{proxy.port}"
        if by == "environment":
            monkeypatch.setenv("HTTPS_PROXY", address)
        client = connect(
            f"https://leen.test:{server.port}/v1",
            verify=str(certificate),
            proxy=address if by == "settings" else None,
        )
        assert read(client) == []
        client.close()
    assert len(proxy.requests) == 1
    assert proxy.requests[0].startswith(b"CONNECT leen.test:")
    assert len(server.requests) == 1


def test_behind_a_tunnel_a_lost_reply_is_unknown_again(
    connect: Connect, tls: ssl.SSLContext, certificate: Path
) -> None:
    with RawServer(stall, tls=tls) as server, RawServer(tunnel) as proxy:
        client = connect(
            f"https://leen.test:{server.port}/v1",
            verify=str(certificate),
            proxy=f"http://127.0.0.1:{proxy.port}",
            timeout=1.0,
        )
        error = failure_of(write, client)
        client.close()
    assert isinstance(error, LeenOutcomeUnknownError)
    assert len(server.requests) == 1


def test_plain_http_never_goes_through_a_proxy(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    with RawServer(answering(OK)) as server, RawServer(refuse_tunnel) as proxy:
        address = f"http://127.0.0.1:{proxy.port}"
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, address)
        assert read(connect(server)) == []
        assert read(connect(server, proxy=address)) == []
    assert proxy.connections == 0


@pytest.mark.parametrize(
    ("looks", "wanted"),
    [
        ([0.0, 99.0], LeenConnectError),
        ([0.0, 1.0, 99.0], LeenOutcomeUnknownError),
        ([0.0, 1.0, 1.0, 99.0], LeenOutcomeUnknownError),
    ],
    ids=["before the headers", "before the body", "in the middle of the body"],
)
def test_what_was_stopped_on_its_way_out_does_not_leave_when_another_has_taken_its_place(
    connect: Connect, monkeypatch: pytest.MonkeyPatch, looks: list[float], wanted: type[LeenError]
) -> None:
    times = iter(looks)
    monkeypatch.setattr(wire, "_clocks", lambda: (0.0, next(times)))
    with RawServer(answering(OK)) as server:
        error = failure_of(write_long, connect(server, timeout=10.0, max_retries=0))
    assert isinstance(error, wanted)
    assert "about to leave only after 99 s" in str(error) or wanted is LeenOutcomeUnknownError
    assert server.requests == []


@pytest.mark.parametrize("encrypted", [False, True])
def test_what_is_still_in_this_machines_buffers_when_a_call_ends_never_arrives(
    connect: Connect, tls: ssl.SSLContext, certificate: Path, encrypted: bool
) -> None:
    goes_on, has_read = threading.Event(), threading.Event()

    def serve(server: RawServer, connection: socket.socket) -> None:
        goes_on.wait()
        try:
            server.read(connection)
        finally:
            has_read.set()

    with RawServer(serve, tls=tls if encrypted else None, receive_buffer=4096) as server:
        address = f"{'https' if encrypted else 'http'}://127.0.0.1:{server.port}/v1"
        error = failure_of(write_long, connect(address, verify=str(certificate), timeout=1.0))
        goes_on.set()
        assert has_read.wait(60)
    assert isinstance(error, LeenOutcomeUnknownError)
    assert server.requests == []


def test_a_call_that_was_answered_closes_its_connection_in_order(connect: Connect) -> None:
    ends: list[bytes] = []
    over = threading.Event()

    def serve(server: RawServer, connection: socket.socket) -> None:
        server.read(connection)
        connection.sendall(OK)
        try:
            ends.append(connection.recv(1))
        finally:
            over.set()

    with RawServer(serve) as server:
        assert read(connect(server)) == []
        assert over.wait(60)
    assert ends == [b""]


def test_a_call_that_would_leave_too_late_is_not_sent(connect: Connect) -> None:
    with RawServer(answering(OK)) as server, connect(server, timeout=10.0) as client:
        long_ago = time.time() - 99
        with pytest.raises(LeenConnectError, match=r"about to leave only after 99 s\), so nothing was sent"):
            client.run(client.aio.send_bulk_create([TICKET], leaves_by=long_ago))
        client.run(client.aio.send_bulk_create([TICKET], leaves_by=time.time() + 10))
    assert b"".join(server.requests).count(TICKET["name"].encode()) == 1


@pytest.mark.parametrize(
    "environment",
    [
        {"HTTPS_PROXY": "ftp://me:hunter2@proxy"},
        {"ALL_PROXY": "socks5://me:hunter2@proxy"},
        {"SSL_CERT_FILE": __file__},
    ],
    ids=lambda environment: next(iter(environment)),
)
def test_an_environment_that_cant_be_used_is_a_configuration_error(
    connect: Connect, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    error = failure_of(write, connect("https://127.0.0.1:1/v1"))
    assert type(error) is LeenConfigError
    assert next(iter(environment)) in str(error)
    assert "hunter2" not in everything_shown_of(error)


def test_netrc_is_not_read(
    connect: Connect, tls: ssl.SSLContext, certificate: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password hunter2\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    with RawServer(answering(OK)) as plain, RawServer(answering(OK), tls=tls) as encrypted:
        read(connect(plain))
        read(connect(https(encrypted), verify=str(certificate)))
    for request in plain.requests + encrypted.requests:
        assert f"x-api-key: {KEY}".encode() in request.lower()
        assert b"authorization" not in request.lower()


# The key


def echo_as_error(server: RawServer, connection: socket.socket) -> None:
    connection.sendall(reply(server.read(connection), status=b"500 Oops"))


def echo_as_header(server: RawServer, connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nno header " + server.read(connection))


def echo_in_what_only_a_log_shows(server: RawServer, connection: socket.socket) -> None:
    server.read(connection)
    key = KEY.encode()
    connection.sendall(reply(b"{}", b"X-Key: " + key, status=b"500 " + key))


def echo_as_reply(server: RawServer, connection: socket.socket) -> None:
    connection.sendall(reply(server.read(connection)))


def echo_as_itself(server: RawServer, connection: socket.socket) -> None:
    connection.sendall(KEY.encode() + b" " + server.read(connection))


def everything_shown_of(error: BaseException) -> str:
    """What any handler could print of an exception, with all that hangs on it."""
    shown = traceback.format_exception(error)
    chain: list[BaseException] = [error]
    while chain:
        link = chain.pop()
        shown += [str(link), repr(link), repr(link.args), repr(vars(link))]
        assert not isinstance(link, httpx.HTTPError)
        chain += [other for other in (link.__cause__, link.__context__) if other is not None]
    return "\n".join(shown)


@pytest.mark.parametrize("call", [read, write])
@pytest.mark.parametrize(
    "serve",
    [
        echo_as_error,
        echo_as_header,
        echo_in_what_only_a_log_shows,
        echo_as_reply,
        echo_as_itself,
        swallow,
        stall,
        half_a_reply,
    ],
)
def test_the_key_is_in_no_exception_and_no_log(
    connect: Connect, caplog: pytest.LogCaptureFixture, serve: Serve, call: Callable[[LeenClient], Any]
) -> None:
    caplog.set_level(logging.DEBUG)
    with RawServer(serve) as server:
        client = connect(server, timeout=1.0 if serve is stall else 60.0, max_retries=1)
        error = failure_of(call, client)
        client.close()
    assert KEY.encode() in server.requests[0]
    assert KEY not in everything_shown_of(error)
    assert KEY not in repr(client.settings) + repr(client) + repr(client.aio)
    assert any(record.name.startswith("httpcore") for record in caplog.records)
    assert KEY not in caplog.text
    if serve is echo_in_what_only_a_log_shows:
        assert "'X-Key', b'***'" in caplog.text


def test_an_echoed_key_is_struck_out_where_the_rest_is_shown(connect: Connect) -> None:
    with RawServer(echo_as_error) as server:
        error = failure_of(write, connect(server))
    assert isinstance(error, LeenServerError)
    assert "***" in str(error)


def test_the_key_is_in_no_log_of_a_refused_connection_or_of_tls(
    connect: Connect, caplog: pytest.LogCaptureFixture, tls: ssl.SSLContext, certificate: Path
) -> None:
    caplog.set_level(logging.DEBUG)
    with RawServer(answering(OK), tls=tls) as server:
        read(connect(https(server), verify=str(certificate)))
        error = failure_of(write, connect(https(server)))
    assert KEY not in everything_shown_of(error)
    assert KEY not in caplog.text
