"""Safe files in shared folders: written completely or not at all, read only if they are regular files.

Folders for results and ledgers are often shared. Through a predictable name, a followed link or an endless pipe, anyone
who can write there could make this process overwrite another file, or block it.
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
PRIVATE = 0o600
"""The permissions of a file that only this user can read."""


class NotRegularError(OSError):
    """The path is not a regular file: a pipe, a device, a socket, or a link that is not followed."""


@contextmanager
def whole_file(path: Any) -> Iterator[IO[str]]:
    """Open a file for writing; it appears when the ``with`` block ends without an error.

    An object appears in its store once it is closed. On a file system, half a file would remain if this process died:
    so it is written under a random name first, readable by this user only, and then renamed. A link at the path is
    replaced, not followed.

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
        # On a full disk, half a file would take the room that the next try needs.
        partial.unlink(missing_ok=True)
        raise


def check_writable(path: Any) -> None:
    """Check that :func:`whole_file` can write here. An existing file is kept: another try may have written it.

    Object stores have no such check: an empty object is created if there is none.

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
    :param follow: whether it may be a link. Files that this package wrote are not links.
    :param binary: whether to read bytes instead of text.
    :raises NotRegularError: it is not a regular file: reading, or even opening it, might block.
    :raises OSError: or whatever else the store raises.
    """
    how: dict[str, Any] = {"mode": "rb"} if binary else {"mode": "r", "encoding": "utf-8"}
    local = local_path(path)
    if local is None:
        return path.open(**how)  # type: ignore[no-any-return]
    # Checked before it is opened, since opening may activate a device, and after, since it may have been replaced.
    _refuse_irregular(local, os.stat(local, follow_symlinks=follow).st_mode)
    descriptor = os.open(local, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW))
    try:
        _refuse_irregular(local, os.fstat(descriptor).st_mode)
    except BaseException:
        os.close(descriptor)
        raise
    return cast(IO[Any], open(descriptor, **how))


def new_file(local: Path, permissions: int = PRIVATE) -> int:
    """Create a file on a file system, and return its descriptor, for writing.

    :param permissions: of the file, less the umask.
    :raises FileExistsError: something has this name, a link, say.
    """
    return os.open(local, _NEW, permissions)


def local_path(path: Any) -> Path | None:
    """Return a path on this machine's file system, None if it is elsewhere."""
    is_local = getattr(path, "protocol", "") in ("", "file", "local")
    return Path(getattr(path, "path", path)) if is_local else None


def _open_beside(local: Path) -> tuple[int, Path]:
    """Open a file with a random name, readable by this user only, in the folder of another, which may not exist."""
    with suppress(FileNotFoundError):
        mode = local.lstat().st_mode
        if not stat.S_ISLNK(mode):
            _refuse_irregular(local, mode)
    partial = local.with_name(f".leen-{secrets.token_hex(16)}.part")
    try:
        return new_file(partial), partial
    except OSError as error:
        # The random name would not help a user.
        error.filename = str(local.parent)
        if isinstance(error, PermissionError):
            error.strerror = "the worker's user may not write into this folder"
        raise


def _refuse_irregular(path: Path, mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        kind = _KINDS.get(stat.S_IFMT(mode), "something else")
        raise NotRegularError(errno.EINVAL, f"it is not a regular file but {kind}", str(path))


_KINDS = {
    stat.S_IFLNK: "a link",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
