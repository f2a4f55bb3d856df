"""A scope of a register: who gets the lease, what is read again, what is refused, and what stays behind."""

from __future__ import annotations

import asyncio
import importlib
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import ObjectStoragePath
from fsspec.implementations.memory import MemoryFileSystem  # type: ignore[import-untyped]

from airflow_provider_leen.api.errors import LeenConfigError, LeenError, LeenLedgerError
from airflow_provider_leen.bulk.register_journal import STALE_AFTER
from airflow_provider_leen.bulk.register_ledger import WAITS_AT_MOST, RegisterLedger
from airflow_provider_leen.bulk.register_reading import Identity
from airflow_provider_leen.bulk.register_store import RegisterStore, folder_of
from tests.bulk.registers import HERE, A, B, Clock, day, filing, ledger_at
from tests.support.airflow_run import AIRFLOW


def error_of(call: Callable[[], Any]) -> LeenError:
    with pytest.raises(LeenError) as caught:
        asyncio.run(call())
    return caught.value


@pytest.fixture(params=["folder", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> RegisterStore:
    if request.param == "folder":
        return RegisterStore(tmp_path / "register")
    module = importlib.import_module("airflow.io.store" if AIRFLOW < (3, 0) else "airflow.sdk.io")
    module.attach("memory", fs=MemoryFileSystem())
    return RegisterStore(ObjectStoragePath(f"memory://{uuid.uuid4().hex}/register"))


def names(store: RegisterStore) -> dict[str, list[str]]:
    return {kind: found for kind in ("head", "lease", "j", "snapshot") if (found := sorted(store.names(kind)))}


def test_tomorrow_knows_what_today_has_filed_and_a_day_leaves_one_head_and_one_snapshot(store: RegisterStore) -> None:
    assert asyncio.run(day(ledger_at(store, A), "1", "2")) == {"1": "created", "2": "created"}
    assert asyncio.run(day(ledger_at(store, A), "1")) == {"1": "created", "2": "created"}, "the same run still"
    assert asyncio.run(day(ledger_at(store, B), "2", "3")) == {"1": "existing", "2": "existing", "3": "created"}
    left = names(store)
    assert left["head"] == ["3"]
    assert [name.partition("-")[0] for name in left["snapshot"]] == ["3"]
    assert left.keys() == {"head", "snapshot"}


def test_a_day_on_which_nothing_changes_keeps_the_snapshot(store: RegisterStore) -> None:
    asyncio.run(day(ledger_at(store, A), "1"))
    before = names(store)["snapshot"]
    assert asyncio.run(day(ledger_at(store, B), "1")) == {"1": "existing"}
    assert names(store) == {"head": ["2"], "snapshot": before}


def test_what_a_killed_run_has_on_record_counts_and_its_last_sending_is_unknown(store: RegisterStore) -> None:
    asyncio.run(filing(ledger_at(store, A), "1", "2"))  # what came back for 2 was not written any more
    ledger = ledger_at(store, A, 2)
    asyncio.run(filing(ledger, "1", "2"))
    assert {known.identifier: known.status for known in ledger.table.all_known()} == {"1": "created", "2": "unknown"}


def test_another_run_waits_until_the_lease_has_not_been_signed_for_ten_minutes(store: RegisterStore) -> None:
    clock = Clock()
    asyncio.run(filing(ledger_at(store, A, clock=clock), "1"))
    start = clock.time
    asyncio.run(filing(ledger_at(store, B, clock=clock), "2"))
    assert STALE_AFTER <= clock.time - start < STALE_AFTER + 10


def test_it_takes_the_lease_at_once_where_the_other_run_has_ended_or_is_an_earlier_try(store: RegisterStore) -> None:
    clock = Clock()
    start = clock.time
    asyncio.run(filing(ledger_at(store, A, clock=clock), "1"))
    asyncio.run(day(ledger_at(store, A, 2, clock=clock), "1"))
    asyncio.run(filing(ledger_at(store, B, clock=clock), "2"))
    assert clock.time == start


def test_it_gives_up_after_a_quarter_of_an_hour_if_the_holder_keeps_signing(store: RegisterStore) -> None:
    clock = Clock()

    async def go() -> float:
        holder = ledger_at(store, A, clock=clock)
        await filing(holder, "1")
        waiting = ledger_at(store, B, clock=clock)
        pause = clock.pause

        async def signed(seconds: float) -> None:
            await pause(seconds)
            assert holder.register.sign()

        waiting._pause = signed
        with pytest.raises(LeenLedgerError, match="in use by dag_id d, run_id a, task_id t"):
            await waiting.open()
        return clock.time

    start = clock.time
    assert asyncio.run(go()) - start == WAITS_AT_MOST


def test_a_run_that_was_taken_over_writes_and_publishes_nothing_more(store: RegisterStore) -> None:
    async def go() -> None:
        old, new = ledger_at(store, A), ledger_at(store, A, 2)
        await filing(old, "1")
        await day(new, "1")
        for call in (old.look, old.close, lambda: old.intend(list(old.table.entries))):
            with pytest.raises(LeenLedgerError, match="Another run or try has taken over"):
                await call()
        assert not old.register.sign(), "the lease is gone, and stays gone"

    asyncio.run(go())
    assert names(store).keys() == {"head", "snapshot"}


def test_a_deferred_run_continues_under_its_own_lease(store: RegisterStore) -> None:
    async def go() -> str:
        before, after = ledger_at(store, A), ledger_at(store, A)
        await filing(before, "1")
        await before.flush()
        await after.resume(before.place)
        await after.close()
        return after.table["airflow-x"].status

    assert asyncio.run(go()) == "unsent"
    assert asyncio.run(day(ledger_at(store, B))) == {"1": "existing"}


@pytest.mark.parametrize("lost", ["head", "snapshot", "lease", "value", "last value", "all but the last lease"])
def test_a_missing_value_is_refused_and_releases_the_lease(store: RegisterStore, lost: str) -> None:
    clock = Clock()
    asyncio.run(day(ledger_at(store, A, clock=clock), "1"))
    if lost == "head":
        store.delete("head/1")
    elif lost == "snapshot":
        store.remove(f"snapshot/{store.names('snapshot')[0]}")
    else:
        asyncio.run(filing(ledger_at(store, B, clock=clock), "2", "3", "4"))
        journal = store.names("j")[0]
        last = max(map(int, store.names(f"j/{journal}")))
        if lost == "last value":
            lease = store.get("lease/2")
            assert lease is not None
            store.set("lease/2", lease | {"values": last})
        if "lease" in lost:
            store.delete("lease/2")
        else:
            store.delete(f"j/{journal}/{last if lost == 'last value' else 1}")
        if lost == "all but the last lease":
            asyncio.run(ignored(ledger_at(store, A, clock=clock)))
            store.delete("lease/2")
    for task in ({**A, "run_id": "c"}, {**A, "run_id": "d"}):
        clock.time += 0 if lost in ("head", "snapshot") else STALE_AFTER
        start = clock.time
        error = error_of(ledger_at(store, task, clock=clock).open)
        assert "has a gap" in str(error)
        assert clock.time == start


async def ignored(ledger: RegisterLedger) -> None:
    with suppress(LeenLedgerError):
        await ledger.open()


@pytest.mark.parametrize(
    ("identity", "task", "sentence"),
    [
        pytest.param(
            HERE._replace(base_url="https://eu.example.com/v1"), B, "belongs to the Leen connection", id="url"
        ),
        pytest.param(HERE._replace(connection_id="another"), B, "register move", id="connection"),
        pytest.param(HERE, A | {"map_index": 1}, "mapped instance .* its own `scope`", id="sibling"),
    ],
)
@pytest.mark.parametrize("is_under_way", [True, False])
def test_the_scope_of_another_is_refused(
    store: RegisterStore, identity: Identity, task: dict[str, Any], sentence: str, is_under_way: bool
) -> None:
    first = A | {"map_index": 0}
    asyncio.run((filing if is_under_way else day)(ledger_at(store, first), "1"))
    with pytest.raises(LeenConfigError, match=sentence):
        asyncio.run(ledger_at(store, task, identity=identity).open())


def test_a_register_of_a_newer_release_is_refused(store: RegisterStore) -> None:
    asyncio.run(day(ledger_at(store, A), "1"))
    head = store.get("head/1")
    assert head is not None
    store.set("head/1", head | {"v": 99})
    assert "another release" in str(error_of(ledger_at(store, B).open))


def test_each_scope_has_its_own_folder_with_a_readable_name() -> None:
    assert folder_of("semgrep/repo-a").startswith("semgrep-repo-a-")
    assert len({folder_of(scope) for scope in ("", "all", "a/b", "a-b", "a b")}) == 5
