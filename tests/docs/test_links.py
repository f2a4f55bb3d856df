"""Every link on the pages leads somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from airflow_provider_leen.tasks.stopping import PAGES as PAGES_OF_ERRORS
from tests.docs.pages import BLOCKS, DOCS, PAGES, README, sentences_of


def test_every_block_is_in_a_language_that_is_run_here() -> None:
    assert {block.language for block in BLOCKS} == {"python", "bash", "csv", "ini", "json", "text"}
    assert sum(page.read_text().count("```") for page in PAGES) == 2 * len(BLOCKS)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_into_the_repository_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if "://" in target:
            # What is elsewhere can't be reached from a test: its form is all that is looked at.
            assert re.fullmatch(r"https://[\w-]+(\.[\w-]+)+(/[^\s]*)?", target), f"{page.name} links to {target}"
            continue
        path, _, heading = target.partition("#")
        linked = page.parent / path if path else page
        assert linked.exists(), f"{page.name} links to {target}"
        if heading:
            assert heading in headings_of(linked), f"{page.name} links to {target}"


def headings_of(page: Path) -> set[str]:
    titles = re.findall(r"^#+ (.*)$", sentences_of(page), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda page: page.name)
def test_every_page_is_in_the_site_and_is_found_from_the_readme(page: Path) -> None:
    assert f"   {page.stem}\n" in (DOCS / "index.rst").read_text()
    assert f"](docs/{page.name})" in README.read_text()


def test_the_page_that_an_error_names_is_there() -> None:
    for target in PAGES_OF_ERRORS.values():
        page, _, heading = target.partition("#")
        assert heading in headings_of(DOCS / f"{page}.md"), target
