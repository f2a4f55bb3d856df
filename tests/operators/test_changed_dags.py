"""A Dag that is changed between its tries doubles nothing and loses sight of nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowFailException

from airflow_provider_leen.api.errors import LeenConfigError
from airflow_provider_leen.sandbox.server import SandboxServer
from tests.operators.dags import Connect, bulk_dag, counts, tickets
from tests.operators.test_retries import clear
from tests.support.airflow_run import AIRFLOW, AirflowRun

__all__ = ["clear"]

Clear = Callable[[AirflowRun, DAG], AirflowRun]


@pytest.fixture(autouse=True)
def _without_long_waits(connect: Connect) -> None:
    connect(extra={"timeout": 30.0, "settle_time": 0.2, "max_retries": 0})


def test_a_list_that_is_refused_whole_does_not_call_unsent_what_exists(
    sandbox: SandboxServer, run_dag: Any, clear: Clear
) -> None:
    first = run_dag(bulk_dag(tickets(3), on_invalid="fail"))
    again = clear(first, bulk_dag([*tickets(3), {"nam": "a typo"}, {"name": "new"}], on_invalid="fail"))
    assert counts(again.summary()) == {"created": 3, "invalid": 1, "unsent": 1}
    assert again.xcom("create", "failed_tickets") == [{"nam": "a typo"}, {"name": "new"}]


ON_AIRFLOW_3_ONLY = pytest.mark.skipif(AIRFLOW < (3, 0), reason="Airflow 2 notices it elsewhere, in its own words")
LOOKED_UP_LATER = pytest.mark.skipif(AIRFLOW < (3, 2), reason="Airflow below 3.2 looks for a store when it is used")


@pytest.mark.parametrize(
    "path",
    [
        pytest.param("{{ var.value.get('not_there') }}", marks=ON_AIRFLOW_3_ONLY),
        "{{ none }}",
        "ledger",
        "~/ledger",
        pytest.param("nosuch://x/y", marks=LOOKED_UP_LATER),
    ],
)
def test_a_ledger_path_that_other_workers_may_not_reach_is_refused(
    sandbox: SandboxServer, run_dag: Any, path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = run_dag(bulk_dag(tickets(3), ledger_path=path, retries=1))
    (error,) = run.exceptions
    assert isinstance(error, AirflowFailException)
    assert isinstance(error.__cause__, LeenConfigError)
    assert "`ledger_path`" in str(error)
    assert sandbox.count("POST") == 0


def test_a_connection_id_in_capitals_is_the_same_connection(sandbox: SandboxServer, run_dag: Any, clear: Clear) -> None:
    connection_id = "1ee00000-0000-4000-8000-00000000000a"
    first = run_dag(bulk_dag(tickets(2), connection_id=connection_id))
    clear(first, bulk_dag(tickets(2), connection_id=connection_id.upper()))
    assert sandbox.count("POST") == 1


def test_what_a_template_left_around_on_unknown_does_not_matter(sandbox: SandboxServer, run_dag: Any) -> None:
    assert run_dag(bulk_dag(tickets(1), on_unknown="{{ ' resend ' }}")).states == {"create": "success"}


def test_a_list_without_one_good_row_is_refused_whole_too(sandbox: SandboxServer, run_dag: Any) -> None:
    run = run_dag(bulk_dag([{"nam": "a typo"}], on_invalid="fail", retries=1))
    (error,) = run.exceptions
    assert isinstance(error, AirflowFailException)
    assert isinstance(error.__cause__, LeenConfigError)
    assert counts(run.summary()) == {"invalid": 1}
    assert sandbox.count() == 0
