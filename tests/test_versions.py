"""The versions that the tests run on are named in one place, and what is older is refused in one sentence."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from airflow_provider_leen.version_compat import OLDEST_AIRFLOW, check_airflow
from tests.support.airflow_run import AIRFLOW
from tests.support.modules import module_at

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "compatibility.md").read_text()
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def noxfile() -> ModuleType:
    return module_at(ROOT / "noxfile.py")


def table_under(heading: str) -> list[list[str]]:
    """The cells of the rows of a table on the page, without markup."""
    [table] = re.findall(rf"^\| *{re.escape(heading)} *\|.*\n\|[-|]+\|\n((?:\|.*\n)+)", PAGE, re.MULTILINE)
    return [[cell.strip().replace("`", "") for cell in row.strip("|").split("|")] for row in table.splitlines()]


def floor_of(package: str) -> str:
    [bound] = [text for text in PROJECT["dependencies"] if text.startswith(f"{package}>=")]
    return str(bound).partition(">=")[2]


def test_the_page_lists_what_the_tests_run_on(noxfile: ModuleType) -> None:
    assert table_under("Airflow") == [[airflow, python, ", ".join(pins)] for airflow, python, pins in noxfile.MATRIX]


def test_the_page_lists_the_lowest_versions_that_are_tried(noxfile: ModuleType) -> None:
    listed = [f"{package}=={version}" for package, version in table_under("package")]
    assert listed == noxfile.lowest_versions()


def test_the_metadata_names_the_pythons_that_the_tests_run_on(noxfile: ModuleType) -> None:
    named = re.findall(r"Python :: (3\.\d+)", "\n".join(PROJECT["classifiers"]))
    assert named == sorted({python for _airflow, python, _pins in noxfile.MATRIX}, key=lambda python: int(python[2:]))
    assert PROJECT["requires-python"] == f">={named[0]}"


def test_the_oldest_airflow_is_the_same_everywhere(noxfile: ModuleType) -> None:
    oldest = ".".join(map(str, OLDEST_AIRFLOW))
    assert floor_of("apache-airflow") == oldest
    assert noxfile.MATRIX[0][0].startswith(f"{oldest}.")
    assert f"Airflow {oldest} or newer and Python {PROJECT['requires-python'][2:]} or newer" in PAGE


@pytest.mark.parametrize("version", ["2.11.0", "2.11.2", "2.12.0.dev0", "3.0.0rc1", "3.3.2", "10.0"])
def test_an_airflow_that_is_new_enough_passes(version: str) -> None:
    check_airflow(version)


@pytest.mark.parametrize("module", ["hooks", "operators", "sensors", "notifications", "retry_policies"])
def test_below_the_oldest_airflow_importing_says_so(module: str, tmp_path: Path) -> None:
    (tmp_path / "airflow.py").write_text('__version__ = "2.10.5"\n')
    said = error_of(f"import airflow_provider_leen.{module}.leen", tmp_path)
    assert said == "ImportError: airflow-provider-leen needs Airflow 2.11 or newer, and this is Airflow 2.10.5."


def test_below_the_oldest_python_importing_says_so(tmp_path: Path) -> None:
    said = error_of("import sys; sys.version_info = (3, 10, 4); import airflow_provider_leen", tmp_path)
    assert said == "ImportError: airflow-provider-leen needs Python 3.11 or newer, and this is Python 3.10."


@pytest.mark.skipif(AIRFLOW >= (3, 3), reason="Airflow 3.3 and newer have retry policies")
def test_where_airflow_has_no_retry_policies_importing_ours_says_what_to_do_instead(tmp_path: Path) -> None:
    said = error_of("import airflow_provider_leen.retry_policies.leen", tmp_path)
    assert said.startswith("ImportError: LeenRetryPolicy needs Airflow 3.3 or newer")
    assert said.endswith("set retries and retry_delay instead.")


def error_of(code: str, first_on_path: Path) -> str:
    environment = os.environ | {"PYTHONPATH": f"{first_on_path}{os.pathsep}{ROOT}"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    return done.stderr.splitlines()[-1]
