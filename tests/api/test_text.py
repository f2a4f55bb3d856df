from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_leen.api.text import clean, clean_json, count_unsafe, cut, for_terminal, one_line

HALF = "\ud83d"

CLEANED: dict[str, tuple[str, str]] = {
    "plain text stays": ("SQL injection in app.py", "SQL injection in app.py"),
    "letters of all scripts stay": ("Prüfung 検査 🛡️ é", "Prüfung 検査 🛡️ é"),
    "tab and line breaks stay": ("a\tb\nc\r\nd", "a\tb\nc\r\nd"),
    "NUL": ("a\x00b", "ab"),
    "C0": ("a\x01\x08\x0b\x0c\x0e\x1fb", "ab"),
    "DEL and C1": ("a\x7f\x80\x85\x9fb", "ab"),
    "an escape sequence loses what makes it one": ("\x1b[31mred", "[31mred"),
    "writing direction": ("a\u202eb\u2066c\u200fd\u061ce", "abcde"),
    "half a surrogate pair": (f"a{HALF}b", "a\ufffdb"),
    "halves that belong together": ("\ud83d\udee1", "🛡"),
    "halves in the wrong order": ("\udee1\ud83d", "\ufffd\ufffd"),
    "empty": ("", ""),
}


@pytest.mark.parametrize(("text", "cleaned"), CLEANED.values(), ids=CLEANED)
def test_a_text_is_cleaned(text: str, cleaned: str) -> None:
    assert clean(text) == cleaned
    assert clean(cleaned) == cleaned


@pytest.mark.parametrize("code", [*range(0x20), *range(0x7F, 0xA0), 0xD800, 0xDFFF, 0x202E, 0x2069])
def test_no_unsafe_character_survives_but_tab_and_line_breaks(code: int) -> None:
    assert clean(f"a{chr(code)}b") in (["a" + chr(code) + "b"] if chr(code) in "\t\n\r" else ["ab", "a\ufffdb"])


def test_a_value_is_cleaned_with_all_that_is_in_it() -> None:
    value: Any = {"a\x00": ["b\x00", {"c": "d\x1b", "e": 1, "f": None, "g": True}]}
    assert clean_json(value) == {"a": ["b", {"c": "d", "e": 1, "f": None, "g": True}]}


@pytest.mark.parametrize(
    ("number", "plain"),
    [(2**63 - 1, 2**63 - 1), (2**63, "0x8000000000000000"), (10**5000, hex(10**5000)), (1.5, 1.5), (True, True)],
    ids=["64 bits", "more", "more digits than Python writes", "float", "bool"],
)
def test_a_number_stays_one_where_every_database_takes_it(number: Any, plain: Any) -> None:
    assert clean_json([number]) == [plain]


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_a_number_that_json_does_not_have_is_none(number: float) -> None:
    assert clean_json({"a": number}) == {"a": None}


def test_what_is_left_out_and_what_is_replaced_are_counted() -> None:
    assert count_unsafe("a\x00\x1b\u202eb\tc") == (3, 0)
    assert count_unsafe(f"\ufffd{HALF}\x00{HALF}") == (1, 2)


@pytest.mark.parametrize(
    ("text", "limit", "cut_text"),
    [("abcd", 4, "abcd"), ("abcde", 4, "abc…"), ("🛡🛡", 4, "🛡🛡"), ("🛡🛡a", 4, "🛡…"), ("a🛡🛡", 4, "a🛡…"), ("", 4, "")],
)
def test_a_text_is_cut_by_utf_16_code_units_and_no_pair_is_parted(text: str, limit: int, cut_text: str) -> None:
    assert cut(text, limit) == cut_text


def test_a_value_nested_too_deep_is_cut() -> None:
    deep: Any = "x"
    for _ in range(10_000):
        deep = [deep]
    text = str(clean_json(deep))
    assert "…" in text
    assert "x" not in text


def test_one_line_has_no_line_breaks_and_a_length() -> None:
    assert one_line("a\n\tb\x00  c", 80) == "a b c"
    assert one_line("abcdef", 4) == "abc…"
    assert one_line("abcd", 4) == "abcd"
    assert len(one_line("word " * 1_000_000, 300)) == 300


def test_a_terminal_is_shown_what_it_would_obey() -> None:
    assert for_terminal("a\x1b[2Jb\rc\x07\u202e\ud83d") == r"a\x1b[2Jb\rc\x07\u202e\ud83d"
    assert for_terminal("a\tb\nc é") == "a\tb\nc é"
