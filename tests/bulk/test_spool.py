from __future__ import annotations

import gc
import io
import json
import os
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest

from airflow_provider_leen.api.errors import LeenConfigError
from airflow_provider_leen.bulk import spool
from airflow_provider_leen.bulk.spool import SpooledRows, spool_json
from airflow_provider_leen.bulk.tickets import UnreadableRow

ROWS: list[Any] = [{"name": "a"}, 17, None, "text", [], {"name": "Zürich \ud83d", "n": [1.5, {"x": True}]}]


def test_rows_come_back_as_they_were_in_any_order() -> None:
    rows = SpooledRows(iter(ROWS))
    assert len(rows) == 6
    assert list(rows) == ROWS
    assert [rows[5], rows[0]] == [ROWS[5], ROWS[0]]
    with pytest.raises(IndexError):
        rows[6]


def test_a_row_that_could_not_be_read_stays_one() -> None:
    unreadable = UnreadableRow("{oops", "line 2 is no JSON")
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


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize(
    "text",
    [
        "[]",
        ' [ {"name" : "a"} , {"name": "b, ]"}\n]\n',
        '\ufeff[{"a": [1, 2, {"b": "]"}]}]',
        "[123, 4.5, true, null]",
        '[{"name": "\\ud83d\\" \\\\"}, "x"]',
        json.dumps([{"description": "x" * 300} for _ in range(5)]),
        '{"name": "one"}',
        "[[1, 2], [3]]",
    ],
)
def test_an_array_is_read_alike_however_it_arrives(text: str, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool, "CHUNK", chunk)
    whole = json.loads(text.removeprefix("\ufeff"))
    expected = {'{"name": "one"}': [{"name": "one"}], "[[1, 2], [3]]": [1, 2, 3]}.get(text, whole)
    assert list(spool_json(io.StringIO(text))) == expected


@pytest.mark.parametrize("chunk", [1, 5, 1000])
@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is empty"),
        ('[{"name": "a"},\n {"name": }]', "line 2, column 11"),
        ('[{"name": "a"}', "no JSON"),
        ('[{"name": "a"},]', "no JSON"),
        ('[{"name": "a"} {"name": "b"}]', "no JSON"),
        ('[{"name": "a"}] [{"name": "b"}]', ".jsonl"),
        ('[{"name": "a"}]' + " " * 2000 + "x", "no JSON"),
        ("[" * 100_000, "nested too deeply"),
        ("17", "array of objects"),
    ],
)
def test_what_is_no_array_is_refused_with_the_place(
    text: str, says: str, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool, "CHUNK", chunk)
    with pytest.raises(LeenConfigError) as caught:
        spool_json(io.StringIO(text))
    assert says in str(caught.value)


def test_an_array_is_never_held_whole() -> None:
    class File(io.StringIO):
        asked = 0

        def read(self, size: int | None = -1) -> str:
            assert size is not None
            assert 0 < size <= 64 * 1024 or self.tell() == len(text)
            File.asked += 1
            return super().read(size)

    text = json.dumps([{"description": "x" * 1000} for _ in range(1000)])
    assert len(spool_json(File(text))) == 1000
    assert File.asked > 10
