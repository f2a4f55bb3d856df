from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_leen.bulk.summary import TicketResult, summarise
from airflow_provider_leen.plugins.places import folders_of
from airflow_provider_leen.plugins.tasks import UNREADABLE, TaskRecord, read_task

RESULT: TicketResult = {
    "request_index": 0,
    "success": True,
    "status": "created",
    "name": "Rotate the key",
    "identifier": "airflow-1",
    "ticket_id": None,
    "vendor_ticket_id": "SEC-1",
    "error": None,
}
SUMMARY = summarise([RESULT, {**RESULT, "request_index": 1, "success": False, "status": "rejected", "error": "no"}])
IN_FILE = {**SUMMARY, "results": [], "results_path": "s3://reports/results.jsonl"}
FILE = IN_FILE["results_path"]
FOLDERS = folders_of("s3://reports, /reports", "a_dag")
PROGRESS = {"total": 9, "done": 4, "failed": 1}


def record(
    state: str | None = "success", operator: str | None = "LeenBulkCreateTicketsOperator", **values: Any
) -> TaskRecord:
    return TaskRecord("create", -1, state, operator, values)


@pytest.mark.parametrize(
    ("operator", "values"),
    [
        ("BashOperator", {}),
        ("PythonOperator", {"return_value": 7}),
        ("PythonOperator", {"return_value": [{"total": 2, "results": []}]}),
        ("PythonOperator", {"return_value": {"total": "2", "results": []}}),
        ("PythonOperator", {"return_value": {"total": 2, "results": None}}),
        ("PythonOperator", {"progress": {"total": 2}}),
        # The gate returns the counts, and its tickets are the operator's.
        ("LeenTicketFailureSensor", {"return_value": {k: v for k, v in SUMMARY.items() if k != "results"}}),
        (None, {"return_value": "SUMMARY"}),
    ],
)
def test_a_task_that_is_not_leen_s_has_no_tickets(operator: str | None, values: dict[str, Any]) -> None:
    assert read_task(record(operator=operator, **values)) is None


@pytest.mark.parametrize(
    "values",
    [{"return_value": dict(SUMMARY)}, {"progress": PROGRESS}],
)
def test_an_operator_of_one_s_own_is_known_by_what_it_publishes(values: dict[str, Any]) -> None:
    assert read_task(record("running", operator="OurTicketsOperator", **values)) is not None


def test_a_summary_gives_counts_and_results() -> None:
    task = read_task(record(return_value=SUMMARY, ticket_url="https://jira.example/{vendor_ticket_id}"))
    assert task is not None
    assert task.counts == {"rejected": 1, "created": 1}
    assert len(task.results) == 2
    assert task.remark is None
    assert not task.may_change


@pytest.mark.parametrize(("state", "may_change"), [("failed", False), ("up_for_retry", True)])
def test_a_task_that_failed_shows_the_summary_of_its_last_try(state: str, may_change: bool) -> None:
    task = read_task(record(state, return_value=SUMMARY))
    assert task is not None
    assert (task.counts, task.may_change) == ({"rejected": 1, "created": 1}, may_change)


@pytest.mark.parametrize(
    ("state", "progress", "remark", "may_change"),
    [
        (None, None, "not started", True),
        ("queued", None, "not started", True),
        ("running", None, "has not counted", True),
        ("running", PROGRESS, None, True),
        ("deferred", PROGRESS, "waits for Leen's jobs", True),
        ("up_for_retry", None, "will retry it", True),
        ("failed", PROGRESS, "see the task's log", False),
        ("success", None, "see the task's log", False),
        ("upstream_failed", None, "did not run", False),
        ("skipped", None, "was skipped", False),
    ],
)
def test_a_task_without_a_summary_says_why(
    state: str | None, progress: Any, remark: str | None, may_change: bool
) -> None:
    task = read_task(record(state, progress=progress))
    assert task is not None
    assert task.progress == progress
    assert (task.remark is None) if remark is None else (remark in str(task.remark))
    assert task.may_change is may_change
    assert not task.counts


def test_the_stored_state_of_a_deferred_task_is_not_taken_for_its_outcome() -> None:
    task = read_task(record("deferred", return_value=SUMMARY, progress=PROGRESS))
    assert task is not None
    assert not task.counts
    assert task.progress == PROGRESS


@pytest.mark.parametrize("value", ["s3://backend/1", 3, [], {}, {"total": 1}, {"total": True, "results": []}])
def test_a_value_of_a_leen_operator_that_is_no_summary_is_reported(value: Any) -> None:
    task = read_task(record(return_value=value))
    assert task is not None
    assert "is not a summary of tickets" in str(task.remark)


def test_entries_that_are_no_results_are_counted_and_a_wrong_total_is_said() -> None:
    task = read_task(record(return_value={"total": 5, "results": [RESULT, None, {"status": []}, {"status": "odd"}]}))
    assert task is not None
    assert task.counts == {"unreadable": 3, "created": 1}
    assert "counts 5 tickets, but has 4 results" in str(task.remark)


