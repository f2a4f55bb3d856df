"""Everything that can go wrong, named after its effect on the user's tickets.

::

    LeenError
    ├── LeenConfigError            the connection or an argument can't be used
    │   └── LeenBrakeError         more would be filed or closed than the Dag's author allows: nothing was sent
    ├── LeenLedgerError            the ledger can't be read or written: nothing more is sent
    │   └── LeenLedgerLostError    entries are missing or make no sense: retrying can't help
    ├── LeenStoppedError           stopped from outside with tickets left
    ├── LeenConnectError           no request was sent, or only one that changes nothing
    ├── LeenOutcomeUnknownError    a request was sent, its effect is unknown (.identifiers)
    ├── LeenThresholdError         too many tickets failed (.summary)
    └── LeenResponseError          Leen answered with an error, or with something unusable
        ├── LeenAuthError          401, 403
        ├── LeenNotFoundError      404
        ├── LeenValidationError    400, 413, 422
        ├── LeenRateLimitError     429 (.retry_after)
        └── LeenServerError        5xx

Messages are sentences for people, cleaned so that they can be logged and stored; attributes are for code. No exception
holds a header or the API key. All can be pickled: their only positional argument is the message.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from airflow_provider_leen.api.text import clean

__all__ = [
    "LeenAuthError",
    "LeenBrakeError",
    "LeenConfigError",
    "LeenConnectError",
    "LeenError",
    "LeenLedgerError",
    "LeenLedgerLostError",
    "LeenNotFoundError",
    "LeenOutcomeUnknownError",
    "LeenRateLimitError",
    "LeenResponseError",
    "LeenServerError",
    "LeenStoppedError",
    "LeenThresholdError",
    "LeenValidationError",
]


class LeenError(Exception):
    """Base of all errors of this package.

    :param message: what happened, for a person.
    """

    def __init__(self, message: str = "") -> None:
        super().__init__(clean(message))


class LeenConfigError(LeenError):
    """The connection or an argument can't be used; nothing was sent."""


class LeenBrakeError(LeenConfigError):
    """More tickets would be filed or closed than the Dag's author allows; nothing was sent."""


class LeenLedgerError(LeenError):
    """The record of what was sent can't be read or written, so nothing more is sent."""


class LeenLedgerLostError(LeenLedgerError):
    """Entries in the record of what was sent are missing or make no sense. Retrying can't help; nothing is sent."""


class LeenStoppedError(LeenError):
    """The task was stopped from outside while tickets were left."""


class LeenConnectError(LeenError):
    """Leen could not be reached, or did not answer a request that changes nothing.

    :param message: what happened, for a person.
    :param unreadable: whether there was a reply, but it can't be read or is about something else.
    """

    def __init__(self, message: str, *, unreadable: bool = False) -> None:
        super().__init__(message)
        self.unreadable = unreadable


class LeenOutcomeUnknownError(LeenError):
    """A request was sent, and it is unknown whether it took effect.

    :param message: what happened, for a person.
    :param identifiers: the identifiers of the affected tickets.
    :param can_be_settled: whether a retry of the task can find out more, or may send them again.
    """

    def __init__(self, message: str, *, identifiers: Sequence[str] = (), can_be_settled: bool = False) -> None:
        super().__init__(message)
        self.identifiers = list(identifiers)
        self.can_be_settled = can_be_settled


class LeenThresholdError(LeenError):
    """More tickets failed than the Dag's author allows.

    :param message: counts, threshold and first errors, for a person.
    :param summary: the counts of the summary that was judged.
    """

    def __init__(self, message: str, *, summary: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.summary = dict(summary or {})


class LeenResponseError(LeenError):
    """Leen answered with an error.

    :param message: what happened, for a person.
    :param status: the HTTP status.
    :param type: Leen's error type, if the body has one.
    :param code: Leen's error code, if the body has one.
    :param detail: Leen's ``detail`` as it came: a list, a text or None.
    :param request_id: the request's id, if the reply names one.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        type: str | None = None,
        code: str | None = None,
        detail: Any = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = str(self)
        self.status = status
        self.type = type
        self.code = code
        self.detail = detail
        self.request_id = request_id


class LeenAuthError(LeenResponseError):
    """The API key or the connection was refused (401, 403)."""


class LeenNotFoundError(LeenResponseError):
    """What was asked for does not exist (404).

    :param unknown_to_leen: whether Leen itself says so, rather than a proxy or gateway on the way.
    """

    def __init__(self, message: str, *, unknown_to_leen: bool = False, **kwargs: Any) -> None:
        super().__init__(message, **kwargs)
        self.unknown_to_leen = unknown_to_leen


class LeenValidationError(LeenResponseError):
    """The request was refused as a whole (400, 413, 422); nothing was created."""


class LeenRateLimitError(LeenResponseError):
    """Leen asks to slow down (429) for longer than this package waits.

    :param retry_after: the seconds that Leen asked to wait, if it named them.
    """

    def __init__(self, message: str, *, retry_after: float | None = None, **kwargs: Any) -> None:
        super().__init__(message, **kwargs)
        self.retry_after = retry_after


class LeenServerError(LeenResponseError):
    """Leen failed (5xx); the outcome of a write is unknown."""


PASSING = (LeenConnectError, LeenRateLimitError, LeenServerError)
"""Temporary errors: asking again later may succeed."""

FINAL = (LeenAuthError, LeenConfigError, LeenNotFoundError, LeenLedgerError, LeenStoppedError)
"""Errors after which nothing more is sent or looked up; they take precedence over unknown outcomes."""
