from __future__ import annotations

import importlib
import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from airflow.providers.common.compat import sdk

from airflow_provider_leen.plugins import leen

HEAVY = ("airflow.api_fastapi", "airflow.models", "fastapi", "pydantic", "sqlalchemy", "airflow_provider_leen.bulk")


def test_a_task_process_that_loads_the_plugin_imports_nothing_of_a_web_app() -> None:
    script = """
import json, sys
import airflow.providers.common.compat.sdk as sdk
sdk.AirflowPlugin
before = set(sys.modules)
import airflow_provider_leen.plugins.leen
print(json.dumps(sorted(set(sys.modules) - before)))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    imported = json.loads(done.stdout.splitlines()[-1])
    assert [name for name in imported if name.startswith(HEAVY)] == []
    assert "airflow_provider_leen.plugins.leen" in imported
    assert "airflow_provider_leen.plugins.app" not in imported


def test_airflow_finds_the_plugin_by_its_entry_point_and_loads_it_without_an_error(airflow_db: None) -> None:
    from airflow import plugins_manager

    manager: Any = plugins_manager  # other names on other versions
    if hasattr(manager, "_get_plugins"):
        plugins, errors = manager._get_plugins()
    else:
        manager.ensure_plugins_loaded()
        plugins, errors = manager.plugins, manager.import_errors
    assert "leen" in [plugin.name for plugin in plugins]
    assert not [error for source, error in errors.items() if "leen" in source]


@pytest.fixture
def airflow_without_tabs(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    class OlderPlugin:
        name: str | None = None

    with monkeypatch.context() as patch:
        patch.setattr(sdk, "AirflowPlugin", OlderPlugin)
        importlib.reload(leen)
        yield
    importlib.reload(leen)


@pytest.mark.usefixtures("airflow_without_tabs")
def test_where_airflow_has_no_tabs_the_plugin_adds_nothing() -> None:
    assert leen.LeenPlugin.external_views == []
    assert leen.LeenPlugin.fastapi_apps == []


def test_the_tab_is_where_airflow_has_tabs_and_leads_to_a_place_relative_to_the_base_path() -> None:
    views = leen.LeenPlugin.external_views
    if not hasattr(sdk.AirflowPlugin, "external_views"):
        assert views == []
        return
    assert [view["destination"] for view in views] == ["task_instance", "dag_run"]
    assert not [view for view in views if view["href"].startswith(("/", "http"))]
