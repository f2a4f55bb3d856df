"""How an operator's work ends: by itself, by a signal, or with an error that no retry mends."""

from __future__ import annotations

from collections.abc import Coroutine, Iterator
from concurrent.futures import wait
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_leen.api.errors import (
    LeenAuthError,
    LeenConfigError,
    LeenNotFoundError,
    LeenThresholdError,
    LeenValidationError,
)

if TYPE_CHECKING:
    from airflow_provider_leen.api.sync_client import LeenClient

BEYOND_RETRY = (LeenAuthError, LeenConfigError, LeenNotFoundError, LeenValidationError, LeenThresholdError)
"""What a retry of the task can't mend: raised as ``AirflowFailException`` from the typed exception."""


@contextmanager
def failing_for_good() -> Iterator[None]:
    """Let Airflow retry nothing that a retry can't mend."""
    try:
        yield
    except BEYOND_RETRY as error:
        failure = AirflowFailException(str(error))
        failure.__cause__ = error
    else:
        return
    raise failure


class Stoppable(Protocol):
    """A run of many calls that ends soon after it was asked to, from any thread or signal handler."""

    def stop(self, reason: str) -> object:
        """Ask it to stop, without waiting."""


class Interruptible:
    """The part of an operator that lets a run go on in the client's thread, while its main thread takes signals."""

    # Not in an object of their own, which the copies that Airflow makes of a task, one a try, would share.
    _run: Stoppable | None = None
    _stop_reason: str | None = None

    def on_kill(self) -> None:
        """Ask the run to stop. Called in the signal handler, in the middle of whatever the main thread does."""
        self._stop_reason = "The task was stopped from outside before its work was done."
        if self._run is not None:
            self._run.stop(self._stop_reason)

    def _drive(self, client: LeenClient, run: Stoppable, work: Coroutine[Any, Any, None]) -> None:
        """Let work of a run be done; what interrupts the wait for it is raised once the run has stopped."""
        from airflow_provider_leen.bulk.sender import STOP_GRACE

        self._run = run
        if self._stop_reason is not None:
            run.stop(self._stop_reason)
        future = client.start(work)
        try:
            wait([future])
        except BaseException:
            # A task's timeout, raised by a signal in this thread: the run knows nothing of it yet.
            run.stop("The task ran into its timeout before its work was done.")
            wait([future], timeout=STOP_GRACE + 1)
            raise
        future.result()
