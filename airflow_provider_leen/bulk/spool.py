"""A list of rows in a temporary file instead of in memory; each row is read when it is needed.

The original file can't be used for that: it may be overwritten meanwhile, and object stores have no cheap random
access.
"""

from __future__ import annotations

import json
import os
import tempfile
import weakref
from array import array
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import IO, Any

from airflow_provider_leen.bulk.reading import UnreadableRow


class SpooledRows(Sequence[Any]):
    """The rows, each parsed again at every access.

    :param rows: what a reader yields: JSON values and :class:`~airflow_provider_leen.bulk.reading.UnreadableRow`.
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
        # Not by seek and read: several threads read rows.
        return json.loads(os.pread(self._descriptor, end - start, start))


def _close(file: IO[bytes]) -> None:
    # Closing would write the rest that a full disk has refused.
    with suppress(OSError):
        file.close()
