"""Replies before anything else sees them: how much is read, how it is unpacked and parsed, and that the key is gone."""

from __future__ import annotations

import asyncio
import gzip
import html
import json
import socket
import time
import zlib
from collections.abc import AsyncIterator, Callable
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from airflow_provider_leen.api import replies
from airflow_provider_leen.api.errors import LeenConnectError, LeenError, LeenOutcomeUnknownError
from airflow_provider_leen.api.replies import Reply, UnreadableReplyError, parse, read_body, safe_from
from airflow_provider_leen.api.settings import LeenSettings
from airflow_provider_leen.api.sync_client import LeenClient
from tests.api.wire import RawServer, answering, reply

KEY = 'lk_"f00d"/\\x&é'
TICKET = {"name": "SQL built from strings", "project_vendor_id": "SEC", "type": "Task"}
BODY = json.dumps({"items": [{"id": "p-1"}]}).encode()


def of(body: bytes | str, secret: str = KEY, **headers: str) -> Reply:
    raw = body if isinstance(body, bytes) else body.encode()
    return Reply.of(200, headers, raw, safe_from(secret))


# How much is read, and how it is unpacked


def unpacked(body: bytes, encoding: str, *, piece: int = 7) -> bytes:
    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(body), piece):
            yield body[start : start + piece]

    return asyncio.run(read_body(chunks(), encoding))


def gzipped(body: bytes) -> bytes:
    # Without the time, which would be in the test's name: pytest-xdist wants the same names from all workers.
    return gzip.compress(body, mtime=0)


def raw_deflate(body: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(body) + packer.flush()


@pytest.mark.parametrize("piece", [1, 7, 10_000])
@pytest.mark.parametrize(
    ("packed", "encoding"),
    [
        (BODY, ""),
        (BODY, "identity"),
        (gzipped(BODY), "gzip"),
        (gzipped(BODY), " X-GZIP , identity"),
        (zlib.compress(BODY), "deflate"),
        (raw_deflate(BODY), "Deflate"),
        (b"", "gzip"),
    ],
)
def test_one_layer_of_gzip_or_deflate_is_unpacked(packed: bytes, encoding: str, piece: int) -> None:
    assert unpacked(packed, encoding, piece=piece) == (BODY if packed else b"")


@pytest.mark.parametrize(
    ("packed", "encoding", "why"),
    [
        (gzipped(gzipped(BODY)), "gzip, gzip", "compressed as 'gzip, gzip'"),
        (gzipped(zlib.compress(BODY)), "deflate,gzip", "compressed as"),
        (BODY, "br", "compressed as 'br'"),
        (BODY, "zstd", "compressed as"),
        (BODY, "\x1b[31m", "compressed as"),
        (BODY, "gzip", "can't be unpacked"),
        (gzipped(BODY)[:-9], "gzip", "its end is missing"),
        (zlib.compress(BODY)[:-5], "deflate", "its end is missing"),
        (gzipped(BODY) + b"more", "gzip", "something follows it"),
        (gzipped(BODY) * 2, "gzip", "something follows it"),
    ],
)
def test_other_compressions_are_refused(packed: bytes, encoding: str, why: str) -> None:
    with pytest.raises(UnreadableReplyError, match=why):
        unpacked(packed, encoding)


@pytest.mark.parametrize(
    ("packed", "encoding"),
    [
        pytest.param(b"x" * 1001, "", id="as it is"),
        pytest.param(gzipped(b"x" * 1001), "gzip", id="unpacked"),
        pytest.param(gzipped(b"x" * 10_000_000), "gzip", id="a bomb"),
        pytest.param(gzipped(b"") * 60, "gzip", id="packed, of nothing"),
    ],
)
def test_a_reply_has_a_largest_size_packed_and_unpacked(
    packed: bytes, encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replies, "MAX_BYTES", 1000)
    with pytest.raises(UnreadableReplyError, match="larger than"):
        unpacked(packed, encoding)
    assert unpacked(gzipped(b"x" * 1000), "gzip") == b"x" * 1000


def test_the_limit_is_32_megabytes() -> None:
    assert replies.MAX_BYTES == 32 * 2**20


# How it is parsed


@pytest.mark.parametrize(
    ("body", "content"),
    [
        (b"", None),
        (b"null", None),
        (b'{"a": [1, 2.5, true, null, "x"]}', {"a": [1, 2.5, True, None, "x"]}),
        (b'\xef\xbb\xbf{"a": 1}', {"a": 1}),
        (b' \r\n\t{"a": 1}\n', {"a": 1}),
        ('{"a": "ünïcode \U0001f600"}'.encode(), {"a": "ünïcode \U0001f600"}),
        (b'{"a": "\\ud83d\\ude00"}', {"a": "\U0001f600"}),
        (b'{"a": "half \\ud800."}', {"a": "half \ufffd."}),
        (b'{"a": "half \xed\xa0\x80."}', {"a": "half \ufffd."}),
        (b'{"a\\u0000": "b\\u0000\\u001b[31mc\\u202e"}', {"a": "b[31mc"}),
        (b'{"a": "one\\n\\ttwo"}', {"a": "one\n\ttwo"}),
    ],
)
def test_json_is_read_and_its_texts_are_cleaned(body: bytes, content: Any) -> None:
    read = of(body)
    assert (read.content, read.problem) == (content, None)


@pytest.mark.parametrize(
    "body",
    [
        b"<html>",
        b"{'a': 1}",
        b'{"a": 1} {"a": 2}',
        b'{"a": 1',
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b'{"a": -Infinity}',
        b'{"a": 1e999}',
        b'{"a": 1, "a": 2}',
        b'{"a": 1, "a\\u0000": 2}',
        b'{"success": false, "\\u202esuccess": true}',
        b'{"a": ' + b"1" * 5000 + b"}",
        b"[" * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
        '{"a": "é"}'.encode("latin-1"),
        '{"a": 1}'.encode("utf-16"),
        gzipped(b'{"a": 1}'),
        b"[" + b"1," * 2_000_001 + b"1]",
    ],
    ids=range(18),
)
def test_what_is_no_json_or_says_two_things_is_a_problem_and_not_a_content(body: bytes) -> None:
    read = of(body)
    assert read.content is None
    assert read.problem
    assert len(read.quote) <= 400


def test_a_deep_content_is_cut_off() -> None:
    content = of("[" * 60 + "]" * 60).content
    assert str(content) == "[" * 50 + "'…'" + "]" * 50


# The key


def escaped(text: str) -> str:
    return "".join(f"\\u{ord(character):04X}" for character in text)


def in_url(text: str) -> str:
    return "".join(f"%{byte:02x}" for byte in text.encode())


def in_html(text: str) -> str:
    return "".join(f"&#{ord(character)};" for character in text)


FORMS: list[Callable[[str], str]] = [
    str,
    repr,
    ascii,
    json.dumps,
    lambda text: json.dumps(json.dumps(text)),
    escaped,
    lambda text: escaped(text).replace("\\", "\\\\"),
    lambda text: json.dumps(text).replace("/", "\\/"),
    quote,
    lambda text: quote(text, safe=""),
    lambda text: quote(quote(text)),
    in_url,
    in_html,
    html.escape,
    lambda text: text.replace("_", "&lowbar;").replace("/", "&sol;"),
    lambda text: f"{text[:5]}\r\n\t {text[5:]}",
]
HIDDEN: list[Callable[[str], str]] = ["\x00".join, lambda text: text[:4] + "\u202e" + text[4:]]
"""Forms that show the key as soon as the text is cleaned."""


@pytest.mark.parametrize("form", ["\n".join, "\u200b".join, lambda text: json.dumps("\ufeff\u00ad".join(text))])
def test_a_key_that_is_broken_after_each_character_is_removed(form: Callable[[str], str]) -> None:
    key = KEY.replace("\\", "-")
    for body in ({"error": form(key)}, {"failure_reason": json.dumps({"results": [{"error": form(key)}]})}):
        shown = repr(of(json.dumps(body), key))
        assert "***" in shown
        assert "f" not in shown.partition("***")[2]


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "key", ["leen-production-tenant-northern-3f9a", "a key with  many spaces in it", "nrtnrt\\nrtnrt"]
)
@pytest.mark.parametrize("between", ["\\{}", " ", "\\", "{}\\{}", "\u200b"])
def test_no_text_keeps_the_search_for_the_key_busy(key: str, between: str) -> None:
    text = "".join(between.format(one, one) * 10 + one for one in key[:-1]) + "@"
    assert safe_from(key)(text * 20).count("@") == 20


