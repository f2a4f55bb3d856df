"""Whatever JSON is in the XComs, and whoever wrote it, the tab makes an answer of it that can be sent."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_leen.bulk.summary import TicketResult
from airflow_provider_leen.plugins.places import folders_of, may_be_allowed, place_of
from airflow_provider_leen.plugins.rows import COLUMNS, Page, Selection, as_csv, as_json, row_of
from airflow_provider_leen.plugins.tasks import LEEN_OPERATORS, STATUSES, TaskRecord, read_task
from airflow_provider_leen.plugins.view import build_view

# Airflow below 3.1 has no tabs, and names the model of XComs otherwise.
decoded = pytest.importorskip("airflow_provider_leen.plugins.database", exc_type=ImportError).decoded

# Half surrogates, controls and marks of the writing direction included.
TEXTS = st.one_of(
    st.text(st.characters(exclude_categories=()), max_size=30),
    st.sampled_from(
        ["https://jira.example/{vendor_ticket_id}", "{vendor_ticket_id}" * 5, "http://[", "\ud800", "=1;=2"]
    ),
    st.sampled_from(STATUSES),
)
LEAVES = st.one_of(
    st.none(), st.booleans(), TEXTS, st.floats(), st.integers(), st.sampled_from([10**4299, -(10**4299), 10**18])
)
FIELDS = (
    *TicketResult.__annotations__,
    "url",
    "id",
    "vendor_attributes",
    "key",
    "total",
    "results",
    "results_path",
    "done",
    *STATUSES,
)


def nested(inner: Any) -> Any:
    return st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(FIELDS) | TEXTS, inner, max_size=6)


VALUES = st.recursive(LEAVES, nested, max_leaves=30)
SUMMARIES = st.fixed_dictionaries(
    {"total": st.integers(0, 5) | VALUES, "results": st.lists(VALUES, max_size=5) | VALUES},
    optional={"results_path": TEXTS | VALUES, "created": VALUES},
)
ALONE = st.fixed_dictionaries(
    {"id": TEXTS}, optional={"url": TEXTS | VALUES, "vendor_attributes": VALUES, "name": VALUES}
)


@settings(max_examples=400, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(
    st.sampled_from([*sorted(LEEN_OPERATORS), "PythonOperator", None]),
    st.sampled_from(["success", "running", "up_for_retry", "deferred", None, "odd"]),
    st.fixed_dictionaries(
        {}, optional={"return_value": SUMMARIES | ALONE | VALUES, "progress": VALUES, "ticket_url": VALUES}
    ),
    st.none() | st.dictionaries(st.just("results_path"), VALUES),
)
def test_any_json_in_xcoms_makes_an_answer_that_can_be_sent(
    operator: str | None, state: str | None, values: dict[str, Any], rendered: dict[str, Any] | None
) -> None:
    stored = {key: decoded(json.dumps(value)) for key, value in values.items()}
    task = read_task(TaskRecord("create", -1, state, operator, stored, rendered), folders_of("/results", "a_dag"))
    if task is None:
        return
    rows = [row_of(task, result) for result in task.results]
    view: dict[str, Any] = build_view([task], is_run=False, unreadable={})
    for column in COLUMNS:
        page = Page(Selection(sort=column, text="a"), 0, 3)
        page.add(page.pick(rows))
    # As Starlette writes it.
    written = json.dumps({**view, "rows": rows}, ensure_ascii=False, allow_nan=False).encode()
    assert b"\x1b" not in written
    assert "".join(as_json(rows)).encode() + "".join(as_csv(rows)).encode()
    assert view["total"] == len(rows) or task.withheld or task.results_path is not None


@settings(max_examples=300, deadline=None, database=None)
@given(st.text(max_size=2000) | st.integers(1, 50_000).map("[".__mul__) | st.integers(1, 9000).map("7".__mul__))
def test_any_text_is_decoded_or_reported_as_unreadable(text: str) -> None:
    for stored in (text, json.dumps(text)):
        decoded(stored)


@settings(max_examples=500, deadline=None, database=None)
@given(
    st.lists(
        st.sampled_from(["..", ".", "", "%2e%2e", "%2F", "%252e%252E", "..%2f", "\\..", "a", "team", "@", "?", "x::"])
    ),
    st.sampled_from(["s3://bucket/team", "s3://conn@bucket/team", "S3://bucket/team"]),
)
def test_no_way_leads_out_of_a_listed_url(parts: list[str], before: str) -> None:
    place = place_of("/".join([before, *parts]))
    if place is not None and may_be_allowed(place, folders_of("s3://bucket/team", "a_dag")):
        assert place.store == ("s3", "", "bucket")
        assert not any(part in ("..", ".") or ("%2" in part and ".." in part) for part in place.parts)
