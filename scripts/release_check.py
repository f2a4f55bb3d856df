"""Say whether a tag may be released: ``make release-check TAG=v0.1.0``. Needs nothing but the standard library."""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

_RESERVED = re.compile(r"[\w-]\.example\b(?!\.com)")


def version_of(source: str) -> str:
    """Return the version that the package's ``__init__.py`` states: the one place that does."""
    stated = re.findall(r'^__version__ = "(.+)"$', source, re.MULTILINE)
    return str(stated[0]) if stated else ""


def problems(tag: str, version: str, changelog: str) -> list[str]:
    """Say what keeps a tag from being released.

    :param tag: the tag, ``v`` and the version.
    :param version: the package's.
    :param changelog: its text.
    """
    found = []
    if tag != f"v{version}":
        found.append(f"the tag is {tag!r} and the package's version {version}: the tag has to be v{version}")
    headings = re.findall(r"^## \[(.+?)\] - (.+)$", changelog, re.MULTILINE)
    newest, date = headings[0] if headings else ("none", "")
    if newest != version:
        found.append(f"the newest entry of CHANGELOG.md is {newest}, not {version}")
    elif not re.fullmatch(r"\d{4}-\d{2}-\d{2}", date):
        found.append(f"CHANGELOG.md calls {version} {date!r}: write the date of the release, such as 2026-01-31")
    return found


def placeholders(pyproject: str, security: str) -> list[str]:
    """Name the files that still have an address under the reserved name ``.example``, where nobody answers."""
    texts = {"[project.urls] in pyproject.toml": pyproject, "SECURITY.md": security}
    return [f"{where}: write the project's real address" for where, text in texts.items() if _RESERVED.search(text)]


def main() -> int:
    if len(sys.argv) != 2 or not sys.argv[1].strip():
        print("*** name the tag: make release-check TAG=v0.1.0")
        return 2
    version = version_of((ROOT / "airflow_provider_leen" / "__init__.py").read_text())
    found = problems(sys.argv[1].strip(), version, (ROOT / "CHANGELOG.md").read_text())
    found += placeholders((ROOT / "pyproject.toml").read_text(), (ROOT / "SECURITY.md").read_text())
    for problem in found:
        print(f"*** {problem}")
    if not found:
        print(f"--- {sys.argv[1].strip()} fits the package and its changelog")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
