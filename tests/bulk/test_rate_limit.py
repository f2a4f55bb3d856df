"""A sandbox that takes so many calls a second, on the wire: how much of the limit is used, how often it is passed."""

from __future__ import annotations

import os
from collections import Counter

import pytest

from airflow_provider_leen.sandbox.server import SandboxServer
from tests.bulk.runs import Store, run_try, tickets


@pytest.mark.parametrize(
    ("rate", "service", "batches", "share"),
    [
        # On a machine that has other work to do, batches leave late; 85 % is for a quiet one.
        pytest.param(20, 0.02, 8, 0.5),
        *(
            pytest.param(
                *limit,
                0.85,
                marks=pytest.mark.skipif("LEEN_SLOW_TESTS" not in os.environ, reason="LEEN_SLOW_TESTS=1 runs it"),
            )
            for limit in [(5, 0.02, 4), (5, 0.2, 8), (10, 0.02, 1), (10, 0.35, 8), (20, 0.2, 8), (20, 0.05, 4)]
        ),
    ],
)
def test_most_of_the_limit_is_used_and_fewer_than_5_percent_of_the_calls_are_refused(
    rate: int, service: float, batches: int, share: float
) -> None:
    calls = max(200, 12 * rate)
    settings = {"max_retries": 20, "max_retry_wait": 5.0}
    with SandboxServer(seed=1, calls_per_second=rate, latency=service) as sandbox:
        done = run_try(
            sandbox, Store(), tickets(calls), batch_size=1, max_concurrent_batches=batches, settings=settings
        )
        requests = [request for request in sandbox.requests if request.is_bulk]
    assert done.counts == {"created": calls}
    statuses = Counter(request.status for request in requests)
    assert statuses[200] == calls
    accepted = [request.started for request in requests if request.status == 200]
    achieved = (calls - 1) / (max(accepted) - min(accepted))
    assert achieved >= share * rate
    assert statuses[429] < 0.05 * len(requests)
