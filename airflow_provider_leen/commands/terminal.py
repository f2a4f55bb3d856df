"""How the commands speak: what they print, and which errors they put into a sentence."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_leen.hooks.leen import LeenHook


def open_hook(conn_id: str, connection_id: str | None) -> LeenHook:
    """Return a hook whose connection is looked up as Airflow's own commands do, in the metadata database, too."""
    from airflow_provider_leen.hooks.leen import LeenHook

    os.environ.setdefault("_AIRFLOW_PROCESS_CONTEXT", "server")
    return LeenHook(conn_id, connection_id=connection_id)


def expected_errors() -> tuple[type[Exception], ...]:
    """Return the errors that are a sentence for a person; others are defects and keep their traceback."""
    from airflow.providers.common.compat.sdk import AirflowNotFoundException

    from airflow_provider_leen.api.errors import LeenError

    return LeenError, AirflowNotFoundException


def say(text: str) -> None:
    """Print what was asked for."""
    print(text, flush=True)


def complain(text: str) -> None:
    """Print what is not part of the result: errors and notes."""
    print(text, file=sys.stderr, flush=True)


def print_rows(rows: Sequence[Mapping[str, Any]], form: str = "table") -> None:
    """Print a list in one of the forms that Airflow's commands offer: table, json, yaml or plain."""
    from airflow.cli.simple_table import AirflowConsole
    from rich.markup import escape

    if form == "table":
        # A ticket's name is no markup.
        rows = [{name: escape(str(value)) for name, value in row.items()} for row in rows]
    AirflowConsole().print_as(data=list(rows), output=form)
