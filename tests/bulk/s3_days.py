"""Days of a register on S3, in its own environment (moto's server on loopback), without Airflow.

``python -m tests.bulk.s3_days`` ends with 0 where all went right.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import boto3  # type: ignore[import-not-found]
from moto.server import ThreadedMotoServer  # type: ignore[import-not-found]
from upath import UPath

from airflow_provider_leen.api.errors import LeenLedgerError
from airflow_provider_leen.bulk.register_store import RegisterStore, mark
from tests.bulk.registers import A, B, day, filing, ledger_at

KEYS = {"key": "testing", "secret": "testing"}


def store_at(endpoint: str, folder: str = "register") -> RegisterStore:
    """The register as another process has it: with a file system, and a cache of listings, of its own."""
    options: dict[str, Any] = {"endpoint_url": endpoint, "skip_instance_cache": True, **KEYS}
    return RegisterStore(UPath(f"s3://bucket/{folder}", **options))


def refusal_of(call: Callable[[], Coroutine[Any, Any, Any]]) -> str:
    try:
        asyncio.run(call())
    except LeenLedgerError as error:
        return str(error)
    return ""


def check(endpoint: str) -> None:
    def fresh() -> RegisterStore:
        return store_at(endpoint)

    assert mark(fresh(), {})
    assert not mark(fresh(), {})
    assert asyncio.run(day(ledger_at(fresh(), A), "1", "2")) == {"1": "created", "2": "created"}
    assert asyncio.run(day(ledger_at(fresh(), B), "2", "3")) == {"1": "existing", "2": "existing", "3": "created"}
    left = fresh()
    assert left.names("head") == ["2"]
    assert [len(left.names(kind)) for kind in ("lease", "j", "snapshot")] == [0, 0, 1]

    # Another process takes over; the old one sees its lease, past what its file system has listed before.
    old, new = ledger_at(fresh(), A), ledger_at(fresh(), A, 2)
    for ledger in (old, new):
        asyncio.run(filing(ledger, "4"))
        asyncio.run(ledger.flush())
    assert {known.identifier: known.status for known in new.table.all_known()}["4"] == "created"
    for call in (old.look, old.close):
        assert "has taken over" in refusal_of(call)
    assert "in use by" in refusal_of(ledger_at(fresh(), B, waits=0.0).open)
    asyncio.run(new.close())
    assert asyncio.run(day(ledger_at(fresh(), B)))["4"] == "existing"

    # Of many that create one lease at once, one has it.
    for number in range(5):
        with ThreadPoolExecutor(max_workers=4) as threads:
            key = f"lease/{1000 + number}"
            won = threads.map(lambda token, key=key: store_at(endpoint, "race").create(key, {"token": token}), range(4))
            assert sum(won) == 1


def main() -> None:
    server = ThreadedMotoServer("127.0.0.1", port=0)
    server.start()
    try:
        host, port = server.get_host_and_port()
        endpoint = f"http://{host}:{port}"
        names = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing", "region_name": "us-east-1"}
        boto3.client("s3", endpoint_url=endpoint, **names).create_bucket(Bucket="bucket")
        check(endpoint)
    finally:
        server.stop()


if __name__ == "__main__":
    main()
