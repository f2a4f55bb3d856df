"""How to reach Leen and how long to wait, read and checked once from the fields of a connection."""

from __future__ import annotations

import ipaddress
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from airflow_provider_leen.api.errors import LeenConfigError
from airflow_provider_leen.api.text import one_line, shorten

__all__ = ["LeenSettings"]

REGIONS: Mapping[str, str] = {
    "us": "https://api.leen.dev/v1",
    "eu-c1": "https://api.eu-c1.leen.dev/v1",
    "ap-se2": "https://api.ap-se2.leen.dev/v1",
}
"""The three servers that Leen's OpenAPI document names, by region code."""

SANDBOX_API_KEY = "sandbox-key"
"""The sandbox's key: not a secret, so it may be sent over an unencrypted network."""

CONNECT_TIMEOUT = 10.0
"""Seconds to establish a connection; at most the timeout of a whole reply."""

EXTRAS = (
    "region",
    "timeout",
    "max_retries",
    "max_retry_wait",
    "settle_time",
    "verify",
    "proxy",
    "ticket_url",
    "search_url",
)
"""The fields that a connection's extra may have."""

_TRUE = {"true", "yes", "on", "1"}
_FALSE = {"false", "no", "off", "0"}


@dataclass(frozen=True, kw_only=True)
class LeenSettings:
    """What a client needs to know. Its repr shows neither the API key nor the proxy.

    ::

        settings = LeenSettings(
            base_url="https://api.leen.dev/v1",
            api_key="your-api-key",
            connection_id="7f2c1e0a-0000-4000-8000-000000000000",
        )

    :param base_url: where the API is, ``/v1`` included, without a trailing slash.
    :param api_key: sent as ``X-API-KEY``.
    :param connection_id: sent as ``X-CONNECTION-ID``.
    :param timeout: seconds in which a whole reply must have come, default 120.
    :param max_retries: tries after the first for one HTTP call, default 3.
    :param max_retry_wait: the longest single wait in seconds, default 120.
    :param settle_time: seconds, in addition to two calls and the difference of clocks, after which an empty search of
        the vendor counts as proof, default 120.
    :param verify: whether TLS certificates are checked, or the path of a CA bundle, default True.
    :param proxy: a proxy's URL, default none.
    :param ticket_url: where a person sees a ticket, with ``{vendor_ticket_id}`` in it.
    :param search_url: where a person sees many tickets, with ``{vendor_ticket_ids}`` in it.
    :raises LeenConfigError: the API key has a character that a header can't carry; the key is not quoted.
    """

    base_url: str
    api_key: str = field(repr=False)
    connection_id: str
    timeout: float = 120.0
    max_retries: int = 3
    max_retry_wait: float = 120.0
    settle_time: float = 120.0
    verify: bool | str = True
    proxy: str | None = field(default=None, repr=False)
    ticket_url: str | None = None
    search_url: str | None = None

    def __post_init__(self) -> None:
        # A header that can't be sent ends up in httpx's exception, with its text.
        if not _header_value(self.api_key):
            raise LeenConfigError(
                "The API key contains a character that no Leen key has (a line break, an umlaut, …): copy it again into"
                " the field 'API key' (password) of the Airflow connection."
            )

    @property
    def connect_timeout(self) -> float:
        """Seconds to establish a connection."""
        return min(CONNECT_TIMEOUT, self.timeout)


