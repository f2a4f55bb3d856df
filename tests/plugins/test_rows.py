from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest

from airflow_provider_leen.plugins.rows import MAX_HELD, Page, Row, Selection, as_csv, as_json, row_of
from airflow_provider_leen.plugins.tasks import TaskTickets

TASK = TaskTickets("create", "success", may_change=False, ticket_url="https://jira.example/browse/{vendor_ticket_id}")


def row(status: str = "created", **fields: Any) -> Row:
    result = {"request_index": 0, "success": status == "created", "status": status, "name": "A ticket", **fields}
    return row_of(TASK, result)


def page_of(rows: list[Row], selection: Selection, offset: int, limit: int) -> tuple[list[Row], int]:
    page = Page(selection, offset, limit)
    page.add(page.pick(rows))
    return page.rows(), page.wanted


def titles(rows: list[Row]) -> list[str | None]:
    return [row["title"] for row in rows]


def selected(rows: list[Row], **wanted: Any) -> list[str | None]:
    return titles(page_of(rows, Selection(**wanted), 0, 100)[0])


def test_a_key_leads_to_the_tracker_with_everything_special_in_it_escaped() -> None:
    made = row(vendor_ticket_id="SEC-1/../?x=<&#")
    assert made["url"] == "https://jira.example/browse/SEC-1%2F..%2F%3Fx%3D%3C%26%23"


@pytest.mark.parametrize(
    "ticket_url",
    [
        None,
        "javascript:alert('{vendor_ticket_id}')",
        "data:text/html,{vendor_ticket_id}",
        "//jira.example/{vendor_ticket_id}",
        "https:{vendor_ticket_id}",
        "http://[{vendor_ticket_id}",
        " javascript:x",
        "ftp://jira.example/{vendor_ticket_id}",
    ],
)
def test_a_key_leads_nowhere_but_to_http(ticket_url: str | None) -> None:
    task = TaskTickets("create", "success", may_change=False, ticket_url=ticket_url)
    made = row_of(task, {"status": "created", "success": True, "vendor_ticket_id": "SEC-1"})
    assert made["key"] == "SEC-1"
    assert made["url"] is None


def test_a_ticket_s_own_address_is_checked_in_the_same_way() -> None:
    assert row(url="javascript:alert(1)")["url"] is None
    assert row(url="https://jira.example/browse/SEC-9")["url"] == "https://jira.example/browse/SEC-9"


@pytest.mark.parametrize("result", [None, 3, "created", [], {}, {"status": None}, {"status": "odd", "success": True}])
def test_an_entry_that_is_no_result_is_shown_as_a_row(result: Any) -> None:
    made = row_of(TASK, result)
    assert made["status"] == "unreadable"
    assert not made["success"]
    assert made["error"] == "This version of the page can't read this entry of the summary."


def test_values_of_a_wrong_type_become_nothing() -> None:
    made = row(name=7, identifier={}, error=[], vendor_ticket_id=4, request_index="x")
    assert (made["title"], made["identifier"], made["error"], made["key"], made["row"]) == (None,) * 5


def test_a_text_that_is_no_text_does_not_break_the_reply() -> None:
    assert row(name="half \ud83d", vendor_ticket_id="SEC-\udc00")["title"] == "half \ufffd"
    assert "".join(as_json([row(name="half \ud83d", error="Füße", vendor_ticket_id="SEC-\udc00")])).encode()


ROWS = [
    row("created", name="one", vendor_ticket_id="SEC-10"),
    row("rejected", name="two", error="Wrong PRIORITY"),
    row("created", name="three", vendor_ticket_id="SEC-9"),
    row("unknown", name="four", identifier="airflow-77"),
    row("existing", name="Füße", vendor_ticket_id="APP-2", success=True),
]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({}, ["four", "two", "one", "three", "Füße"]),
        ({"descending": True}, ["Füße", "one", "three", "two", "four"]),
        ({"sort": "row"}, ["one", "two", "three", "four", "Füße"]),
        ({"sort": "row", "descending": True}, ["Füße", "four", "three", "two", "one"]),
        ({"sort": "key"}, ["Füße", "three", "one", "two", "four"]),
        ({"sort": "title"}, ["four", "Füße", "one", "three", "two"]),
        ({"sort": "error"}, ["two", "one", "three", "four", "Füße"]),
        ({"status": "failed"}, ["four", "two"]),
        ({"status": "created"}, ["one", "three"]),
        ({"status": "invalid"}, []),
        ({"text": "priority"}, ["two"]),
        ({"text": "sec-"}, ["one", "three"]),
        ({"text": "FÜSSE"}, ["Füße"]),
        ({"text": "AIRFLOW-7"}, ["four"]),
        ({"text": "o", "status": "created"}, ["one"]),
        ({"task": "another"}, []),
        ({"task": "create", "status": "unknown"}, ["four"]),
    ],
)
def test_rows_are_filtered_and_sorted_failures_first(wanted: dict[str, Any], expected: list[str]) -> None:
    assert selected(ROWS, **wanted) == expected


def test_keys_sort_by_their_numbers() -> None:
    keys = ["SEC-" + "9" * 5000, "SEC-10", "SEC-9", "7", "sec-8", "", "A²-1", "SEC", "SEC-٣"]
    rows = [row(name=key, vendor_ticket_id=key) for key in keys]
    assert selected(rows, sort="key") == [
        "7",
        "A²-1",
        "SEC",
        "SEC-٣",
        "sec-8",
        "SEC-9",
        "SEC-10",
        rows[0]["title"],
        None,
    ]


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("sort", ["status", "row", "key", "title"])
def test_pages_of_any_size_make_the_whole_list(sort: Any, descending: bool) -> None:
    rows = [row("created" if n % 3 else "rejected", name=f"t{n % 7}", request_index=n) for n in range(50)]
    wanted = Selection(sort=sort, descending=descending)
    whole, matched = page_of(rows, wanted, 0, 1000)
    assert matched == len(whole) == 50
    assert [row for offset in range(0, 50, 7) for row in page_of(rows, wanted, offset, 7)[0]] == whole


