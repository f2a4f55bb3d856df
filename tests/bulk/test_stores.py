"""Where a ledger's values are: what is written is read again, and of two tries that open at once one wins."""

from __future__ import annotations

import importlib
import os
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import ObjectStoragePath
from fsspec.implementations.memory import MemoryFileSystem  # type: ignore[import-untyped]

from airflow_provider_leen.api.errors import LeenLedgerLostError
from airflow_provider_leen.bulk.register_store import RegisterStore
from airflow_provider_leen.bulk.stores import SETTLES_AFTER, FolderStore, MemoryStore, Store, TaskStateStore
from tests.support.airflow_run import AIRFLOW

LOCAL = pytest.mark.skipif(AIRFLOW < (3, 0), reason="Airflow 2 has no local://, and file:// is the same")
VALUE, OTHER = {"token": "a", "text": "naïve"}, {"token": "b"}


@pytest.fixture(params=["path", "file", pytest.param("local", marks=LOCAL), "memory"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    if request.param == "path":
        return tmp_path / "deep" / "ledger"
    if request.param == "memory":
        store = importlib.import_module("airflow.io.store" if AIRFLOW < (3, 0) else "airflow.sdk.io")
        store.attach("memory", fs=MemoryFileSystem())
        return ObjectStoragePath(f"memory://{uuid.uuid4().hex}/ledger")
    return ObjectStoragePath(f"{request.param}://{tmp_path}/deep/ledger")


def task_state(**more: Any) -> tuple[TaskStateStore, dict[str, Any]]:
    kept: dict[str, Any] = {"another": "task's own"}
    return TaskStateStore(kept.get, kept.__setitem__, lambda key: kept.pop(key, None), **more), kept


def behaves(store: Store) -> None:
    assert store.get("lease/1") is None
    store.delete("lease/1")
    assert store.create("lease/1", VALUE)
    assert store.create("lease/1", VALUE), "repeated because nobody knew whether it was done"
    assert not store.create("lease/1", OTHER)
    assert store.get("lease/1") == VALUE
    store.set("lease/1", VALUE | {"values": 3})
    assert store.get("lease/1") == VALUE | {"values": 3}
    store.delete("lease/1")
    assert store.get("lease/1") is None


def test_a_folder_keeps_values_by_key(folder: Any) -> None:
    behaves(FolderStore(folder))
    FolderStore(folder).set("j/1-a/1", VALUE)
    assert FolderStore(folder).get("j/1-a/1") == VALUE


def test_the_task_state_store_keeps_them_under_names_of_its_own() -> None:
    store, kept = task_state()
    behaves(store)
    store.set("j/1-a/12", VALUE)
    assert kept == {"another": "task's own", "leen_ledger.j.1-a.12": VALUE}
    assert store.refuses_overtaken_writes


def test_memory_keeps_leases_and_no_journal() -> None:
    store = MemoryStore()
    behaves(store)
    store.set("j/1-a/1", VALUE)
    assert store.get("j/1-a/1") is None
    assert not store.durable


def test_of_many_that_create_a_value_at_once_one_wins(tmp_path: Path) -> None:
    with ThreadPoolExecutor(max_workers=8) as executor:
        for number in range(20):
            won = executor.map(
                lambda token, key=f"lease/{number}": FolderStore(tmp_path).create(key, {"token": token}), range(8)
            )
            assert sum(won) == 1


@pytest.mark.parametrize("scheme", ["", "file://", pytest.param("local://", marks=LOCAL)])
@pytest.mark.parametrize("step", ["replace", "link"])
def test_a_try_that_dies_while_it_writes_leaves_no_half_value(
    scheme: str, step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Died(BaseException):
        pass

    def die(*_: Any) -> None:
        raise Died

    store = FolderStore(ObjectStoragePath(f"{scheme}{tmp_path}") if scheme else tmp_path)
    with monkeypatch.context() as dying:
        dying.setattr(os, step, die)
        with pytest.raises(Died):
            (store.set if step == "replace" else store.create)("lease/1", VALUE)
    assert store.get("lease/1") is None
    assert list((tmp_path / "lease").iterdir()) == []


def test_a_file_system_without_hard_links_creates_exclusively_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise PermissionError("no hard links here")

    monkeypatch.setattr(os, "link", refuse)
    behaves(FolderStore(tmp_path))
    (tmp_path / "lease" / "2.json").touch()
    assert FolderStore(tmp_path).get("lease/2") == {}, "a try died before it wrote its value"
    assert not FolderStore(tmp_path).create("lease/2", VALUE)


def test_a_folder_that_cant_be_written_says_why(tmp_path: Path) -> None:
    (tmp_path / "lease").touch()
    with pytest.raises(OSError, match="lease"):
        FolderStore(tmp_path).create("lease/1", VALUE)


# Others who may write into the folder


@pytest.mark.parametrize("hard_links", [True, False])
def test_a_ledger_is_for_its_owner_alone_and_a_register_for_whom_the_umask_says(
    hard_links: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not hard_links:
        monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(PermissionError("no hard links here")))
    umask = os.umask(0o027)
    try:
        for kind, permissions in ((FolderStore, 0o600), (RegisterStore, 0o640)):
            store = kind(tmp_path / kind.__name__)
            assert store.create("lease/1", VALUE)
            store.set("j/1", VALUE)
            if isinstance(store, RegisterStore):
                store.write("snapshot/1", b"large")
            files = [path for path in (tmp_path / kind.__name__).rglob("*") if path.is_file()]
            assert {path.stat().st_mode & 0o777 for path in files} == {permissions}
    finally:
        os.umask(umask)


@pytest.mark.parametrize("planted", ["link", "pipe"])
def test_a_value_is_read_from_a_regular_file_only(planted: str, tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("secret")
    (tmp_path / "store/lease").mkdir(parents=True)
    for name in ("lease/1.json", "lease/1.jsonl.gz"):
        place = tmp_path / "store" / name
        place.symlink_to(tmp_path / "victim") if planted == "link" else os.mkfifo(place)
    store = RegisterStore(tmp_path / "store")
    for act in (store.get, store.read, lambda key: store.create(key, VALUE)):
        with pytest.raises(OSError, match="it is not a regular file but a"):
            act("lease/1")
    assert (tmp_path / "victim").read_text() == "secret"
    store.set("lease/1", VALUE)
    assert store.get("lease/1") == VALUE, "what was planted is replaced, not followed"


@pytest.mark.parametrize("key", ["snapshot/../../victim", "j/1-../../../victim", "/victim", "lease/..", ""])
def test_a_key_that_another_value_names_leads_to_nothing_outside_of_the_folder(key: str, tmp_path: Path) -> None:
    (tmp_path / "store/snapshot").mkdir(parents=True)
    for name in ("victim.json", "victim.jsonl.gz"):
        (tmp_path / name).write_text("secret")
    store = RegisterStore(tmp_path / "store")
    for act in (store.get, store.read, store.delete, store.remove, lambda key: store.set(key, VALUE)):
        with pytest.raises(LeenLedgerLostError, match="can't be read"):
            act(key)
    assert {path.read_text() for path in tmp_path.glob("victim*")} == {"secret"}


def test_a_full_disk_leaves_no_temporary_file_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write_half(store: FolderStore, path: Path, content: bytes) -> None:
        path.write_bytes(content[:1])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(FolderStore, "_write_new", write_half)
    for act in (FolderStore(tmp_path).set, FolderStore(tmp_path).create):
        with pytest.raises(OSError, match="No space left"):
            act("lease/1", VALUE)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


# Stores that can't create exclusively


class Plain:
    """A path of an object store that has no exclusive creation."""

    protocol = "plain"

    def __init__(self, path: Path) -> None:
        self.path = path

    def __truediv__(self, name: str) -> Plain:
        return Plain(self.path / name.replace("/", "-"))

    def open(self, mode: str) -> Any:
        if "x" in mode:
            raise NotImplementedError("File mode not supported")
        return self.path.open(mode)

    def unlink(self) -> None:
        self.path.unlink()


def test_a_store_without_exclusive_creation_is_read_again_after_a_while(tmp_path: Path) -> None:
    waited: list[float] = []
    behaves(FolderStore(Plain(tmp_path), sleep=waited.append))
    assert set(waited) == {SETTLES_AFTER}


def test_there_the_one_that_wrote_last_wins(tmp_path: Path) -> None:
    rival = FolderStore(Plain(tmp_path))
    store = FolderStore(Plain(tmp_path), sleep=lambda _seconds: rival.set("lease/1", OTHER))
    assert not store.create("lease/1", VALUE)
    assert store.get("lease/1") == OTHER


def test_so_it_is_with_a_worker_side_backend_of_the_task_state_store() -> None:
    waited: list[float] = []
    store, kept = task_state(worker_side_backend=True, sleep=waited.append)
    behaves(store)
    assert not store.refuses_overtaken_writes
    assert waited == [SETTLES_AFTER]
    raced, kept = task_state(worker_side_backend=True, sleep=lambda _: kept.__setitem__("leen_ledger.lease.1", OTHER))
    assert not raced.create("lease/1", VALUE)


def test_a_store_that_says_in_its_own_words_that_a_key_is_taken_is_understood(folder: Any) -> None:
    class Worded(FolderStore):
        def _create(self, key: str, value: Any) -> None:
            raise RuntimeError("PreconditionFailed")

    FolderStore(folder).set("lease/1", OTHER)
    assert not Worded(folder).create("lease/1", VALUE)
    with pytest.raises(RuntimeError, match="PreconditionFailed"):
        Worded(folder).create("lease/2", VALUE)
