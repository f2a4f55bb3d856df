"""The Airflows and Pythons that the tests run on: ``make matrix``.

The list is here and nowhere else: a test compares ``pyproject.toml`` and ``docs/compatibility.md`` with it. One of them
alone, and only some tests: ``make matrix ARGS="-s 'tests(airflow-2.11.2-py3.11)' -- tests/hooks"``.
"""

from __future__ import annotations

import os
import shutil
import subprocess

import nox

nox.needs_version = ">=2025.2"
nox.options.default_venv_backend = "uv"
# One that is missing is skipped by name, also where CI is set.
nox.options.error_on_missing_interpreters = False

# Of ours they are errors everywhere; what others deprecate by and by breaks no release that is out.
WARNINGS = "filterwarnings=error\nignore:::(?!airflow_provider_leen|tests)"

MATRIX: list[tuple[str, str, list[str]]] = [
    ("2.11.2", "3.11", []),
    ("3.1.8", "3.12", []),
    # Released before these packages changed what it relies on: without the pins its API server does not start.
    ("3.2.2", "3.12", ["fastapi<0.137", "svcs<26.2"]),
    ("3.3.2", "3.11", []),
    ("3.3.2", "3.13", []),
    ("3.3.2", "3.14", []),
]
"""Release of Airflow, Python, and what has to be pinned beside it."""

LOWEST_ON = ("3.3.2", "3.11")
"""The Airflow and the Python on which the lowest versions are tried that ``pyproject.toml`` admits."""


def lowest_versions() -> list[str]:
    """Return the dependencies beside Airflow, each at its lower bound."""
    dependencies: list[str] = nox.project.load_toml("pyproject.toml")["project"]["dependencies"]
    return [bound.replace(">=", "==") for bound in dependencies if not bound.startswith("apache-airflow>=")]


def switch_on_pythons() -> None:
    """Let pyenv, where it is in use, run every Python of the matrix: its shims refuse those that are not selected."""
    if shutil.which("pyenv") is None:
        return
    wanted = sorted({python for _airflow, python, _pins in MATRIX})
    asked = [subprocess.run(["pyenv", "latest", python], capture_output=True, text=True) for python in wanted]
    if found := [answer.stdout.strip() for answer in asked if answer.returncode == 0]:
        os.environ.setdefault("PYENV_VERSION", ":".join(found))


switch_on_pythons()


@nox.session
@nox.parametrize(
    "python, airflow, pins",
    [
        *(nox.param(python, airflow, pins, id=f"airflow-{airflow}-py{python}") for airflow, python, pins in MATRIX),
        nox.param(LOWEST_ON[1], LOWEST_ON[0], lowest_versions(), id="lowest"),
    ],
)
def tests(session: nox.Session, airflow: str, pins: list[str]) -> None:
    """Install one Airflow, this package and the tools, as they are today, and run all tests."""
    session.install("--compile-bytecode", "--editable", ".[dev]", f"apache-airflow=={airflow}", *pins)
    # What lies in qa has a scheduler, workers and a browser of its own: `make chaos AIRFLOW=2.11.2`.
    session.run("python", "-m", "pytest", "-n", "auto", "-o", WARNINGS, "--ignore=qa", *session.posargs)
