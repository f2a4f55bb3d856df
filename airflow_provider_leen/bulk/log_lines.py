"""Which lines of a long task are logged: 5,000 tickets or a hundred retries must not bury what matters."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from logging import Logger

from airflow_provider_leen.bulk.summary import counted

MAX_OPEN_LINES = 10
"""More batches than this have their lines folded."""

FIRST_LINES = 10
SECONDS_BETWEEN_LINES = 30.0
SHARE_BETWEEN_LINES = 0.05
"""The first lines are logged; then one each half minute, or each twentieth of the time so far, where that is longer."""


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
    """The lines on the batches of one list.

    :param log: where they go.
    :param batches: how many batches there are.
    """

    def __init__(self, log: Logger, batches: int) -> None:
        self._log = log
        self._batches = batches
        self._done, self._repeated = Thinned(), Thinned()

    def folded(self, title: str) -> AbstractContextManager[None]:
        """Let the log's reader fold the lines that are logged meanwhile, when there are many batches."""
        return folded(self._log, self._batches, title)

    def batch_done(self, said: Callable[[], str], started_at: float) -> None:
        """Log the end of a batch; of many batches, not of each.

        :param said: says how its tickets ended; called only for a line.
        :param started_at: when it was prepared, by :func:`time.monotonic`.
        """
        if self._done.is_due() or self._done.number == self._batches:
            seconds = time.monotonic() - started_at
            self._log.info("Batch %d of %d: %s (%.1f s)", self._done.number, self._batches, said(), seconds)

    def repetition(self, reason: str, count: int, wait: float) -> None:
        """Log that a call is made again; of many repetitions, not of each."""
        if self._repeated.is_due():
            again = f"{reason} Retrying {counted(count, 'ticket')} in {wait:.1f} s (retry {self._repeated.number})."
            self._log.warning("%s", again)


@contextmanager
def folded(log: Logger, batches: int, title: str, *args: object) -> Iterator[None]:
    """Let the log's reader fold the lines that are logged meanwhile, when there are many batches.

    :param title: of the folded lines, with ``%`` placeholders for ``args``.
    """
    if batches <= MAX_OPEN_LINES:
        yield
        return
    # What Airflow's UI folds lies between these markers.
    log.info("::group::" + title, *args)
    try:
        yield
    finally:
        log.info("::endgroup::")
