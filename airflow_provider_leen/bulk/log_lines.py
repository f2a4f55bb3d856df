"""Which lines of a long task are logged: 5,000 tickets or a hundred retries must not bury what matters."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from logging import Logger

from airflow_provider_leen.bulk.summary import counted

MAX_BATCH_LINES = 100
"""About how many lines a task logs on its batches, at the most."""

MAX_OPEN_LINES = 10
"""More lines than this on batches are folded."""

FIRST_LINES = 10
"""So many lines of one kind are logged before most are left out."""

PROGRESS_LINES = 20
"""So many lines at the most tell how many are left."""


def batch_is_logged(number: int, batches: int) -> bool:
    """Say whether the end of a batch gets a line: evenly spread ones, and the last.

    :param number: of the batch, from 1.
    :param batches: how many there are.
    """
    return number % math.ceil(batches / MAX_BATCH_LINES) == 0 or number == batches


def repetition_is_logged(number: int) -> bool:
    """Say whether what happens again and again gets a line: the first ten times, then the 20th, the 40th and so on.

    :param number: of the time, from 1.
    """
    rounds, rest = divmod(number, FIRST_LINES)
    return number <= FIRST_LINES or (rest == 0 and rounds.bit_count() == 1)


def progress_is_logged(left_before: int, left: int, total: int) -> bool:
    """Say whether it gets a line that fewer are left: each where they are few, each twentieth of them where many.

    :param left_before: how many were left when this was last asked.
    :param left: how many are left.
    :param total: how many there were at first.
    """
    return math.ceil(PROGRESS_LINES * left / total) < math.ceil(PROGRESS_LINES * left_before / total)


class BatchLog:
    """The lines on the batches of one list.

    :param log: where they go.
    :param batches: how many batches there are.
    """

    def __init__(self, log: Logger, batches: int) -> None:
        self._log = log
        self._batches = batches
        self._done = self._repeated = 0

    def folded(self, title: str) -> AbstractContextManager[None]:
        """Let the log's reader fold the lines that are logged meanwhile, when there are many batches."""
        return folded(self._log, self._batches, title)

    def batch_done(self, said: Callable[[], str], started_at: float) -> None:
        """Log the end of a batch; of many batches, not of each.

        :param said: says how its tickets ended; called only for a line.
        :param started_at: when it was prepared, by :func:`time.monotonic`.
        """
        self._done += 1
        if batch_is_logged(self._done, self._batches):
            seconds = time.monotonic() - started_at
            self._log.info("Batch %d of %d: %s (%.1f s)", self._done, self._batches, said(), seconds)

    def repetition(self, reason: str, count: int, wait: float) -> None:
        """Log that a call is made again; of many repetitions, not of each."""
        self._repeated += 1
        if repetition_is_logged(self._repeated):
            again = f"{reason} Sending {counted(count, 'ticket')} again in {wait:.1f} s (repetition {self._repeated})."
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
