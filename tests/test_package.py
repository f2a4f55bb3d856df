"""What is shipped: wheel and sdist, their metadata, the pins and the chores."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import zipfile
from email.message import Message
from email.parser import HeaderParser
from pathlib import Path
from types import ModuleType

import pytest

from airflow_provider_leen import __version__
from tests.support.modules import module_at

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the sdist, and the wheel from the sdist, which proves that the sdist is complete."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def wheel(dist: Path) -> Path:
    return next(dist.glob("*.whl"))


@pytest.fixture(scope="module")
def wheel_files(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


@pytest.fixture(scope="module")
def metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return HeaderParser().parsestr(archive.read(name).decode())


def test_the_wheel_holds_the_package_with_its_type_marker_and_nothing_else(wheel_files: list[str]) -> None:
    assert "airflow_provider_leen/py.typed" in wheel_files
    folders = {name.split("/")[0] for name in wheel_files}
    assert folders == {"airflow_provider_leen", f"airflow_provider_leen-{__version__}.dist-info"}


def test_the_wheel_holds_every_module_of_the_package_and_the_files_of_the_tab(wheel_files: list[str]) -> None:
    package = ROOT / "airflow_provider_leen"
    files = [*package.rglob("*.py"), *(package / "plugins" / "static").iterdir()]
    assert {path.suffix for path in files} >= {".py", ".html", ".css", ".js"}
    assert {str(path.relative_to(ROOT)) for path in files} <= set(wheel_files)


def test_the_sdist_holds_all_that_is_needed_to_test_and_build_and_no_environment(dist: Path) -> None:
    with tarfile.open(next(dist.glob("*.tar.gz"))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {
        "tests/test_package.py",
        "example_dags/leen_smallest.py",
        "example_dags/tickets.jsonl",
        "Makefile",
        "benchmarks/lab.py",
        "docs/compatibility.md",
        "conftest.py",
        "noxfile.py",
        "qa/chaos/plan.py",
        "scripts/release_check.py",
    } <= names
    assert not [name for name in names if re.match(r"\.venv|node_modules|\.airflow|dist/", name)]


def test_the_metadata_names_licence_framework_and_version(metadata: Message) -> None:
    assert metadata["Version"] == __version__
    assert metadata["License-Expression"] == "Apache-2.0"
    assert "Framework :: Apache Airflow :: Provider" in metadata.get_all("Classifier", [])


def test_the_metadata_passes_the_index_s_own_check(dist: Path) -> None:
    files = [str(path) for path in dist.iterdir()]
    done = subprocess.run(
        [sys.executable, "-m", "twine", "check", "--strict", *files], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_airflow_lists_the_provider_of_an_installed_wheel(wheel: Path, tmp_path: Path) -> None:
    target = tmp_path / "site"
    install = ["-m", "uv", "pip", "install", "--quiet", "--offline", "--no-deps", "--target", str(target), str(wheel)]
    subprocess.run([sys.executable, *install], check=True)
    environment = os.environ | {"PYTHONPATH": str(target), "AIRFLOW_HOME": str(tmp_path / "home"), "COLUMNS": "500"}

    def python(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, *arguments], env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert str(target) in python("-c", "import airflow_provider_leen; print(airflow_provider_leen.__file__)")
    listed = python("-m", "airflow", "providers", "list", "--output", "plain")
    assert re.search(rf"^airflow-provider-leen\s.*\s{re.escape(__version__)}\s*$", listed, re.MULTILINE)


def test_the_changelog_s_newest_entry_is_this_version() -> None:
    headings = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == __version__


def test_every_pin_is_a_name_and_a_version() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    assert [line for line in lines if not re.fullmatch(r"[a-z0-9.-]+==[0-9][0-9a-z.]*", line)] == []


def test_help_lists_every_chore() -> None:
    makefile = (ROOT / "Makefile").read_text()
    [chores] = re.findall(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    # A make that runs these tests must not pass its own options on.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    shown = subprocess.run(
        ["make", "-C", str(ROOT)], env=environment, capture_output=True, text=True, check=True
    ).stdout
    assert re.findall(r"^  make ([\w-]+) ", shown, re.MULTILINE) == chores.split()


@pytest.fixture
def bootstrap() -> ModuleType:
    return module_at(ROOT / "scripts" / "bootstrap.py")


def test_a_python_that_is_too_old_is_refused_with_the_way_out(
    bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bootstrap.sys, "version_info", (3, 9, 2))
    with pytest.raises(SystemExit, match=r"Python 3\.11 or newer is needed.*is Python 3\.9.*make PYTHON="):
        bootstrap.refuse_unfit_python()


def test_a_python_without_venv_is_refused_with_the_package_to_install(
    bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bootstrap.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SystemExit, match="apt-get install python3-venv"):
        bootstrap.refuse_unfit_python()
