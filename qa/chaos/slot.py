"""A sandbox for one run at a time, which can also be away for a while, as a vendor is during a restart."""

from __future__ import annotations

import json
import time
import urllib.request
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

from airflow_provider_leen.sandbox.faults import BULK_PATH, FaultRule
from airflow_provider_leen.sandbox.guard import CONTROL_HEADERS
from airflow_provider_leen.sandbox.people import People
from airflow_provider_leen.sandbox.recorder import RecordedRequest
from airflow_provider_leen.sandbox.server import SandboxServer

TIMEOUT = 1.0
SETTLE_TIME = 1.0
SEARCH_LAG = 0.3
MAX_RETRY_WAIT = 0.5

PATIENCE = {
    "timeout": TIMEOUT,
    "settle_time": SETTLE_TIME,
    "max_retries": 3,
    "max_retry_wait": MAX_RETRY_WAIT,
}
"""What the Airflow connection says, so that a run takes seconds."""


def fault_name(rule: dict[str, Any]) -> str:
    """Say in short what a rule does."""
    name = str(rule.get("status", rule["kind"]))
    if rule["kind"] == "rate_limit":
        name = "429"
    if rule.get("method") == "GET":
        return f"{name} to a question"
    return name + {True: " after commit", False: " before commit", None: ""}[rule.get("commit")]


class Slot:
    """One sandbox on one port, and the Airflow connection that leads to it.

    :param number: tells the slots apart.
    :param folder: where the sandbox keeps its tickets, so that a restart does not lose them.
    """

    def __init__(self, number: int, folder: Path, **patience: float) -> None:
        self.conn_id = f"leen_slot_{number}"
        self.strikes: Counter[str] = Counter()
        """How often each fault struck in this run, up to the end of the faults."""
        self._db = folder / f"slot-{number}.db"
        self._patience = PATIENCE | patience
        self._rules: list[FaultRule] = []
        self._earlier: list[RecordedRequest] = []
        self._server = self._make(0)

    def __enter__(self) -> Self:
        self._server.__enter__()
        return self

    def __exit__(self, *raised: Any) -> None:
        self._server.__exit__(*raised)

    @property
    def airflow_conn(self) -> str:
        """The connection as JSON."""
        return json.dumps(json.loads(self._server.airflow_conn) | {"extra": self._patience})

    def begin(self, rules: Iterable[FaultRule] = ()) -> None:
        """Forget the run before, and misbehave by these rules."""
        self._server.reset()
        self._earlier.clear()
        self.strikes.clear()
        self._rules = list(rules)
        self._inject()

    def misbehave(self, rules: Iterable[FaultRule]) -> None:
        """Misbehave by these rules, too, from now on."""
        self._rules = list(rules)
        self._inject()

    def end_faults(self) -> None:
        """Remove all faults."""
        self._note_strikes()
        self._rules = []
        self._server.end_faults()

    def be_away(self, seconds: float) -> None:
        """Close all connections, refuse new ones for a while, then continue with the same tickets."""
        port = int(self._server.url.rsplit(":", 1)[1])
        self._note_strikes()
        self._server.__exit__(None, None, None)
        self._earlier += self._server.requests
        self.strikes["away for a while"] += 1
        time.sleep(seconds)
        self._server = self._make(port)
        self._inject()
        self._server.__enter__()

    def sync(self) -> None:
        """Sync all tickets to Leen, as the connector does."""
        self._server.sync()

    @property
    def people(self) -> People:
        """What people do at the tracker."""
        return self._server.people

    @property
    def changing_count(self) -> int:
        """How many requests were to change something."""
        return self._server.count("POST", "/v1/itsm/tickets")

    @property
    def requests(self) -> list[RecordedRequest]:
        """All requests of the run, in order of arrival."""
        return [*self._earlier, *self._server.requests]

    @property
    def bulk_calls(self) -> list[RecordedRequest]:
        """The bulk calls among them."""
        return [request for request in self.requests if request.is_bulk]

    @property
    def bulk_count(self) -> int:
        """How many bulk calls there were."""
        return sum(request.is_bulk for request in self._earlier) + self._server.count("POST", BULK_PATH)

    @property
    def in_flight(self) -> int:
        """How many requests have not ended yet."""
        return sum(request.finished is None for request in self._server.requests)

    def tickets(self, connection_id: str) -> list[dict[str, Any]]:
        """What the vendor holds for one Leen connection ID."""
        return self._server.tickets(connection_id)

    def _note_strikes(self) -> None:
        faults = urllib.request.Request(f"{self._server.url}/_sandbox/faults", headers=CONTROL_HEADERS)
        with urllib.request.urlopen(faults) as reply:
            for rule in json.load(reply):
                self.strikes[fault_name(rule)] += rule["struck"]

    def _make(self, port: int) -> SandboxServer:
        return SandboxServer(port=port, db=self._db, search_lag=SEARCH_LAG)

    def _inject(self) -> None:
        for rule in self._rules:
            self._server.inject(**rule.model_dump(exclude_unset=True))
