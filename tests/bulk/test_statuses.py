"""The one list of statuses, and that the others follow from it."""

from __future__ import annotations

from airflow_provider_leen.bulk.statuses import (
    ALL_STATUSES,
    FAILED,
    MAY_BE_SENT_AGAIN,
    RECONCILE_STATUSES,
    STATUSES,
    SUCCEEDED,
    UPDATE_STATUSES,
    statuses_of,
)
from airflow_provider_leen.bulk.summary import Counts, ReconcileSummary, UpdateSummary
from airflow_provider_leen.plugins import tasks as tab


def test_every_status_either_succeeded_or_failed() -> None:
    assert set(ALL_STATUSES) == {*STATUSES, *UPDATE_STATUSES, *RECONCILE_STATUSES}
    assert set(ALL_STATUSES) == set(SUCCEEDED) | set(FAILED)
    assert not set(SUCCEEDED) & set(FAILED)
    assert set(FAILED) - MAY_BE_SENT_AGAIN == {"unknown"}


def test_a_summary_counts_the_statuses_of_its_kind_and_no_other() -> None:
    kinds = ((Counts, STATUSES), (UpdateSummary, UPDATE_STATUSES), (ReconcileSummary, RECONCILE_STATUSES))
    for counts, statuses in kinds:
        fields = tuple(counts.__annotations__)
        assert {field for field in fields if field in ALL_STATUSES} == set(statuses)
        assert statuses_of(dict.fromkeys(fields, 0)) == statuses


def test_the_tab_shows_every_status_and_its_failures_first() -> None:
    assert set(ALL_STATUSES) < set(tab.STATUSES)
    assert set(FAILED) < set(tab.FAILURES)
    assert tab.STATUSES[: len(tab.FAILURES)] == tab.FAILURES
