"""Files that others may lie in wait for: written whole or not at all, read only where they are regular files.

Folders for results and ledgers are often shared. A name that can be guessed, a link that is followed, or a pipe that
never ends would let whoever may write there overwrite another file with this process's rights, or hold it up.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, cast

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_PRIVATE = 0o600


class NotRegularError(OSError):
    """What lies at a path is no regular file: a pipe, a device, a socket, or a link where none is followed."""


@contextmanager
def whole_file(path: Any) -> Iterator[IO[str]]:
    """Open a file for writing; it takes its place when the block has ended without an error.

    An object store shows an object once it is closed. A file system would show half a file if this process died on the
    way: there it is written under a random name first, for this user alone, and then takes the place of what was there,
    a link itself and not what it leads to.

    :param path: a path with pathlib's interface (Airflow's ``ObjectStoragePath``).
    :raises NotRegularError: a pipe, a device or a socket is there.
    :raises OSError: or whatever else the store raises.
    """
    local = local_path(path)
    if local is None:
        with path.open("w", encoding="utf-8") as file:
            yield file
        return
    descriptor, partial = _open_beside(local)
    try:
        with open(descriptor, "w", encoding="utf-8") as file:
            yield file
        os.replace(partial, local)
    except BaseException:
        # On a full disk half a file would take the room that the next try needs.
        partial.unlink(missing_ok=True)
        raise


def check_writable(path: Any) -> None:
    """Find out whether :func:`whole_file` can write here. A file that is there stays: another try may have written it.

    Object stores have no such question: an empty object is made where there is none.

    :param path: a path with pathlib's interface.
    :raises NotRegularError: a pipe, a device or a socket is there.
    :raises OSError: or whatever else the store raises.
    """
    local = local_path(path)
    if local is None:
        if not path.exists():
            with path.open("w", encoding="utf-8"):
                pass
        return
    local.parent.mkdir(parents=True, exist_ok=True)
    descriptor, partial = _open_beside(local)
    os.close(descriptor)
    partial.unlink()


def open_regular(path: Any, *, follow: bool, binary: bool = False) -> IO[Any]:
    """Open a file for reading; on a file system it has to be a regular one.

    :param path: a path with pathlib's interface.
    :param follow: whether it may be a link to one. What this package wrote itself is none.
    :param binary: whether its bytes are read, and not its text.
    :raises NotRegularError: it is something else, which might never end, or not even open.
    :raises OSError: or whatever else the store raises.
    """
    how: dict[str, Any] = {"mode": "rb"} if binary else {"mode": "r", "encoding": "utf-8"}
    local = local_path(path)
    if local is None:
        return path.open(**how)  # type: ignore[no-any-return]
    # Looked at before it is opened, since that alone may set a device going, and after, since it may have been swapped.
    _refuse_irregular(local, os.stat(local, follow_symlinks=follow).st_mode)
    descriptor = os.open(local, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW))
    try:
        _refuse_irregular(local, os.fstat(descriptor).st_mode)
    except BaseException:
        os.close(descriptor)
        raise
    return cast(IO[Any], open(descriptor, **how))


def local_path(path: Any) -> Path | None:
    """Return where a path is on this machine's file system, None if it is elsewhere."""
    is_local = getattr(path, "protocol", "") in ("", "file", "local")
    return Path(getattr(path, "path", path)) if is_local else None


def _open_beside(local: Path) -> tuple[int, Path]:
    """Open a file of a random name, for this user alone, in the folder of another, which need not be there yet."""
    with suppress(FileNotFoundError):
        mode = local.lstat().st_mode
        if not stat.S_ISLNK(mode):
            _refuse_irregular(local, mode)
    partial = local.with_name(f".leen-{secrets.token_hex(16)}.part")
    try:
        return os.open(partial, _NEW, _PRIVATE), partial
    except OSError as error:
        # A random name says nothing to anybody.
        error.filename = str(local.parent)
        if isinstance(error, PermissionError):
            error.strerror = "the worker's user may not write into this folder"
        raise


def _refuse_irregular(path: Path, mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        kind = _KINDS.get(stat.S_IFMT(mode), "something else")
        raise NotRegularError(errno.EINVAL, f"it is no regular file but {kind}", str(path))


_KINDS = {
    stat.S_IFLNK: "a link",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
