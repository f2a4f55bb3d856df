"""The first hour in Airflow's UI, in a browser: connection, Test button, a run, the tab, the links."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from axe_playwright_python.sync_playwright import Axe

from qa.e2e import ui
from qa.e2e.standalone import Standalone

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page, Route

    Shoot = Callable[[Page | Locator, str], None]

DEMO = "leen_bandit_demo"
FAILS, AT_WORK = "leen_gate_fails", "leen_at_work"

pytestmark = pytest.mark.timeout(900)


@pytest.fixture
def connection(page: Page, lab: Standalone) -> Callable[[str], None]:
    """Makes the connection ``leen_default`` in the form, with this API key, in the place of an earlier one."""

    def make(key: str) -> None:
        forget_connection(lab)
        form = ui.open_form(page, lab)
        ui.fill_form(form, lab, key)
        ui.save(page, form)

    return make


def forget_connection(lab: Standalone) -> None:
    if lab.api("GET", "connections")["total_entries"]:
        lab.api("DELETE", "connections/leen_default")


@pytest.fixture(scope="module")
def connected(lab: Standalone, browser: Browser, session: Path) -> Iterator[Page]:
    """A page of the administrator, who has made the connection by its form."""
    with browser.new_context(storage_state=session, viewport={"width": 1400, "height": 900}) as context:
        page = context.new_page()
        if not lab.api("GET", "connections")["total_entries"]:
            form = ui.open_form(page, lab)
            ui.fill_form(form, lab, "sandbox-key")
            ui.save(page, form)
        yield page


@pytest.fixture(scope="module")
def demo_run(lab: Standalone, connected: Page) -> str:
    """The id of a run of the demo Dag, which was triggered by its button."""
    return ui.trigger(connected, lab, DEMO)


@pytest.fixture(scope="module")
def failed_run(lab: Standalone, connected: Page) -> str:
    """The id of a run whose gate failed."""
    return ui.wait_for(lab, FAILS, ui.start(lab, FAILS))


def test_a_refused_key_is_said_by_the_test_button_the_run_and_the_tab(
    page: Page, lab: Standalone, connection: Callable[[str], None], shoot: Shoot
) -> None:
    connection("a-wrong-key")
    said = ui.press_test(page, lab)
    assert "Test Connection Failed" in said
    assert "The API key is missing or not valid" in said
    assert "a-wrong-key" not in said
    shoot(page, "refused-key")
    run_id = ui.trigger(page, lab, "leen_smallest")
    frame = ui.open_tab(page, lab, "leen_smallest", run_id, "create_tickets")
    frame.locator("tbody tr").first.wait_for()
    assert frame.locator("#headline").inner_text() == "2 of 2 tickets failed (100 %) · create_tickets failed."
    assert "All 2 failures have the same cause" in frame.locator("#banner").inner_text()
    assert "a-wrong-key" not in frame.locator("body").inner_text()
    forget_connection(lab)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_form_has_every_field_labelled_hides_the_rest_and_masks_the_key_after_saving(
    page: Page, lab: Standalone, theme: str, shoot: Shoot
) -> None:
    forget_connection(lab)
    ui.choose_theme(page, theme)
    page.set_viewport_size({"width": 1400, "height": 1700})
    form = ui.open_form(page, lab)
    assert set(ui.labels_wanted()) <= set(ui.labels_of(form))
    assert not {"Host", "Login", "Password", "Schema", "Port"} & set(ui.labels_of(form))
    assert form.locator("[name=schema], [name=port]").count() == 0
    shoot(form, f"connection-extra-{theme}")
    ui.fill_form(form, lab, "sandbox-key")
    ui.unfold(form, "Standard Fields")
    form.get_by_label("API key").wait_for()
    shoot(form, f"connection-{theme}")
    ui.save(page, form)
    page.get_by_role("button", name="Edit Connection").click()
    key = page.get_by_role("dialog").locator("[name=password]")
    key.wait_for()
    assert key.get_attribute("type") == "password"
    assert key.input_value() in ("", "***")
    assert "sandbox-key" not in page.content()


def test_the_test_button_says_that_leen_accepts_key_and_connection(
    page: Page, lab: Standalone, connection: Callable[[str], None]
) -> None:
    connection("sandbox-key")
    said = ui.press_test(page, lab)
    assert "Test Connection Successful" in said
    assert "Leen accepts the key and the connection" in said


def test_the_tab_of_the_run_shows_filters_sorts_and_leads_to_the_tracker(
    page: Page, lab: Standalone, demo_run: str
) -> None:
    assert lab.api("GET", f"dags/{DEMO}/dagRuns/{demo_run}")["state"] == "success"
    frame = ui.open_tab(page, lab, DEMO, demo_run)
    assert re.fullmatch(r"\d+ tickets, none failed\.", frame.locator("#headline").inner_text())
    assert "gate passed: 0 of " in frame.locator("#gates").inner_text()
    rows = frame.locator("tbody tr")
    frame.locator("#chips").get_by_role("button", name="created").click()
    frame.locator("tbody tr.created").first.wait_for()
    assert rows.count() == 100
    assert frame.locator(":focus").inner_text().startswith("created")  # a keyboard stays where it was
    assert "tickets listed, 1–100 of" in frame.locator("#found[role=status]").inner_text()  # and it is read aloud
    frame.locator("#pager").get_by_role("button", name="Next").click()
    frame.locator("#range", has_text="101–200 of").wait_for()
    frame.get_by_role("searchbox").fill("assert_used")
    frame.locator("#range", has_text=re.compile("^1–100 of")).wait_for()
    assert all("assert_used" in text for text in rows.all_inner_texts())
    frame.get_by_role("searchbox").fill("no ticket is called so")
    frame.get_by_role("button", name="Show all").click()
    frame.locator("th[data-column=key] button").click()
    frame.locator("th[data-column=key][aria-sort=ascending]").wait_for()
    key = frame.locator("td.key a").first
    assert follow(page, key) == f"{lab.leen}/?ticket={key.inner_text()}"


def follow(page: Page, link: Locator) -> str:
    """Click on a link that opens a tab, and return where that leads."""
    with page.context.expect_page() as opened:
        link.click()
    opened.value.get_by_role("heading", name="Leen sandbox").wait_for()
    return opened.value.url


def test_the_files_to_download_hold_what_is_filtered(page: Page, lab: Standalone, demo_run: str) -> None:
    frame = ui.open_tab(page, lab, DEMO, demo_run)
    all_listed = frame.locator("#found").inner_text()
    frame.get_by_role("searchbox").fill("subprocess")
    frame.locator("#found", has_not_text=all_listed).wait_for()
    listed = int(frame.locator("#found").inner_text().partition(" ")[0])
    with page.expect_download() as download:
        frame.get_by_role("link", name="CSV").click()
    lines = Path(download.value.path()).read_text().splitlines()
    assert download.value.suggested_filename.startswith(f"leen-{DEMO}-")
    assert 0 < listed == len(lines) - 1


def test_the_task_s_extra_link_leads_to_its_tickets(page: Page, lab: Standalone, demo_run: str) -> None:
    page.goto(f"{lab.url}/dags/{DEMO}/runs/{demo_run.replace('+', '%2B')}/tasks/reconcile")
    page.get_by_role("link", name="Details").click()
    link = page.get_by_role("link", name="Tickets", exact=True)
    assert follow(page, link).startswith(f"{lab.leen}/?tickets=SEC-")


def test_a_task_that_is_not_leen_s_says_where_the_tickets_are(page: Page, lab: Standalone, demo_run: str) -> None:
    frame = ui.open_tab(page, lab, DEMO, demo_run, "scan")
    assert "The tab on the Dag run shows" in frame.locator("#message").inner_text()


def test_markup_in_a_ticket_stays_text(page: Page, lab: Standalone, demo_run: str) -> None:
    script = "document.title = 'run'"
    markup = f'<script>{script}</script><img src=x onerror="{script}"><b>bold</b>'

    def put_it_everywhere(route: Route) -> None:
        reply = route.fetch()
        shown = reply.json()
        for row in shown["rows"]:
            row |= dict.fromkeys(("task", "key", "title", "identifier", "error"), markup)
        shown["tasks"][0] |= {"name": markup, "remark": markup}
        route.fulfill(response=reply, json=shown)

    page.route("**/leen/tickets/data?*", put_it_everywhere)
    frame = ui.open_tab(page, lab, DEMO, demo_run)
    frame.locator("tbody tr").first.wait_for()
    for part in ("td.key", "td.title", "td.identifier", "td.error", "#remarks li"):
        assert markup in frame.locator(part).first.inner_text()
    assert frame.locator("main script, main img, td b").count() == 0
    assert "run" not in (page.title(), frame.locator("title").inner_text())


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_tab_follows_airflow_s_theme(page: Page, lab: Standalone, demo_run: str, theme: str) -> None:
    ui.choose_theme(page, theme)
    frame = ui.open_tab(page, lab, DEMO, demo_run, "reconcile")
    frame.locator("tbody tr").first.wait_for()
    assert frame.locator("html").get_attribute("data-theme") == theme


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_failed_gate_is_shown_with_what_failed(
    page: Page, lab: Standalone, failed_run: str, theme: str, shoot: Shoot
) -> None:
    ui.choose_theme(page, theme)
    frame = ui.open_tab(page, lab, FAILS, failed_run)
    frame.locator("tbody tr").first.wait_for()
    assert "10 of 90 tickets failed (11 %)" in frame.locator("#headline").inner_text()
    assert "gate failed: 10 of 90" in frame.locator("#gates").inner_text()
    assert "9 ×" in frame.locator("#causes").inner_text()
    assert frame.get_by_role("link", name="All tickets of the run").count() == 0
    shoot(page, f"tab-{theme}")
    frame = ui.open_tab(page, lab, FAILS, failed_run, "gate")
    frame.get_by_role("link", name="All tickets of the run").wait_for()


def test_a_running_task_shows_its_rate_and_the_time_left(
    page: Page, lab: Standalone, connected: Page, shoot: Shoot
) -> None:
    lab.misbehave({"kind": "latency", "seconds": 3})
    try:
        run_id = ui.start(lab, AT_WORK)
        ui.choose_theme(page, "light")
        page.set_viewport_size({"width": 1400, "height": 450})
        frame = ui.open_tab(page, lab, AT_WORK, run_id, "create_tickets")
        frame.locator("#headline", has_text=re.compile("a second, about .* left")).wait_for(timeout=300_000)
        shoot(page, "at-work-light")
    finally:
        lab.misbehave(None)
    ui.wait_for(lab, AT_WORK, run_id)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_page_fits_a_phone(page: Page, lab: Standalone, failed_run: str, theme: str, shoot: Shoot) -> None:
    page.emulate_media(color_scheme="dark" if theme == "dark" else "light")
    page.set_viewport_size({"width": 400, "height": 800})
    page.goto(f"{lab.url}/leen/tickets?dag_id={FAILS}&run_id={failed_run.replace('+', '%2B')}")
    page.locator("tbody tr").first.wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    assert FAILS in page.locator("#where").inner_text()
    assert Axe().run(page).response["violations"] == []
    shoot(page, f"tab-phone-{theme}")


def test_without_a_session_the_tab_is_refused(lab: Standalone, browser: Browser, demo_run: str) -> None:
    run = f"dag_id={DEMO}&run_id={demo_run.replace('+', '%2B')}"
    with browser.new_context() as nobody:
        page = nobody.new_page()
        for path in ("leen/tickets", "leen/tickets/data", "leen/tickets/download"):
            reply = page.goto(f"{lab.url}/{path}?{run}")
            assert reply is not None
            assert reply.status == 401
            assert "SEC-1" not in page.content()
        page.goto(f"{lab.url}/leen/tickets?{run}")
        assert "You are not logged in to Airflow" in page.locator("body").inner_text()
