"""Bandit over an installed package, a few files at a time, so that the demo can count while it scans."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from functools import partial
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any

from scripts.demo_days import DemoError
from scripts.demo_screen import Counting

FILES_AT_A_TIME = 24


def scan(package: str) -> list[dict[str, Any]]:
    """Return Bandit's findings; the paths in them start with the package's name."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise DemoError(f"There is no installed package '{package}' to scan.")
    folder = Path(spec.submodule_search_locations[0])
    files = sorted(str(path.relative_to(folder.parent)) for path in folder.rglob("*.py"))
    parts = [files[first : first + FILES_AT_A_TIME] for first in range(0, len(files), FILES_AT_A_TIME)]
    findings: list[dict[str, Any]] = []
    with Counting(f"of {len(files)} files scanned", len(files)) as counting, ThreadPool(os.cpu_count()) as pool:
        for done, found in enumerate(pool.imap(partial(run_bandit, folder.parent), parts), start=1):
            findings += found
            counting.show(min(done * FILES_AT_A_TIME, len(files)), f", {len(findings)} findings")
    return findings


def run_bandit(folder: Path, files: list[str]) -> list[dict[str, Any]]:
    command = [sys.executable, "-m", "bandit", "--quiet", "--format", "json", *files]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    # Bandit exits with 1 when it has found something, as a compiler does.
    if done.returncode not in (0, 1) or not done.stdout:
        raise DemoError(f"Bandit could not scan: {done.stderr.strip()[-500:]}")
    # It writes a file that is named as ./file.
    return [
        {**finding, "filename": os.path.normpath(finding["filename"])} for finding in json.loads(done.stdout)["results"]
    ]
