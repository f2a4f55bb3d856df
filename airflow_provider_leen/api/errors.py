"""Everything that can go wrong, named by what happened to the user's tickets.

::

    LeenError
    ├── LeenConfigError            the connection or an argument can't be used
    │   └── LeenBrakeError         more would be filed or closed than the Dag's author allows: nothing was sent
    ├── LeenLedgerError            the ledger can't be read or written: nothing more is sent
    │   └── LeenLedgerLostError    a part of it is missing or makes no sense: no retry helps
    ├── LeenStoppedError           stopped from outside with tickets left
    ├── LeenConnectError           no request was sent, or only a question that changes nothing
    ├── LeenOutcomeUnknownError    a request was sent, its effect isn't known (.identifiers)
    ├── LeenThresholdError         too many tickets failed (.summary)
    └── LeenResponseError          Leen answered with an error, or with something that can't be used
        ├── LeenAuthError          401, 403
        ├── LeenNotFoundError      404
        ├── LeenValidationError    400, 413, 422
        ├── LeenRateLimitError     429 (.retry_after)
        └── LeenServerError        5xx

Messages are sentences for a person, made safe to be logged and stored whatever Leen or a list put into them; attributes
are for code. No exception holds a header or the API key, and all of them can be pickled (their only positional argument
is the message).
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
    """What was already sent can't be read or recorded, so nothing more is sent."""


class LeenLedgerLostError(LeenLedgerError):
    """A part of the record of what was sent is missing or makes no sense, and stays so: nothing is sent."""


class LeenStoppedError(LeenError):
    """The task was stopped from outside while tickets were left."""


class LeenConnectError(LeenError):
    """Leen could not be reached, or did not answer a question; nothing was changed.

    :param message: what happened, for a person.
    :param unreadable: whether there was a reply, which can't be read or is about something else.
    """

    def __init__(self, message: str, *, unreadable: bool = False) -> None:
        super().__init__(message)
        self.unreadable = unreadable


class LeenOutcomeUnknownError(LeenError):
    """A request was sent and nobody can say whether it took effect.

    :param message: what happened, for a person.
    :param identifiers: the identifiers of the tickets concerned.
    :param can_be_settled: whether a retry of the task can find out more, or is told to send them again.
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
    :param type: Leen's error type, where the body had one.
    :param code: Leen's error code, where the body had one.
    :param detail: Leen's ``detail``, as it came: a list, a text or nothing.
    :param request_id: the request's id, where the reply named one.
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
    """There is no such thing (404).

    :param unknown_to_leen: whether Leen itself says so, and not something on the way to it.
    """

    def __init__(self, message: str, *, unknown_to_leen: bool = False, **kwargs: Any) -> None:
        super().__init__(message, **kwargs)
        self.unknown_to_leen = unknown_to_leen


class LeenValidationError(LeenResponseError):
    """The request was refused as a whole (400, 413, 422); nothing was created."""


class LeenRateLimitError(LeenResponseError):
    """Leen asks to slow down (429), for longer than this package waits by itself.

    :param retry_after: seconds that Leen asked to wait, where it said so.
    """

    def __init__(self, message: str, *, retry_after: float | None = None, **kwargs: Any) -> None:
        super().__init__(message, **kwargs)
        self.retry_after = retry_after


class LeenServerError(LeenResponseError):
    """Leen failed (5xx); the outcome of a write is unknown."""


PASSING = (LeenConnectError, LeenRateLimitError, LeenServerError)
"""What ends by itself: whoever asks again later may get an answer."""
