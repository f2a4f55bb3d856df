"""Servers on raw sockets, for what no well-behaved server does."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import re
import select
import socket
import socketserver
import ssl
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Self

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 13\r\n\r\n" + b'{"items": []}'


def reply(body: bytes, *lines: bytes, status: bytes = b"200 OK") -> bytes:
    head = [b"HTTP/1.1 " + status, b"content-length: %d" % len(body), *lines]
    return b"\r\n".join([*head, b"", body])


class RawServer:
    """Hands each connection to ``serve``, in its own thread, and closes it afterwards.

    :param serve: gets this server and the connection.
    :param tls: speak TLS with this certificate.
    :param receive_buffer: bytes that a connection takes before they are read; None for what is usual here.
    """

    def __init__(
        self,
        serve: Callable[[RawServer, socket.socket], None],
        *,
        tls: ssl.SSLContext | None = None,
        receive_buffer: int | None = None,
    ) -> None:
        self.requests: list[bytes] = []
        self.connections = 0
        self.ending = threading.Event()
        self._open: list[socket.socket] = []
        outer = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                outer.connections += 1
                outer._open.append(self.request)
                # The client leaves when it wants: that is what these servers are for.
                with contextlib.suppress(OSError):
                    if tls is None:
                        serve(outer, self.request)
                    else:
                        with tls.wrap_socket(self.request, server_side=True) as encrypted:
                            outer._open.append(encrypted)
                            serve(outer, encrypted)

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        if receive_buffer is not None:
            self._server.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self.port: int = self._server.server_address[1]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ending.set()
        self._server.shutdown()
        for connection in self._open:
            # Wakes those that wait for another request.
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._server.server_close()
        self._thread.join()

    def read(self, connection: socket.socket) -> bytes:
        """Read and keep one request, its body included; empty when the client left."""
        data = b""
        while b"\r\n\r\n" not in data:
            if not (more := connection.recv(65536)):
                return b""
            data += more
        head, _, body = data.partition(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
        while length and len(body) < int(length[1]):
            if not (more := connection.recv(65536)):
                return b""
            body += more
        request = head + b"\r\n\r\n" + body
        self.requests.append(request)
        return request

    def trickle(self, connection: socket.socket, data: bytes) -> None:
        """Send a byte each 30 ms, which no timeout of a single read notices."""
        for position in range(len(data)):
            connection.sendall(data[position : position + 1])
            if self.ending.wait(0.03):
                return


def answering(data: bytes) -> Callable[[RawServer, socket.socket], None]:
    """Answers every request of a connection with the same bytes."""

    def serve(server: RawServer, connection: socket.socket) -> None:
        while server.read(connection):
            connection.sendall(data)

    return serve


def tunnel(server: RawServer, connection: socket.socket) -> None:
    """A proxy that does what CONNECT asks for, but always leads to this machine."""
    target = server.read(connection).split()[1]
    with socket.create_connection(("127.0.0.1", int(target.rpartition(b":")[2]))) as other:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        ways = {connection: other, other: connection}
        while not server.ending.is_set():
            for ready in select.select(list(ways), [], [], 0.01)[0]:
                if not (data := ready.recv(65536)):
                    return
                ways[ready].sendall(data)


def make_certificate(folder: Path) -> Path:
    """Write a self-signed certificate of ``leen.test`` and this machine, with its key, and return its path."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "leen.test")])
    now = datetime.datetime.now(datetime.UTC)
    names: list[x509.GeneralName] = [x509.DNSName("leen.test"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    uses = x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(uses, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = folder / "leen.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    return path
