"""A Leen without a socket that counts what it truly made, and lies about it."""

from __future__ import annotations

import copy
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.bulk.runs import Try

Content = dict[str, Any]
Lie = Callable[[int, Content], Any]
"""What the n-th call (from 0) is answered with instead of the truth; None for the truth."""


@dataclass
class Truth:
    """A Leen that counts. Tickets whose names begin with "bad" are refused.

    :param lie: about the results of a bulk call or of a job.
    :param submission: about the id of a job.
    :param makes: whether the n-th call makes its tickets.
    """

    lie: Lie = lambda number, content: None
    submission: Lie = lambda number, content: None
    makes: Callable[[int], bool] = lambda number: True
    made: Counter[str] = field(default_factory=Counter)
    keys: dict[str, str] = field(default_factory=dict)
    jobs: dict[str, Content] = field(default_factory=dict)
    calls: int = 0
    sent: list[list[str]] = field(default_factory=list)
    """The names of the tickets in each call."""

    def __call__(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        if path.startswith("/v1/jobs/"):
            job = self.jobs[path.rpartition("/")[2]]
            lie = self.lie(int(path.rpartition("-")[2]), copy.deepcopy(job))
            return as_response(job if lie is None else lie)
        if "by-identifier" in path:
            known = {"type": "not_found", "code": "NOT_FOUND", "message": "No such ticket.", "detail": []}
            return httpx.Response(404, json=known)
        assert request.method == "POST"
        number, self.calls = self.calls, self.calls + 1
        tickets = json.loads(request.content)["tickets"]
        self.sent.append([ticket["name"] for ticket in tickets])
        content = self._make(number, tickets)
        if path.endswith("/sync"):
            lie = self.lie(number, copy.deepcopy(content))
            return as_response(content if lie is None else lie)
        results = [{k: v for k, v in result.items() if "ticket_id" not in k} for result in content["results"]]
        said: Content = {"status": "SUCCESS", "failure_reason": None}
        if content["failed"]:
            said = {"status": "FAILED", "failure_reason": content | {"results": results}}
        self.jobs[f"job-{number}"] = said
        accepted = {"job_id": f"job-{number}"}
        lie = self.submission(number, dict(accepted))
        return httpx.Response(202, json=accepted) if lie is None else as_response(lie)

    def _make(self, number: int, tickets: list[Content]) -> Content:
        results = []
        for index, ticket in enumerate(tickets):
            good = not ticket["name"].startswith("bad") and self.makes(number)
            ids: Content = {"ticket_id": None, "vendor_ticket_id": None}
            if good:
                self.made[ticket["name"]] += 1
                key = self.keys.setdefault(ticket["name"], f"SEC-{len(self.keys) + 1}")
                ids = {"ticket_id": f"u-{key}" if "project_id" in ticket else None, "vendor_ticket_id": key}
            results.append(
                {
                    "success": good,
                    "request_index": index,
                    "identifier": ticket.get("identifier"),
                    **ids,
                    "error": None if good else "no such project",
                }
            )
        succeeded = sum(result["success"] for result in results)
        counts = {"total": len(results), "succeeded": succeeded, "failed": len(results) - succeeded}
        return counts | {"results": results}

    def contradicts(self, ended: Try) -> list[str]:
        """What a run claims that isn't so."""
        wrong = []
        for result in ended.results:
            name, status = str(result["name"]), result["status"]
            if status == "created" and (
                not self.made[name] or result["vendor_ticket_id"] not in (None, self.keys[name])
            ):
                wrong.append(f"{name} is {result}")
            if status in ("rejected", "unsent") and self.made[name]:
                wrong.append(f"{name} is {status}")
        return wrong + [f"{name} is there twice" for name, count in self.made.items() if count > 1]


def as_response(content: Any) -> httpx.Response:
    return content if isinstance(content, httpx.Response) else httpx.Response(200, json=content)