@pytest.mark.parametrize("key", ["back\\nslash\\\\key", "key with spaces in it"])
@pytest.mark.parametrize("form", [str, json.dumps, lambda text: json.dumps(json.dumps(text)), repr, quote])
def test_a_key_with_backslashes_or_blanks_is_removed_too(key: str, form: Callable[[str], str]) -> None:
    assert safe_from(key)(f"<{form(key)}>").strip("<>\"'\\") == "***"


@pytest.mark.parametrize("form", FORMS, ids=range(len(FORMS)))
@pytest.mark.parametrize(
    "place",
    [
        lambda text: {"error": f"the key {text} is old"},
        lambda text: {text: {"deep": [text, {text: text}]}},
        lambda text: {"failure_reason": json.dumps({"results": [{"error": text}]})},
        lambda text: {"ticket_id": text, "other": "x\n"},
    ],
    ids=["a text", "a name", "JSON text", "an id"],
)
def test_the_key_is_removed_from_json_in_any_form(form: Callable[[str], str], place: Any) -> None:
    for body in (json.dumps(place(form(KEY))), json.dumps(place(form(KEY)), ensure_ascii=False)):
        shown = repr(of(body))
        assert "f00d" not in shown
        assert "***" in shown
        assert escaped("f00d") not in shown


@pytest.mark.parametrize("form", HIDDEN)
def test_a_key_with_control_characters_in_it_is_struck_out(form: Callable[[str], str]) -> None:
    content = of(json.dumps({form(KEY): [form(KEY)]})).content
    assert content == {"***": ["***"]}


