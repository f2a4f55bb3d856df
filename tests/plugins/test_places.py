from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from airflow_provider_leen.plugins.places import folders_of, may_be_allowed, open_local, place_of

LISTED = (
    "/results/{dag_id}, /shared/, s3://bucket/results, s3://a_conn@other/{dag_id}/out/, gs://whole, relative, s3://,, "
    "https://store.example/r, http://h/a/%2e%2e/b, file:///by/url, /odd/../place"
)

REFUSED = "lies outside|not a regular file|Not a directory|Too many levels|No such device"


def allowed(file: str, dag_id: str = "a_dag", listed: str = LISTED) -> bool:
    place = place_of(file)
    return place is not None and may_be_allowed(place, folders_of(listed, dag_id))


@pytest.mark.parametrize(
    "file",
    [
        "s3://bucket/results/x.jsonl",
        " S3://bucket/results/deep/x.jsonl\n",
        "s3://a_conn@other/a_dag/out/x",
        "gs://whole/x",
        "https://store.example/r/x%20y.jsonl",
    ],
)
def test_a_file_below_a_listed_url_may_be_read(file: str) -> None:
    assert allowed(file)


@pytest.mark.parametrize(
    "file",
    [
        "",
        "x.jsonl",
        "~/x.jsonl",
        "s3:/bucket/results/x",
        "s3://bucket/results",
        "s3://bucket/results/",
        "s3://bucket/resultsx/x",
        "s3://bucket//results/x",
        "s3://bucket/Results/x",
        "s3://bucket2/results/x",
        "s3a://bucket/results/x",
        # Another connection than the entry's, or one where the entry names none.
        "s3://team_b_conn@bucket/results/x",
        "s3://other/a_dag/out/x",
        "s3://b_conn@other/a_dag/out/x",
        "s3://a_conn@b_conn@other/a_dag/out/x",
        "s3://a_conn@other/another_dag/out/x",
        # What a store or a server may take for another place.
        "s3://bucket/results/../x",
        "s3://bucket/results/./x",
        "https://store.example/r/%2e%2e/x",
        "https://store.example/r/%252E%252e/x",
        "https://store.example/r/a%2f..%2f..%2fx",
        "https://store.example/r/..\\x",
        "https://store.example/r/x?versionId=1",
        "https://store.example/r/x#y",
        "https://store.example/r/x%00",
        "https://store.example@evil.example/r/x",
        "https://store.example:81/r/x",
        "simplecache::s3://bucket/results/x",
        "s3://bucket/results/x::file:///etc/passwd",
        "s3://bucket/results/\x00x",
        "s3://bucket/results/a\tb",
        "s3://bucket/results/\ud800",
        "http://h/a/%2e%2e/b/x",
        "http://h/b/x",
        "file://host/results/a_dag/x",
    ],
)
def test_any_other_url_may_not_be_read(file: str) -> None:
    assert not allowed(file)


@pytest.mark.parametrize("dag_id", ["..", ".", "...", "", "a/b", "../b", "a%2fb", "a@b", "a?b", "a b", "a\x00", "a,/b"])
def test_a_dag_id_that_is_no_name_has_no_folders(dag_id: str) -> None:
    assert folders_of("/results/{dag_id}, s3://{dag_id}@bucket/{dag_id}/x", dag_id) == []
    assert len(folders_of("/results/{dag_id}, s3://bucket/x", dag_id)) == 1


@pytest.mark.parametrize("option", ["", " ", ",", "relative/{dag_id}", "{dag_id}", "s3://"])
def test_nothing_listed_is_no_folder(option: str) -> None:
    assert folders_of(option, "a_dag") == []


# On this machine's file systems


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("results/a_dag", "results/b_dag", "secret"):
        folder = tmp_path / name
        folder.mkdir(parents=True)
        (folder / "x.jsonl").write_text(name)
    return tmp_path


def opened(root: Path, file: str, listed: str = "results/{dag_id}", dag_id: str = "a_dag") -> str:
    place = place_of(file.replace("ROOT", str(root)))
    assert place is not None
    with os.fdopen(open_local(place, folders_of(f"{root}/{listed}", dag_id))) as opened:
        return opened.read()


