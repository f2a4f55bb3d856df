"""How operators call Airflow's supervisor (XCom, task state) without a signal getting in between."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any, TypeVar

Result = TypeVar("Result")

LAST_CALL = 3.0
"""Seconds that a call under way gets to end when the main thread is interrupted."""


class SupervisorThread:
    """Calls to Airflow's supervisor, one at a time in a thread of their own.

    Signals reach only the main thread. An exception that a signal raises in the middle of such a call would shift every
    later reply by one.
    """

    def __init__(self) -> None:
        self.executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="leen-supervisor")

    def __enter__(self) -> SupervisorThread:
        return self

    def __exit__(self, *_: object) -> None:
        self.executor.shutdown(wait=True)

    def begin(self, function: Callable[..., object], **kwargs: Any) -> None:
        """Let a call be made, and don't wait for it."""
        self.executor.submit(function, **kwargs)

    def call(self, function: Callable[..., Result], *args: Any, **kwargs: Any) -> Result:
        """Make a call and return what it returns."""
        future = self.executor.submit(function, *args, **kwargs)
        try:
            wait([future])
        except BaseException:
            wait([future], timeout=LAST_CALL)
            raise
        return future.result()
