"""Commands in this process, and as processes of their own."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_leen.cli import main
from airflow_provider_leen.sandbox.server import SandboxServer
from tests.support.airflow_run import AIRFLOW as AIRFLOW_VERSION

MODULE = [sys.executable, "-m", "airflow_provider_leen"]
AIRFLOW = [sys.executable, "-m", "airflow", "leen"]


# What an older Airflow says of itself, whoever uses it, is not what these tests listen to.
QUIET = {"PYTHONWARNINGS": "ignore"}


@dataclass
class Said:
    """What a command in this process ended with."""

    code: int
    out: str
    err: str


def run(arguments: Sequence[str], capsys: pytest.CaptureFixture[str]) -> Said:
    """Run a command in this process."""
    try:
        code = main(arguments)
    except SystemExit as end:
        code = int(str(end.code))
    captured = capsys.readouterr()
    return Said(code, captured.out, captured.err)


def environment(sandbox: SandboxServer, **more: str) -> dict[str, str]:
    quiet = QUIET if AIRFLOW_VERSION < (3, 2) else {}
    return os.environ | quiet | {"AIRFLOW_CONN_LEEN_DEFAULT": sandbox.airflow_conn, "COLUMNS": "300"} | more


def start(command: list[str], sandbox: SandboxServer, **options: Any) -> subprocess.Popen[str]:
    """Start a command that can be interrupted: a shell's background lets a process ignore Ctrl-C."""
    return subprocess.Popen(
        command,
        env=environment(sandbox),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        **options,
    )


def wait_until(happened: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while not happened() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    assert happened(), process.communicate(timeout=60)


def has_airflow_commands() -> bool:
    spec = importlib.util.find_spec("airflow")
    assert spec is not None
    folder = Path((spec.submodule_search_locations or [""])[0])
    return '"cli"' in (folder / "provider_info.schema.json").read_text()


needs_airflow_commands = pytest.mark.skipif(
    not has_airflow_commands(), reason="Airflow below 3.2 takes no commands from providers"
)
