"""What an operator reads, and where it may write, without an Airflow around it."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import ObjectStoragePath

from airflow_provider_leen.api.errors import LeenConfigError, LeenError
from airflow_provider_leen.tasks.files import ResultsFiles, check_differs, rows_at
from tests.bulk.conftest import irregular as irregular


@pytest.mark.parametrize("scheme", ["", "file://"])
@pytest.mark.parametrize("ending", ["json", "jsonl"])
def test_tickets_are_not_read_from_what_is_no_file(irregular: Path, tmp_path: Path, scheme: str, ending: str) -> None:
    (tmp_path / f"link.{ending}").symlink_to(irregular)
    with pytest.raises(LeenConfigError, match=r"it is not a regular file but a (pipe|socket|device)"):
        rows_at(f"{scheme}{tmp_path}/link.{ending}")


def test_tickets_may_be_read_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "scan-17.jsonl").write_text('{"name": "a"}\n')
    (tmp_path / "latest.jsonl").symlink_to("scan-17.jsonl")
    assert list(rows_at(f"{tmp_path}/latest.jsonl")) == [{"name": "a"}]


def test_a_worker_without_a_folder_for_temporary_files_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> str:
        raise FileNotFoundError(2, "No usable temporary directory found in ['/tmp']")

    (tmp_path / "t.jsonl").write_text('{"name": "a"}\n')
    monkeypatch.setattr(tempfile, "gettempdir", fail)
    with pytest.raises(LeenError, match=r"Nothing was sent: .*No usable temporary directory") as caught:
        rows_at(f"{tmp_path}/t.jsonl")
    assert type(caught.value) is LeenError, "another worker may have one"


def test_results_are_not_written_over_what_is_no_file(irregular: Path) -> None:
    before = irregular.lstat()
    with pytest.raises(LeenConfigError, match="so nothing was sent"):
        ResultsFiles(str(irregular), None).check()
    assert irregular.lstat().st_ino == before.st_ino


@pytest.mark.parametrize("name", ["r.jsonl", f"{'r' * 248}.jsonl"])
def test_the_file_of_failed_tickets_is_checked_too(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / "r.jsonl.failed.jsonl")
    with pytest.raises(LeenConfigError, match=r"(not a regular file but a pipe|too long).*so nothing was sent"):
        ResultsFiles(f"{tmp_path}/{name}", None).check()


@pytest.mark.parametrize("planted", ["r.jsonl.part", "r.jsonl", "r.jsonl.failed.jsonl", "r.jsonl.failed.jsonl.part"])
def test_a_planted_link_leads_nowhere(tmp_path: Path, planted: str) -> None:
    (tmp_path / "victim").write_text("untouched")
    (tmp_path / planted).symlink_to(tmp_path / "victim")
    files = ResultsFiles(f"{tmp_path}/r.jsonl", None)
    files.check()
    assert files.write([], [{"name": "a"}], durable=True) is None
    assert (tmp_path / "victim").read_text() == "untouched"
    written = [tmp_path / "r.jsonl", tmp_path / "r.jsonl.failed.jsonl"]
    assert [(path.is_symlink(), path.stat().st_mode & 0o777) for path in written] == [(False, 0o600)] * 2


@pytest.mark.parametrize(
    ("shared", "refused"),
    [
        ("/data/r.jsonl", True),
        (ObjectStoragePath("/data/r.jsonl"), True),
        ("/data/{{ ti.map_index }}.jsonl", False),
        (None, False),
    ],
)
def test_a_path_that_all_mapped_instances_share_is_refused(shared: Any, refused: bool) -> None:
    mapped = SimpleNamespace(partial_kwargs={"results_path": shared})
    context: Any = {"dag": SimpleNamespace(task_dict={"create": mapped})}
    if refused:
        with pytest.raises(LeenConfigError, match="map_index"):
            check_differs(context, "create")
    else:
        check_differs(context, "create")
