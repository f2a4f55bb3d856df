"""What Airflow discovers: the provider info, and what Airflow's own tools make of it."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from airflow_provider_leen import __version__
from airflow_provider_leen.get_provider_info import CONN_FIELDS, UI_FIELD_BEHAVIOUR, get_provider_info
from tests.support.airflow_run import AIRFLOW

PACKAGE = "airflow-provider-leen"


def airflow_schema(name: str) -> Any:
    # Found without importing Airflow, which would set up a home at import.
    spec = importlib.util.find_spec("airflow")
    assert spec is not None
    path = Path((spec.submodule_search_locations or [""])[0]) / name
    return json.loads(path.read_text())


def run_python(*arguments: str, home: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    environment |= {"AIRFLOW_HOME": str(home), "AIRFLOW__CORE__LOAD_EXAMPLES": "False", "COLUMNS": "500"}
    command = [sys.executable, *arguments]
    done = subprocess.run(command, env=environment, cwd=home, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def rows_of(output: str) -> Any:
    """Read the JSON list that a command printed, whatever stands before it."""
    return json.loads(output[output.index("[{") :])


def test_the_info_is_what_airflows_schema_asks_for() -> None:
    jsonschema.validate(get_provider_info(), airflow_schema("provider_info.schema.json"))


def test_the_connection_form_is_what_airflows_schema_asks_for() -> None:
    connection_types = airflow_schema("provider.yaml.schema.json")["properties"]["connection-types"]
    if "conn-fields" not in connection_types["items"]["properties"]:
        pytest.skip("Airflow below 3.2 does not read the form from the provider info")
    jsonschema.validate(get_provider_info()["connection-types"], connection_types)


def test_every_extra_has_a_label_a_type_and_a_help_text() -> None:
    for name, field in CONN_FIELDS.items():
        assert field["label"], name
        assert "null" in field["schema"]["type"], f"{name} can't be left empty"
        assert field["description"], name


def test_every_default_of_the_form_is_the_one_that_an_empty_field_means() -> None:
    from airflow_provider_leen.api.settings import read_settings

    connection_id = "7f2c1e0a-0000-4000-8000-000000000000"
    empty = read_settings(host=None, login=connection_id, password="a-key", extra={})
    defaults = {name: field["schema"]["default"] for name, field in CONN_FIELDS.items() if "default" in field["schema"]}
    assert read_settings(host=None, login=connection_id, password="a-key", extra=defaults) == empty


def test_every_region_of_the_form_is_one_that_the_client_knows() -> None:
    from airflow_provider_leen.api.settings import REGIONS

    assert CONN_FIELDS["region"]["schema"]["enum"] == list(REGIONS)


def test_discovery_imports_nothing_but_the_two_modules() -> None:
    script = (
        "import sys, json; before = set(sys.modules);"
        "from airflow_provider_leen.get_provider_info import get_provider_info; get_provider_info();"
        "new = set(sys.modules) - before;"
        "print(json.dumps(sorted(m for m in new if m.split('.')[0] not in sys.stdlib_module_names)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == ["airflow_provider_leen", "airflow_provider_leen.get_provider_info"]


@pytest.mark.slow
def test_airflow_get_knows_the_provider(tmp_path: Path) -> None:
    [row] = rows_of(run_python("-m", "airflow", "providers", "get", PACKAGE, "--output", "json", home=tmp_path))
    assert row == {"Provider": PACKAGE, "Version": __version__}


def test_airflow_hooks_imports_the_hook(tmp_path: Path) -> None:
    rows = rows_of(run_python("-m", "airflow", "providers", "hooks", "--output", "json", home=tmp_path))
    [row] = [row for row in rows if row["connection_type"] == "leen"]
    assert row == {
        "connection_type": "leen",
        "class": "airflow_provider_leen.hooks.leen.LeenHook",
        "conn_id_attribute_name": "leen_conn_id",
        "package_name": PACKAGE,
        "hook_name": "Leen",
    }


FORMS = """
from airflow.providers_manager import ProvidersManager
manager = ProvidersManager()
hooks, widgets, behaviours = manager.hooks, manager.connection_form_widgets, manager.field_behaviours
def label(field):
    return field["schema"]["title"] if isinstance(field, dict) else field.args[0]  # on 2, a form field of WTForms
"""
FORMS_OF_3_1 = """
from airflow.api_fastapi.core_api.services.ui.connections import HookMetaService
hooks, widgets, behaviours = HookMetaService._get_hooks_with_mocked_fab()
def label(field):
    return field.param.schema["title"]
"""


@pytest.mark.slow
def test_airflow_builds_the_form_from_the_info(tmp_path: Path) -> None:
    script = f"""
import json, warnings
warnings.filterwarnings("error", message=".*LeenHook")
{FORMS_OF_3_1 if (3, 0) <= AIRFLOW < (3, 2) else FORMS}
labels = {{name: label(widgets[name].field) for name in widgets if name.startswith("extra__leen__")}}
testable = hooks["leen"].connection_testable
print(json.dumps([{{"testable": testable, "labels": labels, "behaviour": behaviours["leen"]}}]))
"""
    [form] = rows_of(run_python("-c", script, home=tmp_path))
    assert form["testable"]
    assert form["labels"] == {f"extra__leen__{name}": field["label"] for name, field in CONN_FIELDS.items()}
    assert form["behaviour"]["relabeling"] == UI_FIELD_BEHAVIOUR["relabeling"]
    assert form["behaviour"]["hidden_fields"] == UI_FIELD_BEHAVIOUR["hidden-fields"]
