from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_leen.api.errors import LeenConfigError
from airflow_provider_leen.bulk.reading import UnreadableRow
from airflow_provider_leen.bulk.ticket_file import TicketFile, read_file, read_lines

ROWS = [{"name": "Rotate the key", "priority": "HIGH"}, {"name": "Ümlaut, comma"}]


def read(path: Path) -> TicketFile:
    return read_file(path, str(path))


FILES = {
    "an array": ("t.json", '[{"name": "Rotate the key", "priority": "HIGH"}, {"name": "Ümlaut, comma"}]'),
    "JSON Lines": ("t.jsonl", '{"name": "Rotate the key", "priority": "HIGH"}\n\n{"name": "Ümlaut, comma"}\n'),
    "JSON Lines by another name": (
        "T.NDJSON",
        '{"name": "Rotate the key", "priority": "HIGH"}\n{"name": "Ümlaut, comma"}',
    ),
    "CSV": ("t.csv", 'name,priority\nRotate the key,HIGH\n"Ümlaut, comma",\n'),
    "an array, shouted": ("T.JSON", '[{"name": "Rotate the key", "priority": "HIGH"}, {"name": "Ümlaut, comma"}]'),
    "Leen's own body": (
        "t.json",
        '{"tickets": [{"name": "Rotate the key", "priority": "HIGH"}, {"name": "Ümlaut, comma"}]}',
    ),
    "CSV with empty rows": ("t.csv", 'name,priority\n,\nRotate the key,HIGH\n , \n\n"Ümlaut, comma",\n,,\n'),
    "CSV from Excel": ("t.csv", '\ufeffname,priority\r\nRotate the key,HIGH\r\n"Ümlaut, comma",\r\n'),
}


