"""A register on S3: leases are taken by conditional writes, and listed past the cache of the file system."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_days_on_s3_are_those_in_a_folder(tmp_path: Path) -> None:
    # What moto needs does not go with the newest Airflow: it has an environment of its own.
    python = str(tmp_path / "env" / "bin" / "python")
    uv = [sys.executable, "-m", "uv"]
    subprocess.run([*uv, "venv", "--quiet", "--python", sys.executable, tmp_path / "env"], check=True)
    wanted = ["moto[server]>=5", "s3fs>=2024.10", "universal-pathlib", "httpx", "pydantic"]
    done = subprocess.run(
        [*uv, "pip", "install", "--quiet", "--python", python, *wanted], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"moto can't be installed here: {done.stderr[-300:]}")
    command = [python, "-W", "ignore", "-m", "tests.bulk.s3_days"]
    done = subprocess.run(
        command, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
