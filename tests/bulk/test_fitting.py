from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_leen.api.errors import LeenConfigError
from airflow_provider_leen.bulk.fitting import (
    CUT,
    CUT_FOR_KEY,
    HALF_REPLACED,
    LEFT_OUT,
    NAME_CUT,
    ONE_LINE,
    PRIORITY,
    Fitting,
    read_priority_map,
    refused_by_tracker,
)
from airflow_provider_leen.bulk.validation import Wording

MAP = {"ERROR": "HIGH", "warning": "medium", "P1": "Blocker", "low": "INFORMATIONAL", "Low": "UNKNOWN"}
LONG = "word " * 60 + "end"
CUT_LONG = LONG[:254] + "…"


def fit(ticket: dict[str, Any], priority_map: Any = None, *, embed_key: bool = False) -> tuple[dict[Any, Any], Any]:
    return Fitting(priority_map, embed_key=embed_key).fit(ticket)


@pytest.mark.parametrize(
    ("name", "fitted", "changes"),
    [
        pytest.param("a  b", "a  b", (), id="as given"),
        pytest.param("x" * 255, "x" * 255, (), id="fits exactly"),
        pytest.param("a\nb", "a b", (ONE_LINE,), id="line break"),
        pytest.param("\n a\r\n\n  b \tc\u2028d\n", "a b c d", (ONE_LINE,), id="several lines, indented"),
        pytest.param("a\x00b\x1b", "ab", (LEFT_OUT,), id="control characters"),
        pytest.param("a\ud83d", "a\ufffd", (HALF_REPLACED,), id="half a pair"),
        pytest.param("a\xa0b", "a\xa0b", (), id="a no-break space is no line break"),
        pytest.param("\n\x00", "", (LEFT_OUT, ONE_LINE), id="nothing left"),
        pytest.param(17, 17, (), id="no text"),
    ],
)
def test_a_name_is_one_line_of_text(name: Any, fitted: Any, changes: Any) -> None:
    assert fit({"name": name}) == ({"name": fitted}, changes)


@pytest.mark.parametrize(
    ("name", "cut"),
    [
        pytest.param("x" * 256, "x" * 254 + "…", id="one too many"),
        pytest.param("🎫" * 128, "🎫" * 127 + "…", id="code units, not characters"),
        pytest.param("x" + "🎫" * 128, "x" + "🎫" * 126 + "…", id="a pair is not parted"),
    ],
)
def test_a_long_name_is_shortened_and_the_whole_name_is_in_the_description(name: str, cut: str) -> None:
    assert fit({"name": name}) == ({"name": cut, "description": name}, (NAME_CUT,))
    assert len(cut.encode("utf-16-le")) // 2 <= 255


@pytest.mark.parametrize(
    ("description", "fitted"),
    [
        pytest.param("More.", f"{LONG}\n\nMore.", id="before it"),
        pytest.param("", LONG, id="instead of an empty one"),
        pytest.param(LONG, LONG, id="not twice"),
        pytest.param(f"{LONG}\r\nMore.", f"{LONG}\r\nMore.", id="not twice either"),
        pytest.param(["x"], ["x"], id="not before what is no text"),
    ],
)
def test_where_a_whole_name_is_written(description: Any, fitted: Any) -> None:
    ticket, changes = fit({"name": LONG, "description": description})
    assert (ticket["name"], ticket["description"], changes) == (CUT_LONG, fitted, (NAME_CUT,))


def test_the_line_breaks_of_a_long_name_are_gone_in_the_description_too() -> None:
    ticket, changes = fit({"name": LONG.replace(" ", "\n")})
    assert (ticket, changes) == ({"name": CUT_LONG, "description": LONG}, (ONE_LINE, NAME_CUT))


