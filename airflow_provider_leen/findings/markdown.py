"""Markdown from texts that may hold any character."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import quote

_SHOWABLE = re.compile(r"(?:https?|mailto):", re.IGNORECASE)


def fenced(code: str) -> str:
    """Return code as a block that nothing in it can end."""
    fence = "`" * max(3, _longest_run(code) + 1)
    return f"{fence}\n{code.rstrip()}\n{fence}"


def span(code: str) -> str:
    """Return a short text as code in a line."""
    code = " ".join(code.split())
    fence = "`" * (_longest_run(code) + 1)
    padding = " " if code.startswith("`") or code.endswith("`") else ""
    return f"{fence}{padding}{code}{padding}{fence}"


def link(shown: str, url: str | None) -> str:
    """Return Markdown as a link, or as it is where the address is none of the web.

    :param shown: Markdown without links.
    """
    if url is None or not shown or not _SHOWABLE.match(url.strip()):
        return shown
    return f"[{shown}]({quote(url.strip(), safe=_SAFE)})"


def plain(words: str) -> str:
    """Return a text on one line that is no Markdown."""
    return re.sub(r"([\\`*_\[\]<>])", r"\\\1", " ".join(words.split()))


def facts(entries: Iterable[tuple[str, str | None]]) -> str:
    """Return a list of names and values; what has no value is left out."""
    return "\n".join(f"- **{name}:** {value}" for name, value in entries if value)


def section(title: str, body: str | None) -> str | None:
    """Return a text under a title; None where there is none."""
    return f"**{title}**\n\n{body}" if body else None


def paragraphs(*parts: str | None) -> str:
    """Return the parts that there are, with blank lines between them."""
    return "\n\n".join(part.strip("\n") for part in parts if part and part.strip())


def _longest_run(code: str) -> int:
    return max(map(len, re.findall("`+", code)), default=0)


_SAFE = "!#$%&'*+,/:;=?@~-._"
"""What an address may hold beside letters and digits; parentheses would end the link."""