@pytest.mark.parametrize(("name", "text"), FILES.values(), ids=FILES)
def test_rows_are_read_from(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8", newline="")
    assert list(read(tmp_path / name).rows) == ROWS
    for ending in (".gz", ".GZ"):
        (tmp_path / f"{name}{ending}").write_bytes(gzip.compress(text.encode()))
        assert list(read(tmp_path / f"{name}{ending}").rows) == ROWS


def test_a_cell_may_hold_several_lines(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text('name,description\na,"first\nsecond"\n')
    assert list(read(tmp_path / "t.csv").rows) == [{"name": "a", "description": "first\nsecond"}]


@pytest.mark.parametrize(
    ("name", "text", "places"),
    [
        ("t.csv", 'name\na\n"b\nc"\n\n,\nd\n', ["line 2", "line 3", "line 7"]),
        ("t.csv", '\n"na\nme",name\na,b\n', ["line 4"]),
        ("t.jsonl", '\n{"name": "a"}\n\n{"name": "b"}\n', ["line 2", "line 4"]),
        ("t.json", '[{"name": "a"},\n\n{"name": "b"}]', ["row 1", "row 2"]),
    ],
)
def test_a_row_s_place_is_where_a_person_finds_it(name: str, text: str, places: list[str], tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    file = read(tmp_path / name)
    assert [file.place(index) for index in range(len(file.rows))] == places


@pytest.mark.parametrize("text", ["name,,\na,,\n", "name\na,\n", "name,description\na\n"])
def test_an_empty_cell_is_nothing_also_where_there_is_no_name_above_it(text: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(text)
    assert list(read(tmp_path / "t.csv").rows) == [{"name": "a"}]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("t.csv", "name\na\nb,c\n", "the first line names no field for 'c'"),
        ("t.csv", "name,,\na,,\nb,c,\n", "the first line names no field for 'c'"),
        ("t.jsonl", '{"name": "a"}\n{"name"\n', "it is not JSON"),
    ],
)
def test_a_row_that_can_not_be_read_is_one_row_with_its_position(
    name: str, text: str, said: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(text)
    good, bad = read(tmp_path / name).rows
    assert good == {"name": "a"}
    assert isinstance(bad, UnreadableRow)
    assert said in bad.reason


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("t.xlsx", b"", "must end in .json, .jsonl, .ndjson, .csv or .sarif, or in one of these and .gz"),
        ("t.gz", b"", "must end in"),
        ("t.json.gz", b"[]", "not compressed by gzip"),
        ("t.json.gz", gzip.compress(b"[]", mtime=0)[:-9], "end too early"),
        ("t.jsonl.gz", gzip.compress(b"", mtime=0)[:10] + b"\x07", "damaged"),
        ("t.sarif", b'[{"name": "a"}]', "it is not a SARIF report"),
        ("t.json", b"[" * 100_000, "nested too deeply"),
        ("t.json", b'[\n{"name": }]', "line 2, column 10"),
        ("t.json", b'{"name": "a"}\n{"name": "b"}\n', "name the file .jsonl"),
        ("t.json", b'"a"', "write an array of objects"),
        ("t.json", b"\xff\xfe", "not UTF-8"),
        ("t.json", b"", "it is empty"),
        ("t.csv", b'name\na\n"b\n', "line 3 is not CSV .unexpected end of data."),
        ("t.csv", b"name,priority,name\na,HIGH,b\n", "names 'name' twice"),
        ("t.csv", b"name;priority\na;HIGH\n", "separated by ';': use commas"),
        (
            "t.csv",
            b"Title,Severity\na,HIGH\n",
            "names no field of a ticket .'Title, Severity'.; the fields are name, project",
        ),
        ("missing.csv", None, "there is no such file"),
    ],
)
def test_a_file_that_can_not_be_read_is_one_sentence(name: str, content: Any, said: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(LeenConfigError, match=said) as caught:
        read(tmp_path / name)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


REPORTS = {
    "a Trivy report": ("t.json", '{"ArtifactName": "x", "Results": [], "SchemaVersion": 2}'),
    "a gitleaks report": ("t.JSON", '[{"RuleID": "x", "Secret": "hunter2", "Tags": []}]'),
    "a Nuclei report": (
        "t.jsonl",
        '{"template-id": "x", "info": {"name": "hunter2"}}\n{"template-id": "y", "info": {}}\n',
    ),
}


@pytest.mark.parametrize(("kind", "file"), REPORTS.items(), ids=REPORTS)
def test_a_report_is_refused_by_its_name(kind: str, file: tuple[str, str], tmp_path: Path) -> None:
    name, text = file
    (tmp_path / name).write_text(text)
    with pytest.raises(LeenConfigError) as caught:
        read(tmp_path / name)
    assert str(caught.value).startswith(f"{tmp_path / name} holds no tickets: it looks like {kind} (")
    assert "hunter2" not in str(caught.value)


def test_blank_lines_and_a_byte_order_mark_are_skipped() -> None:
    lines = ['\ufeff{"name": "a"}\r\n', "\n", "  \n", '{"name": "b"}']
    assert list(read_lines(lines)) == [{"name": "a"}, {"name": "b"}]


def test_a_line_that_does_not_parse_is_one_row_that_says_why() -> None:
    rows = list(read_lines(['{"name": "a"}', "", '{"name": ' + "x" * 1000, '{"name": "b"}']))
    assert [rows[0], rows[2]] == [{"name": "a"}, {"name": "b"}]
    assert isinstance(rows[1], UnreadableRow)
    assert rows[1].line == 3
    assert "column 10" in rows[1].reason
    assert len(rows[1].text) <= 80
    assert len(rows[1].reason) < 200


@pytest.mark.parametrize("line", ["[", '[{"name": "a"}, {"name": "b"}]', "[]", "[" * 100_000])
def test_an_array_is_advised_to_be_in_a_json_file(line: str) -> None:
    (row,) = read_lines([line])
    assert isinstance(row, UnreadableRow)
    assert "it begins an array" in row.reason
    assert "name the file .json" in row.reason
    assert len(row.reason) < 200


def test_lines_are_read_one_by_one() -> None:
    def lines() -> Iterator[str]:
        for number in range(3):
            yield json.dumps({"name": str(number)})

    assert [row["name"] for row in read_lines(lines())] == ["0", "1", "2"]
