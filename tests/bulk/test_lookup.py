"""What a look-up proves: tables of what is read of a ticket, and what that says of the one that was sent."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from airflow_provider_leen.api.jira import Record
from airflow_provider_leen.bulk.lookup import (
    NEVER,
    Created,
    UnknownTicket,
    by_key,
    clashing,
    final_from,
    is_that_of,
    settled_after,
    why_not_by_id,
    why_not_by_identifier,
)
from airflow_provider_leen.bulk.state import Sending
from tests.bulk.runs import rows_of, settings_for

SENT_AT = datetime(2026, 5, 1, 12, 0, 0, tzinfo=UTC).timestamp()
FINAL = SENT_AT + 500.0
OTHER_KEY = f"airflow-{'b' * 24}"
PATIENT = settings_for("https://leen.example.com/v1", timeout=120.0, settle_time=50.0)
PROJECT = "5ec00000-0000-4000-8000-000000000001"


def sent(at: float = SENT_AT, *, embedded: bool = False, **more: Any) -> Sending:
    return Sending(at, at + 10.0, "h", embedded, **more)


def asked(
    *sendings: Sending, final: float = FINAL, name: str = "Finding one", identifier: str | None = "CVE-2026-1"
) -> UnknownTicket:
    given = {"name": name} | ({"identifier": identifier} if identifier else {})
    (row,) = rows_of([given])
    return UnknownTicket(row, name, "SEC", sendings or (sent(),), final)


def shown(**fields: Any) -> Record:
    """A ticket that fits the one asked for, by its name and time."""
    record = Record("t", "SEC-1", "CVE-2026-1", "Finding one", None, SENT_AT + 1, frozenset({"sec"}))
    return replace(record, **fields)


FITS = [
    pytest.param({}, id="all of it"),
    pytest.param({"created_at": SENT_AT - 60}, id="created earlier by the clocks' skew"),
    pytest.param({"created_at": FINAL + 60}, id="created as late as may be"),
    pytest.param({"name": " Finding \n one"}, id="with other white space"),
]
FITS_NOT = [
    pytest.param({"created_at": SENT_AT - 61}, id="created earlier"),
    pytest.param({"created_at": FINAL + 61}, id="created later"),
    pytest.param({"created_at": None}, id="created nobody knows when"),
    pytest.param({"name": "Finding two"}, id="another name"),
    pytest.param({"name": "finding"}, id="a part of the name"),
    pytest.param({"name": None}, id="no name"),
    pytest.param({"projects": frozenset({"ops"})}, id="of another project"),
    pytest.param({"key": OTHER_KEY}, id="it carries another key"),
    pytest.param({"contradictions": ("errors: ['gone']",)}, id="it contradicts itself"),
]

# By identifier


@pytest.mark.parametrize(
    "fields", [*FITS, {"identifier": " cve-2026-1 "}, {"projects": frozenset()}, {"vendor_ticket_id": None}], ids=str
)
def test_under_its_identifier_a_ticket_is_proved_by_name_and_time(fields: dict[str, Any]) -> None:
    assert why_not_by_identifier(shown(**fields), asked()) is None


@pytest.mark.parametrize("fields", [*FITS_NOT, {"identifier": None}, {"identifier": "CVE-2026-10"}], ids=str)
def test_another_ticket_with_the_same_identifier_is_not_taken_for_it(fields: dict[str, Any]) -> None:
    assert why_not_by_identifier(shown(**fields), asked())


@pytest.mark.parametrize(
    ("project", "shown_as", "is_another"),
    [
        ("SEC", {"sec"}, False),
        ("SEC", {"10000", "sec"}, False),
        ("SEC", {"10000"}, False),
        ("SEC", {PROJECT}, False),
        ("SEC", {PROJECT, "ops"}, True),
        ("10000", {"sec"}, False),
        ("10000", {"10001", "sec"}, True),
        (PROJECT, {"sec"}, False),
        (PROJECT, {PROJECT, "sec"}, False),
        (PROJECT.upper(), {PROJECT}, False),
        (PROJECT, {PROJECT[:-1] + "0"}, True),
    ],
)
def test_projects_are_compared_if_they_are_named_in_the_same_way(
    project: str, shown_as: set[str], is_another: bool
) -> None:
    ticket = replace(asked(), project=project)
    why_not = why_not_by_identifier(shown(projects=frozenset(shown_as)), ticket)
    assert why_not == ("it is of another project" if is_another else None)


def test_where_the_key_was_embedded_only_the_key_proves_a_ticket() -> None:
    ticket = asked(sent(embedded=True))
    assert why_not_by_identifier(shown(), ticket)
    assert why_not_by_identifier(shown(key=OTHER_KEY), ticket)
    assert why_not_by_identifier(shown(key=ticket.key), ticket) is None
    left_out = shown(key=ticket.key, name=None, created_at=None, projects=frozenset(), vendor_ticket_id=None)
    assert why_not_by_identifier(left_out, ticket) is None
    assert why_not_by_identifier(replace(left_out, identifier="CVE-2026-2"), ticket)


def test_where_it_was_embedded_in_one_sending_only_the_key_and_name_with_time_are_both_proof() -> None:
    ticket = asked(sent(), sent(SENT_AT + 100, embedded=True))
    assert why_not_by_identifier(shown(), ticket) is None
    assert why_not_by_identifier(shown(key=ticket.key, created_at=None), ticket) is None
    assert why_not_by_identifier(shown(created_at=None), ticket)


def test_the_earliest_open_sending_counts_and_the_last_one() -> None:
    ticket = asked(sent(), sent(SENT_AT + 1000), final=FINAL + 1000)
    assert why_not_by_identifier(shown(created_at=SENT_AT + 1), ticket) is None
    assert why_not_by_identifier(shown(created_at=FINAL + 1060), ticket) is None
    assert why_not_by_identifier(shown(created_at=SENT_AT - 61), ticket)
    assert why_not_by_identifier(shown(created_at=FINAL + 1061), ticket)


def test_a_job_may_have_created_its_ticket_at_any_time_after_it_was_submitted() -> None:
    ticket = asked(sent(as_job=True), final=NEVER)
    assert why_not_by_identifier(shown(created_at=SENT_AT + 1e6), ticket) is None
    assert why_not_by_identifier(shown(created_at=SENT_AT - 61), ticket)


# By an id that a reply named


# Not by their texts: a set with two entries has two.
@pytest.mark.parametrize("fields", [*FITS, {"identifier": None}, {"projects": frozenset({"10000", "sec"})}])
def test_a_ticket_that_a_reply_named_is_proved_by_name_project_and_time(fields: dict[str, Any]) -> None:
    assert why_not_by_id(shown(**fields), asked()) is None


@pytest.mark.parametrize("fields", [*FITS_NOT, {"projects": frozenset()}, {"projects": frozenset({"app"})}], ids=str)
def test_another_ticket_that_a_reply_named_proves_nothing(fields: dict[str, Any]) -> None:
    assert why_not_by_id(shown(**fields), asked())


def test_a_ticket_that_a_reply_named_is_proved_by_its_key_alone() -> None:
    ticket = asked(identifier=None)
    nothing = shown(identifier=None, name=None, created_at=None, projects=frozenset())
    assert why_not_by_id(nothing, ticket)
    assert why_not_by_id(replace(nothing, key=ticket.key), ticket) is None
    assert why_not_by_id(replace(nothing, identifier=ticket.key), ticket) is None


def test_of_a_ticket_that_surely_exists_the_key_as_its_identifier_is_enough() -> None:
    ticket = asked(identifier=None)
    bare = shown(identifier=ticket.key.upper(), name=None, created_at=None, projects=frozenset())
    assert is_that_of(bare, ticket)
    assert not is_that_of(replace(bare, identifier=ticket.key[:-1]), ticket)
    assert is_that_of(shown(projects=frozenset()), asked())
    assert not is_that_of(shown(identifier="CVE-2026-2"), asked())
    assert not is_that_of(shown(created_at=None, projects=frozenset()), asked())


# No id twice


@pytest.mark.parametrize(
    ("found", "contested"),
    [
        pytest.param({"A": ("a", "S-1"), "B": ("b", "S-2")}, [], id="different"),
        pytest.param({"A": ("a", None), "B": ("a", None), "C": ("b", None)}, ["A", "B"], id="Leen's id twice"),
        pytest.param({"A": ("a", "S-1"), "B": ("b", "s-1")}, ["A", "B"], id="the vendor's id twice"),
        pytest.param({"A": ("a", None), "B": (None, "a")}, [], id="an id of the other kind is another"),
        pytest.param({"A": (None, "S-1"), "B": ("", "S-2")}, [], id="no id is none"),
    ],
)
def test_no_id_is_claimed_twice(found: dict[str, tuple[str | None, str | None]], contested: list[str]) -> None:
    assert clashing({key: Created(*pair) for key, pair in found.items()}) == contested


# By search


def test_hits_are_matched_by_the_keys_they_carry_and_of_two_the_older_one_counts() -> None:
    records = [
        shown(key=OTHER_KEY, vendor_ticket_id="SEC-3", created_at=SENT_AT + 3),
        shown(key=OTHER_KEY, vendor_ticket_id="SEC-2", created_at=SENT_AT + 2),
        shown(key="airflow-of-another-run", vendor_ticket_id="SEC-4"),
        shown(key=None),
        shown(key="wanted", ticket_id=None, vendor_ticket_id=None),
        shown(key="wanted", contradictions=("error: 'no such ticket'",)),
    ]
    assert by_key(records, [OTHER_KEY, "wanted"]) == {OTHER_KEY: Created("t", "SEC-2")}


@pytest.mark.parametrize(
    ("sendings", "may_be_absent"),
    [
        pytest.param([], False, id="none, only an id that two tickets have"),
        pytest.param([sent(embedded=True)], True, id="embedded"),
        pytest.param([sent()], False, id="not embedded"),
        pytest.param([sent(), sent(embedded=True)], False, id="one of two"),
        pytest.param([sent(embedded=True), sent(embedded=True)], True, id="both"),
        pytest.param([sent(embedded=True, as_job=True)], False, id="in a job that may go on"),
    ],
)
def test_a_search_can_prove_absence_only_where_each_sending_carried_the_key_and_is_over(
    sendings: list[Sending], may_be_absent: bool
) -> None:
    ticket = asked(final=final_from(sendings, PATIENT, "h"))
    ticket.sendings = tuple(sendings)
    assert ticket.may_be_absent is may_be_absent


def test_a_request_is_settled_after_two_calls_with_their_connecting_and_the_settle_time() -> None:
    assert settled_after(PATIENT) == 2 * (120.0 + 10.0) + 50.0
    assert settled_after(settings_for("https://leen.example.com/v1", timeout=2.0, settle_time=0.0)) == 2 * 4.0


LEFT = SENT_AT + 10.0


@pytest.mark.parametrize(
    ("sendings", "host", "expected"),
    [
        pytest.param([sent()], "h", LEFT + 310.0, id="counts from when it left at the latest"),
        pytest.param([sent()], "other", LEFT + 60.0 + 310.0, id="another host's clock may be a minute behind"),
        pytest.param([sent(1.0), sent(), sent(2.0)], "h", LEFT + 310.0, id="the last one counts"),
        pytest.param([sent(settled_after=400.0)], "h", LEFT + 400.0, id="the try that sent was more patient"),
        pytest.param([sent(settled_after=100.0)], "h", LEFT + 310.0, id="it was less patient"),
        pytest.param([sent(), sent(as_job=True)], "h", NEVER, id="a job may go on"),
        pytest.param([], "h", NEVER, id="it was never sent"),
    ],
)
def test_until_when_something_may_come_of_a_sending(sendings: list[Sending], host: str, expected: float) -> None:
    assert final_from(sendings, PATIENT, host) == expected