@pytest.mark.parametrize("sort", ["status", "row"])
@pytest.mark.parametrize(("offset", "limit"), [(100, 10), (10**9, 100), (0, 0), (10**30, 0)])
def test_a_page_beyond_the_end_is_empty_and_counts_all(sort: Any, offset: int, limit: int) -> None:
    assert page_of(ROWS, Selection(sort=sort), offset, limit) == ([], 5)


def test_rows_of_an_order_are_held_to_a_limit_and_in_the_order_of_the_input_not_at_all() -> None:
    rows = [row(name=str(number), request_index=number) for number in range(MAX_HELD + 50)]
    by_title = Page(Selection(sort="title"), MAX_HELD - 5, 10)
    by_title.add(by_title.pick(rows))
    assert (by_title.rows(), by_title.wanted, by_title.reachable) == ([], MAX_HELD + 50, MAX_HELD)
    assert titles(page_of(rows, Selection(sort="row"), MAX_HELD + 20, 2)[0]) == ["20020", "20021"]


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("sort", ["status", "row", "title"])
def test_rows_that_are_added_task_by_task_make_the_same_page(sort: Any, descending: bool) -> None:
    rows = [row("created" if n % 3 else "rejected", name=f"t{n % 7}", request_index=n) for n in range(60)]
    wanted = Selection(sort=sort, descending=descending)
    page = Page(wanted, 10, 15)
    for start in range(0, 60, 20):
        page.add(page.pick(rows[start : start + 20]))
    assert (page.rows(), page.wanted) == page_of(rows, wanted, 10, 15)


def test_what_is_picked_of_rows_that_break_off_changes_nothing() -> None:
    def broken() -> Any:
        yield from ROWS
        raise LookupError

    page = Page(Selection(), 0, 10)
    with pytest.raises(LookupError):
        page.pick(broken())
    assert (page.rows(), page.wanted) == ([], 0)


FORMULAS = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1", '=HYPERLINK("http://x","y")']


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize(
    "text",
    [
        *FORMULAS,
        *(f"x{before}{text}" for text in FORMULAS for before in ("; ", ";", "\t", "\n", ';"', '";', ';" "', ";;")),
    ],
)
def test_no_cell_of_the_csv_is_a_formula_with_any_separator(text: str, separator: str) -> None:
    written = "".join(as_csv([row(name=text, error=text, identifier=text, vendor_ticket_id=text)]))
    lines = csv.reader(
        io.StringIO(written.removeprefix("\N{ZERO WIDTH NO-BREAK SPACE}"), newline=""), delimiter=separator
    )
    cells = [cell for line in lines for cell in line]
    assert [cell for cell in cells if cell.lstrip(' "\t\r\n').startswith(tuple("=+-@＝"))] == []


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("=1+1", "'=1+1"),
        ("x;=1+1", "x;'=1+1"),
        ("x\t@y", "x\t'@y"),
        ("a; -1", "a; '-1"),
        ("a-1, =2; b", "a-1, =2; b"),
        ("x;y=1", "x;y=1"),
    ],
)
def test_a_formula_gets_an_apostrophe_and_all_else_stays(text: str, written: str) -> None:
    [_, cells] = csv.reader(io.StringIO("".join(as_csv([row(name=text)])), newline=""))
    assert cells[list(Row.__annotations__).index("title")] == written


def test_the_csv_has_a_head_and_all_that_a_row_has() -> None:
    written = "".join(as_csv(ROWS))
    rows = list(csv.DictReader(io.StringIO(written.removeprefix("\N{ZERO WIDTH NO-BREAK SPACE}"), newline="")))
    assert [read["title"] for read in rows] == titles(ROWS)
    assert list(rows[0]) == list(Row.__annotations__)


@pytest.mark.parametrize("rows", [[], ROWS[:1], ROWS])
def test_the_json_is_the_rows(rows: list[Row]) -> None:
    assert json.loads("".join(as_json(rows))) == rows


def test_errors_that_several_tickets_share_are_counted_with_any_filter() -> None:
    failed = [row("rejected", error="The title is too long.") for _ in range(3)]
    others = [row("unknown", error="The reply was lost."), row(error="not a failure"), row("rejected")]
    page = Page(Selection(text="nothing has this"), 0, 10)
    for some in (failed[:1], [*failed[1:], *others]):
        page.add(page.pick(some))
    assert [(cause["error"], cause["count"]) for cause in page.causes.shared()] == [("The title is too long.", 3)]


def test_what_was_done_to_a_ticket_comes_before_what_was_left_alone_and_says_why() -> None:
    results = [
        {"request_index": index, "status": status, "success": True, "error": error}
        for index, (status, error) in enumerate(
            [("existing", None), ("pending", "Leen does not know it yet."), ("closed", None), ("reopened", None)]
        )
    ]
    rows = [row_of(TaskTickets("reconcile", "success", False), result) for result in results]
    shown, _ = page_of(rows, Selection(), 0, 9)
    assert [(each["status"], each["error"]) for each in shown] == [
        ("closed", "Its finding is gone."),
        ("reopened", "Its finding is back."),
        ("pending", "Leen does not know it yet."),
        ("existing", None),
    ]