@pytest.mark.parametrize("form", FORMS + HIDDEN, ids=range(len(FORMS + HIDDEN)))
def test_the_key_is_removed_from_headers_and_from_replies_that_are_not_json(form: Callable[[str], str]) -> None:
    shown = repr(Reply.of(200, {"location": form(KEY), "other": KEY}, f"<p>{form(KEY)}".encode(), safe_from(KEY)))
    assert shown.count("***") == 2
    assert "f00d" not in shown


def test_no_half_of_the_key_is_left_at_the_end_of_a_quote() -> None:
    for length in range(380, 401):
        assert "lk_" not in of("x" * length + KEY + "y" * 100).quote


@pytest.mark.parametrize(
    "text", ["\\" * 300_000, "s\\" * 300_000, "\\u0073" * 50_000, "%25" * 100_000, "&#0" * 100_000, "s \\n" * 100_000]
)
def test_a_long_text_without_the_key_is_searched_at_once(text: str) -> None:
    began = time.process_time()
    assert safe_from("s3cret-key-of-leen")(text) == text
    # Where the search goes back over what it has seen, it takes minutes.
    assert time.process_time() - began < 5


def test_a_key_of_a_few_letters_is_removed_only_as_a_whole_word() -> None:
    assert of('{"key": "the k, and a cake"}', secret="k").content == {"key": "the ***, and a cake"}


def test_a_text_that_is_nearly_the_key_stays() -> None:
    assert of(json.dumps({"a": KEY[:-1]})).content == {"a": KEY[:-1]}


def test_parse_cleans_without_a_key() -> None:
    assert parse('{"a\\u0000": "b\\u001b"}') == {"a": "b"}


# On the wire


def refused(server: RawServer, call: Callable[[LeenClient], Any]) -> LeenError:
    settings = LeenSettings(
        base_url=f"http://127.0.0.1:{server.port}/v1",
        api_key="lk_live_f00d",
        connection_id="c-1",
        timeout=30.0,
        max_retries=0,
    )
    with LeenClient(settings) as client, pytest.raises(LeenError) as caught:
        call(client)
    return caught.value


@pytest.mark.parametrize(
    ("data", "why"),
    [
        pytest.param(
            reply(gzipped(gzipped(b" " * 50_000_000)), b"content-encoding: gzip, gzip"),
            "compressed as 'gzip, gzip'",
            id="two layers",
        ),
        pytest.param(reply(gzipped(b" " * 50_000_000), b"content-encoding: gzip"), "larger than 32 MB", id="one layer"),
        pytest.param(b"HTTP/1.1 200 OK\r\n\r\n" + b" " * 33_600_000, "larger than 32 MB", id="as it is"),
    ],
)
def test_a_bomb_leaves_a_write_unknown_and_fails_a_read(data: bytes, why: str) -> None:
    with RawServer(answering(data)) as server:
        written = refused(server, lambda client: client.bulk_create_tickets([TICKET]))
        read = refused(server, lambda client: list(client.iter_projects()))
    assert (type(written), type(read)) == (LeenOutcomeUnknownError, LeenConnectError)
    assert why in str(written)
    assert why in str(read)
    assert b"accept-encoding: identity" in server.requests[0].lower()


def test_a_bomb_in_an_error_is_not_read_either() -> None:
    packed = reply(gzipped(b" " * 50_000_000), b"content-encoding: gzip", status=b"422 No")
    with RawServer(answering(packed)) as server:
        assert type(refused(server, lambda client: client.create_ticket(TICKET))) is LeenOutcomeUnknownError


def slow_bomb(server: RawServer, connection: socket.socket) -> None:
    server.read(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\n\r\n")
    server.trickle(connection, gzipped(b" " * 1_000_000))


def test_the_timeout_covers_the_unpacking() -> None:
    with RawServer(slow_bomb) as server:
        settings = LeenSettings(
            base_url=f"http://127.0.0.1:{server.port}/v1", api_key="k", connection_id="c", timeout=1.0, max_retries=0
        )
        with LeenClient(settings) as client, pytest.raises(LeenConnectError, match=r"no complete reply within 1 s"):
            list(client.iter_projects())


@pytest.mark.parametrize("form", [str, escaped, "\x00".join])
def test_the_key_is_removed_from_successful_replies(form: Callable[[str], str]) -> None:
    key = "lk_live_f00d"

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path.startswith("/v1/jobs"):
            reason = json.dumps({"results": [{"success": False, "request_index": 0, "error": form(key)}]})
            return httpx.Response(200, json={"status": "FAILED", "failure_reason": reason, key: key})
        return httpx.Response(200, json={"items": [{"id": key, "name": f"a {form(key)}", key: {key: [key]}}]})

    settings = LeenSettings(base_url="https://leen.test/v1", api_key=key, connection_id="c")
    with LeenClient(settings, transport=httpx.MockTransport(answer)) as client:
        shown = [client.check(), repr(list(client.iter_projects())), repr(client.get_job("j"))]
    assert all("***" in text and "f00d" not in text and escaped("f00d") not in text for text in shown)
