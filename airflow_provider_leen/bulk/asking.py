"""Makes several requests to Leen at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, TypeVar

from airflow_provider_leen.api.errors import LeenError

LOOK_UPS_AT_ONCE = 8

Question = TypeVar("Question")


async def ask_all(ask: Callable[[Question], Coroutine[Any, Any, None]], questions: Iterable[Question]) -> None:
    """Make requests, eight at a time; the first error cancels the others.

    :raises LeenError: a request failed.
    """
    waiting = iter(list(questions))

    async def go_on() -> None:
        for question in waiting:
            await ask(question)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(LOOK_UPS_AT_ONCE):
                group.create_task(go_on())
    except* LeenError as errors:
        failure = errors.exceptions[0]
    else:
        return
    raise failure
