from __future__ import annotations

import json
import re
from typing import Any

import pytest

from airflow_provider_leen.api.errors import LeenConfigError
from airflow_provider_leen.bulk import updates
from airflow_provider_leen.bulk.statuses import Status
from airflow_provider_leen.bulk.summary import (
    Summary,
    add_up,
    check_summary,
    closing_table,
    counted,
    counts_by_status,
    first_errors,
    over_threshold,
    read_summaries,
)
from airflow_provider_leen.bulk.table import TicketTable
from tests.support.results import result, summary_of

CREATED: Status = "created"
REJECTED: Status = "rejected"


def test_a_summary_counts_each_status_once() -> None:
    summary = summary_of("created", "created", "existing", "rejected", "invalid", "invalid", "unknown", "unsent")
    counts = {field: value for field, value in summary.items() if field != "results"}
    assert counts == {
        "total": 8,
        "succeeded": 3,
        "failed": 5,
        "created": 2,
        "existing": 1,
        "rejected": 1,
        "invalid": 2,
        "unknown": 1,
        "unsent": 1,
    }
    assert [entry["request_index"] for entry in summary["results"]] == list(range(8))


def test_an_empty_list_is_a_success_with_zero_counts() -> None:
    summary = summary_of()
    assert (summary["total"], summary["succeeded"], summary["failed"], summary["results"]) == (0, 0, 0, [])


def test_a_summary_survives_json() -> None:
    summary = summary_of("created", "rejected", "unknown")
    assert check_summary(json.loads(json.dumps(summary))) == summary


def test_summaries_of_mapped_instances_add_up() -> None:
    counts = add_up([summary_of("created", "rejected"), summary_of(), summary_of("existing", "unknown", "rejected")])
    assert counts == {
        "total": 5,
        "succeeded": 2,
        "failed": 3,
        "created": 1,
        "existing": 1,
        "rejected": 2,
        "invalid": 0,
        "unknown": 1,
        "unsent": 0,
    }


ID = "5ec00000-0000-4000-8000-000000000001"
TABLE = TicketTable()
TABLE.changed([ID])
CHANGED = updates.summarise([ID, "SEC-1"], TABLE)


def test_a_summary_of_changed_tickets_is_one_too() -> None:
    assert check_summary(json.loads(json.dumps(CHANGED))) == CHANGED
    assert counts_by_status(CHANGED) == {"updated": 1, "rejected": 0, "invalid": 1, "unknown": 0, "unsent": 0}
    assert first_errors(CHANGED["results"], 5) == ["#1 SEC-1: 'SEC-1' is not a UUID: write Leen's id of the ticket"]


@pytest.mark.parametrize(
    ("fields", "part"),
    [
        ({"updated": 2}, "`total` is 2, its statuses make 3"),
        ({"invalid": None}, "`invalid` is missing"),
        ({"updated": 0, "rejected": 1, "succeeded": 0, "failed": 2}, "`updated` is 0, its results have 1"),
        ({"results": summary_of("created", "invalid")["results"]}, "entry 0 of its `results`"),
    ],
)
def test_a_malformed_summary_of_changed_tickets_is_refused(fields: dict[str, Any], part: str) -> None:
    with pytest.raises(LeenConfigError, match=re.escape(part)):
        check_summary({**CHANGED, **fields})


def test_created_and_changed_tickets_add_up() -> None:
    counts = add_up([summary_of("created", "rejected"), CHANGED])
    assert counts == {
        "total": 4, "succeeded": 2, "failed": 2,
        "created": 1, "existing": 0, "updated": 1, "rejected": 1, "invalid": 1, "unknown": 0, "unsent": 0,
    }  # fmt: skip
    assert list(counts_by_status(counts))[:4] == ["created", "existing", "updated", "rejected"]


@pytest.mark.parametrize(("number", "said"), [(0, "0 tickets"), (1, "1 ticket"), (2, "2 tickets")])
def test_one_is_not_many(number: int, said: str) -> None:
    assert counted(number, "ticket") == said
    assert f"of {said} failed" in str(over_threshold({"failed": 2, "total": number}, 1, None))


