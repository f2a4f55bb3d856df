"""Which lines of a long task are logged: thousands of batches or retries must not hide what matters."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from logging import Logger

from airflow_provider_leen.bulk.summary import counted

MAX_OPEN_LINES = 10
"""More batches than this have their lines folded."""

FIRST_LINES = 10
SECONDS_BETWEEN_LINES = 30.0
SHARE_BETWEEN_LINES = 0.05
"""The first lines are logged, then one each half minute, or each twentieth of the time so far if that is longer."""


class Thinned:
    """Decides which of many lines about the same thing are logged.

    :param clock: returns the time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.number = 0
        """How many lines there were, logged or not."""
        self._clock = clock
        self._began_at = self._logged_at = clock()

    def is_due(self) -> bool:
        """Count one more line, and say whether it is logged."""
        self.number += 1
        now = self._clock()
        interval = max(SECONDS_BETWEEN_LINES, SHARE_BETWEEN_LINES * (now - self._began_at))
        if self.number > FIRST_LINES and now - self._logged_at < interval:
            return False
        self._logged_at = now
        return True


class BatchLog:
    """Logs the batches of one list.

    :param log: the logger.
    :param batches: how many batches there are.
    """

    def __init__(self, log: Logger, batches: int) -> None:
        self._log = log
        self._batches = batches
        self._done, self._repeated = Thinned(), Thinned()

    @contextmanager
    def folded(self, title: str) -> Iterator[None]:
        """Make the lines inside the ``with`` block foldable in the UI, if there are many batches."""
        if self._batches <= MAX_OPEN_LINES:
            yield
            return
        # Airflow's UI folds the lines between these markers.
        self._log.info("::group::%s", title)
        try:
            yield
        finally:
            self._log.info("::endgroup::")

    def batch_done(self, said: Callable[[], str], started_at: float) -> None:
        """Log the end of a batch, if a line is due.

        :param said: returns how its tickets ended; called only for a line.
        :param started_at: when it was prepared, by :func:`time.monotonic`.
        """
        if self._done.is_due() or self._done.number == self._batches:
            seconds = time.monotonic() - started_at
            self._log.info("Batch %d of %d: %s (%.1f s)", self._done.number, self._batches, said(), seconds)

    def repetition(self, reason: str, count: int, wait: float) -> None:
        """Log a retry, if a line is due."""
        if self._repeated.is_due():
            again = f"{reason} Retrying {counted(count, 'ticket')} in {wait:.1f} s (retry {self._repeated.number})."
            self._log.warning("%s", again)
