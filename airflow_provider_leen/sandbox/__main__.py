"""``python -m airflow_provider_leen.sandbox``: the sandbox as a process."""

from __future__ import annotations

import argparse
import os
import signal
import sqlite3
import sys
from collections.abc import Sequence

MISSING_EXTRA = "The sandbox needs FastAPI and uvicorn: pip install 'airflow-provider-leen[sandbox]'"


def build_parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    parser = argparse.ArgumentParser(
        prog="python -m airflow_provider_leen.sandbox", description="A local Leen API to try and break things against."
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8765, help="port, 0 for a free one (default: %(default)s)")
    parser.add_argument("--db", metavar="FILE", help="SQLite file that keeps the tickets (default: memory)")
    parser.add_argument("--latency", type=float, default=0.0, metavar="S", help="seconds that each call takes")
    parser.add_argument("--rate-limit", type=int, metavar="N", help="calls per second; more get a 429")
    parser.add_argument(
        "--fault",
        action="append",
        default=[],
        metavar="KIND[:RATE]",
        help="misbehave: lost:0.1, 503:0.05, 503-after (tickets made), stall, cut, garbage … (repeatable)",
    )
    parser.add_argument("--seed", type=int, help="makes the rates of faults repeatable")
    parser.add_argument("--search-lag", type=float, default=0.0, metavar="S", help="until search finds a new ticket")
    parser.add_argument("--sync-after", type=float, metavar="S", help="until Leen knows a ticket made by vendor ids")
    parser.add_argument("--job-time", type=float, default=0.0, metavar="S", help="seconds that a job takes")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGINT or SIGTERM; returns the exit code."""
    options = build_parser().parse_args(arguments)
    stop_signals = {signal.SIGINT, signal.SIGTERM}
    # Before any thread starts, so that no thread takes them and they wait for sigwait.
    signal.pthread_sigmask(signal.SIG_BLOCK, stop_signals)
    try:
        from airflow_provider_leen.sandbox.faults import parse_fault
        from airflow_provider_leen.sandbox.server import SandboxServer
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("fastapi", "uvicorn"):
            raise
        return _fail(MISSING_EXTRA)
    try:
        faults = [parse_fault(text) for text in options.fault]
    except ValueError as error:
        return _fail(str(error))
    try:
        server = SandboxServer(
            host=options.host,
            port=options.port,
            db=options.db,
            seed=options.seed,
            latency=options.latency,
            calls_per_second=options.rate_limit,
            search_lag=options.search_lag,
            sync_after=options.sync_after,
            job_time=options.job_time,
            faults=faults,
        )
    except (OSError, OverflowError) as error:
        reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else error
        return _fail(f"Can't listen on {options.host}:{options.port}: {reason}. Try another --port.")
    except sqlite3.Error as error:
        return _fail(f"Can't use the file {options.db}: {error}.")
    with server:
        print(f"Leen sandbox: {server.base_url} (tickets: {server.url}/). Stop it with Ctrl-C.")
        print(f"export AIRFLOW_CONN_LEEN_DEFAULT='{server.airflow_conn}'", flush=True)
        signal.sigwait(stop_signals)
    return 0


def _fail(message: str) -> int:
    print(message, file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
