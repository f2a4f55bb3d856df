"""Pure decisions about the results of a bulk call: what a reply or a job proves about each ticket.

A result is accepted only if nothing contradicts it. The whole reply must be about this request: one result for each
ticket, numbered as they were sent, no identifier that was not sent, counts that agree. Each result must make sense by
itself, and no two may name the same ticket. What is not proved is ``unknown``; the ids that it names are kept for the
look-up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from airflow_provider_leen.api.text import one_line
from airflow_provider_leen.api.tolerances import is_blank, is_same_identifier, likeness

Sent = Sequence[str | None]
"""The identifiers that were sent, in order; None if a ticket had none."""

_LONGEST_ID = 255
"""Characters; a longer value is not an id, and would not fit into a ledger."""

_SHOWN = 500

_DEEPEST = 5
"""How deep a refusal's body is searched for signs that something was done."""


class Claim(NamedTuple):
    """What a reply or a job proves about one ticket.

    :param status: ``succeeded``, ``rejected``, or ``unknown`` if neither is proved.
    :param ticket_id: Leen's id of the ticket; for an unknown outcome, an id that the reply named without proof.
    :param vendor_ticket_id: the tracker's, likewise.
    :param error: why it was rejected, or why nothing is proved.
    :param identifier: the identifier that the reply named.
    """

    status: Literal["succeeded", "rejected", "unknown"]
    ticket_id: str | None = None
    vendor_ticket_id: str | None = None
    error: str | None = None
    identifier: str | None = None


def results_of_reply(content: Any, sent: Sent) -> list[Claim]:
    """Read the reply to ``POST /itsm/tickets/bulk/sync``.

    :param content: the JSON of a reply with status 200.
    :param sent: the identifiers of the tickets that were sent.
    :return: one claim a ticket, in order.
    """
    placed = _placed(content, sent, "identifier")
    if isinstance(placed, str):
        return nothing_proved(f"Leen's reply {placed}", content, sent)
    return _without_rivals([_claim(result, needs_id=True) for result in placed])


def results_of_breakdown(content: Any, sent: Sent, *, field: str = "identifier") -> list[Claim]:
    """Read the results of a job that has failed, completely or partly.

    It may list the failures only: then each must have its identifier, and the counts must prove the others.

    :param content: the JSON of the job's ``failure_reason``.
    :param sent: the identifiers (of an update, the ids) of the tickets that were submitted.
    :param field: where a result names its ticket.
    :return: one claim a ticket, in order. Of an update, none has ids.
    """
    placed = _placed(content, sent, field)
    if isinstance(placed, str):
        claims = _by_elimination(content, sent, field)
        return claims or nothing_proved(f"Its breakdown {placed}", content, sent, field=field)
    if all(result["success"] for result in placed):
        return nothing_proved("Its breakdown contains no failure", content, sent, field=field)
    return _without_rivals([_claim(result, field=field) for result in placed])


def speaks_against_success(content: Any, count: int) -> bool:
    """Return whether a job's other fields contradict its ``SUCCESS``.

    :param content: its ``failure_reason``, or the job itself.
    :param count: how many tickets were submitted.
    """
    if is_blank(content):
        return False
    if not isinstance(content, Mapping):
        return True
    if speaks_of_an_error(content) or not is_blank(content.get("failed")):
        return True
    if any(content.get(name) is not None and content[name] != count for name in ("total", "succeeded")):
        return True
    results = content.get("results")
    if is_blank(results):
        return False
    return not isinstance(results, list) or len(results) != count or any(map(_speaks_of_a_failure, results))


def nothing_proved(why: str, content: Any, sent: Sent, *, field: str = "identifier") -> list[Claim]:
    """Return claims that prove nothing, each with the ids that the reply names for its row, if it does."""
    results = content.get("results") if isinstance(content, Mapping) else None
    named: dict[int, Claim] = {}
    # A list may have millions of entries.
    for result in results[: 2 * len(sent)] if isinstance(results, list) else ():
        if isinstance(result, Mapping):
            claim = _claim(result, field=field)
            for row in _rows_named(result, sent, field) or _row_numbered(result, sent, field):
                if claim.ticket_id or claim.vendor_ticket_id:
                    named.setdefault(row, claim)
    nothing = Claim("unknown")
    return [_unknown(why, named.get(row, nothing)) for row in range(len(sent))]


