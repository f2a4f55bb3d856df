"""The command ``create``: a ticket for every row of a file."""

from __future__ import annotations

import json
import sys
import uuid
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from airflow_provider_leen.api.errors import LeenConfigError
from airflow_provider_leen.api.sync_client import LeenClient
from airflow_provider_leen.bulk.create import Creation
from airflow_provider_leen.bulk.fitting import Fitting, refused_by_tracker
from airflow_provider_leen.bulk.journal import Journal, Owner
from airflow_provider_leen.bulk.ledger import Ledger
from airflow_provider_leen.bulk.lookup import settled_after
from airflow_provider_leen.bulk.sending import Batching
from airflow_provider_leen.bulk.statuses import STATUSES
from airflow_provider_leen.bulk.stores import MemoryStore
from airflow_provider_leen.bulk.summary import Summary, TicketResult, counted, summarise
from airflow_provider_leen.bulk.ticket_file import TicketFile, read_file
from airflow_provider_leen.bulk.tickets import KeyScope, TicketRow, changes_in, follows, payload, prepare, read_defaults
from airflow_provider_leen.bulk.validation import Wording
from airflow_provider_leen.bulk.verdict import final_error
from airflow_provider_leen.bulk.whole_file import whole_file
from airflow_provider_leen.commands.terminal import STOPPED, OutputError, complain, open_hook, print_rows, say

BATCHING = Batching(50, 4)
MAX_SHOWN = 50
"""The most tickets that are shown; the file of ``--output`` has all."""


def create(options: Namespace) -> int:
    """Create the tickets, print the results, and return 0 if all of them exist."""
    file = _read(options.file)
    if file.account:
        complain(file.account)
    wording = _wording(file)
    defaults = read_defaults(dict(options.default), wording.defaults)
    fitting = Fitting(dict(options.priority_map), embed_key=options.embed_identifier, called=wording.priority_map)
    output = _output_path(options.output, options.file)
    if options.dry_run or not file.rows:
        return _check(file, prepare(file.rows, defaults, _scope("", ""), fitting, wording), defaults, fitting, output)
    with open_hook(options.conn_id, options.connection_id) as hook:
        client = hook.get_conn()
        scope = _scope(client.settings.base_url, client.settings.connection_id)
        rows = prepare(file.rows, defaults, scope, fitting, wording)
        return _create(client, file, rows, lambda row: payload(row, defaults, fitting), output, options)


def _read(text: str) -> TicketFile:
    path = Path(text)
    try:
        return read_file(path, str(path))
    except OSError as error:
        problem = error.strerror or type(error).__name__
    raise LeenConfigError(f"{path} can't be read: {problem}.")


def _check(
    file: TicketFile, rows: Sequence[TicketRow], defaults: dict[str, str], fitting: Fitting, output: Path | None
) -> int:
    """Report each row that can't be sent, or is not sent as given."""
    summary = summarise([_not_sent(row) for row in rows])
    written = output is None or _write(output, summary)
    changed = 0
    for row in rows:
        changed += bool(row.changes)
        for remark in _remarks(row, defaults, fitting, _wording(file), all_of_it=changed <= MAX_SHOWN):
            say(f"{file.place(row.index)}: {remark}")
    if changes := changes_in(rows):
        say(changes)
    if rows:
        say(f"{summary['unsent']} of {counted(len(rows), 'row')} can be sent; nothing was sent.")
    else:
        say("The file holds no tickets: there is nothing to do.")
    return 0 if written and not summary["invalid"] else 1


def _remarks(
    row: TicketRow, defaults: dict[str, str], fitting: Fitting, wording: Wording, *, all_of_it: bool
) -> Iterator[str]:
    """Return the problems of a row, or the changes to it and what the tracker will refuse."""
    if row.error is not None:
        yield row.error
    elif row.follows is not None:
        if all_of_it:
            first = wording.row(row.follows)
            yield f"`identifier` {row.identifier!r} is also that of {first}: the two share one ticket"
    else:
        yield from row.changes if all_of_it else ()
        for refusal in refused_by_tracker(payload(row, defaults, fitting), wording):
            yield f"the tracker will refuse it: {refusal}"


def _not_sent(row: TicketRow) -> TicketResult:
    return {
        "request_index": row.index,
        "success": False,
        "status": "unsent" if row.error is None else "invalid",
        "name": row.name,
        # Not the key, which is never sent.
        "identifier": None if row.identifier == row.key else row.identifier,
        "ticket_id": None,
        "vendor_ticket_id": None,
        "error": row.error,
    }


def _create(
    client: LeenClient,
    file: TicketFile,
    rows: Sequence[TicketRow],
    body_of: Callable[[TicketRow], dict[str, Any]],
    output: Path | None,
    options: Namespace,
) -> int:
    wait = settled_after(client.settings) if options.embed_identifier else None
    if changes := changes_in(rows):
        complain(changes)
    _warn(skip_existing=options.if_exists == "skip", wait=wait)
    with ThreadPoolExecutor(max_workers=1) as threads, _progress(len(rows)) as advance:
        run = Creation(
            client.aio,
            Ledger(Journal(MemoryStore(), Owner({}, 1)), threads, embedded=options.embed_identifier),
            rows,
            body_of,
            BATCHING,
            skip_existing=options.if_exists == "skip",
            on_progress=lambda progress: advance(progress["done"]),
        )
        stopped = _drive(client, run)
    summary = summarise(run.results())
    error = final_error(summary, run.error, None, None, row=file.place)
    # Before anything is printed: there is no ledger of these results, and the terminal may be gone.
    written = output is None or _write(output, summary)
    try:
        _print(summary, rows, file, most=MAX_SHOWN if written else len(rows))
    finally:
        if stopped:
            complain(_stopped(summary))
        elif error is not None:
            complain(str(error))
    if stopped:
        return STOPPED
    return 0 if written and error is None and not summary["failed"] else 1


