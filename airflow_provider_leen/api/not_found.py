"""What a 404 means: Leen has no such ticket, or the request never reached Leen (a missing route, a gateway)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

_LEENS_FORM = ("type", "code", "message", "detail")

_ABOUT_THE_WAY = ("route", "routing", "path", "endpoint", "connection", "upstream", "gateway", "url")
"""A 404 that mentions one of these is about how Leen is reached, not about a ticket."""


def knows_no_such_thing(content: Mapping[str, Any], call: str) -> bool:
    """Return whether a 404 is Leen's own statement that what was asked for does not exist.

    It has Leen's own form (``type``, ``code``, ``message``, ``detail``), or only a ``detail`` text; and it does not
    mention a route, path, endpoint or connection.

    :param content: the body, empty if it was not a JSON object.
    :param call: the method and path of the request. If the reply quotes what was asked for, the quoted words don't
        count.
    """
    return _is_leens(content) and not _is_about_the_way(content, call)


def _is_leens(content: Mapping[str, Any]) -> bool:
    detail = content.get("detail")
    if content.keys() == {"detail"}:
        # FastAPI says "Not Found" for a missing route.
        return isinstance(detail, str) and detail.strip(" .!").casefold() not in ("", "not found")
    named = [content.get(name) for name in _LEENS_FORM[:3]]
    return (
        all(isinstance(text, str) and text.strip() for text in named)
        and "detail" in content
        and not isinstance(detail, Mapping)
        # RFC 9457's type for "no more than the status", which gateways send.
        and content["type"].strip().casefold() != "about:blank"
    )


def _is_about_the_way(content: Mapping[str, Any], call: str) -> bool:
    text = json.dumps({name: content.get(name) for name in _LEENS_FORM}, ensure_ascii=False).casefold()
    folder, _, asked = call.rsplit(" ", 1)[-1].casefold().rpartition("/")
    given = unquote(asked)
    if given not in _ABOUT_THE_WAY:
        # As in the path, as given, and as in JSON; only as whole words.
        for quoted in (asked, given, json.dumps(given, ensure_ascii=False)[1:-1]):
            text = re.sub(rf"(?<!\w){re.escape(quoted)}(?!\w)", "", text) if quoted else text
    return folder in text or any(word in text for word in _ABOUT_THE_WAY)
