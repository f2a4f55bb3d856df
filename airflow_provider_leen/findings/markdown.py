"""Markdown from texts with arbitrary characters."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import quote

_SHOWABLE = re.compile(r"(?:https?|mailto):", re.IGNORECASE)


def fenced(code: str) -> str:
    """Return code as a block that its content can't end."""
    fence = "`" * max(3, _longest_run(code) + 1)
    return f"{fence}\n{code.rstrip()}\n{fence}"


def span(code: str) -> str:
    """Return a short text as code in a line."""
    code = " ".join(code.split())
    fence = "`" * (_longest_run(code) + 1)
    padding = " " if code.startswith("`") or code.endswith("`") else ""
    return f"{fence}{padding}{code}{padding}{fence}"


def link(shown: str, url: str | None) -> str:
    """Return Markdown as a link, or unchanged if the address is not a web address.

    :param shown: Markdown without links.
    """
    if url is None or not shown or not _SHOWABLE.match(url.strip()):
        return shown
    return f"[{shown}]({quote(url.strip(), safe=_SAFE)})"


def plain(words: str) -> str:
    """Return a text on one line, with Markdown escaped."""
    return re.sub(r"([\\`*_\[\]<>])", r"\\\1", " ".join(words.split()))


def facts(entries: Iterable[tuple[str, str | None]]) -> str:
    """Return a list of names and values, without empty values."""
    return "\n".join(f"- **{name}:** {value}" for name, value in entries if value)


def section(title: str, body: str | None) -> str | None:
    """Return a text under a title; None if there is none."""
    return f"**{title}**\n\n{body}" if body else None


def paragraphs(*parts: str | None) -> str:
    """Return the parts that are not empty, with blank lines between them."""
    return "\n\n".join(part.strip("\n") for part in parts if part and part.strip())


def _longest_run(code: str) -> int:
    return max(map(len, re.findall("`+", code)), default=0)


_SAFE = "!#$%&'*+,/:;=?@~-._"
"""Characters allowed in an address besides letters and digits; parentheses would end the link."""
