"""A Leen whose every text is hostile, and the checks of what is left of them."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

HALF = "\ud83d"
HOSTILE = f"A\x00B\x07\x1b[31;1mC\x85\x9fD\u202eE\u2066F\u200fG{HALF}H\x1b]0;I\x07\x7f\t\r\nJ"
TICKET_ID = "5ec00000-0000-4000-8000-000000000001"

_HARMFUL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def harmful(value: Any, place: str = "") -> Iterator[str]:
    """Name the places in a value of plain JSON types that hold what some database or terminal can't take."""
    if isinstance(value, str) and _HARMFUL.search(value):
        yield f"{place}: {value!r}"
    if isinstance(value, list):
        for index, entry in enumerate(value):
            yield from harmful(entry, f"{place}[{index}]")
    if isinstance(value, dict):
        for name, entry in value.items():
            yield from harmful(name, f"{place}.{name!r} as a name")
            yield from harmful(entry, f"{place}.{name}")


class HostileLeen(ThreadingHTTPServer):
    """Answers below ``/ok/v1`` as Leen does, below ``/403/v1``, ``/422/v1`` and ``/500/v1`` with that status."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.sent: list[dict[str, Any]] = []
        """The tickets, and the updates, that were sent to ``/ok``."""
        self.writes: Counter[str] = Counter()
        """POSTs by the first segment of their path."""

    def connection(self, behaviour: str, **extra: Any) -> str:
        """Return an Airflow connection that leads to one behaviour."""
        fields = {
            "conn_type": "leen",
            "login": "3fa85f64-5717-4562-b3fc-2c963f66afa6",
            "password": "lk_test",
            "host": f"http://127.0.0.1:{self.server_port}/{behaviour}/v1",
            "extra": {"max_retries": 0, "ticket_url": "https://jira.example/browse/{vendor_ticket_id}"} | extra,
        }
        return json.dumps(fields)


class _Handler(BaseHTTPRequestHandler):
    server: HostileLeen

    def do_GET(self) -> None:
        _, behaviour, _, path = self.path.split("/", 3)
        if path.startswith("jobs/"):
            # The breakdown as an object and as text, both of which Leen may mean.
            update = {"success": False, "request_index": 0, "ticket_id": TICKET_ID, "error": HOSTILE}
            created = [_result(0), {"success": False, "request_index": 1, "error": HOSTILE}]
            reason: Any = _counted([update]) if path.endswith("update") else json.dumps(_counted(created))
            self._answer(200, {"status": "FAILED", "failure_reason": reason, HOSTILE: HOSTILE})
        elif behaviour == "ok" and "by-identifier" in path:
            self._answer(200, _record(path.rsplit("/", 1)[1]))
        else:
            self._refuse(404 if behaviour == "ok" else int(behaviour))

    def do_POST(self) -> None:
        _, behaviour, _, path = self.path.split("/", 3)
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.writes[behaviour] += 1
        if behaviour != "ok":
            self._refuse(int(behaviour))
            return
        self.server.sent += body.get("tickets") or [body]
        if path == "itsm/tickets":
            self._answer(200, _record(body["identifier"]))
        elif path.endswith("bulk/update"):
            self._answer(202, {"job_id": "update"})
        elif path.endswith("bulk"):
            self._answer(202, {"job_id": "create"})
        else:
            results = [_result(index, body["tickets"][index]) for index in range(len(body["tickets"]))]
            self._answer(200, {**_counted(results), HOSTILE: HOSTILE})

    def _refuse(self, status: int) -> None:
        detail = [{"loc": [HOSTILE], "msg": HOSTILE, HOSTILE: HOSTILE}]
        self._answer(status, {"type": HOSTILE, "code": HOSTILE, "message": HOSTILE, "detail": detail})

    def _answer(self, status: int, content: Any) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


def _counted(results: list[dict[str, Any]]) -> dict[str, Any]:
    succeeded = sum(result["success"] for result in results)
    return {"total": len(results), "succeeded": succeeded, "failed": len(results) - succeeded, "results": results}


def _result(index: int, ticket: dict[str, Any] | None = None) -> dict[str, Any]:
    """Refuse a ticket whose name begins with "refused", name another identifier for "mixed up", create any other."""
    name = str((ticket or {}).get("name", ""))
    result = {"success": True, "request_index": index, "identifier": (ticket or {}).get("identifier"), HOSTILE: HOSTILE}
    if name.startswith("refused"):
        return result | {"success": False, "error": HOSTILE}
    if name.startswith("mixed up"):
        result["identifier"] = HOSTILE
    return result | {"vendor_ticket_id": f"SEC-{index}{HOSTILE}", "ticket_id": f"{index}{HOSTILE}"}


def _record(identifier: str) -> dict[str, Any]:
    texts = ("description", "project_id", "type", "status", "priority", "url", "ticket_created_at")
    attributes = {"id": HOSTILE, HOSTILE: [HOSTILE]}
    return {
        **dict.fromkeys(texts, HOSTILE),
        "id": HOSTILE,
        "name": HOSTILE,
        "identifier": identifier,
        "vendor_attributes": attributes,
    }
