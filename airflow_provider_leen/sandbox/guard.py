"""Protects the sandbox from pages of other sites: refuses their requests before other code sees them.

Any page in a browser on the same machine can send requests to loopback. A page that resolves its own name to loopback
(DNS rebinding) is recognised by the Host header, a form or a ``no-cors`` call by Origin and Sec-Fetch-Site. The control
routes require a header that a page can only send after a preflight request, which is never allowed.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterable
from urllib.parse import urlsplit

CONTROL_HEADERS = {"X-Leen-Sandbox": "1"}
"""The header that each call of a control route needs."""

_HOST = re.compile(r"(?:\[([0-9a-f:.]+)\]|([^\s:/@\[\]]+))(?::\d*)?", re.IGNORECASE)


def refusal(path: str, headers: Iterable[tuple[str, str]], listens_on: str) -> str | None:
    """Return why a request is refused, None if it is not.

    :param path: the path of the request.
    :param headers: the request's, with names in lower case.
    :param listens_on: the address on which the sandbox listens.
    """
    headers = list(headers)
    hosts = [value for name, value in headers if name == "host"]
    given = dict(headers)
    if len(hosts) != 1 or not answers_to(hosts[0], listens_on):
        return (
            f"The sandbox answers only to 127.0.0.1, localhost and its --host, not to "
            f"{', '.join(hosts)[:200] or 'no Host header'}."
        )
    origin = given.get("origin")
    is_page = path == "/"
    if (origin is not None and _netloc(origin) != hosts[0].lower()) or (
        given.get("sec-fetch-site") in ("cross-site", "same-site") and not is_page
    ):
        return "The sandbox refuses calls from pages of other sites."
    if path.startswith("/_sandbox") and not all(given.get(name.lower()) for name in CONTROL_HEADERS):
        return "The sandbox's control routes need the header X-Leen-Sandbox: 1."
    return None


def answers_to(host: str, listens_on: str) -> bool:
    """Return whether a Host header names this sandbox: loopback, or the address on which it listens.

    If it listens on every address, any address and any name without a dot is accepted: foreign pages have no such name.

    :param host: the header, with or without a port.
    :param listens_on: the address on which the sandbox listens.
    """
    match = _HOST.fullmatch(host)
    if match is None:
        return False
    name = (match[1] or match[2]).lower().removesuffix(".")
    address = _address(name)
    if name in ("localhost", listens_on.lower()) or (address is not None and address.is_loopback):
        return True
    everywhere = _address(listens_on)
    if everywhere is None or not everywhere.is_unspecified:
        return False
    return address is not None or "." not in name or name == socket.gethostname().lower()


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _netloc(origin: str) -> str:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""
