from __future__ import annotations

import dataclasses
import json
from types import MappingProxyType
from typing import Any

import pytest
from pydantic import BaseModel

from airflow_provider_leen.api.errors import LeenConfigError
from airflow_provider_leen.bulk.reading import parse_text, read_tickets
from tests.support.lazy import LazyItems

A, B = {"name": "a"}, {"name": "b"}
UNREAL = float("nan")


class Finding(BaseModel):
    name: str


@dataclasses.dataclass
class FindingRecord:
    name: str


class NAType:
    """As pandas marks what is missing in a column that holds no numbers: it can't even be compared."""

    def __ne__(self, other: object) -> bool:
        raise TypeError

    __hash__ = None  # type: ignore[assignment]


class Pandas:
    """A data frame, as far as it is looked at."""

    def __init__(self, *records: dict[str, Any]) -> None:
        self.records = records

    def to_dict(self, orient: str = "dict") -> Any:
        return list(self.records) if orient == "records" else {}


class Polars(Pandas):
    def to_dicts(self) -> list[dict[str, Any]]:
        return list(self.records)

    def to_dict(self, orient: str = "dict") -> Any:
        raise AssertionError


class Column:
    """A data frame's column, or an object of one's own."""

    def to_dict(self) -> dict[str, Any]:
        return {"name": "a"}


@pytest.mark.parametrize(
    ("value", "rows"),
    [
        pytest.param([], [], id="empty list"),
        pytest.param([A, B], [A, B], id="list"),
        pytest.param((A, B), [A, B], id="tuple"),
        pytest.param(A, [A], id="one ticket"),
        pytest.param(MappingProxyType(A), [A], id="one mapping that is no dict"),
        pytest.param([[A], [], (B, A)], [A, B, A], id="list of lists"),
        pytest.param([[B], A, (), None], [B, A], id="several sources: lists, one ticket, nothing"),
        pytest.param([LazyItems(A, [B]), [None, A]], [A, B, None, A], id="a mapped source; bad rows are kept"),
        pytest.param([[[A]]], [[A]], id="only one level is flattened"),
        pytest.param(LazyItems(A, B), [A, B], id="mapped upstream of one ticket each"),
        pytest.param(LazyItems([A, B], [], [A]), [A, B, A], id="mapped upstream of lists"),
        pytest.param(LazyItems(A, [B, A]), [A, B, A], id="mapped upstream of both"),
        pytest.param(LazyItems(), [], id="mapped upstream of nothing"),
        pytest.param('[{"name": "a"}]', [A], id="JSON list"),
        pytest.param(' {"name": "a"}\n', [A], id="JSON object"),
        pytest.param("[{'name': 'a'}, {'name': 'b'}]", [A, B], id="Python list"),
        pytest.param("({'name': 'a'},)", [A], id="Python tuple"),
        pytest.param("{'name': 'a'}", [A], id="Python dict"),
        pytest.param("[]", [], id="text of an empty list"),
        pytest.param([None, "x", 3], [None, "x", 3], id="bad rows are kept"),
        pytest.param({"tickets": [A, B]}, [A, B], id="Leen's own body"),
        pytest.param('{"tickets": [{"name": "a"}], "note": 1}', [A], id="the same as text, with more in it"),
        pytest.param([{"tickets": [A]}, B, Polars(A)], [A, B, A], id="several sources: a body, a ticket, a table"),
        pytest.param(LazyItems({"tickets": [A]}, [B], Polars(A, B)), [A, B, A, B], id="a mapped upstream of these"),
        pytest.param(Polars(A, B), [A, B], id="data frame of polars"),
        pytest.param(Pandas(A, B), [A, B], id="data frame of pandas"),
        pytest.param(Pandas(), [], id="empty data frame"),
        pytest.param([Pandas(A), None, B], [A, B], id="data frame, nothing and a ticket"),
        pytest.param(
            Pandas({"name": "a", "x": UNREAL, "y": None, "z": NAType()}, {"name": UNREAL}, {"name": "b", "n": 0.5}),
            [A, {"name": "b", "n": 0.5}],
            id="what is missing in a data frame is absent, and an empty row is none",
        ),
        pytest.param([{"title": "x"}, {"prioriti": "HIGH"}], [{"title": "x"}, {"prioriti": "HIGH"}], id="misspelt"),
        pytest.param([A, {"a": [1]}], [A, {"a": [1]}], id="one strange row among tickets"),
        pytest.param([{}], [{}], id="an empty row"),
        pytest.param([{"unsendable": "of type date"}], [{"unsendable": "of type date"}], id="a row handed on"),
    ],
)
def test_every_input_form_gives_its_rows_in_order(value: Any, rows: list[Any]) -> None:
    assert read_tickets(value) == rows


def test_a_model_and_a_dataclass_are_one_ticket() -> None:
    model, record = Finding(name="a"), FindingRecord("a")
    assert read_tickets(model) == [model]
    assert read_tickets(record) == [record]


