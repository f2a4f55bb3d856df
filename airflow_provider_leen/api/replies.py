"""Makes a reply safe before other code sees it: limited, unpacked, parsed once, cleaned, without the API key."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import AsyncIterable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from html.entities import html5
from math import isinf
from typing import Any, NoReturn

from airflow_provider_leen.api.text import clean, clean_json, one_line

MAX_BYTES = 32 * 1024 * 1024
"""The largest reply that is read, compressed or not."""

_HEADERS_READ = ("retry-after", "x-request-id", "location")
_MAX_QUOTED = 400
_MAX_VALUES = 300_000
"""More values keep an event loop busy for seconds; a page of 500 tickets has some 20,000."""

_SURE_TO_BE_SECRET = 8
"""A key shorter than this is removed only as a whole word: it may occur in other words."""

_STRUCK_OUT = "***"

_BACKSLASHES = r"\\++"
"""Possessive, so that a failed match doesn't backtrack."""

_INVISIBLE = r"\u00ad\u200b-\u200d\u2060\ufeff"
_ESCAPED_GAP = rf"{_BACKSLASHES}(?:[nrt]|u00ad|u200[b-d]|u2060|ufeff)"

Safe = Callable[[str], str]


class UnreadableReplyError(Exception):
    """A reply can't be read; the message says why."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply as other code sees it.

    :param status: the HTTP status.
    :param headers: those that other code needs, by lower-case names.
    :param content: the body's JSON; None if it is empty or not JSON.
    :param quote: the beginning of a body that is not JSON, on one line.
    :param problem: why the body is not JSON; None if it is, or is empty.
    """

    status: int
    headers: Mapping[str, str]
    content: Any = None
    quote: str = ""
    problem: str | None = None

    @classmethod
    def of(cls, status: int, headers: Mapping[str, str], body: bytes, safe: Safe) -> Reply:
        """Read a reply.

        :param headers: all of them, by lower-case names.
        :param body: what :func:`read_body` returned.
        :param safe: what :func:`safe_from` returned.
        """
        shown = {name: safe(headers[name]) for name in _HEADERS_READ if name in headers}
        if not body:
            return cls(status, shown)
        try:
            # JSON is UTF-8. Half surrogate pairs, which some servers still write, become U+FFFD later.
            return cls(status, shown, parse(body.decode("utf-8-sig", "surrogatepass"), safe))
        except ValueError as error:
            said = one_line(safe(body.decode("utf-8", "replace")), _MAX_QUOTED)
            return cls(status, shown, quote=said, problem=one_line(safe(str(error)), _MAX_QUOTED))


async def read_body(chunks: AsyncIterable[bytes], encoding: str) -> bytes:
    """Read a body and unpack it.

    :param chunks: the body as it came.
    :param encoding: the reply's ``Content-Encoding``: nothing, or one layer of gzip or deflate.
    :raises UnreadableReplyError: it is too large, or can't be unpacked.
    """
    layers = [name for part in encoding.lower().split(",") if (name := part.strip()) not in ("", "identity")]
    if layers not in ([], ["gzip"], ["x-gzip"], ["deflate"]):
        raise UnreadableReplyError(f"it is compressed as {one_line(encoding, 60)!r}, which was not asked for")
    unpacker = None
    body = bytearray()
    received = 0
    async for chunk in chunks:
        received += len(chunk)
        if layers and chunk:
            unpacker = unpacker or _unpacker(layers[0], chunk)
            try:
                chunk = unpacker.decompress(chunk, MAX_BYTES + 1 - len(body))
            except zlib.error as error:
                raise UnreadableReplyError(f"it can't be unpacked: {error}") from None
        body += chunk
        if max(received, len(body)) > MAX_BYTES:
            raise UnreadableReplyError(f"it is larger than {MAX_BYTES >> 20} MB")
    if unpacker is not None and (not unpacker.eof or unpacker.unused_data):
        raise UnreadableReplyError("it can't be unpacked: its end is missing, or something follows it")
    return bytes(body)


