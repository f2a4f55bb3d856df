"""Splits a batch that was refused as a whole, so that one bad ticket doesn't fail the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from airflow_provider_leen.api.errors import LeenResponseError, LeenValidationError
from airflow_provider_leen.api.retry import located_tickets

Ticket = TypeVar("Ticket")

SAME_REFUSALS = 4
"""After this many consecutive tickets are refused alone with the same message, the request itself is wrong."""


@dataclass
class Isolation:
    """The state of a batch that is split to find its bad tickets.

    :param batch: its tickets.
    :param started_at: when it was prepared, on the loop's clock.
    :param accepted: whether a call with some of its tickets was accepted.
    :param halved: whether it had to be halved, because the refusal did not name the bad ticket.
    :param refusals: the messages of tickets that were refused alone, in order.
    """

    batch: Sequence[Any]
    started_at: float
    accepted: bool = False
    halved: bool = False
    refusals: list[str] = field(default_factory=list)

    def request_may_be_wrong(self) -> bool:
        """Whether the request itself, rather than a ticket, may be refused."""
        return self.halved and not self.accepted

    def request_is_wrong(self, refusals_before: Sequence[str]) -> bool:
        """Return whether enough consecutive tickets were refused alike to blame the request.

        :param refusals_before: the messages of earlier batches.
        """
        last = self.last_refusals(refusals_before)
        return len(last) == SAME_REFUSALS and len(set(last)) == 1

    def last_refusals(self, refusals_before: Sequence[str]) -> list[str]:
        """Return the messages of the last refusals: with small batches, a series continues in the next one."""
        return [] if self.accepted else [*refusals_before, *self.refusals][-SAME_REFUSALS:]


def take_apart(
    tickets: Sequence[Ticket], isolation: Isolation, error: LeenResponseError, *, field: str
) -> tuple[list[tuple[Ticket, str]], list[list[Ticket]]]:
    """Decide which tickets of a refused call are rejected, and which are sent again.

    :param tickets: the tickets of the call.
    :param isolation: the state of the batch; it is updated.
    :param error: the refusal.
    :param field: the field of the request that holds the tickets.
    :return: the rejected tickets, each with the reason, and the batches to be sent, the last one first.
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
    """Return the error of a request that is refused with any tickets."""
    return LeenValidationError(
        f"The request itself is wrong: {SAME_REFUSALS} consecutive tickets, each sent alone, were refused with the "
        f"same message: {error}",
        status=error.status,
        type=error.type,
        code=error.code,
        detail=error.detail,
        request_id=error.request_id,
    )
