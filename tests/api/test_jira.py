"""What a ticket says of itself, in Leen's shape and in Jira's, and how Jira is asked."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_leen.api.jira import (
    MAX_JQL,
    in_searches,
    jql_for,
    jql_for_issue,
    read_hit,
    read_ticket,
    read_time,
)
from airflow_provider_leen.api.models import Ticket
from airflow_provider_leen.sandbox.jql import compile_jql
from airflow_provider_leen.sandbox.store import words

KEY = f"airflow-{'a1' * 12}"
NOON = datetime(2026, 5, 1, 12, 0, 0, tzinfo=UTC).timestamp()
DOCUMENT = {
    "type": "doc",
    "version": 1,
    "content": [
        {"type": "paragraph", "content": [{"type": "text", "text": "Text."}]},
        {"type": "paragraph", "content": [{"type": "text", "text": KEY}]},
        {"type": "paragraph", "content": [{"type": "hardBreak"}]},
        {"type": "paragraph"},
    ],
}


@pytest.mark.parametrize(
    ("description", "carries"),
    [
        pytest.param(f"Text.\n\n{KEY}", True, id="its last line"),
        pytest.param(KEY, True, id="the key alone"),
        pytest.param(f"Text.\r\n\r\n {KEY} \n", True, id="blanks"),
        pytest.param(f"<p>Text.</p><p>{KEY}</p>", True, id="HTML"),
        pytest.param(DOCUMENT, True, id="Atlassian's document format"),
        pytest.param(f"Is {KEY} there?", False, id="a mention"),
        pytest.param(f"Unknown: (identifier {KEY})", False, id="a quoted log"),
        pytest.param(f"Unknown: {KEY}", False, id="a mention at the end"),
        pytest.param(f"{KEY}\n\nText.", False, id="the first line"),
        pytest.param(f"Text.\n\n{KEY}0", False, id="a longer key"),
        pytest.param(None, False, id="no description"),
        pytest.param({"type": "doc", "content": "odd"}, False, id="an odd document"),
    ],
)
def test_a_ticket_carries_the_key_that_is_its_descriptions_last_line(description: Any, carries: bool) -> None:
    issue = read_hit({"key": "SEC-1", "fields": {"summary": KEY, "description": description}})
    flat = read_hit({"key": "SEC-1", "description": description})
    leens = read_hit({"id": "t", "description": description})
    assert {record.key if record else "none" for record in (issue, flat, leens)} == {KEY if carries else None}


def test_an_issue_is_read_with_its_project_and_time() -> None:
    fields = {"summary": "finding", "created": "2026-05-01T14:00:00.000+0200", "project": {"id": "10000", "key": "Sec"}}
    record = read_hit({"id": "10001", "key": "SEC-1", "fields": fields})
    assert record is not None
    assert (record.ticket_id, record.vendor_ticket_id, record.name) == (None, "SEC-1", "finding")
    assert (record.created_at, record.projects) == (NOON, frozenset({"10000", "sec"}))


def test_leens_ticket_is_read_with_its_project_and_time() -> None:
    record = read_ticket(
        Ticket(
            id="t",
            name="finding",
            identifier="CVE-1",
            project_id="P-1",
            url="https://x.example/browse/SEC-1",
            ticket_created_at="2026-05-01T12:00:00Z",
        )
    )
    assert (record.ticket_id, record.vendor_ticket_id, record.identifier) == ("t", "SEC-1", "CVE-1")
    assert (record.created_at, record.projects, record.contradictions) == (NOON, frozenset({"p-1", "sec"}), ())


def test_contradictions_in_a_ticket_are_read() -> None:
    assert read_ticket(Ticket.model_validate({"id": "t", "errors": ["gone"]})).contradictions


@pytest.mark.parametrize("hit", [KEY, None, 7, [], {}, {"name": "x"}, {"id": 7}, {"id": "t", "name": 7}])
def test_what_is_no_ticket_is_none(hit: Any) -> None:
    assert read_hit(hit) is None


@pytest.mark.parametrize("fields", [[KEY], None, "text"])
def test_an_issue_with_odd_fields_is_shown_as_empty(fields: Any) -> None:
    record = read_hit({"key": "SEC-1", "fields": fields})
    assert record is not None
    assert (record.vendor_ticket_id, record.key, record.name) == ("SEC-1", None, None)


@pytest.mark.parametrize(
    ("ticket", "vendor_id"),
    [
        ({"url": "https://acme.atlassian.net/browse/SEC-101"}, "SEC-101"),
        ({"url": "https://acme.atlassian.net/browse/SEC-101/", "vendor_attributes": {"id": "10101"}}, "SEC-101"),
        ({"url": "https://acme.service-now.com/x?sys_id=1", "vendor_attributes": {"id": "INC001"}}, "INC001"),
        ({"url": None, "vendor_attributes": {"id": "10101"}}, "10101"),
        ({"vendor_attributes": {"id": 7}}, None),
        ({"vendor_attributes": None}, None),
        ({}, None),
    ],
)
def test_the_vendors_id_is_read_from_where_a_ticket_may_have_it(ticket: dict[str, Any], vendor_id: str | None) -> None:
    assert Ticket(id="t", **ticket).vendor_ticket_id == vendor_id


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2026-05-01T12:00:00+00:00", NOON),
        ("2026-05-01T12:00:00Z", NOON),
        ("2026-05-01T14:00:00.500000+0200", NOON + 0.5),
        ("2026-05-01T12:00:00", None),
        ("2026-05-01", None),
        ("1777636801", None),
        (1777636801, None),
        ("just now", None),
        ("", None),
        (None, None),
    ],
)
def test_a_time_counts_only_with_its_offset(text: Any, seconds: float | None) -> None:
    assert read_time(text) == seconds


@given(st.lists(st.text(max_size=300).map(lambda text: f"k{text}"), max_size=60))
def test_searches_hold_all_keys_in_order_and_none_is_too_long(keys: list[str]) -> None:
    searches = list(in_searches(keys))
    assert [key for search in searches for key in search] == keys
    assert all(0 < len(jql_for(search)) <= MAX_JQL for search in searches)


def test_a_search_is_as_full_as_it_may_be_with_room_for_one_key_more() -> None:
    sizes = [len(search) for search in in_searches([KEY] * 1000)]
    assert len(set(sizes[:-1])) == 1
    assert len(jql_for([KEY] * (sizes[0] + 1))) <= MAX_JQL < len(jql_for([KEY] * (sizes[0] + 2)))


@given(st.text(min_size=1, max_size=100).filter(lambda text: words(text).strip()))
def test_a_key_with_any_content_is_one_phrase_in_the_search(text: str) -> None:
    assert compile_jql(jql_for([text])).parameters == (words(text),)


@given(st.text(min_size=1, max_size=100))
def test_an_id_with_any_content_is_one_value_in_the_search(text: str) -> None:
    assert compile_jql(jql_for_issue(text)).keys == (text,)