def _placed(content: Any, sent: Sent, field: str) -> list[Mapping[str, Any]] | str:
    """Return the results in the order of the tickets, or why the reply as a whole proves nothing."""
    results = content.get("results") if isinstance(content, Mapping) else None
    if not isinstance(results, list):
        return "holds no list of results"
    if speaks_of_an_error(content):
        return "reports an error besides its results"
    if not all(map(_is_result, results)):
        return "holds a result without success and request_index"
    if len(results) != len(sent):
        return f"holds results for {len(results)} of {len(sent)} tickets"
    ordered = _in_order(results, sent, field)
    if ordered is None:
        return "doesn't number its results as the tickets were sent"
    for row, (result, identifier) in enumerate(zip(ordered, sent, strict=True)):
        name = result.get(field)
        if name != identifier and (not _may_be_about(name, identifier) or _is_swapped(row, ordered, sent, field)):
            said = one_line(str(name), 80)
            return f"names {said!r} where {identifier!r:.80} was sent, so it may belong to another request"
    succeeded = [result["success"] for result in results].count(True)
    if wrong := _wrong_counts(content, succeeded, len(sent)):
        return f"counts {wrong}, unlike its results"
    return ordered


def _in_order(results: list[Mapping[str, Any]], sent: Sent, field: str) -> list[Mapping[str, Any]] | None:
    first_to_last = list(range(len(sent)))
    numbers = [result["request_index"] for result in results]
    if numbers in (first_to_last, [number + 1 for number in first_to_last]):
        return results
    # In another order, a result is matched only if its number and its name agree.
    if sorted(numbers) != first_to_last or any(
        _rows_named(result, sent, field) != [result["request_index"]] for result in results
    ):
        return None
    return sorted(results, key=lambda result: int(result["request_index"]))


def _wrong_counts(content: Mapping[str, Any], succeeded: int, total: int) -> str:
    right = {"total": total, "succeeded": succeeded, "failed": total - succeeded}
    # Leen documents all three as required; a reply without one of them is not Leen's, or is incomplete.
    wrong = [
        name for name, number in right.items() if type(content.get(name)) is not int or content.get(name) != number
    ]
    return ", ".join(f"{name} {one_line(str(content.get(name)), 20)}" for name in wrong)


def _by_elimination(content: Any, sent: Sent, field: str) -> list[Claim]:
    """Read a list of failures only; empty if it is not one, or does not prove the other outcomes."""
    results = content.get("results") if isinstance(content, Mapping) else None
    if not isinstance(results, list) or not 0 < len(results) < len(sent) or not all(map(_is_result, results)):
        return []
    if speaks_of_an_error(content) or _wrong_counts(content, len(sent) - len(results), len(sent)):
        return []
    claims: dict[int, Claim] = {}
    offsets = set()
    for result in results:
        claim, rows = _claim(result, field=field), _rows_named(result, sent, field)
        if claim.status != "rejected" or len(rows) != 1 or rows[0] in claims:
            return []
        claims[rows[0]] = claim
        offsets.add(result["request_index"] - rows[0])
    # Numbering from 1 is certain only if the last number occurs: otherwise a number may be right and its name wrong.
    counts_from_1 = offsets == {1} and any(result["request_index"] == len(sent) for result in results)
    if offsets != {0} and not counts_from_1:
        return []
    return [claims.get(row, Claim("succeeded")) for row in range(len(sent))]


def _claim(result: Mapping[str, Any], *, field: str = "identifier", needs_id: bool = False) -> Claim:
    """Read one result by itself."""
    identifier = result.get(field) if isinstance(result.get(field), str) else None
    said = "; ".join(
        one_line(str(result[name]), _SHOWN) for name in ("error", "errors") if not is_blank(result.get(name))
    )
    # A result of an update repeats the id of the ticket that was sent.
    names = ("ticket_id", "vendor_ticket_id") if field != "ticket_id" else ()
    given = {name: result[name] for name in names if not is_blank(result.get(name))}
    ids = {name: _id(value) for name, value in given.items()}
    claim = Claim("unknown", **ids, identifier=identifier)
    if None in ids.values():
        return _unknown(
            f"Leen's result names {one_line(str([*given.values()]), 80)}, which is not the id of a ticket", claim
        )
    if result.get("success") is True:
        if said:
            return _unknown(f"Leen's result contradicts itself: a success, with the error {said!r}", claim)
        if needs_id and not given:
            return _unknown("Leen's result contradicts itself: a success, without the id of a ticket", claim)
        return claim._replace(status="succeeded")
    if given:
        with_error = f" and the error {said!r}" if said else ""
        return _unknown(f"Leen's result contradicts itself: a failure, with the id of a ticket{with_error}", claim)
    return Claim("rejected", error=said or "Leen gave no reason.", identifier=identifier)