@pytest.mark.parametrize(
    "file",
    [
        "ROOT/results/a_dag/x.jsonl",
        "file://ROOT/results/a_dag/x.jsonl",
        "local://ROOT/results/a_dag/x.jsonl",
        "//ROOT//results///a_dag/./x.jsonl",
        "ROOT/secret/../results/a_dag/x.jsonl",
        "ROOT/alias/a_dag/x.jsonl",
        "ROOT/results/a_dag/inside.jsonl",
    ],
)
def test_a_file_is_opened_where_it_truly_is_below_the_folder(root: Path, file: str) -> None:
    (root / "alias").symlink_to(root / "results")
    (root / "results/a_dag/inside.jsonl").symlink_to("x.jsonl")
    assert opened(root, file) == "results/a_dag"


def test_the_folder_itself_may_be_reached_by_a_link_of_the_administrator_s(root: Path) -> None:
    (root / "alias").symlink_to(root / "results")
    assert opened(root, "ROOT/results/a_dag/x.jsonl", "alias/{dag_id}") == "results/a_dag"
    assert opened(root, "ROOT/alias/a_dag/x.jsonl", "alias") == "results/a_dag"


@pytest.mark.parametrize(
    "file",
    [
        "ROOT/secret/x.jsonl",
        "ROOT/results/b_dag/x.jsonl",
        "ROOT/results/a_dag/../b_dag/x.jsonl",
        "ROOT/results/a_dag/../../secret/x.jsonl",
        "ROOT/results/a_dag",
        "ROOT/results/a_dag/",
        "ROOT/results/a_dag/link.jsonl",
        "ROOT/results/a_dag/folder/x.jsonl",
        "ROOT/results/a_dag/to_itself",
        "ROOT/secret/not there",
        "/etc/passwd",
        "/dev/zero",
        "/proc/self/environ",
        "/",
    ],
)
def test_a_file_outside_the_folders_is_not_opened_by_any_path(root: Path, file: str) -> None:
    (root / "results/a_dag/link.jsonl").symlink_to(root / "secret/x.jsonl")
    (root / "results/a_dag/folder").symlink_to(root / "secret")
    (root / "results/a_dag/to_itself").symlink_to(root / "results/a_dag/to_itself")
    with pytest.raises(OSError, match=REFUSED):
        opened(root, file)


def test_a_percent_sign_is_one_on_a_file_system(root: Path) -> None:
    with pytest.raises(FileNotFoundError):
        opened(root, "ROOT/results/a_dag/%2e%2e/b_dag/x.jsonl")


@pytest.mark.parametrize("listed", ["results/{dag_id}", "results/{dag_id}/out"])
def test_a_link_in_the_place_of_a_dag_s_folder_leads_to_no_other_dag_s(root: Path, listed: str) -> None:
    # Who writes results may write links beside them, too.
    (root / "results/b_dag/out").mkdir()
    (root / "results/b_dag/out/x.jsonl").write_text("of b")
    (root / "results/c_dag").symlink_to("b_dag")
    for file in ("c_dag/x.jsonl", "c_dag/out/x.jsonl"):
        with pytest.raises(OSError, match=REFUSED):
            opened(root, f"ROOT/results/{file}", listed, dag_id="c_dag")


def test_what_becomes_a_link_after_it_was_looked_at_is_not_followed(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "results/a_dag/swapped").symlink_to(root / "secret")
    as_it_was = os.path.realpath(root)
    monkeypatch.setattr(os.path, "realpath", lambda path: str(path).replace(str(root), as_it_was))
    with pytest.raises(OSError, match=REFUSED):
        opened(root, "ROOT/results/a_dag/swapped/x.jsonl")
    (root / "results/a_dag/last").symlink_to(root / "secret/x.jsonl")
    with pytest.raises(OSError, match=REFUSED):
        opened(root, "ROOT/results/a_dag/last")


def test_a_pipe_a_socket_and_a_folder_are_no_files_and_delay_nothing(root: Path) -> None:
    folder = root / "results/a_dag"
    os.mkfifo(folder / "pipe")
    (folder / "folder").mkdir()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(folder / "s"))
        for name in ("pipe", "s", "folder"):
            with pytest.raises(OSError, match=REFUSED):
                opened(root, f"ROOT/results/a_dag/{name}")
