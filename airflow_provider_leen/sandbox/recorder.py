"""Records the requests to the sandbox and their replies, for counting."""

from __future__ import annotations

import json
import re
import threading
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from airflow_provider_leen.sandbox.faults import BULK_PATH

KEPT_BYTES = 200_000_000
"""The oldest records are dropped when bodies (and 1 kB a record) exceed this, so that a sandbox can run for days."""


@dataclass(slots=True)
class RecordedRequest:
    """One request. Times are seconds since 1970; ``status`` is the HTTP status, or ``lost`` without a reply."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    """Lower-case names; the API key is replaced by ``***``."""
    raw: bytes
    started: float
    finished: float | None = None
    status: int | Literal["lost"] | None = None
    """None while it is in flight."""
    _body: Any = None

    @property
    def connection_id(self) -> str | None:
        """The header ``X-CONNECTION-ID``."""
        return self.headers.get("x-connection-id")

    @property
    def body(self) -> Any:
        """The body as parsed JSON; None if there is none or it is not JSON."""
        if self._body is None and self.raw:
            try:
                self._body = json.loads(self.raw)
            except ValueError:
                return None
        return self._body

    @property
    def is_bulk(self) -> bool:
        """Whether it is a bulk call."""
        return self.method == "POST" and self.path == BULK_PATH

    @property
    def ticket_names(self) -> list[str]:
        """The names of its tickets, as far as the body is valid."""
        tickets = self.body.get("tickets") if isinstance(self.body, dict) else None
        if not isinstance(tickets, list):
            return []
        return [str(ticket.get("name", "")) if isinstance(ticket, dict) else "" for ticket in tickets]

    def as_json(self) -> dict[str, Any]:
        """The record as plain data."""
        return {
            "method": self.method,
            "path": self.path,
            "query": self.query,
            "headers": dict(self.headers),
            "connection_id": self.connection_id,
            "body": self.body,
            "started": self.started,
            "finished": self.finished,
            "status": self.status,
        }


def route_of(path: str) -> str:
    """A path with its variable part replaced by a name, so that requests can be counted by route."""
    path = re.sub(r"^(/v1/itsm/tickets/by-identifier)/.*", r"\1/{identifier}", path, flags=re.DOTALL)
    path = re.sub(r"^(/v1/jobs)/[^/]+$", r"\1/{job_id}", path)
    return re.sub(r"^(/v1/itsm/tickets)/(?!bulk$)[^/]+$", r"\1/{ticket_id}", path)


@dataclass(slots=True)
class Recorder:
    """The requests so far. May be used from any thread."""

    counts: Counter[str] = field(default_factory=Counter)
    """Requests by method and route."""
    peak_in_flight: int = 0
    """The most bulk calls that were in flight at one time."""
    _records: deque[RecordedRequest] = field(default_factory=deque)
    _bytes: int = 0
    _in_flight: set[int] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def requests(self) -> list[RecordedRequest]:
        """The requests in order of arrival (the last 200 MB of them)."""
        with self._lock:
            return list(self._records)

    def begin(self, record: RecordedRequest) -> None:
        """Note that a request arrived."""
        with self._lock:
            self._records.append(record)
            self._bytes += len(record.raw) + 1000
            while self._bytes > KEPT_BYTES and len(self._records) > 1:
                self._bytes -= len(self._records.popleft().raw) + 1000
            self.counts[f"{record.method} {route_of(record.path)}"] += 1
            if record.is_bulk:
                self._in_flight.add(id(record))
                self.peak_in_flight = max(self.peak_in_flight, len(self._in_flight))

    def end(self, record: RecordedRequest, *, now: float, status: int | Literal["lost"]) -> None:
        """Record how a request ended."""
        with self._lock:
            record.finished = now
            record.status = status
            self._in_flight.discard(id(record))

    def count(self, method: str | None = None, path_prefix: str | None = None) -> int:
        """How many of the recorded requests have this method and a path that starts like this."""
        return sum(
            (method is None or record.method == method.upper())
            and (path_prefix is None or record.path.startswith(path_prefix))
            for record in self.requests
        )

    def reset(self) -> None:
        """Delete all records, including those of requests in flight."""
        with self._lock:
            self._records.clear()
            self._bytes = 0
            self.counts.clear()
            self.peak_in_flight = 0
            self._in_flight.clear()
