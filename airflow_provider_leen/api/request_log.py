"""Drops the line that httpx logs at INFO for each of our requests."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_httpx_log = logging.getLogger("httpx")
_request_is_ours: ContextVar[bool] = ContextVar("leen_request", default=False)


@contextmanager
def unlogged() -> Iterator[None]:
    """Keep our requests inside the ``with`` block out of the log, unless httpx's level is DEBUG."""
    token = _request_is_ours.set(True)
    try:
        yield
    finally:
        _request_is_ours.reset(token)


def _is_shown(record: logging.LogRecord) -> bool:
    ours = _request_is_ours.get() and record.levelno <= logging.INFO
    return not ours or _httpx_log.isEnabledFor(logging.DEBUG)


# Airflow 2 puts these lines into the task's log, one a request. The logger's level is left alone: other code in this
# process may want its lines.
_httpx_log.addFilter(_is_shown)
