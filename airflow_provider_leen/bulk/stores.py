"""Where a ledger's values are: Airflow's task state store, a folder or an object store, or memory.

A store holds JSON values under keys such as ``lease/1``. It need not be able to list them. What the protocol of the
ledger needs of it is :class:`Store`; the hard part is :meth:`Store.create`, which decides which of two tries opened.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

from airflow_provider_leen.bulk.values import Value, unreadable
from airflow_provider_leen.bulk.whole_file import local_path

SETTLES_AFTER = 2.0
"""Seconds after which two tries that wrote the same key at once both see who was last."""


class Store(Protocol):
    """Values by key. The methods block: the ledger calls them in a thread of their own."""

    durable: bool
    """Whether a later try can read what this one writes."""

    refuses_overtaken_writes: bool
    """Whether a write of a try that was replaced fails, so that a write that succeeds proves that it was not."""

    def get(self, key: str) -> Value | None:
        """Return a value as it was last written, None where there is none."""

    def set(self, key: str, value: Value) -> None:
        """Write a value, whole or not at all."""

    def create(self, key: str, value: Value) -> bool:
        """Write a value only if the key has none, and say whether the key now has this one."""

    def delete(self, key: str) -> None:
        """Delete a value, if there is one."""


class MemoryStore:
    """Values that are gone when the try ends. Nobody else can write them, nor read a journal, which is not kept."""

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

    :param get: reads the value of a key, None where there is none.
    :param set: writes the value of a key, to be kept without end.
    :param delete: deletes a key.
    :param worker_side_backend: whether ``[workers] state_store_backend`` is set.
    :param sleep: waits for some seconds, where two tries may write at once.
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
    """Files in a folder or an object store that all workers reach.

    :param folder: a path of this task instance's own (pathlib's interface; Airflow's ``ObjectStoragePath``).
    :param sleep: waits for some seconds, where the store can't create a file exclusively.
    """

    durable = True
    refuses_overtaken_writes = False

    def __init__(self, folder: Any, *, sleep: Callable[[float], None] = time.sleep) -> None:
        self._folder = folder
        self._local = local_path(folder)
        self._sleep = sleep

    def get(self, key: str) -> Value | None:
        """Read a file."""
        try:
            with self._path(key).open("rb") as file:
                text = file.read()
        except FileNotFoundError:
            return None
        # Empty where a try died between creating a file and writing it, on a file system without hard links.
        try:
            value: Value = json.loads(text) if text else {}
        except ValueError:
            raise unreadable(f"{key}: {text[:100]!r}") from None
        return value

    def set(self, key: str, value: Value) -> None:
        """Write a file. An object store shows an object once it is closed; a local file takes its place whole."""
        self._put(self._path(key), _encoded(value))

    def create(self, key: str, value: Value) -> bool:
        """Create a file exclusively. What is read afterwards decides, whatever the store said."""
        problem: Exception | None = None
        try:
            self._create(key, value)
        except (NotImplementedError, ValueError):
            # It has no exclusive creation: the one that wrote last has the key.
            if self.get(key) is None:
                self._write(key, "wb", value)
            self._sleep(SETTLES_AFTER)
        except Exception as error:
            # That the key is taken is said by each store in its own words; so is a reply that was lost.
            problem = error
        found = self.get(key)
        if found is None and problem is not None:
            raise problem
        return found == value

    def delete(self, key: str) -> None:
        """Delete a file."""
        with suppress(FileNotFoundError):
            self._path(key).unlink()

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
            # Unlike mode "x", it can't leave an empty file that nobody can read if this process dies.
            os.link(partial, path)
        except FileExistsError:
            return
        except OSError:
            # A file system without hard links.
            self._write(key, "xb", value)
        finally:
            partial.unlink(missing_ok=True)

    def _partial(self, path: Path, content: bytes) -> Path:
        """Write a file under a name of its own beside the one that it is for."""
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.{uuid4().hex}")
        with partial.open("xb") as file:
            file.write(content)
        return partial

    def _write(self, key: str, mode: str, value: Value) -> None:
        with self._path(key).open(mode) as file:
            file.write(_encoded(value))

    def _path(self, key: str) -> Any:
        folder = self._folder if self._local is None else self._local
        return folder / f"{key}.json"


def _encoded(value: Value) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _state_key(key: str) -> str:
    return f"leen_ledger.{key.replace('/', '.')}"