def _unpacker(layer: str, first: bytes) -> Any:
    if layer != "deflate":
        return zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    # Some servers send deflate with zlib's header, others without.
    has_header = first[0] & 0x0F == zlib.DEFLATED
    return zlib.decompressobj(wbits=zlib.MAX_WBITS if has_header else -zlib.MAX_WBITS)


def parse(text: str, safe: Safe = clean) -> Any:
    """Parse JSON strictly, with each text in it made safe.

    :raises ValueError: it is not JSON, has a name twice in one object, or holds NaN or an infinite number.
    """
    if text.count(",") > _MAX_VALUES:
        raise ValueError("it holds too many values")
    # Usually the whole text is clean, and so is every part of it: this avoids most of the work.
    is_safe = text.isprintable() and "\\" not in text and safe(text) == text
    hook = _object if is_safe else partial(_safe_object, safe)
    try:
        content = json.loads(text, object_pairs_hook=hook, parse_constant=_refuse_constant, parse_float=_float)
        return content if is_safe and _is_flat(content) else clean_json(content, safe)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _is_flat(content: Any) -> bool:
    """Return whether a value has at most ten levels, as almost every reply has."""
    level = [content]
    for _ in range(10):
        below: list[Any] = []
        for part in level:
            if isinstance(part, dict | list):
                below += part.values() if isinstance(part, dict) else part
        level = below
    return not level


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        raise ValueError("an object in it has a name twice")
    return content


def _safe_object(safe: Safe, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # Cleaned before they are compared: two names that differ only in a control character become one.
    return _object([(safe(name), value) for name, value in pairs])


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"it holds {name}")


def _float(text: str) -> float:
    value = float(text)
    if isinf(value):
        raise ValueError("it holds a number that is too large")
    return value


def safe_from(secret: str) -> Safe:
    """Return a function that cleans a text and removes a secret from it.

    The secret is found as it is, with some of its characters escaped as in JSON, Python, a URL or HTML, and broken over
    lines or by invisible characters.
    """
    once = re.sub(r"\\+", r"\\", secret)
    pattern = _form(once[0]).replace(_BACKSLASHES, rf"(?<!\\){_BACKSLASHES}")
    pattern += "".join(_gap_before(other) + _form(other) for other in once[1:])
    if len(secret) < _SURE_TO_BE_SECRET:
        pattern = rf"(?<!\w){pattern}(?!\w)"
    found = re.compile(pattern)
    # Cleaned first: a control character inside the secret would hide it.
    return lambda text: found.sub(_STRUCK_OUT, clean(text))


def _gap_before(character: str) -> str:
    """Match what a server puts into a key that it breaks over lines, or where it may be broken; some is invisible.

    It begins with nothing that the character begins with: two ways to match a text could take for ever.
    """
    if character == "\\":
        return rf"(?:[\s{_INVISIBLE}]|{_ESCAPED_GAP}(?=[\s{_INVISIBLE}]*\\)){{0,9}}+"
    blanks = "" if character.isspace() else r"\s"
    return rf"(?:[{blanks}{_INVISIBLE}]|{_ESCAPED_GAP}){{0,9}}+"


def _form(character: str) -> str:
    """Match a character of a key as it is, or escaped; of backslashes, a whole run: escaping doubles them."""
    code = ord(character)
    url = "".join(f"%(?:25)*{byte:02x}" for byte in character.encode())
    escapes = rf"(?i:u{code:04x}|x{code:02x})|{code:03o}"
    if character not in "nrt\\":  # behind a backslash, the letters are line breaks and tabs
        escapes = f"{re.escape(character)}|{escapes}"
    encoded = [
        f"(?i:{url})",
        rf"&#(?:0*{code}|(?i:x0*{code:x}));",
        *(re.escape(f"&{name}") for name, meaning in html5.items() if meaning == character),
    ]
    if character == "\\":
        return rf"(?:(?:{_BACKSLASHES}(?:{escapes}))++|{_BACKSLASHES}|(?:{'|'.join(encoded)})++)"
    return f"(?:{'|'.join([re.escape(character), rf'{_BACKSLASHES}(?:{escapes})', *encoded])})"
