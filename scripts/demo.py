"""Run the package on three days: real findings, real Airflow, a local Leen. Run by ``make demo``.

The sandbox lives in this process, so it can't be left behind. Airflow runs in its own processes with a home that is
thrown away; what it logs goes to a file in ``.airflow/``, whose path is printed when something fails.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import IO, TYPE_CHECKING, Any

from airflow_provider_leen.api.text import for_terminal
from scripts.demo_days import Day, DemoError, check_day, day_lines, three_days
from scripts.demo_scan import scan
from scripts.demo_screen import Counting, bold, say

if TYPE_CHECKING:
    from airflow_provider_leen.sandbox.server import SandboxServer

ROOT = Path(__file__).resolve().parent.parent
DAG_ID = "leen_bandit_demo"
BULK_PATH = "/v1/itsm/tickets/bulk/sync"
PACKAGE = "sqlalchemy"
MINUTES_ALLOWED = 10


def main() -> int:
    parser = argparse.ArgumentParser(description="File real findings in a local Leen with real Airflow.")
    parser.add_argument("--keep", action="store_true", help="leave the local Leen running until Ctrl-C")
    keep: bool = parser.parse_args().keep
    # SIGINT as well: a shell starts what it runs in the background with SIGINT ignored.
    signal.signal(signal.SIGINT, interrupt)
    signal.signal(signal.SIGTERM, interrupt)
    log_path = ROOT / ".airflow" / f"demo-{os.getpid()}.log"
    log_path.parent.mkdir(exist_ok=True)
    try:
        from airflow_provider_leen.sandbox.server import SandboxServer  # takes a while: Ctrl-C is caught by now

        with log_path.open("w") as log, SandboxServer() as sandbox:
            run_demo(sandbox, log)
            farewell(sandbox, keep)
    except KeyboardInterrupt:
        print("\n*** Interrupted: the local Leen and Airflow are stopped.")
        return 130
    except DemoError as error:
        print(f"\n*** {error}\n*** Airflow's log: {log_path}. Its last lines:\n{last_lines(log_path)}")
        return 1
    return 0


def interrupt(signum: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def run_demo(sandbox: SandboxServer, log: IO[str]) -> None:
    with tempfile.TemporaryDirectory(prefix="leen-demo-", ignore_cleanup_errors=True) as name:
        home = Path(name)
        environment = airflow_environment(home, sandbox)
        say("Airflow sets up its database, and Bandit scans SQLAlchemy, a package that Airflow brings")
        with started(["-m", "airflow", "db", "migrate"], environment, log) as migration:
            findings = scan(PACKAGE)
            for _ in waiting_for(migration, "'airflow db migrate' failed."):
                pass
        with started([str(ROOT / "scripts" / "run_dag.py"), DAG_ID], environment, log) as airflow:
            for day in three_days(findings):
                run_day(day, airflow, home, sandbox)


def run_day(day: Day, airflow: subprocess.Popen[str], home: Path, sandbox: SandboxServer) -> None:
    """Run the Dag on one day's report, and report what it did."""
    print()
    say(bold(day.title))
    report, outcome = home / f"{day.name}.json", home / f"{day.name}.outcome.json"
    report.write_text(json.dumps({"results": day.findings}))
    asked = {"conf": {"report": str(report), "register": str(home / "register")}, "outcome": str(outcome)}
    assert airflow.stdin is not None
    print(json.dumps(asked), file=airflow.stdin, flush=True)
    calls, before = sandbox.count("POST", BULK_PATH), len(sandbox.tickets())
    with Counting(f"of {day.new} tickets filed", day.new) as counting:
        for _ in waiting_for(airflow, "the Dag could not be run.", outcome):
            if day.new > 50:  # more than one call
                counting.show(len(sandbox.tickets()) - before)
    told: dict[str, Any] = json.loads(outcome.read_text())
    check_day(day, told, sandbox.tickets(), sandbox.duplicates())
    for line in day_lines(day, told["returned"]["reconcile"], sandbox.count("POST", BULK_PATH) - calls):
        print(line)
    if day.synced_afterwards:
        sandbox.sync()


def airflow_environment(home: Path, sandbox: SandboxServer) -> dict[str, str]:
    """Build an environment in which no setting of another Airflow on this machine counts."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    return inherited | {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "example_dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW_CONN_LEEN_DEFAULT": sandbox.airflow_conn,
        "NO_COLOR": "1",
    }


@contextlib.contextmanager
def started(arguments: list[str], environment: dict[str, str], log: IO[str]) -> Iterator[subprocess.Popen[str]]:
    # A session of its own: Ctrl-C reaches this process alone, which then ends Airflow with everything it has started.
    process = subprocess.Popen(
        [sys.executable, *arguments],
        env=environment,
        stdout=log,
        stderr=log,
        stdin=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # Airflow takes minutes over a SIGTERM
        process.wait()


def waiting_for(process: subprocess.Popen[str], failure: str, outcome: Path | None = None) -> Iterator[None]:
    """Yield until the process has ended well, or has written its outcome."""
    deadline = time.monotonic() + 60 * MINUTES_ALLOWED
    while process.poll() is None and not (outcome and outcome.exists()):
        if time.monotonic() > deadline:
            raise DemoError(f"No end after {MINUTES_ALLOWED} minutes: {failure}")
        yield
        time.sleep(0.2)
    if process.returncode or (outcome and not outcome.exists()):
        raise DemoError(f"Airflow ended with exit code {process.returncode}: {failure}")


def farewell(sandbox: SandboxServer, keep: bool) -> None:
    print()
    if keep:
        say(f"Look at the tickets: {sandbox.url} (Ctrl-C ends the local Leen)")
        with contextlib.suppress(KeyboardInterrupt):
            signal.pause()
        print("\n--- The local Leen is stopped.")
        return
    say("Done. The local Leen has ended with the demo; make demo KEEP=1 leaves it running, to look at its tickets.")
    say("Next: the same in Airflow's UI, docs/getting-started.md. What runs every day: docs/every-day.md")


def last_lines(path: Path, count: int = 15) -> str:
    """Show the end of Airflow's log, without the lines in which all is well."""
    lines = [line for line in path.read_text(errors="replace").splitlines() if not re.search(r"\[(info|debug) ", line)]
    return "\n".join(f"    {for_terminal(line[:200])}" for line in lines[-count:])


if __name__ == "__main__":
    sys.exit(main())
