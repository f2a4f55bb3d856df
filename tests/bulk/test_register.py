"""A daily list: what a register knows is not filed again, whatever happens in between."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_leen.api.errors import LeenBrakeError, LeenConfigError, LeenLedgerError
from airflow_provider_leen.bulk.lookup import Created
from airflow_provider_leen.bulk.register_known import read_known
from tests.bulk.register_days import DAY, Ended, Leen, Shelf, findings, kinds, run_day


class Register:
    """A register and a Leen, over some days."""

    def __init__(self, **behaviour: Any) -> None:
        self.values: dict[str, Any] = {}
        self.leen = Leen(**behaviour)

    def day(self, *numbers: int, run: str = "monday", dies_at: int | None = None, **more: Any) -> Ended:
        ended = run_day(self.leen, Shelf(self.values), findings(*numbers), run=run, **more)
        assert ended is not None
        return ended

    def killed_day(self, *numbers: int, run: str, dies_at: int, does_it: bool, **more: Any) -> bool:
        """Run a day that is killed at a write; say whether it was."""
        shelf = Shelf(self.values, dies_at, does_it=does_it)
        return run_day(self.leen, shelf, findings(*numbers), run=run, **more) is None


def test_a_finding_filed_yesterday_exists_today_without_a_request() -> None:
    register = Register()
    assert register.day(1, 2, 3).counts == {"created": 3}
    del register.leen.requests[:]
    register.leen.clock.time += DAY
    tuesday = register.day(2, 3, run="tuesday")
    assert tuesday.counts == {"existing": 2}
    assert [result["vendor_ticket_id"] for result in tuesday.results] == ["SEC-2", "SEC-3"]
    assert register.leen.requests == ["GET /v1/itsm/tickets"], "tickets of vendor IDs have no id before a sync"
    register.leen.is_synced = True
    register.day(2, 3, run="wednesday")
    del register.leen.requests[:]
    assert [result["ticket_id"] for result in register.day(1, 2, 3, run="thursday").results] == [
        "leen-1",
        "leen-2",
        "leen-3",
    ]
    assert register.leen.requests == []


def test_a_retry_of_the_same_run_reports_its_own_tickets_as_created() -> None:
    register = Register()
    register.day(1, 2)
    assert register.day(1, 2, 3, try_number=2).counts == {"created": 3}
    assert register.day(1, 2, 3, run="tuesday").counts == {"existing": 3}


@pytest.mark.parametrize("lost", ["before", "after"])
def test_what_an_earlier_run_left_unknown_is_settled_first_and_counts_to_one_ticket(lost: str) -> None:
    register = Register()
    register.day(0)
    register.leen.clock.time += DAY
    register.leen.lost = lost
    assert register.day(1, 2, run="tuesday", on_unknown="fail").counts == {"unknown": 2}
    register.leen.clock.time += DAY
    before = register.leen.clock.time
    wednesday = register.day(1, 2, 3, run="wednesday")
    assert wednesday.error is None
    assert wednesday.counts == {"created": 3}, "those that a look-up found count as this run's"
    assert register.leen.clock.time == before, "nothing is left to wait for"
    assert register.leen.counts() == {f"scanner:{number}": 1 for number in range(4)}


def test_an_unknown_outcome_of_a_finding_that_is_gone_is_settled_too_or_counted() -> None:
    register = Register()
    register.day(0)
    register.leen.clock.time += DAY
    register.leen.lost = "after"
    register.day(1, run="tuesday", on_unknown="fail")
    register.leen.clock.time += DAY
    assert register.day(0, run="wednesday", on_unknown="fail").run.earlier_unknown == 1
    assert register.day(0, run="thursday").run.earlier_unknown == 0
    assert register.day(1, run="friday").counts == {"existing": 1}
    assert register.leen.counts() == {"scanner:0": 1, "scanner:1": 1}


def test_absence_is_proved_where_people_have_deleted_all_tickets_of_a_day() -> None:
    register = Register()
    register.day(0)
    register.leen.clock.time += DAY
    register.day(*range(6), run="tuesday")
    del register.leen.made[1:]
    register.leen.clock.time += DAY
    register.leen.lost = "before"
    wednesday = register.day(0, 6, run="wednesday")
    assert (wednesday.error, wednesday.counts) == (None, {"existing": 1, "created": 1})


def test_a_rejected_ticket_is_sent_again() -> None:
    register = Register(refused={"scanner:2"})
    assert register.day(1, 2).counts == {"created": 1, "rejected": 1}
    assert register.day(1, 2, run="tuesday").counts == {"existing": 1, "rejected": 1}
    register.leen.refused.clear()
    assert register.day(1, 2, run="wednesday").counts == {"existing": 1, "created": 1}


def test_a_ticket_that_somebody_has_cloned_is_the_oldest(caplog: pytest.LogCaptureFixture) -> None:
    register = Register()
    register.day(0)
    register.leen.clock.time += DAY
    register.leen.lost = "after"
    register.day(1, run="tuesday", on_unknown="fail")
    register.leen.made.append(register.leen.made[-1] | {"key": "SEC-99", "at": register.leen.clock() + 60})
    register.leen.clock.time += DAY
    assert register.day(1, run="wednesday").results[0]["vendor_ticket_id"] == "SEC-2"
    assert "The tracker has 2 tickets with the key airflow-" in caplog.text


def test_a_reply_that_names_a_ticket_of_the_register_leaves_only_the_new_one_unknown() -> None:
    register = Register()
    known = {"scanner:1": Created(None, "SEC-1")}
    ended = register.day(1, 2, known=known, on_unknown="fail")
    assert [result["status"] for result in ended.results] == ["existing", "unknown"]
    assert "SEC-1" in str(ended.results[1]["error"])


def test_more_new_tickets_than_allowed_send_nothing_at_all() -> None:
    register = Register()
    register.day(1, 2, max_new=2)
    braked = register.day(1, 2, 3, 4, 5, run="tuesday", max_new=2)
    assert isinstance(braked.error, LeenBrakeError)
    assert "3 tickets would be filed, more than max_new=2 allows" in str(braked.error)
    assert "knows 2 of the list's 5 findings" in str(braked.error)
    assert braked.counts == {"existing": 2, "unsent": 3}
    assert len(register.leen.made) == 2
    assert register.day(1, 2, 3, 4, 5, run="tuesday", try_number=2, max_new=3).counts == {"existing": 2, "created": 3}


def test_known_tickets_are_taken_over_on_the_first_day_and_an_accepted_risk_gets_none() -> None:
    known = {"scanner:1": Created(None, "OLD-1"), "scanner:2": Created(None, None)}
    known["scanner:9"] = known["scanner:1"]
    register = Register()
    monday = register.day(1, 2, 3, known=known)
    assert [(result["status"], result["vendor_ticket_id"]) for result in monday.results] == [
        ("existing", "OLD-1"),
        ("existing", None),
        ("created", "SEC-1"),
    ]
    changed = {"scanner:3": Created(None, "OLD-3")}
    assert register.day(1, 2, 3, 9, run="tuesday", known=changed).counts == {"existing": 4}
    assert register.leen.counts() == {"scanner:3": 1}


def test_a_row_without_an_identifier_is_invalid_and_one_with_the_same_letters_is_the_same() -> None:
    register = Register()
    rows = [{"name": "one"}, {"name": "two", "identifier": "caf\u00e9"}]
    ended = run_day(register.leen, Shelf(register.values), rows)
    assert ended is not None
    assert ended.counts == {"invalid": 1, "created": 1}
    assert "needs its own" in str(ended.results[0]["error"])
    again = run_day(
        register.leen, Shelf(register.values), [{"name": "two", "identifier": " cafe\u0301 "}], run="tuesday"
    )
    assert again is not None
    assert again.counts == {"existing": 1}
    three = [{"name": "new", "identifier": "\u00e9"}, {"name": "twin", "identifier": "e\u0301"}]
    twins = run_day(register.leen, Shelf(register.values), three, run="wednesday")
    assert twins is not None
    assert twins.counts == {"created": 1, "existing": 1}


def test_leen_is_asked_only_for_what_the_register_does_not_know() -> None:
    register = Register()
    register.day(1, 2)
    del register.leen.requests[:]
    register.day(1, 2, 3, run="tuesday", skip_existing=True)
    asked = [request for request in register.leen.requests if "by-identifier" in request]
    assert asked == ["GET /v1/itsm/tickets/by-identifier/scanner:3"]


@pytest.mark.parametrize("does_it", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("lost", ["", "after"])
def test_killed_at_any_write_the_next_run_ends_right(does_it: bool, lost: str) -> None:
    dies_at = 0
    while True:
        dies_at += 1
        register = Register()
        register.day(0, 1, 2)
        register.leen.clock.time += DAY
        register.leen.lost = lost
        was_killed = register.killed_day(1, 2, 3, 4, 5, run="tuesday", dies_at=dies_at, does_it=does_it)
        register.leen.clock.time += DAY
        wednesday = register.day(1, 2, 3, 5, 6, run="wednesday")
        assert wednesday.error is None, dies_at
        assert set(wednesday.counts) <= {"created", "existing"}, dies_at
        assert register.day(1, 2, 3, 4, 5, 6, run="thursday").error is None
        assert register.leen.counts() == {f"scanner:{number}": 1 for number in range(7)}, dies_at
        assert kinds(register.values) == ["head", "snapshot"], dies_at
        if not was_killed:
            break
    assert dies_at > 10


@pytest.mark.parametrize(("run", "try_number"), [("another", 1), ("monday", 2)], ids=["another run", "a newer try"])
def test_a_run_that_hangs_is_taken_over_and_publishes_nothing_more(run: str, try_number: int) -> None:
    register = Register()
    register.day(0, run="sunday")
    register.leen.clock.time += DAY
    others: list[Ended] = []
    register.leen.meanwhile = lambda: others.append(register.day(1, 2, 3, 4, 5, run=run, try_number=try_number))
    with pytest.raises(LeenLedgerError, match="has taken over"):
        register.day(1, 2, 3, 4)
    assert others[0].error is None
    assert others[0].counts == {"created": 5}
    assert register.day(1, 2, 3, 4, 5, run="tuesday").counts == {"existing": 5}
    assert register.leen.counts() == {f"scanner:{number}": 1 for number in range(6)}
    assert kinds(register.values) == ["head", "snapshot"]


@pytest.mark.parametrize("kind", ["head", "snapshot", "j", "lease"])
def test_values_deleted_from_the_store_are_reported_and_nothing_is_filed_again(kind: str) -> None:
    register = Register()
    register.day(0, 1, 2)
    register.leen.clock.time += DAY
    register.killed_day(1, 2, 3, 4, 5, run="tuesday", dies_at=5, does_it=True)
    for key in [key for key in register.values if key.startswith(kind)][:1]:
        del register.values[key]
    register.leen.clock.time += DAY
    with pytest.raises(LeenLedgerError, match="has a gap"):
        register.day(1, 2, 3, 4, 5, run="wednesday")
    assert set(register.leen.counts().values()) == {1}


def test_the_file_of_known_tickets_is_read_from_csv_and_from_json_lines() -> None:
    csv = ["\ufeffidentifier,vendor_ticket_id,ticket_id\r\n", "a,SEC-1,\r\n", "b,,\r\n", '"c,d",,u-3\r\n']
    lines = ['{"identifier": "a", "vendor_ticket_id": "SEC-1"}', "", '{"identifier": "b"}']
    lines.append('{"identifier": "c,d", "ticket_id": "u-3"}')
    wanted = {"a": Created(None, "SEC-1"), "b": Created(None, None), "c,d": Created("u-3", None)}
    assert read_known(csv, is_csv=True) == read_known(lines, is_csv=False) == wanted


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        ([], "line 1: the line of names is missing"),
        (["a,u-1\n"], "line 1: the line of names is missing"),
        (["identifier,key\n", "a,u-1\n"], "line 1: it has a column 'key'"),
        (["identifier,ticket_id\n", ",u-1\n"], "line 2: it has no identifier"),
        (["identifier,ticket_id\n", "a,u-1\n", " a ,u-2\n"], "line 3: an earlier line has the identifier 'a'"),
        (["identifier\n", "a,b\n"], "line 2: it has a column"),
    ],
)
def test_a_file_of_known_tickets_that_makes_no_sense_is_refused(lines: list[str], sentence: str) -> None:
    with pytest.raises(LeenConfigError, match=sentence):
        read_known(lines, is_csv=True)
