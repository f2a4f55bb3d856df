"""The store of a register: a folder or an object store that all workers can reach, with a folder for each scope.

Unlike a ledger's store, it can list. It bypasses ``fsspec``'s cache of folders, which would not show the lease of
another run.
"""

from __future__ import annotations

import hashlib
import os
import posixpath
import re
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Protocol

from airflow_provider_leen.api.errors import LeenLedgerLostError
from airflow_provider_leen.bulk.stores import FolderStore, Store
from airflow_provider_leen.bulk.values import VERSION, Value

MARKER = "register"
"""The value at the root that marks a register."""

_SCOPE = re.compile(r"[A-Za-z0-9_-]+-[0-9a-f]{12}")
"""The name of a scope's folder, as :func:`folder_of` makes it."""


class ListingStore(Store, Protocol):
    """A store that can list, and that keeps large values, too."""

    def names(self, folder: str) -> list[str]:
        """Return the names in a folder, including those of its folders, in any order; none if it does not exist."""

    def read(self, key: str) -> bytes | None:
        """Return a large value, None if there is none."""

    def write(self, key: str, content: bytes) -> None:
        """Write a large value, completely or not at all."""

    def remove(self, key: str) -> None:
        """Delete a large value, or a folder that is empty."""


class RegisterStore(FolderStore):
    """Files in a folder, which several users may share: the umask decides who can read them.

    :param folder: a path with pathlib's interface (Airflow's ``ObjectStoragePath``).
    """

    permissions = 0o666

    def at(self, folder: str) -> RegisterStore:
        """Return the store of a folder in it."""
        return RegisterStore(self._folder / folder, sleep=self._sleep)

    def scopes(self) -> list[str]:
        """Return the names of the folders of a register's scopes; there may be other things beside them."""
        return [name for name in self.names("") if _SCOPE.fullmatch(name)]

    def is_marked(self) -> bool:
        """Return whether the marker exists, with any content."""
        try:
            return self.get(MARKER) is not None
        except LeenLedgerLostError:
            return True

    def get(self, key: str) -> Value | None:
        """Read a file."""
        self._look_again()
        return super().get(key)

    def create(self, key: str, value: Value) -> bool:
        """Create a file exclusively."""
        self._look_again()
        return super().create(key, value)

    def names(self, folder: str) -> list[str]:
        """List a folder."""
        if self._local is not None:
            with suppress(FileNotFoundError):
                return [_name(entry) for entry in os.listdir(self._local / folder) if not entry.startswith(".")]
            return []
        self._look_again()
        path = self._folder / folder if folder else self._folder
        with suppress(FileNotFoundError):
            return [_name(posixpath.basename(str(entry).rstrip("/"))) for entry in path.fs.ls(path.path, detail=False)]
        return []

    def read(self, key: str) -> bytes | None:
        """Read a large file."""
        self._look_again()
        return self._read(self._large(key))

    def write(self, key: str, content: bytes) -> None:
        """Write a large file."""
        self._put(self._large(key), content)

    def remove(self, key: str) -> None:
        """Delete a large file, or an empty folder; an object store has no folders."""
        with suppress(FileNotFoundError):
            self._large(key).unlink()
        if self._local is not None:
            with suppress(OSError):
                os.rmdir(self._local / key)

    def _large(self, key: str) -> Any:
        return self._path(key, ".jsonl.gz")

    def _look_again(self) -> None:
        if self._local is None:
            self._folder.fs.invalidate_cache()


def folder_of(scope: str) -> str:
    """Return the name of a scope's folder: readable and unique."""
    readable = re.sub(r"[^A-Za-z0-9_-]+", "-", scope).strip("-")[:40] or "all"
    return f"{readable}-{hashlib.sha256(scope.encode()).hexdigest()[:12]}"


def mark(root: RegisterStore, by: Mapping[str, Any]) -> bool:
    """Write the marker at a register's root at its first use, and return whether this was the first.

    :param by: who uses it.
    """
    return not root.is_marked() and root.create(MARKER, {"v": VERSION, "at": time.time(), "by": dict(by)})


def _name(entry: str) -> str:
    return entry.partition(".")[0]
