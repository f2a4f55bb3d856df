"""The tab "Leen tickets" on a task instance and on a Dag run, from Airflow 3.1 on; absent below.

Every Airflow process imports this module, including each task, so the web app is imported only on demand.
"""

from __future__ import annotations

from typing import Any

from airflow.providers.common.compat.sdk import AirflowPlugin

_HAS_TABS = hasattr(AirflowPlugin, "external_views")

# Relative, so that it works under a base path behind a proxy; the UI fills in the names in braces.
_PAGE = "leen/tickets?dag_id={DAG_ID}&run_id={RUN_ID}"

_TABS = [
    {
        "name": "Leen tickets",
        "href": f"{_PAGE}&task_id={{TASK_ID}}&map_index={{MAP_INDEX}}",
        "destination": "task_instance",
        "url_route": "leen-tickets",
    },
    {"name": "Leen tickets", "href": _PAGE, "destination": "dag_run", "url_route": "leen-run-tickets"},
]


class _Apps:
    """The web app that serves the tab, made when Airflow's API server asks for it."""

    def __get__(self, plugin: object, owner: type) -> list[dict[str, Any]]:
        from airflow_provider_leen.plugins.app import app

        return [{"name": "Leen tickets", "app": app, "url_prefix": "/leen"}]


class LeenPlugin(AirflowPlugin):
    """Adds the tab to Airflow's UI."""

    name = "leen"
    fastapi_apps: Any = _Apps() if _HAS_TABS else []
    external_views: Any = _TABS if _HAS_TABS else []
