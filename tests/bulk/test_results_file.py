from __future__ import annotations

import json
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_provider_leen.api.errors import LeenConfigError
from airflow_provider_leen.bulk.results_file import failed_path, make_empty, read_results, write_lines
from airflow_provider_leen.bulk.summary import Status, TicketResult, summarise
from airflow_provider_leen.bulk.whole_file import whole_file


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
    make_empty(tmp_path / "new" / "folder" / "r.jsonl")
    assert list(read_results(tmp_path / "new" / "folder" / "r.jsonl", summarise([]))) == []


@pytest.mark.parametrize(
    ("content", "says"),
    [
        pytest.param(None, "there is no such file", id="missing"),
        pytest.param("", "it has 0 results", id="empty"),
        pytest.param("\n".join(map(json.dumps, THREE[:2])), "it has 2 results", id="too few"),
        pytest.param(
            "\n".join(map(json.dumps, results("created", "created", "created"))), "3 results", id="other ones"
        ),
        pytest.param('{"name": "half', "JSONDecodeError", id="no JSON"),
        pytest.param('{"name": "a ticket"}', "something else than results", id="other JSON"),
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


def test_what_failed_lies_beside_the_results_under_a_name_that_tickets_path_takes() -> None:
    assert failed_path("s3://bucket/results").endswith(".jsonl")
