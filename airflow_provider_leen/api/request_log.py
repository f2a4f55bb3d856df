"""What httpx and httpcore log of our requests: no line for each at INFO, and at DEBUG without the API key."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_httpx_log = logging.getLogger("httpx")
_ours: ContextVar[Callable[[str], str] | None] = ContextVar("leen_request", default=None)


@contextmanager
def unlogged(safe: Callable[[str], str]) -> Iterator[None]:
    """Keep our requests inside the ``with`` block out of the log, unless httpx's level is DEBUG.

    :param safe: removes the API key from a line: a server may say it in a header, say.
    """
    token = _ours.set(safe)
    try:
        yield
    finally:
        _ours.reset(token)


def _is_shown(record: logging.LogRecord) -> bool:
    if (safe := _ours.get()) is None:
        return True
    if record.name == "httpx" and record.levelno <= logging.INFO and not _httpx_log.isEnabledFor(logging.DEBUG):
        return False
    record.msg, record.args = safe(record.getMessage()), ()
    return True


# Airflow 2 puts httpx's lines into the task's log, one a request. The loggers' levels are left alone: other code in the
# process may want its lines. A filter sees only what its own logger is given, not what is given to those below it.
for _name in ("httpx", *(f"httpcore.{part}" for part in ("connection", "http11", "http2", "proxy", "socks"))):
    logging.getLogger(_name).addFilter(_is_shown)
