"""The sandbox in its own process, and what can be asked of it from here."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections import Counter
from types import TracebackType
from typing import Any, Self

import httpx

from airflow_provider_leen.sandbox.faults import BULK_PATH
from airflow_provider_leen.sandbox.guard import CONTROL_HEADERS


class Sandbox:
    """The sandbox, while the context is open.

    :param service_time: seconds that a call with 50 tickets takes, the sandbox's own work included.
    :param wait: the part of it that is not the sandbox's own work, where it is known; 0 to find it out.
    :param calls_per_second: more than this get a 429.
    """

    def __init__(self, *, service_time: float = 0.0, wait: float = 0.0, calls_per_second: int | None = None) -> None:
        self._service_time = service_time
        self.wait = wait
        self._is_limited = calls_per_second is not None
        self._command = [sys.executable, "-m", "airflow_provider_leen.sandbox", "--port", "0"]
        if calls_per_second is not None:
            self._command += ["--rate-limit", str(calls_per_second)]

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._process.kill()
            raise
        return self

    def _start(self) -> None:
        self._process = subprocess.Popen(
            self._command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True
        )
        assert self._process.stdout is not None
        where = self._process.stdout.readline().split("Leen sandbox: ")[1].split()[0]
        connection = self._process.stdout.readline().split("=", 1)[1].strip().strip("'")
        self.base_url = where
        self.connection: dict[str, Any] = json.loads(connection)
        self._http = httpx.Client(
            base_url=where.removesuffix("/v1"), headers=CONTROL_HEADERS, timeout=60, trust_env=False
        )
        if self._service_time and not self.wait:
            self._calibrate()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._http.close()
        self._process.terminate()
        self._process.communicate()

    def begin(self, **rule: Any) -> None:
        """Forget everything; then misbehave by this rule, if one is given."""
        self._ask("POST", "/_sandbox/reset")
        if self.wait:
            self._ask("POST", "/_sandbox/faults", json={"kind": "latency", "seconds": self.wait})
        if rule:
            self.misbehave(**rule)

    def misbehave(self, **rule: Any) -> None:
        """Misbehave by this rule, too, from now on."""
        self._ask("POST", "/_sandbox/faults", json=rule)

    def bulk_calls(self) -> list[dict[str, Any]]:
        """Return the bulk calls so far, with the seconds in which each of them started and finished."""
        calls: list[dict[str, Any]] = self._ask("GET", "/_sandbox/requests")
        return [call for call in calls if call["path"] == BULK_PATH]

    def requests(self) -> int:
        """Return how many requests of any kind there were."""
        return sum(self._ask("GET", "/_sandbox/stats")["requests"].values())

    def in_flight(self) -> bool:
        """Whether a bulk call has not been answered yet."""
        return any(call["finished"] is None for call in self.bulk_calls())

    def copies(self) -> Counter[str]:
        """Return how many tickets there are of each name."""
        return Counter(ticket["name"] for ticket in self._ask("GET", "/_sandbox/tickets"))

    def _calibrate(self) -> None:
        """Find out how long a call has to wait, so that it takes as long as it should in all."""
        headers = {"X-API-KEY": self.connection["password"], "X-CONNECTION-ID": self.connection["login"]}
        ticket = {"name": "a finding", "description": "text " * 80, "project_vendor_id": "SEC", "type": "Task"}
        for _ in range(2):
            self.begin()
            for _ in range(10):
                self._http.post(BULK_PATH, headers=headers, json={"tickets": [ticket] * 50})
            took = [call["finished"] - call["started"] for call in self.bulk_calls() if call["status"] == 200]
            if self._is_limited:
                # Not to be held against the calls that follow.
                time.sleep(1.1)
            self.wait = max(0.0, self.wait + self._service_time - statistics.median(took))

    def _ask(self, method: str, path: str, **options: Any) -> Any:
        return self._http.request(method, path, **options).raise_for_status().json()


def sending_time(calls: list[dict[str, Any]]) -> float:
    """Return the seconds from the first call to the last reply."""
    return float(max(call["finished"] for call in calls) - min(call["started"] for call in calls))
