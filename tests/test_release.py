"""Which tag may be released."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from airflow_provider_leen import __version__
from scripts.release_check import placeholders, problems, version_of

ROOT = Path(__file__).resolve().parent.parent
CHANGELOG = "# Changelog\n\n## [1.2.0] - 2026-01-31\n\n## [1.1.0] - 2025-12-01\n"


def test_the_tag_of_the_version_with_a_dated_entry_may_be_released() -> None:
    assert problems("v1.2.0", "1.2.0", CHANGELOG) == []


@pytest.mark.parametrize(
    ("tag", "version", "changelog", "problem"),
    [
        ("1.2.0", "1.2.0", CHANGELOG, "has to be v1.2.0"),
        ("v1.2.1", "1.2.0", CHANGELOG, "the tag is 'v1.2.1' and the package's version 1.2.0"),
        ("v1.3.0", "1.3.0", CHANGELOG, "the newest entry of CHANGELOG.md is 1.2.0, not 1.3.0"),
        ("v1.2.0", "1.2.0", CHANGELOG.replace("2026-01-31", "unreleased"), "'unreleased': write the date"),
        ("v1.2.0", "1.2.0", "# Changelog\n", "the newest entry of CHANGELOG.md is none"),
    ],
)
def test_what_does_not_fit_is_named(tag: str, version: str, changelog: str, problem: str) -> None:
    (found,) = problems(tag, version, changelog)
    assert problem in found


@pytest.mark.parametrize(
    ("pyproject", "security", "named"),
    [
        ('Source = "https://github.com/someone/airflow-provider-leen"', "security@leen.dev", []),
        ('Source = "https://airflow-provider-leen.example/source"', "x@leen.dev", ["pyproject.toml"]),
        ("", "Write to security@airflow-provider-leen.example.", ["SECURITY.md"]),
    ],
)
def test_an_address_where_nobody_answers_keeps_a_tag_from_being_released(
    pyproject: str, security: str, named: list[str]
) -> None:
    found = placeholders(pyproject, security)
    assert [file for file, problem in zip(named, found, strict=True) if file in problem] == named


def test_it_reads_the_package_s_own_version() -> None:
    assert version_of((ROOT / "airflow_provider_leen" / "__init__.py").read_text()) == __version__


@pytest.mark.parametrize(("tag", "says"), [("v0.0.0", f"has to be v{__version__}"), ("", "name the tag")])
def test_the_chore_refuses_what_does_not_fit(tag: str, says: str) -> None:
    done = subprocess.run(
        [sys.executable, "scripts/release_check.py", tag], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert says in done.stdout
