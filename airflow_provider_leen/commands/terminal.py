"""How the commands speak and end: what they print, which errors they put into a sentence, their exit codes."""

from __future__ import annotations

import argparse
import io
import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from typing import TYPE_CHECKING, Any, TextIO

from airflow_provider_leen.api.text import for_terminal

if TYPE_CHECKING:
    from airflow_provider_leen.hooks.leen import LeenHook

STOPPED = 130
"""The exit code of a process that was stopped by Ctrl-C: 128 and the number of SIGINT."""

READER_GONE = 141
"""The exit code of a process whose output nobody reads any more: 128 and the number of SIGPIPE."""


class Parser(argparse.ArgumentParser):
    """argparse's own, whose help ends like everything else that is printed: argparse takes no notice of a failure."""

    def print_help(self, file: Any = None) -> None:
        """Print the help."""
        say(self.format_help().rstrip("\n"))


class OutputError(Exception):
    """What was to be printed can't be."""


@contextmanager
def _without_log() -> Iterator[None]:
    """Leave out what a task would log: it is in the way of a table, and below Airflow 3 it goes to stdout."""
    level = logging.root.manager.disable
    logging.disable(logging.INFO)
    try:
        yield
    finally:
        logging.disable(level)


@_without_log()
def exit_code_of(command: Callable[[], int]) -> int:
    """Run a command to its end, and return its exit code; what ends it early is at most a sentence on stderr.

    :param command: what to run; it returns the exit code.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A terminal that lacks a letter of some ticket's name must not cost the results of all of them.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        try:
            return command()
        finally:
            with _printing():
                pass
    except KeyboardInterrupt:
        return STOPPED
    except BrokenPipeError:
        return READER_GONE
    except expected_errors() as error:
        complain(_sentence(error))
        return 1


def open_hook(conn_id: str, connection_id: str | None) -> LeenHook:
    """Return a hook whose connection is looked up as Airflow's own commands do, in the metadata database, too."""
    from airflow_provider_leen.hooks.leen import LeenHook

    os.environ.setdefault("_AIRFLOW_PROCESS_CONTEXT", "server")
    return LeenHook(conn_id, connection_id=connection_id)


def expected_errors() -> tuple[type[Exception], ...]:
    """Return the errors that are a sentence for a person; others are defects and keep their traceback."""
    from airflow.providers.common.compat.sdk import AirflowNotFoundException

    from airflow_provider_leen.api.errors import LeenError

    return LeenError, AirflowNotFoundException, OutputError


def say(text: str) -> None:
    """Print what was asked for; what a terminal would obey is shown as text.

    :raises OutputError: it can't be written.
    :raises BrokenPipeError: nobody reads it any more.
    """
    with _printing():
        print(for_terminal(text))


def complain(text: str) -> None:
    """Print what is not part of the result: errors and notes. Where even that fails, nobody can be told."""
    try:
        print(for_terminal(text), file=sys.stderr, flush=True)
    except OSError:
        _silence(sys.stderr)


def print_rows(rows: Sequence[Mapping[str, Any]], form: str = "table") -> None:
    """Print a list in one of the forms that Airflow's commands offer: table, json, yaml or plain.

    :raises OutputError: it can't be written.
    :raises BrokenPipeError: nobody reads it any more.
    """
    from airflow.cli.simple_table import AirflowConsole
    from rich.markup import escape

    # JSON and YAML escape what a terminal would obey. A ticket's name is no markup.
    if form in ("table", "plain"):
        shown = escape if form == "table" else str
        rows = [{name: shown(_cell(value)) for name, value in row.items()} for row in rows]
    elif form == "yaml":
        rows = [{name: _without_halves(value) for name, value in row.items()} for row in rows]
    # It looks at the terminal when it is made, so before the redirection.
    console = AirflowConsole()
    with _printing():
        # Rich ends the process by itself when nobody reads what it writes, so it doesn't write: nothing, not what waits
        # in the buffer of stdout either.
        with redirect_stdout(io.StringIO()) as written:
            console.print_as(data=list(rows), output=form)
        print(written.getvalue(), end="")


@contextmanager
def _printing() -> Iterator[None]:
    """Let what is printed arrive, or say that it does not."""
    try:
        yield
        print(end="", flush=True)
    except BrokenPipeError:
        _silence(sys.stdout)
        raise
    except OSError as error:
        _silence(sys.stdout)
        reason = error.strerror or type(error).__name__
    else:
        return
    raise OutputError(f"The output can't be written: {reason}.")


def _cell(value: Any) -> str:
    """Return what stands in a cell: on one line, since a line break in a name would look like a further row."""
    return "\\n".join(for_terminal(str(value)).splitlines())


def _without_halves(value: Any) -> Any:
    """Replace halves of surrogate pairs, which Airflow's YAML can't write."""
    if not isinstance(value, str):
        return value
    return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _silence(stream: TextIO) -> None:
    """Drop what is left in a stream's buffer, and what follows: Python would try again to write it when it ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def _sentence(error: Exception) -> str:
    from airflow.providers.common.compat.sdk import AirflowNotFoundException

    if isinstance(error, AirflowNotFoundException):
        return f"{error}: add it to Airflow's connections, or set its environment variable AIRFLOW_CONN_…."
    return str(error)