@pytest.mark.parametrize(
    ("description", "kept"),
    [
        pytest.param("x" * 32_733, 32_733, id="fits exactly"),
        pytest.param("x" * 32_734, 32_732, id="one too many"),
        pytest.param("x" * 32_740, 32_732, id="C6"),
        pytest.param("x" * 500_000, 32_732, id="a whole report"),
        pytest.param("🎫" * 16_366, 16_366, id="pairs that fit"),
        pytest.param("🎫" * 16_367, 16_366, id="a pair too many"),
        pytest.param("x" + "🎫" * 16_367, 1 + 16_365, id="a pair is not parted"),
    ],
)
def test_a_description_is_cut_so_that_a_key_fits(description: str, kept: int) -> None:
    ticket, changes = fit({"name": "a", "description": description}, embed_key=True)
    whole = kept == len(description)
    assert ticket["description"] == description[:kept] + "…" * (not whole)
    assert changes == (() if whole else (CUT_FOR_KEY,))
    assert len(ticket["description"].encode("utf-16-le")) // 2 <= 32_767 - 2 - 32
    assert fit({"description": description}) == ({"description": description}, ())


def test_a_whole_name_never_makes_a_description_too_long() -> None:
    ticket, changes = fit({"name": LONG, "description": "x" * 32_700})
    assert len(ticket["description"]) == 32_767
    assert changes == (NAME_CUT, CUT)
    ticket, _ = fit({"name": "x" * 100_000}, embed_key=True)
    assert len(ticket["description"]) == 32_767 - 2 - 32


@pytest.mark.parametrize(
    ("given", "priority"),
    [
        ("HIGH", "HIGH"),
        ("high", "HIGH"),
        (" Critical ", "CRITICAL"),
        ("informational", "INFORMATIONAL"),
        ("ERROR", "HIGH"),
        ("error", "HIGH"),
        ("Warning", "MEDIUM"),
        ("p1", "Blocker"),
        ("low", "INFORMATIONAL"),
        ("Low", "UNKNOWN"),
        ("LOW", "INFORMATIONAL"),
        ("urgent", "urgent"),
        ("", ""),
    ],
)
def test_a_priority_is_mapped_else_leens_in_any_case_else_as_given(given: str, priority: str) -> None:
    assert fit({"priority": given}, MAP) == ({"priority": priority}, (PRIORITY,) * (given != priority))


def test_a_priority_that_is_no_text_stays_what_it_is() -> None:
    assert fit({"priority": 3}, MAP) == ({"priority": 3}, ())


@pytest.mark.parametrize("value", [None, "None", "{}", {}])
def test_there_need_be_no_map(value: Any) -> None:
    assert read_priority_map(value) == {}


@pytest.mark.parametrize("value", [{"ERROR": "HIGH"}, '{"ERROR": "HIGH"}', "{'ERROR': 'HIGH'}"])
def test_a_map_may_be_a_text(value: Any) -> None:
    assert read_priority_map(value) == {"ERROR": "HIGH"}


@pytest.mark.parametrize(
    "value", [["HIGH"], 3, {3: "HIGH"}, {"ERROR": 1}, {"ERROR": None}, {"ERROR": " "}, "ERROR=HIGH"]
)
def test_a_map_that_can_not_be_used_is_refused_in_one_sentence(value: Any) -> None:
    with pytest.raises(LeenConfigError, match=r"^`priority_map` .*[{}]|JSON") as caught:
        read_priority_map(value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("ticket", "said"),
    [
        ({"name": "a"}, []),
        ({"priority": "HIGH", "description": "x" * 32_767}, []),
        ({"priority": "P1"}, ["`priority` 'P1' is none of Leen's"]),
        ({"description": "x" * 32_768}, ["`description` has 32768 characters"]),
        ({"description": "🎫" * 16_384, "priority": ""}, ["`description` has", "`priority` ''"]),
    ],
)
def test_what_the_tracker_will_refuse_is_known_before(ticket: dict[str, str], said: list[str]) -> None:
    refusals = list(map(str, refused_by_tracker(ticket, Wording())))
    assert len(refusals) == len(said)
    assert all(refusal.startswith(begin) for refusal, begin in zip(refusals, said, strict=True))