def _without_rivals(claims: list[Claim]) -> list[Claim]:
    row_of: dict[str, int] = {}
    contested: set[int] = set()
    for row, claim in enumerate(claims):
        owners = {row_of.setdefault(one.casefold(), row) for one in (claim.ticket_id, claim.vendor_ticket_id) if one}
        if owners - {row}:
            contested |= {row, *owners}
    why = "Leen names the same ticket for several rows"
    return [_unknown(why, claim) if row in contested else claim for row, claim in enumerate(claims)]


def _unknown(why: str, claim: Claim) -> Claim:
    ids = " and ".join(ticket_id for ticket_id in (claim.vendor_ticket_id, claim.ticket_id) if ticket_id)
    text = f"{why}; it names the ticket {ids}." if ids else f"{why}."
    return claim._replace(status="unknown", error=text)


def _is_result(result: Any) -> bool:
    return (
        isinstance(result, Mapping)
        and isinstance(result.get("success"), bool)
        and type(result.get("request_index")) is int
    )


def _rows_named(result: Mapping[str, Any], sent: Sent, field: str) -> list[int]:
    name = result.get(field)
    if not isinstance(name, str) or is_blank(name):
        return []
    degrees = [likeness(identifier, name) for identifier in sent]
    best = max(degrees)
    return [row for row, degree in enumerate(degrees) if degree == best > 0]


def _row_numbered(result: Mapping[str, Any], sent: Sent, field: str) -> list[int]:
    number = result.get("request_index")
    if type(number) is not int or not is_blank(result.get(field)):
        return []
    return [number] if 0 <= number < len(sent) else []


def _may_be_about(name: Any, identifier: str | None) -> bool:
    if is_blank(name):
        return True
    return isinstance(name, str) and (identifier is None or is_same_identifier(name, identifier))


def _is_swapped(row: int, results: list[Mapping[str, Any]], sent: Sent, field: str) -> bool:
    """Return whether a result's name fits another ticket better, whose own result does not have that name."""
    name = results[row].get(field)
    if is_blank(name) or sent[row] is None:
        return False
    owners = _rows_named(results[row], sent, field)
    return row not in owners and any(results[owner].get(field) != name for owner in owners)


def speaks_of_an_error(content: Mapping[str, Any]) -> bool:
    """Return whether a reply names an error besides what else it says."""
    return content.get("success") is False or not is_blank(content.get("error")) or not is_blank(content.get("errors"))


def _speaks_of_a_failure(result: Any) -> bool:
    return not isinstance(result, Mapping) or result.get("success") is not True or speaks_of_an_error(result)


def speaks_of_something_done(content: Any) -> bool:
    """Return whether the reply to a refused write shows that some of it was done, by a job or a success."""
    level = [content]
    for _ in range(_DEEPEST):
        below: list[Any] = []
        for part in level:
            if isinstance(part, Mapping):
                if any(_says_done(name, value) for name, value in part.items()):
                    return True
                # FastAPI repeats the request.
                below += [value for name, value in part.items() if name not in ("input", "ctx")]
            elif isinstance(part, list):
                below += part
        level = below
    return False


def _says_done(name: str, value: Any) -> bool:
    if name in ("job_id", "vendor_ticket_id", "ticket_created_at"):
        return not is_blank(value)
    if name == "succeeded":
        return isinstance(value, int) and value > 0
    return name == "success" and value is True


def _id(value: Any) -> str | None:
    text = value.strip() if isinstance(value, str) else ""
    return text if 0 < len(text) <= _LONGEST_ID else None