def read_settings(
    *,
    host: str | None,
    login: str | None,
    password: str | None,
    extra: Mapping[str, Any] | None = None,
    connection_id: str | None = None,
    timeout: float | None = None,
    max_retries: int | None = None,
) -> LeenSettings:
    """Read the fields of a connection; an argument overrides the extra, and an empty text is the same as absent.

    :param host: the Base URL field.
    :param login: the Leen connection ID field.
    :param password: the API key field.
    :param extra: the connection's extra as a mapping.
    :param connection_id: a Leen connection ID that overrides the login.
    :param timeout: seconds, overrides the extra of that name.
    :param max_retries: a count, overrides the extra of that name.
    :raises LeenConfigError: a field can't be used; the message names it and never quotes the key.
    """
    given = _present(extra or {}) | _present({"timeout": timeout, "max_retries": max_retries})
    api_key = _api_key(password)
    base_url = _base_url(host, given.get("region"), api_key)
    return LeenSettings(
        base_url=base_url,
        api_key=api_key,
        connection_id=_connection_id(connection_id, login),
        timeout=_seconds("Timeout (s)", given.get("timeout"), default=120.0, above_zero=True),
        max_retries=_count("Max retries", given.get("max_retries"), default=3),
        max_retry_wait=_seconds("Max retry wait (s)", given.get("max_retry_wait"), default=120.0),
        settle_time=_seconds("Settle time (s)", given.get("settle_time"), default=120.0),
        verify=_verify(given.get("verify")),
        proxy=_proxy(given.get("proxy")),
        ticket_url=_template("Ticket URL", given.get("ticket_url"), "{vendor_ticket_id}"),
        search_url=_template("Search URL", given.get("search_url"), "{vendor_ticket_ids}"),
    )


def connection_url(host: str | None, port: int | None, schema: str | None) -> str | None:
    """Build the Base URL from Airflow's fields: in a connection given as a URI, it is split into several fields.

    :param host: an address, with or without its scheme and path.
    :param port: a port that is not part of the host.
    :param schema: the path, as of a URI; or ``https`` or ``http``, as of Airflow's HTTP connections.
    :return: the URL, not checked any further; None if there is no host.
    :raises LeenConfigError: schema and host contradict each other.
    """
    host, path = (host or "").strip(), (schema or "").strip().strip("/")
    told = path.lower().rstrip(":")
    scheme, _, rest = host.rpartition("://")
    if told in ("http", "https"):
        path = ""
        if told != (scheme.lower() or (told if host else "https")):
            # The host is not quoted: it may hold a password.
            says = f"the Base URL (host) begins with {scheme}://" if host else "Leen's own servers accept only https"
            raise LeenConfigError(
                f"The field 'schema' of the Airflow connection is {schema!r}, but {says}: empty 'schema'."
            )
        scheme = told
    if not host:
        return None
    place, slash, rest = rest.partition("/")
    if port and not place.endswith(f":{port}"):
        place = f"{place}:{port}"
    url = f"{scheme or 'https'}://{place}{slash}{rest}"
    return f"{url.rstrip('/')}/{path}" if path else url