@pytest.mark.parametrize(
    ("value", "part"),
    [
        pytest.param(None, "returned nothing", id="None"),
        pytest.param("None", "returned nothing", id="None as text"),
        pytest.param("null", "returned nothing", id="null as JSON"),
        pytest.param("", "empty text", id="empty"),
        pytest.param("  \n", "empty text", id="blank"),
        pytest.param("LazyXComSequence(<unevaluated length>)", "the_task.output", id="lazy sequence of 3.x as text"),
        pytest.param("LazySelectSequence([3 items])", "render_template_as_native_obj", id="of 2.11"),
        pytest.param("/data/findings.json", "tickets_path", id="path"),
        pytest.param("s3://bucket/findings", "tickets_path", id="URL"),
        pytest.param("findings.JSONL", "tickets_path", id="file name"),
        pytest.param("[{'when': datetime.datetime(2024, 1, 1)}]", ".output", id="no literal"),
        pytest.param("[{'name': 'a'", ".output", id="cut off"),
        pytest.param("[" * 5000, ".output", id="nested too deeply"),
        pytest.param("a finding", ".output", id="prose"),
        pytest.param('"a finding"', "of type str", id="JSON string"),
        pytest.param("17", "of type int", id="JSON number"),
        pytest.param(b"[]", "of type bytes", id="bytes"),
        pytest.param({1, 2}, "of type set", id="set"),
        pytest.param(iter([]), "of type list_iterator", id="iterator"),
        pytest.param(FindingRecord, "of type type", id="a class"),
        pytest.param(Column(), "of type Column", id="a data frame's column"),
    ],
)
def test_what_is_no_list_is_refused_in_one_sentence(value: Any, part: str) -> None:
    with pytest.raises(LeenConfigError) as caught:
        read_tickets(value)
    message = str(caught.value)
    assert message.startswith("`tickets` is ")
    assert part in message
    assert "\n" not in message


def test_a_long_text_is_not_echoed_whole() -> None:
    with pytest.raises(LeenConfigError) as caught:
        read_tickets("prose " * 1000)
    assert len(str(caught.value)) < 400


def test_template_marks_in_a_text_stay_as_they_are() -> None:
    row = {"name": "{{ conn.x.password }}"}
    assert read_tickets(json.dumps([row])) == [row]
    assert read_tickets(str([row])) == [row]


def test_only_tickets_may_be_advised_to_use_a_path() -> None:
    with pytest.raises(LeenConfigError) as caught:
        parse_text("/data/summary.json", "results")
    assert "tickets_path" not in str(caught.value)


REPORTS: dict[str, tuple[Any, list[str]]] = {
    "Trivy": (
        {"SchemaVersion": 2, "ArtifactName": "x", "Results": [{"Vulnerabilities": []}]},
        ["a Trivy report", "`Results`", "--format sarif"],
    ),
    "Semgrep": (
        {"version": "1", "results": [], "errors": [], "paths": {}},
        ["a Semgrep report", "`results`", "--sarif"],
    ),
    "Bandit": ({"errors": [], "generated_at": "", "metrics": {}, "results": []}, ["a Bandit report", "-f sarif"]),
    "grype": ({"matches": [], "source": {}, "distro": {}}, ["a grype report", "`matches`", "-o sarif"]),
    "OSV-Scanner": ({"results": [], "experimental_config": {}}, ["an OSV-Scanner report", "`results[].packages`"]),
    "gitleaks": ([{"RuleID": "aws", "Secret": "hunter2", **dict.fromkeys("abcdefghijk", "")}], ["a gitleaks report"]),
    "Nuclei": ([{"template-id": "x", "info": {"name": "y"}, "type": "http"}], ["a Nuclei report", "-sarif-export"]),
    "several": ([None, {"check_type": "terraform", "results": {"failed_checks": []}}], ["a Checkov report"]),
    "runs": ({"runs": []}, ["SARIF without its `version`"]),
    "another": ({"alerts": [{"hunter2": 1}]}, ["looks like a report", "each entry of `alerts`"]),
    "flat": ({"foo": "hunter2"}, ["looks like something else", "`foo`"]),
    "nothing": ({}, ["it is empty"]),
    "one of several sources": ([[A, B], {"matches": [], "distro": {}}], ["a grype report"]),
    "beside a ticket": ([{"Results": [{}]}, A], ["a Trivy report"]),
    "Leen's findings": (
        [{"id": "x", "severity": "HIGH", "state": "OPEN", "first_seen": "", "vulnerabilities": [], "type": "SAST"}],
        ["Leen's own findings", "`ticket_from_leen_finding`"],
    ),
}


@pytest.mark.parametrize("as_text", [False, True], ids=["object", "text"])
@pytest.mark.parametrize(("report", "parts"), REPORTS.values(), ids=REPORTS)
def test_a_report_is_refused_whole_in_one_sentence_that_names_it(report: Any, parts: list[str], as_text: bool) -> None:
    with pytest.raises(LeenConfigError) as caught:
        read_tickets(json.dumps(report) if as_text else report)
    message = str(caught.value)
    assert message.startswith("`tickets` holds no tickets: ")
    assert [part for part in parts if part not in message] == []
    assert "hunter2" not in message
    assert "\n" not in message
    assert len(message) < 500
