"""Which finding is which, from scan to scan."""

from __future__ import annotations

import random
from typing import Any

import pytest

from tests.findings.reports import identifiers, only, read, result

HASH = "39fa2ee980eb94b0"
OTHER = "8d4bf4dabf38afa2"
CODE = "call(command, shell=True)"


def line_hash(value: str) -> dict[str, Any]:
    return {"partialFingerprints": {"primaryLocationLineHash": value, "primaryLocationStartColumnFingerprint": "4"}}


SAME = [
    ("further down", result(code=CODE), result(code=CODE, line=99)),
    ("indented", result(code=CODE), result(code=f"    {CODE}")),
    ("with a line hash, whatever its number", result(**line_hash(f"{HASH}:1")), result(**line_hash(f"{HASH}:2"))),
    ("with a line hash, whatever the code", result(code="a", **line_hash(HASH)), result(code="b", **line_hash(HASH))),
    ("with another message beside its code", result(code=CODE), result(code=CODE, message="Found, see line 9")),
    ("without code, its message names another line", result(message="at line 7"), result(message="at line 9", line=9)),
    (
        "with a line hash, found in an equal line, too, of which the report says something else",
        result(**line_hash(HASH)),
        result(message="From a form", **line_hash(HASH)),
    ),
    (
        "a fingerprint of the line's number",
        result(code=CODE, partialFingerprints={"id": "R1:src/a.py:7"}),
        result(code=CODE, line=9, partialFingerprints={"id": "R1:src/a.py:9"}),
    ),
    (
        "a fingerprint of the column, and who committed it when",
        result(code=CODE, partialFingerprints={"startColumnHash": HASH, "commitSha": HASH, "date": "2026-01-02"}),
        result(code=CODE, partialFingerprints={"startColumnHash": OTHER, "commitSha": OTHER, "date": "2026-11-12"}),
    ),
    (
        "a newer version of a fingerprint beats an older one",
        result(partialFingerprints={"context/v1": HASH, "context/v10": OTHER}, code="a"),
        result(partialFingerprints={"context/v9": HASH, "context/v10": OTHER}, code="b"),
    ),
    (
        "a resource of which a later line is edited",
        result(code='resource "aws_s3_bucket" "data" {\n' + "  # notes\n" * 12 + "  acl = 1\n}"),
        result(code='resource "aws_s3_bucket" "data" {\n' + "  # notes\n" * 12 + "  acl = 2\n}"),
    ),
    (
        "the whole file, with a comment added",
        result(code="FROM python\nRUN ls"),
        result(code="# us\n\nFROM python\nRUN ls"),
    ),
    (
        "a package of which another version would help by now",
        result(message="Package: zlib\nFixed Version: \nSeverity: LOW"),
        result(message="Package: zlib\nFixed Version: 1.2.12\nSeverity: HIGH"),
    ),
    ("a path with a dot", result(uri="./src/a.py"), result(uri="src/b/../a.py")),
]

DIFFERENT = [
    ("another rule", result(), result("R2")),
    ("another file", result(), result(uri="src/b.py")),
    ("other code", result(code=CODE), result(code="call(other, shell=True)")),
    ("another message, without code", result(message="a"), result(message="b")),
    ("another line hash", result(**line_hash(f"{HASH}:1")), result(**line_hash(f"{OTHER}:1"))),
    ("long rules that end alike", result("a" * 200), result("b" + "a" * 199)),
    ("rules that differ in characters that are left out", result("r 1"), result("r/1")),
    (
        "another function, with the same code",
        result(code=CODE, locations=[{"logicalLocations": [{"name": "f"}]}]),
        result(code=CODE, locations=[{"logicalLocations": [{"name": "g"}]}]),
    ),
    ("another package in the same lock file", result(message="Package: zlib"), result(message="Package: libssl")),
]


@pytest.mark.parametrize(("one", "other"), [pair[1:] for pair in SAME], ids=[pair[0] for pair in SAME])
def test_the_same_finding_in_another_scan_has_the_same_identifier(one: Any, other: Any) -> None:
    assert only(one)["identifier"] == only(other)["identifier"]


