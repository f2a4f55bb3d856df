"""Homes for Airflow whose database is there already: to make its tables takes seconds, to copy them does not."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

DATABASE = "airflow.db"
ROOT = Path(__file__).resolve().parents[2]


def python_in(home: Path, *arguments: str, **environment: str) -> str:
    """Run Python with an Airflow that has this home, and return all that it said."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW_")}
    airflow = {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(home),
        "AIRFLOW__CORE__MIN_SERIALIZED_DAG_UPDATE_INTERVAL": "0",
    }
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=inherited | airflow | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    output = done.stdout.decode(errors="replace")
    assert done.returncode == 0, output[-5000:]
    return output


def migrated_in(folder: Path) -> Path:
    """Return an SQLite file with Airflow's tables in this folder; made by the first process that asks for it."""
    database = folder / DATABASE
    with (folder / "airflow.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not database.exists():
            home = folder / "airflow-home"
            command = [sys.executable, "-c", "from airflow.utils.db import initdb; initdb()"]
            subprocess.run(command, env=os.environ | {"AIRFLOW_HOME": str(home)}, check=True, capture_output=True)
            (home / DATABASE).rename(database)
    return database


def home_in(folder: Path, database: Path) -> Path:
    """Make this folder a home for Airflow, with a copy of the database."""
    folder.mkdir(parents=True, exist_ok=True)
    # What an Airflow without tables has left there would be taken for a part of the copy.
    for name in (DATABASE, f"{DATABASE}-wal", f"{DATABASE}-shm"):
        (folder / name).unlink(missing_ok=True)
    shutil.copyfile(database, folder / DATABASE)
    return folder
