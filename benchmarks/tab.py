"""The tab: how long the UI waits for its first rows where a task has 10,000 results, and how much it is sent."""

from __future__ import annotations

import statistics
import time
from urllib.parse import urlencode

import httpx

from benchmarks.frame import Report
from benchmarks.lab import Lab, findings

RESULTS = 10_000
TIMES = 9


def measure(lab: Lab) -> Report:
    report = Report()
    path = lab.file(findings(RESULTS))
    run_id = lab.start("tab", 0, tickets_path=path)
    look = lab.end_of(lab.airflow, "tab", run_id)
    if look.run != "success":
        raise RuntimeError(f"The run ended as {look.run}.")
    where = urlencode({"dag_id": "tab", "run_id": run_id, "task_id": "create", "map_index": "{MAP_INDEX}"})
    with httpx.Client(base_url=lab.airflow.url, trust_env=False, timeout=60) as http:
        http.headers["Authorization"] = f"Bearer {http.get('/auth/token').json()['access_token']}"
        for what, paths in {
            "the page, its script and its style": (f"tickets?{where}", "assets/tab.js", "assets/tab.css"),
            "the first 100 rows": (f"tickets/data?{where}",),
            "rows found by a text, sorted by title": (f"tickets/data?{where}&text=finding+99&sort=title",),
        }.items():
            seconds, size = zip(*(_fetch(http, paths) for _ in range(TIMES)), strict=True)
            report.add(what, f"{1000 * statistics.median(seconds):.0f} ms, {size[0] / 1000:.0f} kB")
    return report


def _fetch(http: httpx.Client, paths: tuple[str, ...]) -> tuple[float, int]:
    started = time.perf_counter()
    replies = [http.get(f"/leen/{path}").raise_for_status() for path in paths]
    return time.perf_counter() - started, sum(len(reply.content) for reply in replies)
