"""An event loop whose time passes only when all wait: hours take no time, and a busy machine changes nothing."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor, Future
from typing import Any, TypeVar

Result = TypeVar("Result")


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0
        selector: Any = self._selector  # type: ignore[attr-defined]
        select = selector.select

        def skip(timeout: float | None = None) -> Any:
            events = select(0)
            if not events:
                assert timeout is not None, "everything waits for ever"
                self._now += timeout
            return events

        selector.select = skip

    def time(self) -> float:
        return self._now


def run(work: Coroutine[Any, Any, Result]) -> Result:
    """Run what uses neither threads nor sockets."""
    with asyncio.Runner(loop_factory=_Loop) as runner:
        return runner.run(work)


def in_virtual_time(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Make of a coroutine function a test that runs so."""

    @functools.wraps(test)
    def run_it(*args: Any, **kwargs: Any) -> None:
        run(test(*args, **kwargs))

    return run_it


class Inline(Executor):
    """Does at once what it is given, in the thread that gives it."""

    def submit(self, work: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(work(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


def now() -> float:
    """The time of the running loop, which begins at 0."""
    return asyncio.get_running_loop().time()