def in_file(path: Any = FILE, rendered: Any = FILE, folders: Any = FOLDERS) -> Any:
    fields = None if rendered is None else {"results_path": rendered}
    values = {"return_value": {**IN_FILE, "results_path": path}}
    return read_task(TaskRecord("create", -1, "success", "LeenBulkCreateTicketsOperator", values, fields), folders)


def test_a_file_with_results_that_may_be_read_is_counted_by_the_summary() -> None:
    task = in_file(rendered=f" {FILE}\n")
    assert task.results_path == FILE
    assert task.counts == {"rejected": 1, "created": 1}
    assert not task.withheld


@pytest.mark.parametrize(
    ("file", "remark"),
    [
        (
            {"folders": []},
            "lists in the API server's [leen] results_folders (AIRFLOW__LEEN__RESULTS_FOLDERS): it lists none.",
        ),
        ({"path": "s3://others/results.jsonl"}, "it lists none above this one"),
        ({"path": "s3://a_conn@reports/results.jsonl"}, "it lists none above this one"),
        ({"path": "s3://reports/../others/results.jsonl"}, "it lists none above this one"),
        ({"path": "results.jsonl"}, "it lists none above this one"),
        ({"path": "s3://reports/of another task"}, "recorded another `results_path`"),
        ({"path": "/reports/of another task"}, "recorded another `results_path`"),
        ({"rendered": "s3://reports/res... truncated"}, "recorded another `results_path`"),
        ({"rendered": "***"}, "recorded another `results_path`"),
        ({"rendered": {"path": FILE}}, "recorded another `results_path`"),
        ({"rendered": None}, "has no record of that (any more)"),
    ],
)
def test_a_file_that_may_not_be_read_shows_its_counts_and_why(file: dict[str, Any], remark: str) -> None:
    task = in_file(**file)
    assert (task.results_path, task.place, task.withheld) == (None, None, True)
    assert task.counts == {"rejected": 1, "created": 1}
    assert remark in task.remark


def test_an_xcom_that_can_t_be_decoded_is_a_remark() -> None:
    task = read_task(record(return_value=UNREADABLE, progress=UNREADABLE, ticket_url=UNREADABLE))
    assert task is not None
    assert "can't be read" in str(task.remark)
    assert task.withheld


@pytest.mark.parametrize("count", [True, -1, 1.0, float("nan"), 10**4299, "1", None])
def test_a_count_that_is_none_is_not_counted(count: Any) -> None:
    task = read_task(record(return_value={**IN_FILE, "created": count}))
    assert task is not None
    assert task.counts == {"rejected": 1}
    assert read_task(record(operator="Ours", return_value={"total": count, "results": []})) is None


def test_the_summary_of_updates_is_one_too() -> None:
    results = [{"request_index": 0, "success": True, "status": "updated", "ticket_id": "7f2c", "error": None}]
    task = read_task(record(operator="LeenUpdateTicketsOperator", return_value={"total": 1, "results": results}))
    assert task is not None
    assert task.counts == {"updated": 1}


def test_the_ticket_of_the_operator_that_creates_one_is_shown_as_filed() -> None:
    ticket = {"id": "7f2c", "name": "A", "identifier": "a-1", "url": "https://jira.example/browse/SEC-7"}
    task = read_task(record(operator="LeenCreateTicketOperator", return_value=ticket))
    assert task is not None
    assert task.counts == {"filed": 1}
    assert task.results[0]["vendor_ticket_id"] == "SEC-7"


def test_a_mapped_instance_is_named_with_its_index() -> None:
    assert TaskRecord("create", 3, None, None, {}).name == "create[3]"
    assert TaskRecord("create", 3, None, None, {}, label="3").name == "create[3]"


def test_a_mapped_task_is_named_as_its_template_says() -> None:
    assert TaskRecord("create", 3, None, None, {}, label="semgrep\nrepo-a").name == "create[3: semgrep repo-a]"


def test_remarks_beside_the_counts_say_what_reconciling_has_not_done() -> None:
    reconciled = {**SUMMARY, "complete": True, "waiting": 0, "closed_by_people": 0, "earlier_unknown": 0}
    said = {
        field: read_task(record(operator="LeenReconcileTicketsOperator", return_value={**reconciled, field: value}))
        for field, value in {
            "plan": "0f", "dry_run": True, "complete": False, "waiting": 9, "closed_by_people": 1, "earlier_unknown": 2
        }.items()
    }  # fmt: skip
    assert {field: tickets.remark for field, tickets in said.items() if tickets} == {
        "plan": None,
        "dry_run": "A dry run: nothing was sent; this is what would be done.",
        "complete": "The list was not complete: no ticket was closed.",
        "waiting": "The list was empty: 9 tickets of findings that are gone stay open.",
        "closed_by_people": "Closed by people: 1 ticket.",
        "earlier_unknown": "Of findings that are no longer in the list, the outcome of 2 tickets is unknown.",
    }
