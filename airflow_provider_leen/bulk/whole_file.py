"""Writes a file that is seen whole or not at all, on a file system as on an object store."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any


@contextmanager
def whole_file(path: Any) -> Iterator[IO[str]]:
    """Open a file for writing; it takes its place when the block has ended without an error.

    An object store shows an object once it is closed. A file system would show half a file if this process died on the
    way: there it is written under another name first.

    :param path: a path with pathlib's interface (Airflow's ``ObjectStoragePath``).
    """
    local = local_path(path)
    if local is None:
        with path.open("w", encoding="utf-8") as file:
            yield file
        return
    partial = local.with_name(f"{local.name}.part")
    try:
        with partial.open("w", encoding="utf-8") as file:
            yield file
        os.replace(partial, local)
    except BaseException:
        # On a full disk half a file would take the room that the next try needs.
        partial.unlink(missing_ok=True)
        raise


def local_path(path: Any) -> Path | None:
    """Return where a path is on this machine's file system, None where it is elsewhere."""
    is_local = getattr(path, "protocol", "") in ("", "file", "local")
    return Path(getattr(path, "path", path)) if is_local else None
