"""An environment with another release of Airflow, and this package in it."""

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
    folder = ROOT / f".venv-{version}"
    python, ready = folder / "bin" / "python", folder / ".ready"
    if not ready.exists():
        print(f"--- installing Airflow {version} into {folder.name} (a minute, once)", flush=True)
        uv = [sys.executable, "-m", "uv"]
        subprocess.run([*uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(folder)], check=True)
        install = ["pip", "install", "--quiet", "--compile-bytecode", "--python", str(python)]
        subprocess.run([*uv, *install, f"apache-airflow=={version}", "--editable", str(ROOT)], check=True)
        ready.touch()
    return str(python)
