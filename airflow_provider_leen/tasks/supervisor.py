"""Calls to Airflow's supervisor (XCom, task state) that signals can't interrupt."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any, TypeVar

Result = TypeVar("Result")

LAST_CALL = 3.0
"""Seconds that a running call gets to end when the main thread is interrupted."""


class SupervisorThread(ThreadPoolExecutor):
    """Makes calls to Airflow's supervisor, one at a time, in a separate thread.

    Signals reach only the main thread. If a signal raised an exception during such a call, every later reply would be
    shifted by one.
    """

    def __init__(self) -> None:
        super().__init__(max_workers=1, thread_name_prefix="leen-supervisor")

    def call(self, function: Callable[..., Result], *args: Any, **kwargs: Any) -> Result:
        """Make a call and return its result."""
        future = self.submit(function, *args, **kwargs)
        try:
            wait([future])
        except BaseException:
            wait([future], timeout=LAST_CALL)
            raise
        return future.result()