def unknown_extras(extra: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each unknown field of a connection's extra; values are not quoted.

    :param extra: the connection's extra as a mapping.
    """
    return [_unknown_extra(str(name)) for name in extra if name not in EXTRAS]


def _unknown_extra(name: str) -> str:
    import difflib  # seldom needed

    near = difflib.get_close_matches(name.lower().replace("-", "_"), EXTRAS, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(EXTRAS)}."
    return f"the extra {one_line(name, 80)!r} is unknown and ignored: {hint}"


def _present(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if not _is_absent(value)}


def _is_absent(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def _header_value(text: str) -> bool:
    return text.isascii() and text.isprintable()


def _api_key(password: str | None) -> str:
    key = (password or "").strip()
    if not key:
        raise LeenConfigError("The API key is missing: fill the field 'API key' (password) of the Airflow connection.")
    return key


def _connection_id(argument: str | None, login: str | None) -> str:
    given = (argument or "").strip()
    chosen = given or (login or "").strip()
    if not chosen:
        raise LeenConfigError(
            "The Leen connection ID is missing: fill the field 'Leen connection ID' (login) of the Airflow connection, "
            "or pass `connection_id`."
        )
    if not _header_value(chosen) or " " in chosen:
        # A login is not quoted: the API key may have been entered into the wrong field.
        which = f"connection_id {_excerpt(given)}" if given else "field 'Leen connection ID' (login)"
        raise LeenConfigError(f"The {which} can't be used: it must be plain ASCII without spaces, usually a UUID.")
    return chosen


def _base_url(host: str | None, region: Any, api_key: str) -> str:
    if _is_absent(host):
        code = "us" if region is None else str(region).strip().lower()
        if code not in REGIONS:
            raise LeenConfigError(
                f"The region {_excerpt(region)} is unknown: write one of {', '.join(REGIONS)}, or fill 'Base URL'."
            )
        return REGIONS[code]
    url = str(host).strip().rstrip("/")
    if any(mark in url for mark in "@?#"):
        # Checked first and not quoted: what is before the @ or after the ? may be a secret.
        raise LeenConfigError(
            "The Base URL must be an address alone, without user, password, @, ? or #: write one like "
            "https://api.leen.dev/v1; the key belongs in the field 'API key'."
        )
    scheme, hostname = _scheme_and_hostname(url)
    if scheme not in ("http", "https") or not hostname or not _header_value(url) or " " in url:
        raise LeenConfigError(
            f"The Base URL {_excerpt(host)} is not a web address: write one like https://api.leen.dev/v1, or leave it "
            "empty and choose a region."
        )
    url = scheme + url[len(scheme) :]
    if "v1" not in urlsplit(url).path.split("/"):
        raise LeenConfigError(f"The Base URL {_excerpt(host)} lacks the API's version: write {url}/v1.")
    if scheme == "http" and not _is_loopback(hostname) and api_key != SANDBOX_API_KEY:
        raise LeenConfigError(
            f"The Base URL {_excerpt(host)} would send the API key over the network in clear: write https:// instead "
            "of http://."
        )
    return url


def _scheme_and_hostname(url: str) -> tuple[str, str | None]:
    try:
        parts = urlsplit(url)
        _port = parts.port  # the range is checked only when it is read
    except ValueError:
        return "", None
    return parts.scheme, parts.hostname


def _is_loopback(hostname: str) -> bool:
    if hostname.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(hostname).is_loopback
    except ValueError:
        return False


def _seconds(label: str, value: Any, *, default: float, above_zero: bool = False) -> float:
    if value is None:
        return default
    try:
        seconds = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        seconds = math.nan
    if not math.isfinite(seconds) or seconds < 0 or (above_zero and seconds == 0):
        bound = "above 0" if above_zero else "of 0 or more"
        raise LeenConfigError(f"{label} is {_excerpt(value)}: write a number of seconds {bound}, like {default:g}.")
    return seconds


def _count(label: str, value: Any, *, default: int) -> int:
    if value is None:
        return default
    try:
        number = -1 if isinstance(value, bool) else int(str(value))
    except ValueError:
        number = -1
    if number < 0:
        raise LeenConfigError(f"{label} is {_excerpt(value)}: write a whole number of 0 or more, like {default}.")
    return number


def _verify(value: Any) -> bool | str:
    if value is None or isinstance(value, bool):
        return True if value is None else value
    text = str(value).strip()
    if text.lower() in _TRUE | _FALSE:
        return text.lower() in _TRUE
    if not os.path.exists(text):
        raise LeenConfigError(
            f"Verify TLS is {_excerpt(value)}: write true, false, or the path of a CA bundle that exists on the worker."
        )
    return text


def _proxy(value: Any) -> str | None:
    if value is None:
        return None
    text = str(value).strip()
    scheme, hostname = _scheme_and_hostname(text)
    if scheme not in ("http", "https", "socks5", "socks5h") or not hostname:
        # Not quoted: a proxy's URL may contain a password.
        raise LeenConfigError("Proxy is not a proxy's address: write a URL like http://proxy.example.com:3128.")
    return text


def _template(label: str, value: Any, placeholder: str) -> str | None:
    if value is None:
        return None
    text = str(value).strip()
    if not text.startswith(("http://", "https://")) or placeholder not in text:
        raise LeenConfigError(f"{label} is {_excerpt(value)}: write a web address with {placeholder} in it.")
    return text


def _excerpt(value: Any) -> str:
    return shorten(repr(value), 80)
