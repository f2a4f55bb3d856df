from __future__ import annotations

import pytest

from airflow_provider_leen.sandbox import recorder
from airflow_provider_leen.sandbox.faults import BULK_PATH
from airflow_provider_leen.sandbox.recorder import RecordedRequest, Recorder, route_of


def record(raw: bytes = b"", path: str = BULK_PATH) -> RecordedRequest:
    return RecordedRequest(method="POST", path=path, query="", headers={}, raw=raw, started=0.0)


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/v1/itsm/tickets", "/v1/itsm/tickets"),
        ("/v1/itsm/tickets/bulk/sync", "/v1/itsm/tickets/bulk/sync"),
        ("/v1/itsm/tickets/bulk", "/v1/itsm/tickets/bulk"),
        ("/v1/jobs/3f2a", "/v1/jobs/{job_id}"),
        ("/v1/itsm/tickets/3f2a", "/v1/itsm/tickets/{ticket_id}"),
        ("/v1/itsm/tickets/by-identifier/a/b\nc", "/v1/itsm/tickets/by-identifier/{identifier}"),
    ],
)
def test_requests_are_counted_by_route(path: str, route: str) -> None:
    assert route_of(path) == route


@pytest.mark.parametrize(
    ("raw", "names"),
    [
        (b'{"tickets": [{"name": "a"}, {"type": "Task"}, 7]}', ["a", "", ""]),
        (b'{"tickets": 7}', []),
        (b"[1]", []),
        (b"{not json", []),
        (b"\xff", []),
        (b"", []),
    ],
)
def test_names_are_read_from_any_value(raw: bytes, names: list[str]) -> None:
    assert record(raw).ticket_names == names


def test_the_oldest_records_go_when_there_are_too_many_but_the_counts_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "KEPT_BYTES", 3000)
    kept = Recorder()
    for number in range(5):
        kept.begin(record(b"%d" % number))
    assert [request.raw for request in kept.requests] == [b"3", b"4"]
    assert kept.counts == {f"POST {BULK_PATH}": 5}


def test_what_is_in_flight_at_a_reset_counts_towards_no_later_peak() -> None:
    kept = Recorder()
    under_way = record()
    kept.begin(under_way)
    kept.reset()
    kept.begin(record())
    kept.end(under_way, now=1.0, status="lost")
    kept.begin(record())
    assert kept.peak_in_flight == 2
