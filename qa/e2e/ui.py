"""What a person does in Airflow's UI, step by step."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING
from urllib.parse import quote

from airflow_provider_leen.get_provider_info import CONN_FIELDS
from qa.e2e.standalone import Standalone

if TYPE_CHECKING:
    from playwright.sync_api import FrameLocator, Locator, Page, Route

CONNECTION_ID = "1ee00000-0000-4000-8000-000000000001"
RUN_ENDS_WITHIN = 600


def open_form(page: Page, lab: Standalone) -> Locator:
    """Open the form of a new Leen connection, with its extra fields unfolded."""
    page.goto(f"{lab.url}/connections")
    page.get_by_role("button", name="Add Connection").click()
    form = page.get_by_role("dialog")
    form.locator("[name=connection_id]").fill("leen_default")
    kind = form.get_by_role("combobox").first
    kind.fill("Leen")
    form.get_by_role("option", name="Leen", exact=True).click()
    unfold(form, "Extra Fields")
    form.locator("[name=element_search_url]").wait_for(state="visible")
    return form


def unfold(form: Locator, part: str) -> None:
    """Unfold a part of the form, which folds the others."""
    button = form.get_by_role("button", name=part, exact=True)
    if button.get_attribute("aria-expanded") != "true":
        button.click()


def fill_form(form: Locator, lab: Standalone, key: str) -> None:
    unfold(form, "Standard Fields")
    form.get_by_label("Base URL").fill(f"{lab.leen}/v1")
    form.get_by_label("Leen connection ID").fill(CONNECTION_ID)
    form.get_by_label("API key").fill(key)
    unfold(form, "Extra Fields")
    form.locator("[name=element_ticket_url]").fill(f"{lab.leen}/?ticket={{vendor_ticket_id}}")
    form.locator("[name=element_search_url]").fill(f"{lab.leen}/?tickets={{vendor_ticket_ids}}")


def save(page: Page, form: Locator) -> None:
    form.get_by_role("button", name="Save").click()
    page.get_by_role("cell", name="leen_default").wait_for()


def press_test(page: Page, lab: Standalone) -> str:
    """Press the connection's Test button, and return what is said then."""
    # Airflow 3.3.2 sends port 0 for a connection without one, and then refuses to test it, whatever its type
    # (apache/airflow pull request 73298 fixes it).
    page.route("**/connections/test", _without_port_0)
    page.goto(f"{lab.url}/connections")
    page.get_by_role("button", name="Test Connection").first.click()
    said = page.locator("[data-scope=toast][data-part=root]").first
    said.wait_for()
    return said.inner_text()


def _without_port_0(route: Route) -> None:
    body = json.loads(route.request.post_data or "{}")
    if body.get("port") == 0:
        del body["port"]
    route.continue_(post_data=json.dumps(body))


def trigger(page: Page, lab: Standalone, dag_id: str) -> str:
    """Trigger a Dag by its button, wait until the run has ended, and return the run's id."""
    before = {run["dag_run_id"] for run in lab.api("GET", f"dags/{dag_id}/dagRuns")["dag_runs"]}
    page.goto(f"{lab.url}/dags/{dag_id}")
    page.get_by_role("button", name="Trigger Dag").first.click()
    form = page.get_by_role("dialog")
    form.get_by_role("button", name="Trigger").last.click()
    form.wait_for(state="hidden")
    deadline = time.monotonic() + RUN_ENDS_WITHIN
    while time.monotonic() < deadline:
        new = {run["dag_run_id"] for run in lab.api("GET", f"dags/{dag_id}/dagRuns")["dag_runs"]} - before
        if new:
            return wait_for(lab, dag_id, new.pop())
        page.wait_for_timeout(500)
    raise AssertionError(f"No run of {dag_id} began within {RUN_ENDS_WITHIN} s.")


def start(lab: Standalone, dag_id: str) -> str:
    """Start a run past the UI, and return its id."""
    lab.api("PATCH", f"dags/{dag_id}", {"is_paused": False})
    return str(lab.api("POST", f"dags/{dag_id}/dagRuns", {"logical_date": None})["dag_run_id"])


def wait_for(lab: Standalone, dag_id: str, run_id: str) -> str:
    """Wait until a run has ended, and return its id."""
    deadline = time.monotonic() + RUN_ENDS_WITHIN
    while time.monotonic() < deadline:
        if lab.api("GET", f"dags/{dag_id}/dagRuns/{quote(run_id)}")["state"] in ("success", "failed"):
            return run_id
        time.sleep(0.5)
    raise AssertionError(f"{run_id} of {dag_id} did not end within {RUN_ENDS_WITHIN} s.")


def open_tab(page: Page, lab: Standalone, dag_id: str, run_id: str, task_id: str | None = None) -> FrameLocator:
    """Open the tab "Leen tickets" of a run, or of a task of it, as a person does: by a click on it."""
    task = f"/tasks/{task_id}" if task_id else ""
    page.goto(f"{lab.url}/dags/{dag_id}/runs/{quote(run_id)}{task}")
    page.get_by_role("link", name="Leen tickets").click()
    frame = page.frame_locator("iframe")
    frame.locator("#page").wait_for(state="visible")
    return frame


def labels_of(form: Locator) -> list[str]:
    return [label.removesuffix("*").strip() for label in form.locator("label").all_inner_texts()]


def labels_wanted() -> list[str]:
    return ["Base URL", "Leen connection ID", "API key", *(field["label"] for field in CONN_FIELDS.values())]


def choose_theme(page: Page, theme: str) -> None:
    """Choose Airflow's light or dark theme, as its menu does."""
    page.add_init_script(f"localStorage.setItem('theme', '{theme}')")
