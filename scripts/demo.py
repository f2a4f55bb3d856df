"""Show the package at work: real findings, real Airflow, a local Leen. Run by ``make demo``.

The sandbox lives in this process, so it can't be left behind. Airflow runs in processes of its own with a home that is
thrown away; what it logs goes to a file in ``.airflow/``, whose path is printed.
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
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, TextIO

from airflow_provider_leen.api.text import for_terminal

if TYPE_CHECKING:
    from airflow_provider_leen.sandbox.server import SandboxServer

ROOT = Path(__file__).resolve().parent.parent
DAG_ID = "leen_bandit_demo"
BULK_PATH = "/v1/itsm/tickets/bulk/sync"
MINUTES_ALLOWED = 10


class DemoError(Exception):
    """The demo could not do what it is there to show; the message is for a person."""


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
            outcome = run_demo(sandbox, log)
            report(outcome, sandbox)
            check(outcome, sandbox)
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


def run_demo(sandbox: SandboxServer, log: TextIO) -> dict[str, Any]:
    say(f"1/3  a local Leen answers at {sandbox.base_url}, its tickets are seen at {sandbox.url}")
    with tempfile.TemporaryDirectory(prefix="leen-demo-", ignore_cleanup_errors=True) as home:
        environment = airflow_environment(home, sandbox)
        say(f"2/3  Airflow sets up a database of its own (its log: {log.name})")
        with started(["-m", "airflow", "db", "migrate"], environment, log) as migration:
            wait_for(migration, "'airflow db migrate' failed.")
        say(f"3/3  Airflow runs the Dag {DAG_ID}: Bandit scans SQLAlchemy first (a quarter of a minute)")
        outcome_file = Path(home) / "outcome.json"
        with started([str(ROOT / "scripts" / "run_dag.py"), DAG_ID, str(outcome_file)], environment, log) as run:
            wait_for(run, "the Dag could not be run.", sandbox)
        outcome: dict[str, Any] = json.loads(outcome_file.read_text())
        return outcome


def airflow_environment(home: str, sandbox: SandboxServer) -> dict[str, str]:
    """Build an environment in which no setting of another Airflow on this machine counts."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    return inherited | {
        "AIRFLOW_HOME": home,
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "example_dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW_CONN_LEEN_DEFAULT": sandbox.airflow_conn,
        "NO_COLOR": "1",
    }


@contextlib.contextmanager
def started(arguments: list[str], environment: dict[str, str], log: TextIO) -> Iterator[subprocess.Popen[bytes]]:
    # A session of its own: Ctrl-C reaches this process alone, which then ends Airflow with everything it has started.
    process = subprocess.Popen(
        [sys.executable, *arguments],
        env=environment,
        stdout=log,
        stderr=log,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # Airflow takes minutes over a SIGTERM
        process.wait()


def wait_for(process: subprocess.Popen[bytes], failure: str, sandbox: SandboxServer | None = None) -> None:
    deadline = time.monotonic() + 60 * MINUTES_ALLOWED
    while process.poll() is None:
        if time.monotonic() > deadline:
            raise DemoError(f"No end after {MINUTES_ALLOWED} minutes: {failure}")
        if sandbox and sandbox.count("POST", BULK_PATH):
            say("     Bandit is done, its findings are being filed")
            sandbox = None
        time.sleep(0.1)
    if process.returncode != 0:
        raise DemoError(f"Airflow ended with exit code {process.returncode}: {failure}")


def report(outcome: dict[str, Any], sandbox: SandboxServer) -> None:
    summary = outcome["returned"]["create_tickets"] or {}
    rows = [
        ("findings", len(outcome["returned"]["scan"] or []), "by Bandit in SQLAlchemy, one ticket each"),
        ("batches", sandbox.count("POST", BULK_PATH), "calls of Leen's bulk endpoint, up to 50 tickets each"),
        ("tickets created", summary.get("created", "?"), ""),
        ("failed", summary.get("failed", "?"), "named below" if summary.get("failed") else ""),
    ]
    print()
    for label, value, remark in rows:
        print(f"  {label:<17}{value:>5}  {remark}".rstrip())
    for line in failure_lines(summary.get("results", [])):
        print(f"    {for_terminal(line)}")
    print(f"  {'gate':<17}{verdict(outcome)}")
    print(f"  {'tickets page':<17}{sandbox.url}\n")


def failure_lines(results: list[dict[str, Any]], examples: int = 3) -> list[str]:
    """Group what failed by reason (numbers aside), each with its count and a few examples."""
    groups: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for result in results:
        if not result["success"]:
            groups[result["status"] + re.sub(r"\d+", "#", result["error"] or "")].append(result)
    lines = []
    for group in sorted(groups.values(), key=len, reverse=True):
        lines.append(f"{len(group)} x {group[0]['status']}, for example: {shortened(group[0]['error'], 150)}")
        lines += [f"    row {result['request_index']}: {shortened(result['name'])}" for result in group[:examples]]
    return lines


def shortened(text: str | None, width: int = 90) -> str:
    text = " ".join((text or "").split())
    return text if len(text) <= width else text[: width - 1] + "…"


def verdict(outcome: dict[str, Any]) -> str:
    state = outcome["states"]["gate"]
    counts = outcome["returned"]["gate"]
    if state != "success" or not counts:
        return f"did not pass ({state})"
    return f"passed: {counts['failed'] / counts['total']:.1%} of the tickets failed, 5 % may"


def check(outcome: dict[str, Any], sandbox: SandboxServer) -> None:
    """Compare what the Dag reports with what the local Leen holds: the demo must not be taken at its word."""
    summary = outcome["returned"]["create_tickets"]
    if outcome["run"] != "success" or not summary:
        raise DemoError(f"The Dag run ended as '{outcome['run']}'; tasks: {outcome['states']}.")
    held = len(sandbox.tickets())
    if (
        not summary["total"] == len(outcome["returned"]["scan"] or []) == len(summary["results"])
        or summary["created"] != held
    ):
        raise DemoError(
            f"The counts disagree: {len(outcome['returned']['scan'] or [])} findings, {len(summary['results'])} "
            f"results, {summary['created']} tickets reported as created, {held} held by the local Leen."
        )


def farewell(sandbox: SandboxServer, keep: bool) -> None:
    if not keep:
        say("done; the local Leen ends with the demo. To look at its tickets: make demo KEEP=1")
        return
    say(f"done; look at the tickets: {sandbox.url} (Ctrl-C ends the local Leen)")
    with contextlib.suppress(KeyboardInterrupt):
        signal.pause()
    print("\n--- the local Leen is stopped")


def last_lines(path: Path, count: int = 15) -> str:
    """Show the end of Airflow's log, without the lines in which all is well."""
    lines = [line for line in path.read_text(errors="replace").splitlines() if not re.search(r"\[(info|debug) ", line)]
    return "\n".join(f"    {for_terminal(line[:200])}" for line in lines[-count:])


def say(text: str) -> None:
    print(f"--- {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
