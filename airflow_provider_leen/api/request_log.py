"""Leaves out the line that httpx logs at INFO for each request, where the request is ours."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_httpx_log = logging.getLogger("httpx")
_request_is_ours: ContextVar[bool] = ContextVar("leen_request", default=False)


@contextmanager
def unlogged() -> Iterator[None]:
    """Keep a request of ours, sent meanwhile, out of the log; with httpx's level at DEBUG it is shown."""
    token = _request_is_ours.set(True)
    try:
        yield
    finally:
        _request_is_ours.reset(token)


def _is_shown(record: logging.LogRecord) -> bool:
    ours = _request_is_ours.get() and record.levelno <= logging.INFO
    return not ours or _httpx_log.isEnabledFor(logging.DEBUG)


# Airflow 2 puts these lines into the task's log, one a request. Not the logger's level: it is everybody's, and other
# code in this process may want its lines.
_httpx_log.addFilter(_is_shown)
