"""``python -m airflow_provider_leen.sandbox``: the sandbox as a process."""

from __future__ import annotations

import argparse
import os
import signal
import sqlite3
import sys
from collections.abc import Sequence

from airflow_provider_leen.commands.terminal import Parser, complain, exit_code_of, say
from airflow_provider_leen.sandbox.flags import FLAGS

MISSING_EXTRA = (
    "The sandbox needs FastAPI and uvicorn: pip install 'airflow-provider-leen[sandbox]', or '.[sandbox]' in a checkout"
)


def build_parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    parser = Parser(
        prog="python -m airflow_provider_leen.sandbox", description="A local Leen API to try and break things against."
    )
    for name, options in FLAGS.items():
        parser.add_argument(name, **options)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGINT or SIGTERM; returns the exit code."""
    return exit_code_of(lambda: serve(build_parser().parse_args(arguments)))


def serve(options: argparse.Namespace) -> int:
    """Serve until SIGINT or SIGTERM; returns the exit code.

    :param options: what :data:`~airflow_provider_leen.sandbox.flags.FLAGS` were given as.
    """
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
        return _fail(f"Can't listen on {options.host}:{options.port}: {str(reason).rstrip('.')}. Try another --port.")
    except sqlite3.Error as error:
        return _fail(f"Can't use the file {options.db}: {error}.")
    with server:
        say(f"Leen sandbox: {server.base_url} (tickets: {server.url}/). Stop it with Ctrl-C.")
        say(f"export AIRFLOW_CONN_LEEN_DEFAULT='{server.airflow_conn}'")
        signal.sigwait(stop_signals)
    return 0


def _fail(message: str) -> int:
    complain(message)
    return 1


if __name__ == "__main__":
    sys.exit(main())
