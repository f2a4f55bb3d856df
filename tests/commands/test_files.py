from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from airflow_provider_leen.api.errors import LeenConfigError
from airflow_provider_leen.bulk.tickets import UnreadableRow
from airflow_provider_leen.commands.files import read_file

ROWS = [{"name": "Rotate the key", "priority": "HIGH"}, {"name": "Ümlaut, comma"}]

FILES = {
    "an array": ("t.json", '[{"name": "Rotate the key", "priority": "HIGH"}, {"name": "Ümlaut, comma"}]'),
    "JSON Lines": ("t.jsonl", '{"name": "Rotate the key", "priority": "HIGH"}\n\n{"name": "Ümlaut, comma"}\n'),
    "JSON Lines by another name": (
        "T.NDJSON",
        '{"name": "Rotate the key", "priority": "HIGH"}\n{"name": "Ümlaut, comma"}',
    ),
    "CSV": ("t.csv", 'name,priority\nRotate the key,HIGH\n"Ümlaut, comma",\n'),
    "CSV from Excel": ("t.csv", '\ufeffname,priority\r\nRotate the key,HIGH\r\n"Ümlaut, comma",\r\n'),
}


@pytest.mark.parametrize(("name", "text"), FILES.values(), ids=FILES)
def test_rows_are_read_from(name: str, text: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8", newline="")
    assert read_file(path).rows == ROWS


def test_a_cell_may_hold_several_lines(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text('name,description\na,"first\nsecond"\n')
    assert read_file(tmp_path / "t.csv").rows == [{"name": "a", "description": "first\nsecond"}]


@pytest.mark.parametrize(
    ("name", "text", "places"),
    [
        ("t.csv", 'name\na\n"b\nc"\n\nd\n', ["line 2", "line 3", "line 6"]),
        ("t.csv", '\n"na\nme"\na\n', ["line 4"]),
        ("t.jsonl", '\n{"name": "a"}\n\n{"name": "b"}\n', ["line 2", "line 4"]),
        ("t.json", '[{"name": "a"},\n\n{"name": "b"}]', ["row 1", "row 2"]),
    ],
)
def test_a_row_s_place_is_where_a_person_finds_it(name: str, text: str, places: list[str], tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    file = read_file(tmp_path / name)
    assert [file.place(index) for index in range(len(file.rows))] == places


@pytest.mark.parametrize("text", ["name,,\na,,\n", "name\na,\n", "name,description\na\n"])
def test_an_empty_cell_is_nothing_also_where_there_is_no_name_above_it(text: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(text)
    assert read_file(tmp_path / "t.csv").rows == [{"name": "a"}]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("t.csv", "name\na\nb,c\n", "the first line names no field for 'c'"),
        ("t.csv", "name,,\na,,\nb,c,\n", "the first line names no field for 'c'"),
        ("t.jsonl", '{"name": "a"}\n{"name"\n', "line 2 is no JSON"),
    ],
)
def test_a_row_that_can_not_be_read_is_one_row_that_says_where_it_stands(
    name: str, text: str, said: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(text)
    good, bad = read_file(tmp_path / name).rows
    assert good == {"name": "a"}
    assert isinstance(bad, UnreadableRow)
    assert said in bad.reason


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("t.xlsx", b"", "must end in .json, .jsonl, .ndjson, .csv"),
        ("t.json", b'{"name": "a"}\n{"name": "b"}\n', "name it .jsonl"),
        ("t.json", b'"a"', "holds no array"),
        ("t.json", b"\xff\xfe", "not in UTF-8"),
        ("t.json", b"", "it is empty"),
        ("t.csv", b'name\na\n"b\n', "line 3 is no CSV .unexpected end of data."),
        ("t.csv", b"name,priority,name\na,HIGH,b\n", "names 'name' twice"),
        ("t.csv", b"name;priority\na;HIGH\n", "separated by ';': separate them by commas"),
        ("missing.csv", None, "No such file"),
    ],
)
def test_a_file_that_can_not_be_read_is_one_sentence(name: str, content: Any, said: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(LeenConfigError, match=said) as caught:
        read_file(tmp_path / name)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)
