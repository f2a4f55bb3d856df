"""How the demo Dag turns what Bandit finds into tickets."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.support.modules import module_at

EXAMPLES = Path(__file__).resolve().parents[2] / "example_dags"


@pytest.fixture(scope="module")
def demo() -> ModuleType:
    return module_at(EXAMPLES / "leen_bandit_demo.py")


@pytest.fixture
def finding() -> dict[str, Any]:
    return {
        "code": '41 def find(name):\n42     return db.run(\n43         "SELECT * FROM t WHERE n = " + name)\n44 \n',
        "filename": "shop/db.py",
        "issue_confidence": "LOW",
        "issue_cwe": {"id": 89, "link": "https://cwe.example/89"},
        "issue_severity": "MEDIUM",
        "issue_text": "Possible SQL injection.",
        "line_number": 43,
        "line_range": [42, 43],
        "more_info": "https://bandit.example/b608",
        "test_id": "B608",
        "test_name": "hardcoded_sql_expressions",
    }


def test_a_title_says_what_was_found_where_and_quotes_the_statement_on_one_line(
    demo: ModuleType, finding: dict[str, Any]
) -> None:
    assert demo.ticket_from_finding(finding)["name"] == (
        'hardcoded_sql_expressions in shop/db.py:43: return db.run( "SELECT * FROM t WHERE n = " + name)'
    )


def test_a_description_has_the_evidence_in_markdown(demo: ModuleType, finding: dict[str, Any]) -> None:
    assert demo.ticket_from_finding(finding)["description"] == (
        "Possible SQL injection.\n\n"
        "- **File:** `shop/db.py`, line 43\n"
        "- **Check:** [B608 hardcoded_sql_expressions](https://bandit.example/b608)\n"
        "- **Severity:** MEDIUM, **confidence:** LOW\n"
        "- **Weakness:** [CWE-89](https://cwe.example/89)\n\n"
        "```python\n"
        "def find(name):\n"
        "    return db.run(\n"
        '        "SELECT * FROM t WHERE n = " + name)\n'
        "\n"
        "```"
    )


def test_a_finding_without_a_weakness_class_has_no_line_about_it(demo: ModuleType, finding: dict[str, Any]) -> None:
    finding["issue_cwe"] = {}
    assert "Weakness" not in demo.ticket_from_finding(finding)["description"]


def test_code_that_holds_a_code_fence_does_not_end_the_excerpt(demo: ModuleType, finding: dict[str, Any]) -> None:
    finding["code"] = '43 DOC = """```python"""\n'
    assert demo.ticket_from_finding(finding)["description"].endswith('````python\nDOC = """```python"""\n````')


def test_an_identifier_stays_when_lines_are_added_above_and_distinguishes_equal_code(
    demo: ModuleType, finding: dict[str, Any]
) -> None:
    moved = finding | {"line_number": 53, "code": finding["code"].replace("4", "5")}
    [first, second] = demo.tickets_from_findings([finding, finding])
    [later] = demo.tickets_from_findings([moved])
    assert re.fullmatch(r"B608:shop/db\.py:[0-9a-f]{12}", first["identifier"])
    assert second["identifier"] == first["identifier"] + ":2"
    assert later["identifier"] == first["identifier"]


@pytest.mark.parametrize(
    ("severity", "priority"), [("HIGH", "HIGH"), ("MEDIUM", "MEDIUM"), ("LOW", "LOW"), ("UNDEFINED", "UNKNOWN")]
)
def test_severity_becomes_a_priority_that_leen_knows(
    demo: ModuleType, finding: dict[str, Any], severity: str, priority: str
) -> None:
    finding["issue_severity"] = severity
    assert demo.ticket_from_finding(finding)["priority"] == priority


def test_a_scan_finds_something_and_names_no_folder_of_this_machine(demo: ModuleType) -> None:
    findings = demo.scan_package("bandit")
    assert findings
    assert all(finding["filename"].startswith("bandit/") for finding in findings)


def test_a_package_that_is_not_installed_is_refused_by_name(demo: ModuleType) -> None:
    with pytest.raises(ValueError, match="no installed package 'no_such_package'"):
        demo.scan_package("no_such_package")


def test_a_scan_that_fails_says_why(demo: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "bandit"
    broken.mkdir()
    (broken / "__init__.py").write_text("")
    (broken / "__main__.py").write_text("raise SystemExit('Bandit is not well')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(RuntimeError, match="could not scan 'json': Bandit is not well"):
        demo.scan_package("json")
