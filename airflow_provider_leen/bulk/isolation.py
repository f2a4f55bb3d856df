"""Takes a batch apart that was refused as a whole, so that one bad ticket doesn't sink the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from airflow_provider_leen.api.errors import LeenResponseError, LeenValidationError
from airflow_provider_leen.api.retry import located_tickets

Ticket = TypeVar("Ticket")

SAME_REFUSALS = 4
"""So many tickets refused alone in a row, with one and the same message, mean that the request itself is wrong."""


@dataclass
class Isolation:
    """What is known of a batch that is taken apart to find the tickets that spoil it.

    :param batch: its tickets.
    :param started_at: when it was prepared, on the loop's clock.
    :param accepted: whether a call with some of its tickets was accepted.
    :param submitted: how many of its tickets were submitted in jobs.
    :param halved: whether it had to be halved, as nothing told which ticket spoils it.
    :param refusals: why tickets were refused alone, in order.
    """

    batch: Sequence[Any]
    started_at: float
    accepted: bool = False
    submitted: int = 0
    halved: bool = False
    refusals: list[str] = field(default_factory=list)

    def request_may_be_wrong(self) -> bool:
        """Whether it may be the request that is refused, and not a ticket."""
        return self.halved and not self.accepted

    def request_is_wrong(self, refusals_before: Sequence[str]) -> bool:
        """Whether so many tickets in a row were refused alike that it is the request.

        :param refusals_before: those of the batches before this one.
        """
        last = self.last_refusals(refusals_before)
        return len(last) == SAME_REFUSALS and len(set(last)) == 1

    def last_refusals(self, refusals_before: Sequence[str]) -> list[str]:
        """Return why the last tickets were refused alone: of small batches, the row of refusals goes on in the next."""
        return [] if self.accepted else [*refusals_before, *self.refusals][-SAME_REFUSALS:]


def take_apart(
    tickets: Sequence[Ticket], isolation: Isolation, error: LeenResponseError, *, field: str = "tickets"
) -> tuple[list[tuple[Ticket, str]], list[list[Ticket]]]:
    """Decide which tickets of a refused call are rejected, and what of it is sent again.

    :param tickets: what the call had of the batch.
    :param isolation: what is known of the batch; the refusal is noted there.
    :param error: the refusal.
    :param field: the field of the request that holds the tickets.
    :return: the rejected tickets, each with the reason, and the parts to be sent, the last one first.
    """
    located = located_tickets(error.detail, len(tickets), field)
    if located:
        rejected = [(tickets[position], message) for position, message in located.items()]
        rest = [ticket for position, ticket in enumerate(tickets) if position not in located]
        return rejected, [rest] if rest else []
    if len(tickets) > 1:
        isolation.halved = True
        middle = len(tickets) // 2
        return [], [list(tickets[middle:]), list(tickets[:middle])]
    isolation.refusals.append(str(error))
    return [(tickets[0], str(error))], []


def wrong_request(error: LeenResponseError) -> LeenValidationError:
    """Return the error that says so."""
    return LeenValidationError(
        f"{SAME_REFUSALS} tickets in a row were refused alone with the same message, so that it is the request which "
        f"is wrong, not the tickets: {error}",
        status=error.status,
        type=error.type,
        code=error.code,
        detail=error.detail,
        request_id=error.request_id,
    )
