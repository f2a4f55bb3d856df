"""How a task's work ends: by itself, by a signal, or with an error that a retry can't fix."""

from __future__ import annotations

from collections.abc import Coroutine, Iterator
from concurrent.futures import wait
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_leen.api.errors import (
    LeenAuthError,
    LeenBrakeError,
    LeenConfigError,
    LeenConnectError,
    LeenError,
    LeenLedgerError,
    LeenLedgerLostError,
    LeenNotFoundError,
    LeenOutcomeUnknownError,
    LeenRateLimitError,
    LeenServerError,
    LeenStoppedError,
    LeenThresholdError,
    LeenValidationError,
)

if TYPE_CHECKING:
    from airflow_provider_leen.api.sync_client import LeenClient

SIGNAL_DELAY = 1.0
"""How long a signal may have to wait for its handler."""

NOT_RETRYABLE = (
    LeenAuthError,
    LeenConfigError,
    LeenNotFoundError,
    LeenLedgerLostError,
    LeenValidationError,
    LeenThresholdError,
)
"""Errors that a retry of the task can't fix: raised as ``AirflowFailException`` from the typed exception."""

PAGES: dict[type[LeenError], str] = {
    LeenAuthError: "what-happens-when-it-breaks#401-403-key-or-connection-refused",
    LeenBrakeError: "what-happens-when-it-breaks#the-register",
    LeenConnectError: "what-happens-when-it-breaks#leen-cant-be-reached",
    LeenLedgerError: "what-happens-when-it-breaks#it-cant-be-read-or-written",
    LeenLedgerLostError: "what-happens-when-it-breaks#the-ledger",
    LeenNotFoundError: "what-happens-when-it-breaks#404-405-or-a-redirect-301-302-307-308",
    LeenOutcomeUnknownError: "what-happens-when-it-breaks#when-tickets-stay-unknown",
    LeenRateLimitError: "what-happens-when-it-breaks#429-too-many-calls",
    LeenServerError: "what-happens-when-it-breaks#leens-answers",
    LeenStoppedError: "what-happens-when-it-breaks#the-task",
    LeenThresholdError: "gate#without-a-gate",
    LeenValidationError: "what-happens-when-it-breaks#400-413-422-the-whole-call-refused",
}
"""The page of the docs about an error. Errors whose message is enough, such as a wrong argument, are not here."""


@contextmanager
def fail_without_retry() -> Iterator[None]:
    """Fail without a retry on errors that a retry can't fix, and end each message with the page that helps."""
    try:
        yield
    except LeenError as error:
        if page := PAGES.get(type(error)):
            error.args = (f"{error}\nDocs: {page}",)
        if not isinstance(error, NOT_RETRYABLE):
            raise
        failure = AirflowFailException(str(error))
        failure.__cause__ = error
    else:
        return
    raise failure


class Stoppable(Protocol):
    """A run of many calls that can be stopped from any thread or signal handler.

    :param stop_grace: seconds that calls in flight get to end after a stop.
    """

    stop_grace: float

    def stop(self, reason: str) -> object:
        """Ask it to stop, without waiting."""


class Interruptible:
    """Stops an operator's run when Airflow stops the task."""

    # Attributes of the operator: Airflow copies it for each try, and the copies would share an object.
    under_way: Stoppable | None = None
    stop_reason: str | None = None

    def on_kill(self) -> None:
        """Ask the run to stop. Called in the signal handler, at any point of the main thread."""
        self.stop_reason = "The task was stopped from outside before its work was done."
        if self.under_way is not None:
            self.under_way.stop(self.stop_reason)


def drive(operator: Interruptible, client: LeenClient, run: Stoppable, work: Coroutine[Any, Any, None]) -> None:
    """Drive a run in the client's thread, while the main thread receives signals.

    An exception that interrupts the wait, such as a task's timeout, is raised once the run has stopped.
    """
    operator.under_way = run
    if operator.stop_reason is not None:
        run.stop(operator.stop_reason)
    future = client.start(work)
    try:
        # A signal that arrives right before a wait begins does not end it: the handler runs at the next one.
        while not future.done():
            wait([future], timeout=SIGNAL_DELAY)
    except BaseException:
        # Raised by a signal in this thread: the run doesn't know it yet.
        run.stop("The task reached its `execution_timeout`, or was interrupted.")
        wait([future], timeout=run.stop_grace + 1)
        raise
    future.result()
