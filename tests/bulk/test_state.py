"""The table of facts: which status follows from them, and that a replay gives the same table."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_leen.api.errors import LeenLedgerError
from airflow_provider_leen.bulk.state import CLOCK_SKEW, Sending
from airflow_provider_leen.bulk.table import MAX_NAMED, TicketTable
from airflow_provider_leen.bulk.values import MAX_TEXT

A, B, C = (f"airflow-{letter * 24}" for letter in "abc")
AIRFLOWS_LIMIT = 64 * 1024
JOB = "job-1"


def sent(table: TicketTable, *keys: str, at: float = 1.0, as_job: bool = False, embedded: bool = True) -> None:
    table.sent(list(keys), at, at + 10, "h", embedded, as_job)


def exists(number: int) -> list[str | None]:
    return [f"uuid-{number}", f"SEC-{number}"]


Story = Callable[[TicketTable], object]


def story(*steps: Story) -> TicketTable:
    table = TicketTable()
    for step in steps:
        step(table)
    return table


leaves: Story = lambda table: sent(table, A)  # noqa: E731
leaves_again: Story = lambda table: sent(table, A, at=50.0)  # noqa: E731
refused: Story = lambda table: table.refused({A: "no such project"})  # noqa: E731
withdrawn: Story = lambda table: table.withdrawn([A])  # noqa: E731
created: Story = lambda table: table.created({A: exists(1)})  # noqa: E731
absent: Story = lambda table: table.absent([A])  # noqa: E731
named: Story = lambda table: table.named({A: ["SEC-9"]})  # noqa: E731


@pytest.mark.parametrize(
    ("steps", "status"),
    [
        pytest.param([lambda table: table[A]], "unsent", id="nothing is known"),
        pytest.param([leaves], "unknown", id="sent"),
        pytest.param([leaves, created], "created", id="created"),
        pytest.param([lambda table: table.existing({A: exists(1)})], "existing", id="existed before"),
        pytest.param([leaves, lambda table: table.changed([A])], "updated", id="a change was made"),
        pytest.param([leaves, refused], "rejected", id="refused"),
        pytest.param([leaves, withdrawn], "unsent", id="withdrawn"),
        pytest.param([leaves, absent], "unsent", id="proved absent"),
        pytest.param([leaves, leaves_again, refused], "unknown", id="a refusal closes the last sending only"),
        pytest.param([leaves, leaves_again, withdrawn], "unknown", id="so does a withdrawal"),
        pytest.param([leaves, leaves_again, absent], "unsent", id="a proof of absence closes all"),
        pytest.param([leaves, leaves_again, created], "created", id="a proof that it exists does, too"),
        pytest.param([leaves, leaves_again, refused, absent], "rejected", id="absent, and refused: not a secret"),
        pytest.param([leaves, refused, leaves_again], "unknown", id="sent again after a refusal"),
        pytest.param([leaves, refused, leaves_again, withdrawn], "rejected", id="and not sent after all"),
        pytest.param([leaves, named], "unknown", id="a contradictory reply named an id"),
        pytest.param([leaves, named, leaves_again, refused], "unknown", id="and it stays open"),
        pytest.param([leaves, named, absent], "unsent", id="absent whatever was named"),
        pytest.param([leaves, named, created], "created", id="created whatever was named"),
        pytest.param([leaves, created, absent], "created", id="a ticket that exists is not sent again"),
    ],
)
def test_a_status_follows_from_facts(steps: list[Story], status: str) -> None:
    assert story(*steps)[A].status == status


def test_all_open_sendings_are_kept_with_their_times_and_reasons() -> None:
    table = story(leaves, lambda table: table.unknown([A], "timed out"), leaves_again)
    assert table[A].sendings == (
        Sending(1.0, 11.0, "h", True, reason="timed out"),
        Sending(50.0, 60.0, "h", True),
    )


def test_what_another_host_recorded_may_have_left_a_minute_later() -> None:
    sending = Sending(1.0, 11.0, "h", True)
    assert sending.left_by("h") == 11.0
    assert sending.left_by("another") == 11.0 + CLOCK_SKEW


@pytest.mark.parametrize(
    ("steps", "error"),
    [
        ([leaves], "It was sent, and no reply is recorded."),
        ([leaves, lambda table: table.unknown([A], "It timed out.")], "It timed out."),
        ([leaves, leaves_again, refused], "recorded. Sent again, and refused: no such project"),
        ([leaves, named], "Contradictory replies name SEC-9."),
        ([leaves, refused], "no such project"),
        ([leaves, lambda table: table.refused({A: ""})], "Leen gave no reason."),
        ([lambda table: sent(table, A, as_job=True), lambda table: table.submitted([A], JOB)], "in job job-1"),
    ],
)
def test_a_person_can_read_why_a_ticket_failed(steps: list[Story], error: str) -> None:
    assert error in str(story(*steps)[A].error)


def test_if_a_reply_named_ids_the_error_does_not_say_that_there_was_no_reply() -> None:
    assert story(leaves, named)[A].error == "Contradictory replies name SEC-9."


def test_a_ticket_that_exists_has_no_error() -> None:
    assert story(leaves, named, created)[A].error is None


def test_the_tickets_of_a_request_share_its_sending() -> None:
    table = TicketTable()
    sent(table, A, B)
    table.unknown([A, B], "timed out")
    assert table[A].sendings is table[B].sendings


# Ids


def test_an_id_that_two_rows_have_makes_both_unknown_and_is_named_at_both() -> None:
    table = TicketTable()
    sent(table, A, B)
    table.created({A: exists(1)})
    table.created({B: ["uuid-2", "SEC-1"]})
    assert [table[key].status for key in (A, B)] == ["unknown", "unknown"]
    assert "SEC-1" in str(table[A].error)
    assert "SEC-1" in str(table[B].error)


def test_a_third_row_with_that_id_is_unknown_too() -> None:
    table = TicketTable()
    sent(table, A, B, C)
    table.created(dict.fromkeys((A, B, C), exists(1)))
    assert [table[key].status for key in (A, B, C)] == ["unknown"] * 3


def test_two_rows_that_were_found_under_one_id_are_unknown_although_never_sent() -> None:
    table = TicketTable()
    table.existing({A: exists(1), B: exists(1)})
    assert [table[key].status for key in (A, B)] == ["unknown", "unknown"]


def test_a_look_up_decides_whose_the_id_is() -> None:
    table = TicketTable()
    sent(table, A, B)
    table.created({A: exists(1), B: exists(1)})
    table.found({B: exists(1)})
    assert (table[A].status, table[B].status) == ("unknown", "created")
    assert table[B].vendor_ticket_id == "SEC-1"
    table.found({A: exists(1)})
    assert [table[key].status for key in (A, B)] == ["unknown", "unknown"], "two proofs that contradict one another"


def test_ids_that_were_not_known_at_first_are_added() -> None:
    table = TicketTable()
    sent(table, A)
    table.created({A: [None, None]})
    table.created({A: ["uuid-1", None]})
    table.found({A: [None, "SEC-1"]})
    assert (table[A].ticket_id, table[A].vendor_ticket_id, table[A].status) == ("uuid-1", "SEC-1", "created")


def test_a_second_ticket_of_one_row_is_named_and_does_not_replace_the_first() -> None:
    table = story(leaves, leaves_again, created, lambda table: table.found({A: exists(2)}))
    assert (table[A].vendor_ticket_id, table[A].named) == ("SEC-1", ("uuid-2", "SEC-2"))
    assert table[A].status == "created"


def test_the_number_of_ids_kept_from_replies_is_limited() -> None:
    table = story(leaves, lambda table: table.named({A: [f"SEC-{number}" for number in range(100)]}))
    assert len(table[A].named) == MAX_NAMED


# Jobs


def submitted() -> TicketTable:
    table = TicketTable()
    sent(table, A, B, as_job=True)
    table.submitted([A, B], JOB)
    return table


def test_a_job_is_open_while_one_of_its_tickets_is_unknown_and_keeps_all_its_keys_in_order() -> None:
    table = submitted()
    table.created({A: exists(1)})
    assert table.open_jobs() == {JOB: [A, B]}
    table.refused({B: "no such project"}, JOB)
    assert table.open_jobs() == {}
    assert table[B].status == "rejected"


def test_a_job_id_that_came_twice_proves_nothing_about_either_request() -> None:
    table = submitted()
    sent(table, C, as_job=True)
    table.submitted([C], JOB)
    assert table.open_jobs() == {}
    assert {table[key].status for key in (A, B, C)} == {"unknown"}


def test_a_job_that_refuses_a_ticket_closes_its_own_sending_only() -> None:
    table = submitted()
    sent(table, A, at=50.0)
    table.refused({A: "no such project"}, JOB)
    assert [sending.at for sending in table[A].sendings] == [50.0]


def test_a_job_that_ended_without_saying_creates_nothing_after_its_end() -> None:
    table = submitted()
    table.job_ended([A, B], JOB, 99.0, "h2")
    assert table[A].sendings == (Sending(1.0, 99.0, "h2", True),)
    assert table.open_jobs() == {}


# Memory that is gone


def test_where_the_memory_is_gone_every_ticket_may_have_been_sent() -> None:
    table = TicketTable(Sending(5.0, 20.0, "", True, reason="gone"))
    assert (table[A].status, table[A].error) == ("unknown", "gone")
    table.absent([A])
    assert table[A].status == "unsent"


# Record and replay


def replayed(*tables: TicketTable) -> TicketTable:
    again = TicketTable()
    for table in tables:
        for value in table.take():
            again.replay(json.loads(json.dumps(value)))
    return again


def test_a_replay_records_nothing_again() -> None:
    again = replayed(story(leaves, refused))
    assert again[A].status == "rejected"
    assert again.take() == []


def test_facts_are_recorded_in_their_order_in_one_value() -> None:
    values = story(
        leaves, withdrawn, leaves_again, created, lambda table: table.labelled({A: ["finding", "CVE-1"]}, 1)
    ).take()
    assert [name for value in values for name, *_ in value["facts"]] == [
        "sent",
        "withdrawn",
        "sent",
        "created",
        "labelled",
    ]
    assert len(values) == 1


def test_a_fact_about_no_ticket_is_none() -> None:
    assert story(lambda table: table.absent([]), lambda table: table.created({})).take() == []


def test_what_is_recorded_does_not_change_with_the_callers_lists() -> None:
    keys, table = [A], TicketTable()
    table.absent(keys)
    keys.append(B)
    assert table.take()[0]["facts"] == [["absent", [A]]]


@pytest.mark.parametrize(
    "reason", ["no", "x" * 5000, "\u4e16" * 5000, "\x00\ud800"], ids=["short", "long", "wide", "bad"]
)
def test_no_value_reaches_the_limit(reason: str) -> None:
    keys = [f"airflow-{number:024x}" for number in range(3000)]
    table = TicketTable()
    sent(table, *keys)
    table.unknown(keys, reason)
    table.refused(dict.fromkeys(keys[:500], reason))
    table.created({key: [f"{number}" * 36, f"{number}" * 255] for number, key in enumerate(keys[500:], start=1)})
    values = table.take()
    assert max(len(json.dumps(value)) for value in values) < AIRFLOWS_LIMIT
    again = TicketTable()
    for value in values:
        again.replay(json.loads(json.dumps(value)))
    assert again == table
    assert len(str(again[keys[0]].refusal)) <= MAX_TEXT


@pytest.mark.parametrize("version", [0, 1, 3, "2", None])
def test_a_value_of_another_release_is_refused_and_says_what_to_do(version: Any) -> None:
    with pytest.raises(LeenLedgerError, match="another release") as refusal:
        TicketTable().replay({"v": version, "facts": []})
    assert f"version {version!r}, this one reads 2" in str(refusal.value)


@pytest.mark.parametrize(
    "facts",
    [None, 3, [None], [[]], [["no such fact", [A]]], [["created", [A]]], [["created", {A: ["one"]}]], [["sent", [A]]]],
    ids=str,
)
def test_a_value_that_makes_no_sense_is_refused_and_quoted(facts: Any) -> None:
    with pytest.raises(LeenLedgerError, match="can't be read") as refusal:
        TicketTable().replay({"v": 2, "facts": facts})
    assert json.dumps(facts)[:150] in str(refusal.value)


@pytest.mark.parametrize("value", [None, "text", [], {}, {"v": 2}], ids=str)
def test_so_is_what_is_no_value_at_all(value: Any) -> None:
    with pytest.raises(LeenLedgerError, match="can't be read"):
        TicketTable().replay(value)
