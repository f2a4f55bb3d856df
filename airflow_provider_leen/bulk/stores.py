"""The stores for a ledger's values: Airflow's task state store, a folder or an object store, or memory.

A store holds JSON values under keys such as ``lease/1``. It need not be able to list them. :class:`Store` is what the
ledger's protocol requires; the difficult part is :meth:`Store.create`, which decides which of two tries opened.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

from airflow_provider_leen.bulk.values import Value, unreadable
from airflow_provider_leen.bulk.whole_file import PRIVATE, local_path, new_file, open_regular

SETTLES_AFTER = 2.0
"""Seconds after which two tries that wrote the same key at once both see the final value."""

_KEY = re.compile(r"[\w-]+(/[\w-]+)*")


class Store(Protocol):
    """Values by key. The methods block: the ledger calls them in a separate thread."""

    durable: bool
    """Whether a later try can read what this one writes."""

    refuses_overtaken_writes: bool
    """Whether writes of a replaced try fail, so that a successful write proves that the try was not replaced."""

    def get(self, key: str) -> Value | None:
        """Return the last written value, None if there is none."""

    def set(self, key: str, value: Value) -> None:
        """Write a value, completely or not at all."""

    def create(self, key: str, value: Value) -> bool:
        """Write a value only if the key has none, and return whether the key now has this one."""

    def delete(self, key: str) -> None:
        """Delete a value, if there is one."""


class MemoryStore:
    """Values that exist only during the try. No other try can access them, so the journal is not kept."""

    durable = False
    refuses_overtaken_writes = True

    def __init__(self) -> None:
        self._leases: dict[str, Value] = {}

    def get(self, key: str) -> Value | None:
        """Return the value of a key."""
        return self._leases.get(key)

    def set(self, key: str, value: Value) -> None:
        """Keep a value, unless it is a journal's."""
        if not key.startswith("j/"):
            self._leases[key] = value

    def create(self, key: str, value: Value) -> bool:
        """Keep a value if there is none."""
        return self._leases.setdefault(key, value) == value

    def delete(self, key: str) -> None:
        """Forget a value."""
        self._leases.pop(key, None)


class TaskStateStore:
    """Airflow's task state store (Airflow 3.3 and newer).

    Only the current try can write there: Airflow refuses the writes of a try that was replaced, unless a worker-side
    backend takes them.

    :param get: reads the value of a key, None if there is none.
    :param set: writes the value of a key, without expiry.
    :param delete: deletes a key.
    :param worker_side_backend: whether ``[workers] state_store_backend`` is set.
    :param sleep: waits some seconds, if two tries may write at once.
    """

    durable = True

    def __init__(
        self,
        get: Callable[[str], Any],
        set: Callable[[str, Value], None],
        delete: Callable[[str], None],
        *,
        worker_side_backend: bool = False,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._sleep = sleep
        self.refuses_overtaken_writes = not worker_side_backend
        self._get = get
        self._set = set
        self._delete = delete

    def get(self, key: str) -> Value | None:
        """Read a value."""
        value: Value | None = self._get(_state_key(key))
        return value

    def set(self, key: str, value: Value) -> None:
        """Write a value."""
        self._set(_state_key(key), value)

    def create(self, key: str, value: Value) -> bool:
        """Write a value if there is none; two tries can't write at once."""
        if (found := self.get(key)) is not None:
            return found == value
        self.set(key, value)
        if self.refuses_overtaken_writes:
            return True
        self._sleep(SETTLES_AFTER)
        return self.get(key) == value

    def delete(self, key: str) -> None:
        """Delete a value."""
        self._delete(_state_key(key))


class FolderStore:
    """Files in a folder or an object store that all workers can reach. No link is followed, and no pipe is read.

    :param folder: this task instance's own path (pathlib's interface; Airflow's ``ObjectStoragePath``).
    :param sleep: waits some seconds, if the store can't create a file exclusively.
    """

    durable = True
    refuses_overtaken_writes = False
    permissions = PRIVATE

    def __init__(self, folder: Any, *, sleep: Callable[[float], None] = time.sleep) -> None:
        self._folder = folder
        self._local = local_path(folder)
        self._sleep = sleep

    def get(self, key: str) -> Value | None:
        """Read a file."""
        text = self._read(self._path(key))
        if text is None:
            return None
        # Empty if a try died between creating a file and writing it, on a file system without hard links.
        try:
            value: Value = json.loads(text) if text else {}
        except ValueError:
            raise unreadable(f"{key}: {text[:100]!r}") from None
        return value

    def set(self, key: str, value: Value) -> None:
        """Write a file completely: an object appears once it is closed; a local file is renamed into place."""
        self._put(self._path(key), _encoded(value))

    def create(self, key: str, value: Value) -> bool:
        """Create a file exclusively. The content read afterwards decides, whatever the store reported."""
        problem: Exception | None = None
        try:
            self._create(key, value)
        except (NotImplementedError, ValueError):
            # Without exclusive creation: the last writer gets the key.
            if self.get(key) is None:
                self._write(key, "wb", value)
            self._sleep(SETTLES_AFTER)
        except Exception as error:
            # Each store has its own error for a taken key, and for a lost reply.
            problem = error
        found = self.get(key)
        if found is None and problem is not None:
            raise problem
        return found == value

    def delete(self, key: str) -> None:
        """Delete a file."""
        with suppress(FileNotFoundError):
            self._path(key).unlink()

    def _read(self, path: Any) -> bytes | None:
        try:
            with open_regular(path, follow=False, binary=True) as file:
                content: bytes = file.read()
        except FileNotFoundError:
            return None
        return content

    def _put(self, path: Any, content: bytes) -> None:
        if self._local is None:
            with path.open("wb") as file:
                file.write(content)
            return
        partial = self._partial(path, content)
        try:
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)

    def _create(self, key: str, value: Value) -> None:
        if self._local is None:
            self._write(key, "xb", value)
            return
        path = self._path(key)
        partial = self._partial(path, _encoded(value))
        try:
            # Unlike mode "x", this can't leave an empty file if the process dies.
            os.link(partial, path)
        except FileExistsError:
            return
        except OSError:
            # A file system without hard links.
            with suppress(FileExistsError):
                self._write_new(path, _encoded(value))
        finally:
            partial.unlink(missing_ok=True)

    def _partial(self, path: Path, content: bytes) -> Path:
        """Write a temporary file next to the final one."""
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.{uuid4().hex}")
        try:
            self._write_new(partial, content)
        except BaseException:  # a full disk, say
            partial.unlink(missing_ok=True)
            raise
        return partial

    def _write_new(self, path: Path, content: bytes) -> None:
        with open(new_file(path, self.permissions), "wb") as file:
            file.write(content)

    def _write(self, key: str, mode: str, value: Value) -> None:
        with self._path(key).open(mode) as file:
            file.write(_encoded(value))

    def _path(self, key: str, suffix: str = ".json") -> Any:
        # Parts of a key are read from values: none may lead out of the folder.
        if not _KEY.fullmatch(key):
            raise unreadable(f"the key {key!r}")
        folder = self._folder if self._local is None else self._local
        return folder / f"{key}{suffix}"


def _encoded(value: Value) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _state_key(key: str) -> str:
    return f"leen_ledger.{key.replace('/', '.')}"
