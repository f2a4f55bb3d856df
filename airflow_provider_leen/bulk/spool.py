"""A list of rows that is too large to be held: it waits in a temporary file, and each row is read when it is needed.

The file that a task is given can't be read twice itself: it may be overwritten meanwhile, and an object store has no
cheap way to a place in the middle.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
import weakref
from array import array
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import IO, Any, TextIO

from airflow_provider_leen.bulk.tickets import UnreadableRow, read_json

CHUNK = 64 * 1024
"""Characters read at a time from a JSON array."""

_SPACE = re.compile(r"[ \t\r\n]*")
_decode = json.JSONDecoder().raw_decode


class SpooledRows(Sequence[Any]):
    """The rows, each of them made anew whenever it is asked for.

    :param rows: what a reader yields: JSON values and :class:`~airflow_provider_leen.bulk.tickets.UnreadableRow`.
    """

    def __init__(self, rows: Iterable[Any]) -> None:
        file = tempfile.TemporaryFile()  # noqa: SIM115  # closed when the rows are no longer needed
        weakref.finalize(self, _close, file)
        self._descriptor = file.fileno()
        self._ends = array("Q", [0])
        self._unreadable: dict[int, UnreadableRow] = {}
        for index, row in enumerate(rows):
            if isinstance(row, UnreadableRow):
                self._unreadable[index] = row
            else:
                file.write(json.dumps(row).encode())
            self._ends.append(file.tell())
        file.flush()

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, index: Any) -> Any:
        if not 0 <= index < len(self):
            raise IndexError(index)
        if index in self._unreadable:
            return self._unreadable[index]
        start, end = self._ends[index], self._ends[index + 1]
        # Not by seek and read: batches are made in one thread and failed tickets are told in another.
        return json.loads(os.pread(self._descriptor, end - start, start))


def spool_json(file: TextIO) -> Sequence[Any]:
    """Return the rows of a ``.json`` file, which is not read into memory whole where it is an array of tickets.

    :raises LeenConfigError: it is no JSON, or neither an array nor an object.
    """
    try:
        return SpooledRows(_items(file))
    except (ValueError, RecursionError):
        # One ticket, lists of tickets, or no JSON, of which the reader of a text says what and where.
        file.seek(0)
        return read_json(file.read())


def _close(file: IO[bytes]) -> None:
    # Closing writes what a full disk has not taken so far, and nobody asks for it any more.
    with suppress(OSError):
        file.close()


def _items(file: TextIO) -> Iterator[Any]:
    """Read a JSON array, one item at a time.

    :raises ValueError: it is no such array, or an item of it is an array itself.
    """
    text = file.read(CHUNK).removeprefix("\ufeff").lstrip()
    if text[:1] != "[":
        raise ValueError("no array")
    at = _after_space(text, 1)
    more = CHUNK
    ended = text[at : at + 1] == "]"
    while not ended:
        try:
            item, end = _decode(text, _after_space(text, at))
            end = _after_space(text, end)
            ended = text[end] == "]"
        except (ValueError, IndexError):
            # The item goes on beyond what was read. A long one is not parsed again for every chunk of it.
            added = file.read(more)
            if not added:
                raise ValueError("no end") from None
            text, at, more = text[at:] + added, 0, 2 * more
            continue
        if isinstance(item, list) or text[end] not in ",]":
            raise ValueError("no array of tickets")
        yield item
        at, more = end + 1, CHUNK
    if text[at + (not ended) :].strip() or file.read().strip():
        raise ValueError("more than one array")


def _after_space(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at