def _warn(*, skip_existing: bool, wait: float | None) -> None:
    """Warn of what the command can't do, before it does anything."""
    again = "every ticket again whose identifier Leen does not know" if skip_existing else "every ticket again"
    complain(
        f"This command keeps no durable ledger: if you run it again, it sends {again}. For long or regular lists, "
        "use LeenBulkCreateTicketsOperator."
    )
    if wait is not None:
        complain(
            f"If a reply is lost, the command waits {wait:.0f} s, until the vendor's search is sure to find what was "
            "created. Ctrl-C ends the wait."
        )


def _drive(client: LeenClient, run: Creation) -> bool:
    """Drive the run in the client's thread; return whether Ctrl-C stopped it."""
    work = client.start(run.run())
    try:
        wait([work])
    except KeyboardInterrupt:
        # A second Ctrl-C ends the wait; the results are still printed.
        with suppress(KeyboardInterrupt):
            complain("Stopping: batches in flight get three seconds to end.")
            run.stop("Stopped by Ctrl-C before all tickets were sent.")
            wait([work], timeout=run.stop_grace + 1)
        return True
    work.result()
    return False


def _stopped(summary: Summary) -> str:
    told = [f"{counted(summary['created'], 'ticket')} created", f"{summary['unsent']} not sent"]
    if summary["existing"]:
        told.append(f"{summary['existing']} existed already")
    if summary["unknown"]:
        told.append(f"{summary['unknown']} with an unknown outcome")
    return f"Stopped: {', '.join(told)}."


def _write(output: Path, summary: Summary) -> bool:
    """Write the results to the file of ``--output``, and return whether that succeeded."""
    try:
        # A file is replaced as a whole, readable by its owner only; anything else, such as /dev/stdout, is written to.
        opened = output.open("w", encoding="utf-8") if output.exists() and not output.is_file() else whole_file(output)
        with opened as file:
            file.write(json.dumps(summary, indent=2) + "\n")
    except OSError as error:
        complain(f"The results can't be written to {output}: {error.strerror}. They are only printed.")
        return False
    return True


def _print(summary: Summary, rows: Sequence[TicketRow], file: TicketFile, most: int) -> None:
    counts = [f"{summary[status]} {status}" for status in STATUSES if summary[status]]
    closing = f"{counted(summary['total'], 'ticket')}: {', '.join(counts)}."
    shown = _most_telling(summary["results"], most)
    try:
        print_rows([_line(result, _error_of(result, summary, rows, file), file) for result in shown])
        if len(shown) < summary["total"]:
            more = counted(summary["total"] - len(shown), "more ticket")
            say(f"… and {more}; --output FILE writes all of them.")
        say(closing)
    except OutputError:
        complain(closing)
        raise


def _most_telling(results: Sequence[TicketResult], most: int) -> list[TicketResult]:
    """Choose the rows of a long list to show: failures before tickets that exist, in the order of the file."""
    chosen = sorted(results, key=lambda result: result["success"])[:most]
    return sorted(chosen, key=lambda result: result["request_index"])


def _error_of(result: TicketResult, summary: Summary, rows: Sequence[TicketRow], file: TicketFile) -> str:
    first = rows[result["request_index"]].follows
    if first is None or result["success"]:
        return result["error"] or ""
    other = summary["results"][first]
    return follows(file.place(first), result["identifier"], f"is {other['status']}", other["error"])


def _line(result: TicketResult, error: str, file: TicketFile) -> dict[str, Any]:
    return {
        file.unit: file.numbers[result["request_index"]],
        "status": result["status"],
        "ticket": result["vendor_ticket_id"] or result["ticket_id"] or "",
        "name": result["name"] or "",
        "error": error,
    }


def _scope(base_url: str, connection_id: str) -> KeyScope:
    # Each run of the command has its own keys.
    return KeyScope("", str(uuid.uuid4()), "", -1, base_url, connection_id)


def _wording(file: TicketFile) -> Wording:
    """Name arguments and rows as a person finds them on the command line and in the file."""
    return Wording(
        defaults="--default",
        anywhere="in the file or by --default",
        priority_map="--priority-map",
        embed_identifier="--embed-identifier",
        row=file.place,
        has_lines=True,
    )


def _output_path(text: str | None, given: str) -> Path | None:
    """Make sure, before anything is sent, that the results can be written."""
    if text is None:
        return None
    path = Path(text)
    if path.resolve() == Path(given).resolve():
        raise LeenConfigError(f"The results would overwrite the tickets in {path}: name another file for --output.")
    try:
        if not path.is_symlink():
            path.touch(mode=0o600)
    except OSError as error:
        raise LeenConfigError(f"The results can't be written to {path}: {error.strerror}.") from None
    return path


@contextmanager
def _progress(total: int) -> Iterator[Callable[[int], None]]:
    """A progress bar on stderr, if that is a terminal."""
    # Not left to rich: with FORCE_COLOR it treats a log file as a terminal, and older versions write an empty line.
    if not sys.stderr.isatty():
        yield lambda _done: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    console = Console(file=sys.stderr)
    columns = ("Tickets", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=total)
        yield lambda done: bar.update(task, completed=done)
