"""What the sandbox has recorded, counted."""

from __future__ import annotations

import math
from collections.abc import Sequence

from airflow_provider_leen.sandbox.recorder import RecordedRequest
from airflow_provider_leen.sandbox.server import SandboxServer


def peak(requests: Sequence[RecordedRequest]) -> int:
    """The most of these requests that were in flight at one time."""
    return max(
        sum(other.started <= request.started < (other.finished or math.inf) for other in requests)
        for request in requests
    )


def bulk_calls(sandbox: SandboxServer) -> list[RecordedRequest]:
    return [request for request in sandbox.requests if request.is_bulk]


def none_is_double(sandbox: SandboxServer) -> bool:
    return sandbox.duplicates() == {"by_identifier": [], "by_content": []}
