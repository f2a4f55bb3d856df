"""Fixtures of the browser tests, which run by ``make e2e`` only: a real Airflow, the sandbox, and Chromium."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from qa.e2e.standalone import BASE_PATH, Standalone, running

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

if not os.environ.get("LEEN_E2E"):
    collect_ignore_glob = ["test_*.py"]

_FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    # Nothing but what a test asks for goes out.
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="session")
def lab() -> Iterator[Standalone]:
    with running() as lab:
        yield lab


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.fail("The browser tests need Chromium: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=_FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def session(lab: Standalone, browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cookies of a log-in as administrator, by the log-in form."""
    state = tmp_path_factory.mktemp("session") / "state.json"
    with browser.new_context() as context:
        page = context.new_page()
        page.goto(f"{lab.url}/")
        page.locator("input[name=username]").fill("admin")
        page.locator("input[name=password]").fill("admin")
        page.get_by_role("button", name="Sign in").click()
        page.get_by_role("link", name="Dags").wait_for()
        context.storage_state(path=state)
    return state


@pytest.fixture
def page(lab: Standalone, browser: Browser, session: Path) -> Iterator[Page]:
    """A page of the administrator; it must ask nobody but Airflow and the sandbox for anything."""
    elsewhere: list[str] = []
    known = (lab.url.removesuffix(BASE_PATH), lab.leen, "data:", "blob:")
    with browser.new_context(storage_state=session, viewport={"width": 1400, "height": 900}) as context:
        context.set_default_timeout(60_000)
        context.on("request", lambda sent: None if sent.url.startswith(known) else elsewhere.append(sent.url))
        yield context.new_page()
    assert elsewhere == []


@pytest.fixture(scope="session")
def shoot(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Page | Locator, str], None]:
    """Takes a screenshot: ``shoot(page, "tab-dark")``. ``make screenshots`` keeps them, else they are thrown away."""
    folder = Path(os.environ.get("LEEN_SCREENSHOTS") or tmp_path_factory.mktemp("shots"))
    folder.mkdir(parents=True, exist_ok=True)

    def take(what: Page | Locator, name: str) -> None:
        from PIL import Image

        picture = Image.open(BytesIO(what.screenshot(animations="disabled"))).convert("RGB")
        # A palette is a third of the size; by this method it keeps the colours of small things.
        picture.quantize(256, Image.Quantize.MAXCOVERAGE).save(folder / f"{name}.png", optimize=True)

    return take
