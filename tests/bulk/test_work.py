"""What replies prove becomes facts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from airflow_provider_leen.api.results import Claim
from airflow_provider_leen.bulk.work import Work
from tests.bulk.ledgers import Clock, ledger_of
from tests.bulk.runs import Store, answering

UNPROVED = Claim("unknown", error="It says both.", vendor_ticket_id="SEC-1", ticket_id="u-1")


class Creating(Work[str]):
    """A work on keys."""

    field = "keys"

    def __init__(self, *keys: str) -> None:
        clock = Clock()
        clock.time = 5.0
        super().__init__(answering(lambda request: None), ledger_of(Store(), now=clock), str, as_job=False)
        self.table.sent(list(keys), 1.0, 11.0, "h", False, False)

    async def call(self, items: Sequence[str], leaves_by: float) -> list[Claim]:
        raise NotImplementedError

    def replied(self, items: Sequence[str], reply: list[Claim]) -> str | None:
        return self.claimed(items, reply)

    def succeeded(self, claims: Mapping[str, Claim]) -> None:
        self.table.created({key: [claim.ticket_id, claim.vendor_ticket_id] for key, claim in claims.items()})


def test_a_reply_states_for_each_ticket_what_it_proves_and_which_ids_it_names() -> None:
    work = Creating("a", "b", "c", "d")
    claims = [
        UNPROVED,
        Claim("succeeded", ticket_id="u-2", vendor_ticket_id="SEC-2"),
        Claim("rejected", error="closed"),
        Claim("unknown", error="It says nothing."),
    ]
    assert work.replied(["a", "b", "c", "d"], claims) is None
    table = work.table
    assert [table[key].status for key in "abcd"] == ["unknown", "created", "rejected", "unknown"]
    assert set(table["a"].named) == {"u-1", "SEC-1"}
    assert (table["b"].ticket_id, table["b"].vendor_ticket_id) == ("u-2", "SEC-2")
    assert table["c"].error == "closed"
    assert table["d"].named == ()
    assert str(table["d"].error) == "It says nothing."
    assert all(table[key].sendings for key in "abd"), "what was sent is known"
    # Nothing leaves after the reply came.
    assert table["a"].sendings[0].leaves_by == 5.0


@pytest.mark.parametrize("claims", [[UNPROVED, UNPROVED], [UNPROVED]], ids=len)
def test_a_reply_that_proves_nothing_about_any_ticket_is_no_usable_one(claims: list[Claim]) -> None:
    keys = ["a", "b"][: len(claims)]
    assert Creating(*keys).replied(keys, claims) == "It says both."
