"""What replies prove becomes facts."""

from __future__ import annotations

import pytest

from airflow_provider_leen.api.results import Claim
from airflow_provider_leen.bulk.table import TicketTable
from airflow_provider_leen.bulk.work import note_claims

UNPROVED = Claim("unknown", error="It says both.", vendor_ticket_id="SEC-1", ticket_id="u-1")


def test_a_reply_states_for_each_ticket_what_it_proves_and_which_ids_it_names() -> None:
    table = TicketTable()
    table.sent(["a", "b", "c", "d"], 1.0, 11.0, "h", False, False)
    claims = [
        UNPROVED,
        Claim("succeeded", ticket_id="u-2", vendor_ticket_id="SEC-2"),
        Claim("rejected", error="closed"),
        Claim("unknown", error="It says nothing."),
    ]
    assert note_claims(table, ["a", "b", "c", "d"], claims, 5.0) is None
    assert [table[key].status for key in "abcd"] == ["unknown", "created", "rejected", "unknown"]
    assert set(table["a"].named) == {"u-1", "SEC-1"}
    assert (table["b"].ticket_id, table["b"].vendor_ticket_id) == ("u-2", "SEC-2")
    assert table["c"].error == "closed"
    assert table["d"].named == ()
    assert str(table["d"].error) == "It says nothing."
    assert all(table[key].sendings for key in "abd"), "what was sent is known"
    # Nothing leaves after the reply came.
    assert table["a"].sendings[0].leaves_by == 5.0


@pytest.mark.parametrize(("claims", "why"), [([UNPROVED, UNPROVED], "It says both."), ([UNPROVED], "It says both.")])
def test_a_reply_that_proves_nothing_of_any_ticket_is_no_usable_one(claims: list[Claim], why: str) -> None:
    table = TicketTable()
    keys = ["a", "b"][: len(claims)]
    table.sent(keys, 1.0, 11.0, "h", False, False)
    assert note_claims(table, keys, claims, 5.0) == why
