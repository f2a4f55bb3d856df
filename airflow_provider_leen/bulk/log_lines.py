"""Which lines of a long task are logged: 5,000 tickets or a hundred retries must not bury what matters."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from logging import Logger

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


def batch_said(statuses: Iterable[str], submitted: int) -> str:
    """Say how many tickets of a batch ended how, such as ``49 created, 1 rejected``.

    :param statuses: those of its tickets that have one.
    :param submitted: how many of them were submitted in jobs, and are ``unknown`` until these have ended.
    """
    counts = Counter(statuses)
    if submitted:
        counts.update(submitted=submitted, unknown=-submitted)
    return ", ".join(f"{number} {status}" for status, number in counts.items() if number) or "nothing sent"


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
