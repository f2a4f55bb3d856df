from __future__ import annotations

import gc
import os
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest

from airflow_provider_leen.bulk.reading import UnreadableRow
from airflow_provider_leen.bulk.spool import SpooledRows

ROWS: list[Any] = [{"name": "a"}, 17, None, "text", [], {"name": "Zürich \ud83d", "n": [1.5, {"x": True}]}]


def test_rows_come_back_as_they_were_in_any_order() -> None:
    rows = SpooledRows(iter(ROWS))
    assert len(rows) == 6
    assert list(rows) == ROWS
    assert [rows[5], rows[0]] == [ROWS[5], ROWS[0]]
    with pytest.raises(IndexError):
        rows[6]


def test_a_row_that_could_not_be_read_stays_one() -> None:
    unreadable = UnreadableRow("{oops", "it is not JSON", 2)
    assert list(SpooledRows([{"name": "a"}, unreadable, {"name": "b"}])) == [{"name": "a"}, unreadable, {"name": "b"}]


def test_threads_do_not_disturb_each_other() -> None:
    rows = SpooledRows({"number": number, "text": "x" * number} for number in range(500))
    with ThreadPoolExecutor(4) as threads:
        read = list(threads.map(lambda number: rows[number]["number"], [*range(500)] * 4))
    assert read == [*range(500)] * 4


def test_the_file_is_gone_with_the_rows() -> None:
    before = temporary_files()
    rows = SpooledRows(ROWS)
    [file] = temporary_files() - before
    del rows
    gc.collect()
    assert file not in temporary_files()


def test_the_file_is_for_its_owner_alone() -> None:
    rows = SpooledRows(ROWS)
    assert os.fstat(rows._descriptor).st_mode & 0o777 == 0o600


def test_rows_that_a_full_disk_did_not_take_go_without_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    raised: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", raised.append)
    file = open("/dev/full", "r+b")  # noqa: SIM115  # the rows close it
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda: file)
    with pytest.raises(OSError, match="No space left"):
        SpooledRows(ROWS)
    gc.collect()
    assert file.closed
    assert not raised


def temporary_files() -> set[str]:
    """The open files without a name: sockets and logs of other tests come and go meanwhile."""
    names = set()
    for descriptor in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # the one that listed them
            names.add(os.readlink(f"/proc/self/fd/{descriptor}"))
    return {
        name
        for name in names
        if name.startswith(os.path.realpath(tempfile.gettempdir())) and name.endswith(" (deleted)")
    }
