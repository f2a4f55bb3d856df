"""How a task's work ends: by itself, by a signal, or with an error that a retry cannot help."""

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

NOT_RETRYABLE = (
    LeenAuthError,
    LeenConfigError,
    LeenNotFoundError,
    LeenLedgerLostError,
    LeenValidationError,
    LeenThresholdError,
)
"""What a retry of the task cannot help: raised as ``AirflowFailException`` from the typed exception."""

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
"""Where the docs go on about an error. One that says all there is to do, such as a wrong argument, is not here."""


@contextmanager
def fail_without_retry() -> Iterator[None]:
    """Let Airflow retry nothing that a retry cannot help, and let each error end with the page that helps."""
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
    """A run of many calls that ends soon after it was asked to, from any thread or signal handler.

    :param stop_grace: seconds that calls in flight get to end then.
    """

    stop_grace: float

    def stop(self, reason: str) -> object:
        """Ask it to stop, without waiting."""


class Interruptible:
    """The part of an operator that stops its run when Airflow stops the task."""

    # Not in an object of their own, which the copies that Airflow makes of a task, one a try, would share.
    under_way: Stoppable | None = None
    stop_reason: str | None = None

    def on_kill(self) -> None:
        """Ask the run to stop. Called in the signal handler, in the middle of whatever the main thread does."""
        self.stop_reason = "The task was stopped from outside before its work was done."
        if self.under_way is not None:
            self.under_way.stop(self.stop_reason)


def drive(operator: Interruptible, client: LeenClient, run: Stoppable, work: Coroutine[Any, Any, None]) -> None:
    """Let a run do its work in the client's thread, while the main thread takes signals.

    What interrupts the wait for it, a task's timeout say, is raised once the run has stopped.
    """
    operator.under_way = run
    if operator.stop_reason is not None:
        run.stop(operator.stop_reason)
    future = client.start(work)
    try:
        wait([future])
    except BaseException:
        # Raised by a signal in this thread: the run knows nothing of it yet.
        run.stop("The task ran into its timeout before its work was done.")
        wait([future], timeout=run.stop_grace + 1)
        raise
    future.result()
