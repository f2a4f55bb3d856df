"""What a reply proves about each ticket: all contradictions, and all tolerated differences."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from airflow_provider_leen.api.results import nothing_proved, results_of_reply
from airflow_provider_leen.api.tolerances import is_blank, is_same_identifier, is_same_name

SENT = ["one", "two", "three"]
IDS = {name: f"SEC-{number}" for number, name in enumerate(SENT)}


def made(index: Any, **fields: Any) -> dict[str, Any]:
    """The result of a ticket that was created."""
    identifier = SENT[index] if type(index) is int and 0 <= index < 3 else None
    ids = {"ticket_id": None, "vendor_ticket_id": f"SEC-{index}"}
    return {"success": True, "request_index": index, "identifier": identifier, "error": None} | ids | fields


def refused(index: Any, **fields: Any) -> dict[str, Any]:
    return made(index, success=False, vendor_ticket_id=None, error="no such project") | fields


def reply(*results: Any, **changes: Any) -> dict[str, Any]:
    succeeded = sum(isinstance(result, dict) and result.get("success") is True for result in results)
    counts = {"total": len(results), "succeeded": succeeded, "failed": len(results) - succeeded}
    return {**counts, "results": list(results)} | changes


def statuses(content: Any, sent: list[str | None] | None = None) -> str:
    """The first letters of the statuses."""
    return "".join(claim.status[0] for claim in results_of_reply(content, SENT if sent is None else sent))


GOOD = [made(0), made(1), made(2)]


# What is believed


@pytest.mark.parametrize(
    ("results", "said"),
    [
        pytest.param(GOOD, "sss", id="all created"),
        pytest.param([made(0), refused(1), made(2)], "srs", id="one refused"),
        pytest.param([refused(0), refused(1), refused(2)], "rrr", id="all refused"),
        pytest.param([refused(0, error=None), refused(1, error=" "), made(2)], "rrs", id="refused without a reason"),
        pytest.param([refused(0, vendor_ticket_id="", ticket_id=" "), *GOOD[1:]], "rss", id="refused with blank ids"),
        pytest.param([made(0, vendor_ticket_id=None, ticket_id="u-1"), *GOOD[1:]], "sss", id="Leen's id only"),
        pytest.param([made(0, ticket_id="u-1"), *GOOD[1:]], "sss", id="both ids"),
        pytest.param([made(n, new={"field": [1]}) for n in range(3)], "sss", id="fields that are not documented"),
    ],
)
def test_a_sound_reply_is_believed_row_by_row(results: list[Any], said: str) -> None:
    assert statuses(reply(*results)) == said


def test_a_claim_holds_what_leen_said() -> None:
    one, two, _three = results_of_reply(
        reply(made(0, ticket_id="u-1"), refused(1, error="no\nsuch  project"), made(2)), SENT
    )
    assert (one.ticket_id, one.vendor_ticket_id, one.error, one.identifier) == ("u-1", "SEC-0", None, "one")
    assert (two.ticket_id, two.vendor_ticket_id, two.error) == (None, None, "no such project")


# Tolerances


@pytest.mark.parametrize(
    "results",
    [
        pytest.param([made(n, request_index=n + 1) for n in range(3)], id="counted from 1"),
        pytest.param([made(n, identifier=None) for n in range(3)], id="identifiers left out"),
        pytest.param([made(n, identifier="") for n in range(3)], id="identifiers empty"),
        pytest.param([{k: v for k, v in made(n).items() if k != "identifier"} for n in range(3)], id="none at all"),
        pytest.param([made(n, identifier=f" {SENT[n].upper()} ") for n in range(3)], id="identifiers normalised"),
        pytest.param([made(n, error="") for n in range(3)], id="empty error texts"),
        pytest.param([made(n, error=" \n") for n in range(3)], id="blank error texts"),
        pytest.param([made(n, error=[]) for n in range(3)], id="empty lists of errors"),
        pytest.param(GOOD[::-1], id="another order, where number and identifier agree"),
    ],
)
def test_a_healthy_server_with_tolerated_differences_is_believed(results: list[Any]) -> None:
    assert statuses(reply(*results)) == "sss"
    assert statuses(reply(*results, errors=[], error=None, success=True, page=None)) == "sss"


def test_an_identifier_that_leen_makes_is_believed_where_none_was_sent() -> None:
    assert statuses(reply(made(0, identifier="SEC-Task-ab12")), [None]) == "s"


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("abc", "abc", True),
        ("abc", " ABC\n", True),
        ("caf\u00e9", "cafe\u0301", True),
        ("stra\u00dfe", "STRASSE", True),
        ("a\x00b", "ab", True),
        ("half \ud800", "half \ufffd", True),
        ("x" * 64, "x" * 64 + "more", True),
        ("x" * 64 + "more", "X" * 64, True),
        ("x" * 63, "x" * 63 + "more", False),
        ("abc", "abcd", False),
        ("CVE/\u00c4-1", "cve/A\u0308-1 ", True),
        ("abc", "", False),
        ("a b", "ab", False),
    ],
)
def test_identifiers_are_the_same_except_for_form_case_and_a_cut(one: str, other: str, same: bool) -> None:
    assert is_same_identifier(one, other) is same
    assert is_same_identifier(other, one) is same


@pytest.mark.parametrize(
    ("sent", "shown", "same"),
    [
        ("A  name\nof two", "A name of two", True),
        ("n" * 255, "n" * 200, True),
        ("n" * 255, "n" * 200 + "…", True),
        ("n" * 255, "n" * 199, False),
        ("n" * 200, "n" * 255, False),
        ("one", "two", False),
    ],
)
def test_names_are_the_same_except_for_white_space_and_a_cut(sent: str, shown: str, same: bool) -> None:
    assert is_same_name(sent, shown) is same


@pytest.mark.parametrize("value", [None, "", " \n", [], {}, False, 0])
def test_values_without_meaning_are_blank(value: Any) -> None:
    assert is_blank(value)
    assert not any(map(is_blank, ["x", ["x"], {"a": None}, True, 7]))


# What makes the whole reply prove nothing


def edited(number: int, **changes: Any) -> list[Any]:
    """A sound list with one result changed."""
    return [result | changes if position == number else result for position, result in enumerate(GOOD)]


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(None, id="nothing"),
        pytest.param([], id="a list"),
        pytest.param("x", id="a text"),
        pytest.param({}, id="an empty object"),
        pytest.param(reply(*GOOD, results=None), id="no results"),
        pytest.param(reply(*GOOD, results={"0": GOOD[0]}), id="results as an object"),
        pytest.param(reply(*GOOD[1:]), id="the first is missing"),
        pytest.param(reply(*GOOD[1:], total=3, succeeded=3), id="the first is missing, and counted"),
        pytest.param(reply(*[made(n, identifier=None) for n in (1, 2)], total=3, succeeded=3), id="and unnamed"),
        pytest.param(reply(*GOOD[:2], total=3, succeeded=3), id="the last is missing"),
        pytest.param(reply(GOOD[0], GOOD[2], total=3), id="one in the middle is missing"),
        pytest.param(reply(), id="an empty list"),
        pytest.param(reply(*GOOD, made(3)), id="one too many"),
        pytest.param(reply(*GOOD, total=2), id="total too small"),
        pytest.param(reply(*GOOD, total=4), id="total too large"),
        pytest.param(reply(*GOOD, succeeded=0, failed=3), id="counts of failures"),
        pytest.param(reply(*GOOD, succeeded=2), id="too few succeeded"),
        pytest.param(reply(*GOOD, failed=1), id="one failed"),
        pytest.param(reply(*GOOD, total="3"), id="a count as text"),
        pytest.param(reply(*GOOD, failed=False), id="a count as truth value"),
        pytest.param(reply(*GOOD, succeeded=3.0), id="a count as fraction"),
        pytest.param(reply(*GOOD, total=None), id="a count that is null"),
        pytest.param({"results": GOOD}, id="no counts"),
        pytest.param(reply(*GOOD, error="the vendor timed out"), id="an error besides"),
        pytest.param(reply(*GOOD, errors=["the vendor timed out"]), id="errors besides"),
        pytest.param(reply(*GOOD, success=False), id="no success besides"),
        pytest.param(reply(*[made(n, request_index=2 - n) for n in range(3)]), id="numbers against identifiers"),
        pytest.param(
            reply(*[made(n, request_index=2 - n, identifier=None) for n in range(3)]), id="another order, unnamed"
        ),
        pytest.param(reply(*[made(n, identifier=SENT[2 - n]) for n in range(3)]), id="identifiers of other tickets"),
        pytest.param(reply(*[made(n, request_index=n + 2) for n in range(3)]), id="counted from 2"),
        pytest.param(reply(*[made(n, request_index=0) for n in range(3)]), id="all numbered 0"),
        pytest.param(reply(*edited(1, request_index=0)), id="a number twice"),
        pytest.param(reply(*edited(1, request_index=2)), id="a number twice, later"),
        pytest.param(reply(*edited(0, request_index=-1)), id="a negative number"),
        pytest.param(reply(*edited(1, request_index="1")), id="a number as text"),
        pytest.param(reply(*edited(1, request_index=True)), id="a number as truth value"),
        pytest.param(reply(*edited(1, request_index=1.0)), id="a number as fraction"),
        pytest.param(reply(*edited(1, request_index=None)), id="no number"),
        pytest.param(reply(*edited(1, success="true")), id="success as text"),
        pytest.param(reply(*edited(1, success=1)), id="success as number"),
        pytest.param(reply(*edited(1, success=None)), id="no success"),
        pytest.param(reply(GOOD[0], "odd", GOOD[2]), id="a result that is a text"),
        pytest.param(reply(GOOD[0], None, GOOD[2]), id="a result that is null"),
        pytest.param(reply(*edited(1, identifier="four")), id="an identifier that was not sent"),
        pytest.param(reply(*edited(1, identifier=7)), id="an identifier that is no text"),
        pytest.param(reply(*[made(n, identifier=f"other {n}") for n in range(3)]), id="another request's"),
    ],
)
def test_a_reply_that_may_not_be_about_these_tickets_proves_nothing(content: Any) -> None:
    claims = results_of_reply(content, SENT)
    assert [claim.status for claim in claims] == ["unknown"] * 3
    assert all(claim.error for claim in claims)


def test_a_cut_identifier_does_not_show_that_a_ticket_is_in_another_position() -> None:
    sent: list[str | None] = ["x" * 64 + "a", "x" * 64 + "b"]
    in_order = [made(n, identifier="x" * 64) for n in range(2)]
    assert statuses(reply(*in_order), sent) == "ss"
    assert statuses(reply(*in_order[::-1]), sent) == "uu"


STEM = "rule/" + "x" * 64


@pytest.mark.parametrize(
    ("sent", "named", "said"),
    [
        pytest.param([STEM + "-1", STEM + "-10"], [STEM + "-1", STEM + "-10"], "ss", id="as sent"),
        pytest.param([STEM + "-1", STEM + "-10"], [STEM + "-10", STEM + "-1"], "uu", id="swapped"),
        pytest.param([STEM + "-1", STEM + "-10"], [STEM + "-10 ", STEM.upper() + "-1"], "uu", id="and normalised"),
        pytest.param([STEM + "-1", STEM + "-10"], [STEM, STEM], "ss", id="cut to one and the same"),
        pytest.param([STEM, STEM + "-10"], [STEM, STEM], "ss", id="cut to the first one's"),
        pytest.param(["cve-1", "CVE-1"], ["cve-1", "cve-1"], "ss", id="in lower case"),
        pytest.param(["cve-1", "CVE-1"], ["CVE-1", "CVE-1"], "ss", id="in capitals"),
        pytest.param(["cve-1", "CVE-1"], ["CVE-1", "cve-1"], "uu", id="swapped, but for the case"),
    ],
)
def test_of_identifiers_that_are_much_alike_the_best_match_counts(
    sent: list[str | None], named: list[str], said: str
) -> None:
    assert statuses(reply(*[made(n, identifier=name) for n, name in enumerate(named)]), sent) == said


def test_in_another_order_similar_identifiers_are_distinguished() -> None:
    sent: list[str | None] = [STEM + "-1", STEM + "-10", STEM]
    results = [made(n, identifier=sent[n]) for n in (2, 0, 1)]
    assert [claim.vendor_ticket_id for claim in results_of_reply(reply(*results), sent)] == ["SEC-0", "SEC-1", "SEC-2"]


# What makes a single result prove nothing


@pytest.mark.parametrize(
    ("result", "named", "why"),
    [
        pytest.param(refused(1, vendor_ticket_id="SEC-1"), "SEC-1", "a failure, with the id", id="failed, with a key"),
        pytest.param(refused(1, ticket_id="u-1"), "u-1", "a failure, with the id", id="failed, with Leen's id"),
        pytest.param(
            refused(1, error=None, vendor_ticket_id="SEC-1"), "SEC-1", "a failure, with the id", id="and no reason"
        ),
        pytest.param(
            made(1, error="timed out"), "SEC-1", "success, with the error 'timed out'", id="created, an error"
        ),
        pytest.param(made(1, errors=["no"]), "SEC-1", "success, with the error", id="created, a list of errors"),
        pytest.param(made(1, error={"code": 5}), "SEC-1", "success, with the error", id="created, an object as error"),
        pytest.param(made(1, vendor_ticket_id=None), None, "without the id of a ticket", id="created, without ids"),
        pytest.param(made(1, vendor_ticket_id=" "), None, "without the id of a ticket", id="created, with blank ids"),
        pytest.param(made(1, vendor_ticket_id=7), None, "is not the id", id="an id that is a number"),
        pytest.param(
            made(1, vendor_ticket_id=7, ticket_id="u-1"), "u-1", "is not the id", id="one id that is a number"
        ),
        pytest.param(made(1, vendor_ticket_id=True), None, "is not the id", id="an id that is a truth value"),
        pytest.param(made(1, vendor_ticket_id=["SEC-1"]), None, "is not the id", id="an id that is a list"),
        pytest.param(made(1, vendor_ticket_id="S" * 256), None, "is not the id", id="an id that is too long"),
        pytest.param(refused(1, vendor_ticket_id=7), None, "is not the id", id="failed, an id that is a number"),
    ],
)
def test_a_result_that_contradicts_itself_is_unknown_and_its_ids_are_kept(
    result: dict[str, Any], named: str | None, why: str
) -> None:
    before, claim, after = results_of_reply(reply(made(0), result, made(2)), SENT)
    assert (before.status, claim.status, after.status) == ("succeeded", "unknown", "succeeded")
    assert (claim.vendor_ticket_id or claim.ticket_id) == named
    assert why in str(claim.error)
    assert (f"it names the ticket {named}." in str(claim.error)) is (named is not None)


@pytest.mark.parametrize(
    "changes",
    [
        {"vendor_ticket_id": "SEC-0"},
        {"vendor_ticket_id": " sec-0 "},
        {"ticket_id": "SEC-0"},
        {"ticket_id": "u-0", "vendor_ticket_id": None},
    ],
    ids=["the key", "the key, normalised", "the key as Leen's id", "Leen's id"],
)
def test_one_ticket_is_not_that_of_two_rows(changes: dict[str, Any]) -> None:
    claims = results_of_reply(reply(made(0, ticket_id="u-0"), made(1) | changes, made(2)), SENT)
    assert [claim.status for claim in claims] == ["unknown", "unknown", "succeeded"]
    assert "the same ticket" in str(claims[0].error)
    assert claims[0].vendor_ticket_id == "SEC-0"


def test_both_ids_of_a_row_may_be_the_same() -> None:
    assert statuses(reply(made(0, ticket_id="SEC-0"), made(1), made(2))) == "sss"


def test_an_id_is_the_same_in_any_case_and_as_either_of_the_two() -> None:
    assert statuses(reply(made(0, ticket_id="u-1"), made(1, ticket_id="sec-0"), made(2, ticket_id="U-1"))) == "uuu"


# Ids in a reply that proves nothing


@pytest.mark.parametrize(
    ("results", "named"),
    [
        pytest.param(GOOD[1:], [None, "SEC-1", "SEC-2"], id="by identifier"),
        pytest.param([made(n, identifier=None) for n in (1, 2)], [None, "SEC-1", "SEC-2"], id="by number"),
        pytest.param([made(0, identifier="three")], [None, None, "SEC-0"], id="identifier before number"),
        pytest.param([made(0, identifier="four")], [None] * 3, id="of another request"),
        pytest.param([made(5), made(True), {"vendor_ticket_id": "SEC-9"}, "odd"], [None] * 3, id="of no ticket"),
        pytest.param([made(0, vendor_ticket_id=None)], [None] * 3, id="no id"),
        pytest.param("odd", [None] * 3, id="no list"),
    ],
)
def test_the_ids_in_a_contradictory_reply_are_kept_with_their_rows(results: Any, named: list[str | None]) -> None:
    claims = nothing_proved("It is doubtful", {"results": results}, SENT)
    assert [claim.vendor_ticket_id for claim in claims] == named
    assert all(
        (f"it names the ticket {key}" in str(claim.error)) for key, claim in zip(named, claims, strict=True) if key
    )


def test_a_reply_of_millions_is_judged_at_once() -> None:
    many = {"success": True, "request_index": 0, "identifier": "x", "vendor_ticket_id": "SEC-1"}
    sent: list[str | None] = [f"identifier {number}" for number in range(50)]
    started = time.process_time()
    claims = results_of_reply({"results": [many] * 1_000_000}, sent)
    claims += results_of_reply({"results": [many | {"identifier": "x" * 30_000_000}] * 50}, sent)
    assert {claim.status for claim in claims} == {"unknown"}
    assert time.process_time() - started < 5.0


def test_a_huge_reply_leaves_short_messages() -> None:
    huge = "x" * 100_000
    contents = [
        reply(made(0, error=huge), made(1, vendor_ticket_id=[huge]), refused(2, error=huge)),
        reply(*edited(1, identifier=huge)),
        reply(*GOOD, total=huge),
    ]
    for content in contents:
        for claim in results_of_reply(json.loads(json.dumps(content)), SENT):
            assert len(str(claim.error)) < 800
