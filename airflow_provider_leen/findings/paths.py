"""Turns the many forms of a scanner's paths into one that is the same in every checkout."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import unquote

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")
"""At least two characters: ``C:`` is a drive."""

_DRIVE = re.compile(r"/?([A-Za-z]):(?=/|$)")


@dataclass(frozen=True, slots=True)
class FilePath:
    """Where a finding is.

    :param text: a path relative to the root of the sources, or a URL; with ``loose``, an absolute path.
    :param loose: the root of the sources is unknown.
    """

    text: str
    loose: bool = False


def normal(uri: str) -> str:
    r"""Return a URI reference, or a path of any system, as a decoded path with slashes; other URLs stay as they are.

    :param uri: ``src/a.py``, ``file:///tmp/a%20b.py``, ``C:\src\a.py`` …
    """
    uri = uri.strip()
    if is_url(uri):
        return uri
    if uri[:5].lower() == "file:":
        uri = uri[5:]
        if uri.startswith("//"):
            host, _, path = uri[2:].partition("/")
            local = host.lower() in ("", "localhost")
            # Two slashes instead of three are a common mistake: file://C:/src, file://src/a.py.
            uri = f"/{path}" if local else f"{'' if _DRIVE.match(host) else '//'}{host}/{path}"
    path = unquote(uri, errors="replace").replace("\\", "/")
    path = _DRIVE.sub(lambda drive: f"{drive[1].upper()}:", path, count=1) if _DRIVE.match(path) else path
    path = posixpath.normpath(path)
    return "" if path == "." else path


def is_url(uri: str) -> bool:
    """Return whether this is the URL of something other than a file."""
    scheme = _SCHEME.match(uri)
    return scheme is not None and scheme[0].lower() != "file:"


def is_absolute(path: str) -> bool:
    """Return whether a normal path begins at the root of a file system."""
    return path.startswith("/") or _DRIVE.match(path) is not None


def within(path: str, folder: str) -> str | None:
    """Return a normal path relative to a folder; None if it lies elsewhere."""
    folder = folder.rstrip("/")
    return path[len(folder) + 1 :] if path.startswith(f"{folder}/") else None


def join(folder: str, path: str) -> str:
    """Return the absolute path of a path relative to a folder."""
    joined = posixpath.normpath(posixpath.join(folder, path)) if not is_absolute(path) else path
    return "" if joined == "." else joined


def replaced(words: str, path: str, by: str) -> str:
    """Return a text with an absolute path replaced, in any of its forms."""
    pattern = rf"(?:file:)?/{{0,3}}{re.escape(path.lstrip('/'))}"
    return re.sub(pattern, lambda _: by, words.replace("\\", "/"), flags=re.IGNORECASE)


def common_folder(paths: Iterable[str]) -> str:
    """Return the innermost folder that holds all of these absolute paths; empty if there is none."""
    parts = [posixpath.dirname(path).split("/") for path in paths]
    shared = []
    for names in zip(*parts, strict=False):
        if len(set(names)) > 1:
            break
        shared.append(names[0])
    return "/".join(shared)
