"""Environments beside the project's own: with another release of Airflow, or with more packages."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def python_with_airflow(version: str | None) -> str:
    """Return the Python that runs this release of Airflow; its environment, ``.venv-VERSION``, is made where missing.

    :param version: of Airflow; None for the one that is installed beside this interpreter.
    """
    if version is None:
        return sys.executable
    return environment(version, f"apache-airflow=={version}")


def environment(name: str, *requirements: str, extra: str = "", pinned: bool = False) -> str:
    """Return the Python of an environment with this package and more; made where missing, or made of something else.

    :param name: the environment's folder is ``.venv-NAME``.
    :param requirements: what is installed beside the package, in pip's words.
    :param extra: of this package.
    :param pinned: whether to take the versions of ``constraints.txt``, as the project's own environment does.
    """
    folder = ROOT / f".venv-{name}"
    package = f"{ROOT}[{extra}]" if extra else str(ROOT)
    python, ready = folder / "bin" / "python", folder / ".ready"
    pins, project = ROOT / "constraints.txt", ROOT / "pyproject.toml"
    made_of = "\n".join(
        [sys.version, *requirements, project.read_text() if extra else "", pins.read_text() if pinned else ""]
    )
    if not ready.exists() or ready.read_text() != made_of:
        what = ", ".join(requirements) or f"what the extra {extra} names"
        print(f"--- installing {what} into {folder.name} (a minute, once)", flush=True)
        uv = [sys.executable, "-m", "uv"]
        subprocess.run([*uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(folder)], check=True)
        install = ["pip", "install", "--quiet", "--compile-bytecode", "--python", str(python)]
        constraints = ["--constraint", str(pins)] if pinned else []
        subprocess.run([*uv, *install, *constraints, *requirements, "--editable", package], check=True)
        ready.write_text(made_of)
    return str(python)