@pytest.mark.parametrize(
    ("failed", "total", "max_failures", "max_failure_rate", "passed"),
    [
        pytest.param(0, 0, 0, 0.0, [], id="nothing to judge"),
        pytest.param(0, 9, 0, 0.0, [], id="no failure"),
        pytest.param(9, 9, None, None, [], id="no threshold"),
        pytest.param(1, 9, 0, None, ["max_failures=0"], id="any failure"),
        pytest.param(3, 9, 3, None, [], id="as many as allowed"),
        pytest.param(4, 9, 3, None, ["max_failures=3"], id="one too many"),
        pytest.param(3, 10, None, 0.3, [], id="rate as allowed"),
        pytest.param(1, 3, None, 1 / 3, [], id="rate as allowed, not a decimal"),
        pytest.param(4, 10, None, 0.3, ["max_failure_rate=0.3", "40 %"], id="rate passed"),
        pytest.param(10, 10, None, 1.0, [], id="rate of one is never passed"),
        pytest.param(2, 10, 5, 0.1, ["max_failure_rate=0.1"], id="both, the rate passed"),
        pytest.param(2, 10, 1, 0.5, ["max_failures=1"], id="both, the number passed"),
        pytest.param(2, 10, 1, 0.1, ["max_failures=1", "max_failure_rate=0.1"], id="both passed"),
        pytest.param(1, 100_000, None, 0.0, ["0.001 %"], id="a small rate is not shown as zero"),
    ],
)
def test_the_verdict_names_the_thresholds_that_were_passed(
    failed: int, total: int, max_failures: int | None, max_failure_rate: float | None, passed: list[str]
) -> None:
    verdict = over_threshold({"failed": failed, "total": total}, max_failures, max_failure_rate)
    if not passed:
        assert verdict is None
        return
    assert verdict is not None
    assert verdict.startswith(f"{failed} of {total} tickets failed")
    assert [part for part in passed if part not in verdict] == []
    assert ("max_failures" in verdict) == any("max_failures" in part for part in passed)


@pytest.mark.parametrize(
    ("counts", "max_failure_rate", "verdict"),
    [
        pytest.param({"failed": 2, "existing": 96, "total": 100}, 0.5, None, id="half of the new ones, as allowed"),
        pytest.param(
            {"failed": 2, "existing": 96, "total": 100},
            0.05,
            "2 of 100 tickets failed (50 % of the 4 that did not exist before), more than max_failure_rate=0.05",
            id="half of the new ones",
        ),
        pytest.param({"failed": 1, "existing": 5, "pending": 4, "total": 10}, 0.9, "100 % of the 1 that", id="pending"),
        pytest.param({"failed": 0, "existing": 9, "total": 9}, 0.0, None, id="all are known"),
    ],
)
def test_known_tickets_do_not_hide_failures(
    counts: dict[str, int], max_failure_rate: float, verdict: str | None
) -> None:
    found = over_threshold(counts, None, max_failure_rate)
    assert found == verdict or (verdict and found and verdict in found)


def changed(**fields: Any) -> dict[str, Any]:
    """A good summary with these fields changed; a field set to ``...`` is left out."""
    summary = {**summary_of("created", "created", "rejected"), **fields}
    return {field: value for field, value in summary.items() if value is not ...}


@pytest.mark.parametrize(
    ("value", "part"),
    [
        pytest.param(None, "of type NoneType", id="nothing"),
        pytest.param([], "of type list", id="a list"),
        pytest.param("done", "of type str", id="a text"),
        pytest.param({}, "`total` is missing", id="empty"),
        pytest.param(changed(unsent=...), "`unsent` is missing", id="count missing"),
        pytest.param(changed(failed=None), "`failed` is missing", id="count null"),
        pytest.param(changed(failed=-1), "`failed` is '-1'", id="negative"),
        pytest.param(changed(failed=1.0), "`failed` is '1.0'", id="float"),
        pytest.param(changed(rejected=True), "`rejected` is 'True'", id="boolean"),
        pytest.param(changed(total="3"), "`total` is '3'", id="text"),
        pytest.param(changed(total=4), "`total` is 4, its statuses make 3", id="total"),
        pytest.param(changed(succeeded=3), "`succeeded` is 3, its statuses make 2", id="succeeded"),
        pytest.param(changed(failed=0), "`failed` is 0, its statuses make 1", id="failed"),
        pytest.param(changed(rejected=0, invalid=1), "`rejected` is 0, its results have 1", id="statuses differ"),
        pytest.param(changed(results=...), "`results` is of type NoneType", id="no results"),
        pytest.param(changed(results={}), "`results` is of type dict", id="results no list"),
        pytest.param(changed(results=[]), "0 results for 3 tickets", id="results empty"),
        pytest.param(changed(results=[result(0), result(1)]), "2 results for 3 tickets", id="a result missing"),
        pytest.param(changed(results=[result(0), result(1), None]), "entry 2", id="result null"),
        pytest.param(changed(results=[{}, result(1), result(2)]), "entry 0", id="result empty"),
        pytest.param(changed(results=[result(0), result(1), result(2, success=False)]), "entry 2", id="success lies"),
        pytest.param(changed(results=[result(0), {**result(1), "status": []}, result(2)]), "entry 1", id="odd status"),
        pytest.param(
            changed(results=[result(0), {**result(1), "request_index": "1"}, result(2)]), "entry 1", id="odd index"
        ),
        pytest.param(
            changed(results=[result(0), result(1), result(2)]), "`created` is 2", id="results tell another story"
        ),
    ],
)
def test_a_malformed_summary_is_refused_in_one_sentence(value: Any, part: str) -> None:
    with pytest.raises(LeenConfigError) as caught:
        check_summary(value)
    assert part in str(caught.value)
    assert "\n" not in str(caught.value)