@pytest.mark.parametrize(("one", "other"), [pair[1:] for pair in DIFFERENT], ids=[pair[0] for pair in DIFFERENT])
def test_another_finding_has_another_identifier(one: Any, other: Any) -> None:
    assert only(one)["identifier"] != only(other)["identifier"]
    assert len(set(identifiers(one, other))) == 2


def test_the_identifier_has_the_tool_the_rule_and_a_hash() -> None:
    tool, rule, digest = only(result("java/sql injection"), tool="Semgrep OSS")["identifier"].split(":")
    assert (tool, rule, len(digest)) == ("Semgrep-OSS", "java-sql-injection", 24)


@pytest.mark.parametrize(("tool", "rule"), [("t" * 200, "r" * 200), ("Prüfer 🔍", "::"), ("名", "規則")])
def test_an_identifier_fits_into_128_plain_characters(tool: str, rule: str) -> None:
    identifier = only(result(rule), tool=tool)["identifier"]
    assert len(identifier) <= 128
    assert identifier.isascii()
    assert identifier.replace(":", "").replace("-", "").isalnum()


@pytest.mark.parametrize("value", ["requires login", "unavailable", "1", "e3b0c44298fc1c14"])
@pytest.mark.parametrize("field", ["fingerprints", "partialFingerprints"])
def test_what_is_put_into_every_result_is_no_fingerprint(field: str, value: str) -> None:
    found = [
        result("R1", "a.py", 1, code="eval(a)"),
        result("R1", "a.py", 5, code="eval(b)"),
        result("R2", "b.py", 9, code="exec(c)"),
    ]
    marked = [one | {field: {"hash/v1": value}} for one in found]
    assert identifiers(*marked) == identifiers(*found)


def test_a_line_hash_stays_in_use_when_an_equal_line_is_added() -> None:
    alone = only(result(message="From a form", **line_hash(f"{HASH}:1")))
    both = only(result(message="From a form", **line_hash(f"{HASH}:1")), result(line=9, **line_hash(f"{HASH}:2")))
    assert alone["identifier"] == both["identifier"]


def test_a_hash_of_code_may_be_that_of_two_rules_and_of_a_copied_file() -> None:
    alone = only(result("R1", "a.py", 3, **line_hash(HASH)))["identifier"]
    beside = identifiers(
        result("R1", "a.py", 3, **line_hash(HASH)),
        result("R2", "a.py", 3, **line_hash(HASH)),
        result("R1", "copy/a.py", 3, **line_hash(HASH)),
    )
    assert beside[0] == alone
    assert len(set(beside)) == 3


def test_the_order_of_the_results_is_of_no_account() -> None:
    found = [result(f"R{n % 3}", f"{n % 2}.py", n, code=f"call({n % 5})") for n in range(1, 40)]
    shuffled = found.copy()
    random.Random(3).shuffle(shuffled)
    one, other = read(*found), read(*shuffled)
    assert {ticket["identifier"]: ticket for ticket in one} == {ticket["identifier"]: ticket for ticket in other}


def test_a_given_repository_distinguishes_equal_findings_and_the_report_s_own_comes_first() -> None:
    none, given = only(result()), only(result(), repository="shop")
    assert none["identifier"] != given["identifier"]
    own = {"versionControlProvenance": [{"repositoryUri": "https://github.com/acme/shop"}]}
    assert only(result(), **own) == only(result(), repository="other", **own)


@pytest.mark.parametrize(
    "uri",
    [
        "https://github.com/Acme/Shop.git",
        "https://x-token:secret@github.com/acme/shop",
        "git@github.com:acme/shop.git",
        "ssh://git@github.com:22/acme/shop.git/",
    ],
)
def test_a_repository_is_the_same_however_it_was_cloned(uri: str) -> None:
    ticket, plain = (
        only(result(), versionControlProvenance=[{"repositoryUri": each, "revisionId": "abc123"}])
        for each in (uri, "https://github.com/acme/shop")
    )
    assert ticket["identifier"] == plain["identifier"]
    assert "secret" not in str(ticket)
    assert "/blob/abc123/src/a.py#L7)" in ticket["description"]
