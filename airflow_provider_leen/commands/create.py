"""The command ``create``: a ticket for every row of a file."""

from __future__ import annotations

import json
import sys
import uuid
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from airflow_provider_leen.api.errors import LeenConfigError
from airflow_provider_leen.api.sync_client import LeenClient
from airflow_provider_leen.bulk.ledger import Journal, MemoryLedger
from airflow_provider_leen.bulk.runner import BulkRun
from airflow_provider_leen.bulk.sender import STOP_GRACE
from airflow_provider_leen.bulk.summary import STATUSES, Summary, TicketResult, summarise
from airflow_provider_leen.bulk.tickets import KeyScope, TicketRow, payload, prepare, read_defaults
from airflow_provider_leen.bulk.verdict import final_error
from airflow_provider_leen.commands.files import read_file
from airflow_provider_leen.commands.terminal import complain, open_hook, print_rows, say

BATCH_SIZE = 50
BATCHES_IN_FLIGHT = 4
MAX_SHOWN = 50
"""So many tickets are shown; the file of ``--output`` has all."""

STOPPED = 130
"""The exit code of a process that was stopped by Ctrl-C."""


def create(options: Namespace) -> int:
    """Create the tickets, print what became of them, and return 0 when all of them exist."""
    given = read_file(Path(options.file))
    try:
        defaults = read_defaults(dict(options.default))
        if options.dry_run:
            return _check(prepare(given, defaults, _scope("", "")))
        output = _output_path(options.output, options.file)
        with open_hook(options.conn_id, options.connection_id) as hook:
            client = hook.get_conn()
            rows = prepare(given, defaults, _scope(client.settings.base_url, client.settings.connection_id))
            complain(
                "Nothing remembers what this command sends: when it is run again, it sends every ticket again. For "
                "long or regular lists, use LeenBulkCreateTicketsOperator."
            )
            return _create(client, rows, defaults, output)
    except LeenConfigError as error:
        failure = LeenConfigError(_in_terms_of_the_command(str(error)))
    raise failure


def _check(rows: Sequence[TicketRow]) -> int:
    invalid = [row for row in rows if row.error is not None]
    for row in invalid:
        say(f"row {row.index + 1}: {_in_terms_of_the_command(str(row.error))}")
    say(f"{len(rows) - len(invalid)} of {len(rows)} rows can be sent; nothing was sent.")
    return 1 if invalid else 0


def _create(client: LeenClient, rows: Sequence[TicketRow], defaults: dict[str, str], output: Path | None) -> int:
    with ThreadPoolExecutor(max_workers=1) as threads, _progress(len(rows)) as advance:
        run = BulkRun(
            client.aio,
            Journal(MemoryLedger(), threads),
            rows,
            lambda row: payload(row, defaults),
            batch_size=BATCH_SIZE,
            max_concurrent_batches=BATCHES_IN_FLIGHT,
            on_progress=lambda progress: advance(progress["done"]),
        )
        stopped = _drive(client, run)
    summary = summarise(run.results())
    if output is not None:
        # Before anything is printed: nothing remembers these results, and a terminal may be gone.
        output.write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    _print(summary)
    if stopped:
        unknown = f", nobody knows of {summary['unknown']}" if summary["unknown"] else ""
        complain(f"Stopped. {summary['created']} tickets were created, {summary['unsent']} were not sent{unknown}.")
        return STOPPED
    error = final_error(summary, run.error, None, None)
    if error is not None:
        complain(str(error))
    return 1 if summary["failed"] or error is not None else 0


def _drive(client: LeenClient, run: BulkRun) -> bool:
    """Let the run go on in the client's thread; return whether it was stopped by Ctrl-C."""
    work = client.start(run.run())
    try:
        wait([work])
    except KeyboardInterrupt:
        complain("Stopping: batches in flight get three seconds to end.")
        run.stop("Stopped by Ctrl-C before all tickets were sent.")
        wait([work], timeout=STOP_GRACE + 1)
        return True
    work.result()
    return False


def _print(summary: Summary) -> None:
    shown = _most_telling(summary["results"])
    if shown:
        print_rows([_line(result) for result in shown])
    if len(shown) < summary["total"]:
        say(f"… and {summary['total'] - len(shown)} more tickets; --output FILE writes all of them.")
    counts = [f"{summary[status]} {status}" for status in STATUSES if summary[status]]
    say(f"{summary['total']} tickets: {', '.join(counts) or 'nothing to do'}.")


def _most_telling(results: Sequence[TicketResult]) -> list[TicketResult]:
    """Choose what is shown of a long list: failures before tickets that exist, in the order of the file."""
    chosen = sorted(results, key=lambda result: result["success"])[:MAX_SHOWN]
    return sorted(chosen, key=lambda result: result["request_index"])


def _line(result: TicketResult) -> dict[str, Any]:
    return {
        "row": result["request_index"] + 1,
        "status": result["status"],
        "ticket": result["vendor_ticket_id"] or result["ticket_id"] or "",
        "name": result["name"] or "",
        "error": _in_terms_of_the_command(result["error"] or ""),
    }


def _scope(base_url: str, connection_id: str) -> KeyScope:
    # Each run of the command has keys of its own.
    return KeyScope("", str(uuid.uuid4()), "", -1, base_url, connection_id)


def _in_terms_of_the_command(text: str) -> str:
    return text.replace("here or in `ticket_defaults`", "in the file or by --default").replace(
        "`ticket_defaults`", "--default"
    )


def _output_path(text: str | None, given: str) -> Path | None:
    """Make sure, before anything is sent, that the results can be written."""
    if text is None:
        return None
    path = Path(text)
    if path.resolve() == Path(given).resolve():
        raise LeenConfigError(f"The results would overwrite the tickets in {path}: name another file for --output.")
    try:
        path.touch()
    except OSError as error:
        raise LeenConfigError(f"The results can't be written to {path}: {error.strerror}.") from None
    return path


@contextmanager
def _progress(total: int) -> Iterator[Callable[[int], None]]:
    """A progress bar on stderr, where that is a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    console = Console(file=sys.stderr)
    columns = ("Tickets", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task("", total=total)
        yield lambda done: bar.update(task, completed=done)
