"""Which files the API server may read for the tab, and how local ones are opened.

The API server reads with its own rights, not with those of the user or the Dag. So a file is read only below a folder
that an administrator has listed, and only with the Airflow connection that the listed entry names.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import unquote

FOLDERS = "[leen] results_folders (AIRFLOW__LEEN__RESULTS_FOLDERS)"
"""The name of the API server's setting that lists the folders, for messages."""

_DAG_ID = "{dag_id}"
_URL = re.compile(r"([a-z][a-z0-9+.-]*)://(?:([^/@]*)@)?([^/@]+)(?:/(.*))?", re.IGNORECASE)


@dataclass(frozen=True)
class Place:
    """A file or folder.

    :param store: scheme, Airflow connection and host of a URL; all empty on this machine's file systems.
    :param parts: the names in its path.
    :param fixed: how many of them an administrator wrote literally: links are followed only in these.
    """

    store: tuple[str, str, str]
    parts: tuple[str, ...]
    fixed: int = 0

    @property
    def is_local(self) -> bool:
        """Whether it is on this machine's file systems."""
        return self.store == _LOCAL

    def holds(self, other: Place) -> bool:
        """Return whether another path, taken literally, lies below this one."""
        depth = len(self.parts)
        return self.store == other.store and len(other.parts) > depth and other.parts[:depth] == self.parts


_LOCAL = ("", "", "")


def place_of(text: str) -> Place | None:
    """Read an absolute path or a URL; None if it is neither, or if a store might resolve it differently."""
    text = text.strip()
    if not text.isprintable() or "::" in text:
        # fsspec opens one store through another if they are chained by "::".
        return None
    if text.startswith("/"):
        return Place(_LOCAL, tuple(part for part in text.split("/") if part))
    found = _URL.fullmatch(text)
    if found is None:
        scheme, _, path = text.partition("://")
        return place_of(path) if scheme.lower() in ("file", "local") and path.startswith("/") else None
    scheme, connection, host, path = found.groups(default="")
    if scheme.lower() in ("file", "local") or not _is_plain(path):
        return None
    path = path.rstrip("/")
    return Place((scheme.lower(), connection, host), tuple(path.split("/")) if path else ())


def folders_of(option: str, dag_id: str) -> list[Place]:
    """Return the folders that an administrator has listed, for one Dag.

    :param option: absolute paths or URLs, separated by commas; they may contain ``{dag_id}``.
    """
    folders = []
    for entry in option.split(","):
        if _DAG_ID in entry and not _is_a_name(dag_id):
            continue
        # The path is normalised, so that the parts before {dag_id} can be counted.
        pattern, folder = place_of(entry), place_of(entry.replace(_DAG_ID, dag_id))
        if pattern is not None and folder is not None:
            fixed = next((n for n, part in enumerate(pattern.parts) if _DAG_ID in part), len(pattern.parts))
            folders.append(Place(folder.store, folder.parts, fixed))
    return folders


def may_be_allowed(place: Place, folders: Iterable[Place]) -> bool:
    """Return whether a file may be read, judged by its path alone."""
    return any(folder.is_local if place.is_local else folder.holds(place) for folder in folders)


def open_local(place: Place, folders: Sequence[Place]) -> int:
    """Open a file for reading. Links are followed if they stay below one of the folders.

    :return: the descriptor of a regular file.
    :raises PermissionError: it lies below none of the folders.
    :raises OSError: it can't be opened, or is a pipe, a device or a folder.
    """
    real = PurePosixPath(os.path.realpath(_path(place.parts)))
    for folder in folders:
        if folder.is_local:
            root = os.path.realpath(_path(folder.parts[: folder.fixed]))
            # The Dag's folder must not be a link to another Dag's folder: a task could create one.
            if real != (below := PurePosixPath(root, *folder.parts[folder.fixed :])) and real.is_relative_to(below):
                return _open_below(root, real.relative_to(root).parts)
    raise PermissionError(f"it lies outside the folders that the API server's {FOLDERS} lists")


def _open_below(root: str, parts: Sequence[str]) -> int:
    """Open a regular file name by name, so that none of them can be replaced by a link meanwhile."""
    folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for name in parts[:-1]:
            inner = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
            os.close(folder)
            folder = inner
        # Non-blocking: opening a pipe would otherwise wait.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        file = os.open(parts[-1], flags, dir_fd=folder)
    finally:
        os.close(folder)
    if stat.S_ISREG(os.fstat(file).st_mode):
        return file
    os.close(file)
    raise OSError("it is not a regular file")


def _path(parts: Sequence[str]) -> str:
    return "/" + "/".join(parts)


def _is_a_name(dag_id: str) -> bool:
    return re.fullmatch(r"[\w.-]+", dag_id) is not None and dag_id.strip(".") != ""


def _is_plain(path: str) -> bool:
    """Return whether every store takes a URL's path literally."""
    while (decoded := unquote(path)) != path:
        path = decoded
    return decoded.isprintable() and not {"?", "#", "\\"} & set(decoded) and not {".", ".."} & set(decoded.split("/"))