def test_results_that_went_to_a_file_need_not_be_in_the_summary() -> None:
    value = changed(results=[], results_path="s3://bucket/results.jsonl")
    assert check_summary(value)["failed"] == 1


class TestReadSummaries:
    ONE, TWO = summary_of("created"), summary_of("rejected", "created")

    @pytest.mark.parametrize(
        ("value", "summaries"),
        [
            pytest.param(ONE, [ONE], id="one"),
            pytest.param([ONE, TWO], [ONE, TWO], id="list"),
            pytest.param((ONE, TWO), [ONE, TWO], id="tuple"),
            pytest.param([[ONE], TWO], [ONE, TWO], id="outputs of mapped and unmapped operators"),
            pytest.param(str(TWO), [TWO], id="text of a dict"),
            pytest.param(json.dumps([ONE, TWO]), [ONE, TWO], id="JSON"),
        ],
    )
    def test_one_or_many_are_read(self, value: Any, summaries: list[Summary]) -> None:
        assert read_summaries(value) == summaries

    @pytest.mark.parametrize(
        ("value", "part"),
        [
            pytest.param(None, "published no summary", id="None"),
            pytest.param("None", "published no summary", id="None as text"),
            pytest.param([], "empty list", id="empty list"),
            pytest.param([ONE, None], "published no summary", id="one missing"),
            pytest.param([ONE, {}], "`total` is missing", id="one malformed"),
            pytest.param("", "empty text", id="empty text"),
            pytest.param("LazyXComSequence(<unevaluated length>)", ".output", id="lazy sequence as text"),
            pytest.param(17, "of type int", id="number"),
            pytest.param(b"{}", "of type bytes", id="bytes"),
        ],
    )
    def test_a_missing_or_malformed_value_is_refused(self, value: Any, part: str) -> None:
        with pytest.raises(LeenConfigError) as caught:
            read_summaries(value)
        assert part in str(caught.value)


class TestFirstErrors:
    def test_only_failed_tickets_are_named_in_order(self) -> None:
        results = [result(0), result(1, "rejected"), result(2, "existing"), result(3, "unsent", error=None)]
        assert first_errors(results, 9) == ["#1 finding 1: refused 1", "#3 finding 3: unsent"]

    def test_there_are_no_more_than_asked_for(self) -> None:
        results = [result(index, "rejected") for index in range(9)]
        assert [line.split()[0] for line in first_errors(results, 2)] == ["#0", "#1"]
        assert first_errors(results, 0) == []

    def test_each_is_one_line_of_limited_length(self) -> None:
        (line,) = first_errors([result(7, "invalid", name=None, error="a\n b" + "x" * 999)], 1)
        assert line.startswith("#7 (no name): a bxx")
        assert len(line) < 400


def test_the_closing_table_shows_counts_and_errors() -> None:
    assert closing_table(summary_of(*[CREATED] * 11, REJECTED, "unknown")) == (
        "created   11\n"
        "existing   0\n"
        "rejected   1\n"
        "invalid    0\n"
        "unknown    1\n"
        "unsent     0\n"
        "------------\n"
        "total     13\n"
        "errors (all):\n"
        "  #11 finding 11: refused 11\n"
        "  #12 finding 12: refused 12"
    )


def test_the_closing_table_shows_at_most_twenty_errors() -> None:
    table = closing_table(summary_of(*[REJECTED] * 23))
    assert "errors (first 20 of 23):" in table
    assert table.count("refused") == 20
    assert "errors" not in closing_table(summary_of("created"))
