"""The output of the commands, the errors that they report as a sentence, and their exit codes."""

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
"""The exit code of a process whose output is no longer read: 128 and the number of SIGPIPE."""

_PACKAGE = __name__.partition(".")[0]


class Parser(argparse.ArgumentParser):
    """argparse's parser, which also reports failures to print its help: argparse ignores them."""

    def print_help(self, file: Any = None) -> None:
        """Print the help."""
        say(self.format_help().rstrip("\n"))


class OutputError(Exception):
    """The output can't be written."""


class _Sentences(logging.Handler):
    """Prints a record's message to stderr."""

    def emit(self, record: logging.LogRecord) -> None:
        complain(record.getMessage())


@contextmanager
def _plain_log() -> Iterator[None]:
    """Turn off log lines, which disturb tables; this package's warnings are sentences on stderr.

    Below Airflow 3 they would go to stdout, into a table or JSON.
    """
    level, package, sentences = logging.root.manager.disable, logging.getLogger(_PACKAGE), _Sentences(logging.WARNING)
    logging.disable(logging.INFO)
    package.addHandler(sentences)
    package.propagate = False
    try:
        yield
    finally:
        package.propagate = True
        package.removeHandler(sentences)
        logging.disable(level)


@_plain_log()
def exit_code_of(command: Callable[[], int]) -> int:
    """Run a command, and return its exit code; an error is at most a sentence on stderr.

    :param command: what to run; it returns the exit code.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A character that the terminal can't show must not lose all results.
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
    """Return a hook that looks its connection up as Airflow's own commands do, also in the metadata database."""
    from airflow_provider_leen.hooks.leen import LeenHook

    os.environ.setdefault("_AIRFLOW_PROCESS_CONTEXT", "server")
    return LeenHook(conn_id, connection_id=connection_id)


def expected_errors() -> tuple[type[Exception], ...]:
    """Return the errors whose message is for users; others are bugs and keep their traceback."""
    from airflow.providers.common.compat.sdk import AirflowNotFoundException

    from airflow_provider_leen.api.errors import LeenError

    return LeenError, AirflowNotFoundException, OutputError


def say(text: str) -> None:
    """Print a result; control characters are shown as text.

    :raises OutputError: it can't be written.
    :raises BrokenPipeError: the output is no longer read.
    """
    with _printing():
        print(for_terminal(text))


def complain(text: str) -> None:
    """Print errors and notes to stderr. If even that fails, the failure is ignored."""
    try:
        print(for_terminal(text), file=sys.stderr, flush=True)
    except OSError:
        _silence(sys.stderr)


def print_rows(rows: Sequence[Mapping[str, Any]], form: str = "table") -> None:
    """Print a list in one of the forms that Airflow's commands offer: table, json, yaml or plain.

    :raises OutputError: it can't be written.
    :raises BrokenPipeError: the output is no longer read.
    """
    from airflow.cli.simple_table import AirflowConsole
    from rich.markup import escape

    # JSON and YAML escape control characters. A ticket's name is not rich's markup.
    if form in ("table", "plain"):
        shown = escape if form == "table" else str
        rows = [{name: shown(_cell(value)) for name, value in row.items()} for row in rows]
    elif form == "yaml":
        rows = [{name: _without_halves(value) for name, value in row.items()} for row in rows]
    # Before the redirection, since it reads the terminal's properties when it is created.
    console = AirflowConsole()
    with _printing():
        # Rich ends the process if its output is no longer read, so it writes to a buffer, and not to stdout.
        with redirect_stdout(io.StringIO()) as written:
            console.print_as(data=list(rows), output=form)
        print(written.getvalue(), end="")


@contextmanager
def _printing() -> Iterator[None]:
    """Flush the output, or raise that it can't be written."""
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
    """Return the text of a cell, on one line: a line break in a name would look like another row."""
    return "\\n".join(for_terminal(str(value)).splitlines())


def _without_halves(value: Any) -> Any:
    """Replace halves of surrogate pairs, which Airflow's YAML can't write."""
    if not isinstance(value, str):
        return value
    return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _silence(stream: TextIO) -> None:
    """Drop a stream's buffer and later output: Python would otherwise try to write it again at exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def _sentence(error: Exception) -> str:
    from airflow.providers.common.compat.sdk import AirflowNotFoundException

    if isinstance(error, AirflowNotFoundException):
        return f"{error}. Add it in Airflow, or set the environment variable AIRFLOW_CONN_<ID in capitals>."
    return str(error)
