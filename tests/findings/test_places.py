"""Where a finding is: paths that are the same in every checkout, and links."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_leen.findings.paths import normal
from airflow_provider_leen.findings.places import Places
from airflow_provider_leen.findings.repository import read_repository
from tests.findings.reports import identifiers, only, read, result


@pytest.mark.parametrize(
    ("written", "path"),
    [
        ("src/a.py", "src/a.py"),
        (" ./src//b/../a.py ", "src/a.py"),
        ("src\\a.py", "src/a.py"),
        ("src/with%20space.py", "src/with space.py"),
        ("src/100%.py", "src/100%.py"),
        ("src/%ff.py", "src/\ufffd.py"),
        ("src/c#/a.py", "src/c#/a.py"),
        ("/tmp/a.py", "/tmp/a.py"),
        ("file:///tmp/a%20b.py", "/tmp/a b.py"),
        ("file:/tmp/a.py", "/tmp/a.py"),
        ("FILE://localhost/tmp/a.py", "/tmp/a.py"),
        ("file://server/share/a.py", "//server/share/a.py"),
        ("C:\\src\\a.py", "C:/src/a.py"),
        ("c:/src/a.py", "C:/src/a.py"),
        ("file:///c:/src/a.py", "C:/src/a.py"),
        ("file:///C%3A/src/a.py", "C:/src/a.py"),
        ("file://C:/src/a.py", "C:/src/a.py"),
        ("https://shop.example.com/a?b=%20", "https://shop.example.com/a?b=%20"),
        ("pkg:npm/lodash@4.17.20", "pkg:npm/lodash@4.17.20"),
        ("../a.py", "../a.py"),
        (".", ""),
    ],
)
def test_a_path_is_read_however_it_is_written(written: str, path: str) -> None:
    assert normal(written) == path


CHAIN = {"ROOT": {"uri": "file:///ci/build/"}, "SRC": {"uri": "src/", "uriBaseId": "ROOT"}}
TOP = {"ROOTPATH": {"uri": "file:///"}}
INDEXED = {"artifacts": [{"location": {"uri": "a.py", "uriBaseId": "SRC"}}], "originalUriBaseIds": CHAIN}
LOOP = {"A": {"uri": "a/", "uriBaseId": "B"}, "B": {"uri": "b/", "uriBaseId": "A"}}
MAPPED = [{"repositoryUri": "https://github.com/acme/shop", "mappedTo": {"uri": "file:///ci/build"}}]
MAPPED_CHAIN = {"originalUriBaseIds": CHAIN, "versionControlProvenance": MAPPED}


@pytest.mark.parametrize(
    ("artifact", "run", "root", "path", "loose"),
    [
        ({"uri": "a.py"}, {}, None, "a.py", False),
        ({"uri": "a.py", "uriBaseId": "%SRCROOT%"}, {}, None, "a.py", False),
        ({"uri": "a.py", "uriBaseId": "SRC"}, {"originalUriBaseIds": CHAIN}, None, "src/a.py", False),
        ({"uri": "a.py", "uriBaseId": "A"}, {"originalUriBaseIds": LOOP}, None, "b/a/a.py", False),
        ({"uri": "file:///ci/build/src/a.py"}, {"originalUriBaseIds": CHAIN}, None, "a.py", False),
        ({"uri": "file:///w/a.py", "uriBaseId": "SRC"}, {"originalUriBaseIds": CHAIN}, None, "/w/a.py", True),
        ({"uri": "a.py", "uriBaseId": "SRC"}, {"originalUriBaseIds": CHAIN}, "/ci", "build/src/a.py", False),
        ({"index": 0}, INDEXED, None, "src/a.py", False),
        ({"uri": "/ci/build/src/a.py"}, {"versionControlProvenance": MAPPED}, None, "src/a.py", False),
        ({"uri": "a.py", "uriBaseId": "SRC"}, MAPPED_CHAIN, None, "src/a.py", False),
        ({"uri": "/w/a.py"}, {}, ".", "/w/a.py", True),
        ({"uri": "C:\\work\\src\\a.py"}, {}, "c:\\work", "src/a.py", False),
        ({"uri": "build/x/a.py"}, {}, "build", "x/a.py", False),
        ({"uri": "/w/a.py"}, {"invocations": [{"workingDirectory": {"uri": "file:///w"}}]}, None, "a.py", False),
        ({"uri": "usr/lib/x"} | {"uriBaseId": "ROOTPATH"}, {"originalUriBaseIds": TOP}, None, "usr/lib/x", False),
        ({"uri": "/w/a.py"}, {"originalUriBaseIds": TOP}, None, "/w/a.py", True),
        ({"uri": "../other/a.py"}, {}, None, "../other/a.py", True),
        ({"uri": "https://shop.example.com/login"}, {}, "/w", "https://shop.example.com/login", False),
    ],
)  # fmt: skip
def test_a_file_is_named_from_the_root_of_the_sources(
    artifact: Any, run: Any, root: str | None, path: str, loose: bool
) -> None:
    file = Places(run, root).file_place(artifact).file
    assert file is not None
    assert (file.text, file.loose) == (path, loose)


@pytest.mark.parametrize("artifact", [{}, {"index": 3}, {"index": -1}, {"index": "0"}, {"uri": 5}, {"uri": " "}])
def test_a_location_may_name_no_file(artifact: Any) -> None:
    assert Places({}, None).file_place(artifact).file is None


@pytest.mark.parametrize("checkout", ["/home/ci/checkout", "/builds/42/x", "C:\\Users\\me\\repo", "file:///D:/repo"])
def test_absolute_paths_without_a_root_do_not_bring_the_checkout_into_identifiers(checkout: str) -> None:
    files = ["app.py", "src/app.py", "src/deep/app.py", "src/other.py"]
    found = [result(uri=f"{checkout}/{file}", message=f"In {checkout}/{file}") for file in files]
    here = [result(uri=f"/w/{file}", message=f"In /w/{file}") for file in files]
    assert identifiers(*found) == identifiers(*here)
    assert len(set(identifiers(*found))) == len(files)


def test_a_finding_without_a_location_has_a_ticket() -> None:
    ticket = only(result(uri=None, message="No licence"))
    assert ticket["name"] == "R1: No licence"
    assert "File" not in ticket["description"]


@pytest.mark.parametrize(
    ("uri", "link"),
    [
        ("https://github.com/acme/shop", "https://github.com/acme/shop/blob/abc/a%20b.py#L3-L5"),
        ("https://git.github.acme.com/acme/shop", "https://git.github.acme.com/acme/shop/blob/abc/a%20b.py#L3-L5"),
        ("https://gitlab.com/g/s/shop", "https://gitlab.com/g/s/shop/-/blob/abc/a%20b.py#L3-5"),
        ("https://bitbucket.org/acme/shop", "https://bitbucket.org/acme/shop/src/abc/a%20b.py#lines-3:5"),
        ("https://codeberg.org/acme/shop", "https://codeberg.org/acme/shop/src/commit/abc/a%20b.py#L3-L5"),
        ("https://git.acme.com/shop", "https://git.acme.com/shop/blob/abc/a%20b.py#L3-L5"),
        ("http://git.acme.com:3000/shop", "http://git.acme.com:3000/shop/blob/abc/a%20b.py#L3-L5"),
        ("https://bitbucket.acme.com/shop", None),
        ("https://dev.azure.com/acme/shop/_git/shop", None),
    ],
)
def test_a_link_has_the_form_of_its_server(uri: str, link: str | None) -> None:
    repository = read_repository({"repositoryUri": uri, "revisionId": "abc"})
    assert repository is not None
    assert repository.link("a b.py", 3, 5) == link


@pytest.mark.parametrize(
    "uri", ["", "file:///tmp/shop", "C:\\shop", "https://[", "shop", "https://", "https://acme.com:x/shop"]
)
def test_a_repository_of_this_machine_is_none(uri: str) -> None:
    assert read_repository({"repositoryUri": uri}) is None
    assert read_repository({}) is None


def test_each_file_belongs_to_the_repository_that_its_folder_was_cloned_from() -> None:
    run: dict[str, Any] = {
        "versionControlProvenance": [
            {
                "repositoryUri": f"https://github.com/acme/{name}",
                "revisionId": "abc",
                "mappedTo": {"uri": f"file:///w/{name}/"},
            }
            for name in ("shop", "theme")
        ]
    }
    shop, theme = (read(result(uri=f"/w/{name}/a.py"), **run)[0] for name in ("shop", "theme"))
    assert "https://github.com/acme/shop/blob/abc/a.py#L7" in shop["description"]
    assert "https://github.com/acme/theme/blob/abc/a.py#L7" in theme["description"]
    assert shop["identifier"] != theme["identifier"]


def test_a_file_outside_of_the_repository_has_no_link() -> None:
    run = {"versionControlProvenance": [MAPPED[0] | {"revisionId": "abc"}]}
    assert "/blob/abc/a.py" in only(result(uri="file:///ci/build/a.py"), **run)["description"]
    assert "/blob/" not in only(result(uri="file:///elsewhere/a.py"), **run)["description"]


def around(first: int, code: str) -> dict[str, Any]:
    return {"startLine": first, "snippet": {"text": code}}


@pytest.mark.parametrize(
    ("physical", "code"),
    [
        ({"region": around(2, "b"), "contextRegion": around(1, "a\nb\nc")}, "b"),
        ({"region": {"startLine": 2}, "contextRegion": around(1, "a\r\nb\r\nc")}, "b"),
        ({"region": around(9, "8: a\n9: b\n10: c\n")}, "b"),
        ({"region": around(9, "    8 | a\n>   9 |   b\n   10 |") | {"endLine": 10}}, "  b\n"),
        ({"region": around(9, "7 apples\n8 pears")}, "7 apples\n8 pears"),
        ({"region": around(9, "9 apples\npears")}, "9 apples\npears"),
        ({"region": {"startLine": 3, "endLine": 4}, "contextRegion": around(2, "a\nb\nc")}, "b\nc"),
        ({"region": {"startLine": 1}, "contextRegion": around(2, "a")}, None),
        ({"region": {"startLine": 2}, "artifactLocation": {"index": 0}}, "second"),
        ({"region": {}, "artifactLocation": {"index": 0}}, None),
    ],
)
def test_the_code_is_that_of_the_lines_themselves(physical: Any, code: str | None) -> None:
    run = {"artifacts": [{"location": {"uri": "a.py"}, "contents": {"text": "first\nsecond\nthird"}}]}
    assert Places(run, None).place({"physicalLocation": physical}).code == code
