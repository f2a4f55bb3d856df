from __future__ import annotations

import json
import os
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from airflow_provider_leen.api.errors import LeenConfigError
from airflow_provider_leen.bulk.results_file import failed_path, read_results, write_lines
from airflow_provider_leen.bulk.statuses import Status
from airflow_provider_leen.bulk.summary import TicketResult, summarise
from airflow_provider_leen.bulk.whole_file import NotRegularError, check_writable, open_regular, whole_file


def results(*statuses: Status) -> list[TicketResult]:
    return [
        {
            "request_index": index,
            "success": status == "created",
            "status": status,
            "name": "Zürich \ud83d\n",
            "identifier": None,
            "ticket_id": None,
            "vendor_ticket_id": f"SEC-{index}",
            "error": None,
        }
        for index, status in enumerate(statuses)
    ]


THREE = results("created", "rejected", "created")


def test_results_come_back_as_they_were_written(tmp_path: Path) -> None:
    write_lines(tmp_path / "r.jsonl", iter(THREE))
    assert len((tmp_path / "r.jsonl").read_text().splitlines()) == 3
    assert list(read_results(tmp_path / "r.jsonl", summarise(THREE))) == THREE


def test_none_of_none_is_no_mismatch(tmp_path: Path) -> None:
    write_lines(tmp_path / "r.jsonl", [])
    assert list(read_results(tmp_path / "r.jsonl", summarise([]))) == []


@pytest.mark.parametrize(
    ("content", "says"),
    [
        pytest.param(None, "there is no such file", id="missing"),
        pytest.param("", "its 0 results", id="empty"),
        pytest.param("\n".join(map(json.dumps, THREE[:2])), "its 2 results", id="too few"),
        pytest.param(
            "\n".join(map(json.dumps, results("created", "created", "created"))), "3 results", id="other ones"
        ),
        pytest.param('{"name": "half', "JSONDecodeError", id="no JSON"),
        pytest.param('{"name": "a ticket"}', "entries that are not results", id="other JSON"),
        pytest.param(b"\xff", "UnicodeDecodeError", id="no UTF-8"),
    ],
)
def test_a_file_that_is_not_this_summarys_is_refused(tmp_path: Path, content: str | bytes | None, says: str) -> None:
    path = tmp_path / "r.jsonl"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(LeenConfigError) as caught:
        list(read_results(path, summarise(THREE)))
    assert says in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_file_without_lines_is_not_read_into_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow_provider_leen.bulk.results_file._LONGEST_LINE", 1000)
    path = tmp_path / "r.jsonl"
    path.write_text("x" * 10_000_000)
    tracemalloc.start()
    try:
        with pytest.raises(LeenConfigError, match="JSONDecodeError"):
            list(read_results(path, summarise(THREE)))
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_a_folder_is_refused_too(tmp_path: Path) -> None:
    with pytest.raises(LeenConfigError, match="IsADirectoryError"):
        list(read_results(tmp_path, summarise(THREE)))


def test_a_file_is_there_whole_or_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_text("old")

    def half() -> Iterator[str]:
        yield "half"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_lines(path, half())
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path], "half a file would fill a disk that is full"
    with whole_file(path) as file:
        file.write("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_asking_whether_a_file_can_be_written_leaves_what_is_there(tmp_path: Path) -> None:
    there, new = tmp_path / "there.jsonl", tmp_path / "new" / "r.jsonl"
    there.write_text("the newest try's")
    check_writable(there)
    check_writable(new)
    assert there.read_text() == "the newest try's"
    assert set(tmp_path.iterdir()) == {new.parent, there}
    assert list(new.parent.iterdir()) == []


# Others who may write into the folder


def test_no_name_can_be_guessed_and_no_link_is_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    folder = tmp_path / "shared"
    folder.mkdir()
    path = folder / "r.jsonl"
    for planted in (f"{path.name}.part", f"{path.name}.tmp", path.name):
        (folder / planted).symlink_to(victim)
    names = set()
    for _ in range(2):
        with whole_file(path):
            names |= {entry.name for entry in folder.iterdir()}
    write_lines(path, THREE)
    assert victim.read_text() == "untouched"
    assert not path.is_symlink()
    assert list(read_results(path, summarise(THREE))) == THREE
    assert len([name for name in names if name.startswith(".leen-")]) == 2, "a new name each time"


def test_a_temporary_name_that_was_guessed_is_not_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow_provider_leen.bulk.whole_file.secrets.token_hex", lambda size: "guessed")
    (tmp_path / "victim").write_text("untouched")
    (tmp_path / ".leen-guessed.part").symlink_to(tmp_path / "victim")
    with pytest.raises(FileExistsError):
        write_lines(tmp_path / "r.jsonl", THREE)
    assert (tmp_path / "victim").read_text() == "untouched"


def test_a_file_is_for_its_owner_alone_also_where_one_was_there(tmp_path: Path) -> None:
    for path in (tmp_path / "new.jsonl", tmp_path / "old.jsonl"):
        (tmp_path / "old.jsonl").write_text("old")
        (tmp_path / "old.jsonl").chmod(0o666)
        with whole_file(path) as file:
            assert os.fstat(file.fileno()).st_mode & 0o777 == 0o600
        assert path.stat().st_mode & 0o777 == 0o600


def test_a_file_that_is_not_regular_is_neither_read_nor_replaced(irregular: Path) -> None:
    before = irregular.lstat()
    with pytest.raises(LeenConfigError, match=r"it is not a regular file but a (pipe|socket|device)"):
        list(read_results(irregular, summarise(THREE)))
    with pytest.raises(NotRegularError):
        write_lines(irregular, THREE)
    assert irregular.lstat().st_ino == before.st_ino


def test_results_are_not_read_through_a_link(tmp_path: Path) -> None:
    write_lines(tmp_path / "others.jsonl", THREE)
    (tmp_path / "r.jsonl").symlink_to(tmp_path / "others.jsonl")
    with pytest.raises(LeenConfigError, match=r"it is not a regular file but a link"):
        list(read_results(tmp_path / "r.jsonl", summarise(THREE)))


@pytest.mark.parametrize("swapped_for", ["pipe", "link"])
def test_what_was_swapped_while_it_was_opened_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, swapped_for: str
) -> None:
    path, victim = tmp_path / "r.jsonl", tmp_path / "victim"
    victim.write_text("secret")
    path.write_text("")
    true_open = os.open

    def swap(*arguments: Any, **options: Any) -> int:
        path.unlink()
        os.mkfifo(path) if swapped_for == "pipe" else path.symlink_to(victim)
        return true_open(*arguments, **options)

    monkeypatch.setattr("airflow_provider_leen.bulk.whole_file.os.open", swap)
    with pytest.raises(OSError, match=r"regular file but a pipe|symbolic links"):
        open_regular(path, follow=False)


def test_a_folder_that_the_user_may_not_write_into_is_named() -> None:
    with TemporaryDirectory() as folder:
        os.chmod(folder, 0o555)
        am_root = os.geteuid() == 0
        if am_root:  # who may write everywhere
            os.seteuid(65534)
        try:
            with pytest.raises(PermissionError) as caught:
                write_lines(Path(folder) / "r.jsonl", THREE)
        finally:
            if am_root:
                os.seteuid(0)
    assert str(caught.value).endswith(f"the worker's user may not write into this folder: '{folder}'")


def test_failed_rows_are_in_a_file_beside_the_results_that_tickets_path_accepts() -> None:
    assert failed_path("s3://bucket/results").endswith(".jsonl")
