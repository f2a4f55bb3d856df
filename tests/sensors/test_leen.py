from __future__ import annotations

import json
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException

from airflow_provider_leen.api.errors import LeenConfigError, LeenThresholdError
from airflow_provider_leen.sensors.leen import LeenTicketFailureSensor
from tests.support.lazy import LazyItems
from tests.support.results import summary_of


def judge(results: Any, **kwargs: Any) -> dict[str, int]:
    """What the gate returns for what its template was rendered to."""
    verdict = LeenTicketFailureSensor(task_id="gate", results=results, **kwargs).poke({})
    assert verdict.is_done
    assert isinstance(verdict.xcom_value, dict)
    return verdict.xcom_value


GOOD = summary_of("created", "existing")
BAD = summary_of("created", "rejected", "invalid", "created")


@pytest.mark.parametrize(
    ("results", "limits", "failed"),
    [
        pytest.param(GOOD, {}, 0, id="no failure"),
        pytest.param(summary_of(), {"max_failures": 0, "max_failure_rate": 0.0}, 0, id="no ticket"),
        pytest.param(BAD, {"max_failures": 2}, 2, id="as many as allowed"),
        pytest.param(BAD, {"max_failure_rate": 0.5}, 2, id="as large a share as allowed"),
        pytest.param(LazyItems(GOOD, BAD), {"max_failure_rate": 0.4}, 2, id="mapped instances are added up"),
        pytest.param(str(GOOD), {}, 0, id="text of a dict"),
        pytest.param(json.dumps(BAD), {"max_failures": 2}, 2, id="JSON"),
    ],
)
def test_the_gate_succeeds_and_returns_the_counts(results: Any, limits: dict[str, Any], failed: int) -> None:
    counts = judge(results, **limits)
    assert counts["failed"] == failed
    assert counts["succeeded"] + counts["failed"] == counts["total"]
    assert "results" not in counts


@pytest.mark.parametrize(
    ("results", "limits", "parts"),
    [
        pytest.param(BAD, {}, ["2 of 4 tickets failed", "2 created, 1 rejected, 1 invalid"], id="any failure"),
        pytest.param(BAD, {"max_failures": 1}, ["max_failures=1"], id="number"),
        pytest.param(BAD, {"max_failure_rate": 0.4}, ["50 %", "max_failure_rate=0.4"], id="share"),
        pytest.param(BAD, {"max_failures": 9, "max_failure_rate": 0.4}, ["max_failure_rate"], id="either of both"),
        pytest.param(BAD, {}, ["#1 finding 1: refused 1", "#2 finding 2: "], id="errors"),
        pytest.param([GOOD, BAD], {}, ["2 of 6", "summary 2 #1 finding 1: refused 1"], id="mapped"),
    ],
)
def test_the_gate_fails_with_counts_threshold_and_first_errors(
    results: Any, limits: dict[str, Any], parts: list[str]
) -> None:
    with pytest.raises(AirflowFailException) as caught:
        judge(results, **limits)
    assert [part for part in parts if part not in str(caught.value)] == []
    assert isinstance(caught.value.__cause__, LeenThresholdError)
    assert caught.value.__cause__.summary["failed"] == 2


def test_at_most_five_errors_are_named() -> None:
    with pytest.raises(AirflowFailException) as caught:
        judge([summary_of("rejected", "rejected", "rejected")] * 2)
    assert str(caught.value).count("refused ") == 5


@pytest.mark.parametrize(
    "results",
    [None, "None", "", [], {}, {**GOOD, "total": 17}, [GOOD, None], "LazyXComSequence(<unevaluated length>)"],
    ids=repr,
)
def test_a_missing_or_malformed_summary_is_a_failure_and_no_pass(results: Any) -> None:
    gate = LeenTicketFailureSensor(task_id="gate", results="{{ what the template was }}", max_failures=1000)
    gate.results = results
    with pytest.raises(AirflowFailException) as caught:
        gate.poke({})
    assert isinstance(caught.value.__cause__, LeenConfigError)


@pytest.mark.parametrize(
    ("limit", "verdict"),
    [(2, "2 of 4 tickets failed."), (1, "2 of 4 tickets failed (50 %), more than max_failures=1 allows.")],
)
def test_the_verdict_is_published_whether_the_gate_passes_or_not(limit: int, verdict: str) -> None:
    pushed: list[dict[str, Any]] = []
    ti: Any = SimpleNamespace(xcom_push=lambda **xcom: pushed.append(xcom))
    gate = LeenTicketFailureSensor(task_id="gate", results=BAD, max_failures=limit)
    with suppress(AirflowFailException):
        gate.poke({"ti": ti})
    assert pushed == [{"key": "verdict", "value": {"verdict": verdict, "tasks": []}}]


def test_soft_fail_skips_instead() -> None:
    gate = LeenTicketFailureSensor(task_id="gate", results=BAD, soft_fail=True)
    with pytest.raises(AirflowSkipException):
        gate.execute({})


def test_executing_the_gate_returns_the_counts() -> None:
    gate = LeenTicketFailureSensor(task_id="gate", results=GOOD)
    assert gate.execute({})["succeeded"] == 2


@pytest.mark.parametrize(
    "limits", [{"max_failures": -1}, {"max_failures": True}, {"max_failure_rate": 5}, {"max_failure_rate": "0.1"}]
)
def test_a_limit_that_makes_no_sense_breaks_the_dag_file(limits: dict[str, Any]) -> None:
    with pytest.raises(LeenConfigError, match=next(iter(limits))):
        LeenTicketFailureSensor(task_id="gate", results=GOOD, **limits)


def test_a_template_is_not_looked_at_before_it_is_rendered() -> None:
    template = "{{ ti.xcom_pull('file') }}"
    assert LeenTicketFailureSensor(task_id="gate", results=template).results == template
