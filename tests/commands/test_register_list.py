"""What ``register list`` shows of a finding."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_leen.bulk.findings import Change, History
from airflow_provider_leen.bulk.register_store import folder_of
from airflow_provider_leen.bulk.register_table import Known
from airflow_provider_leen.cli import main
from airflow_provider_leen.commands.register_list import row_of, shown_time
from airflow_provider_leen.sandbox.server import SandboxServer
from tests.bulk.test_reconcile import Scope

NOON = 1_780_000_000.0
AT = shown_time(NOON)


def filed(**given: Any) -> Known:
    ticket: dict[str, Any] = {
        "identifier": "a", "generation": 0, "project": "SEC", "key": "airflow-1", "status": "existing",
        "ticket_id": "id-1", "vendor_ticket_id": "SEC-1", "filed_at": NOON, "given": False, "error": None,
    }  # fmt: skip
    return Known(**ticket | given)


@pytest.mark.parametrize(
    ("known", "history", "ticket", "pending"),
    [
        (filed(), History(), "open", ""),
        (filed(status="unknown", error="No reply."), History(), "", ""),
        (filed(ticket_id=None, vendor_ticket_id=None, given=True), History(), "none wanted", ""),
        (filed(given=True), History(), "taken over", ""),
        (filed(), History(deleted=True), "deleted", ""),
        (filed(), History(closed_by="us", closed_at=NOON), "closed", ""),
        (filed(), History(closed_by="person"), "closed by a person", ""),
        (filed(), History(closed_by="us", refusal="No."), "closed", "not reopened: No."),
        (filed(), History(close_since=NOON), "open", f"to be closed since {AT}"),
        (
            filed(ticket_id=None),
            History(close_since=NOON),
            "open",
            f"to be closed since {AT}: Leen does not know the ticket yet",
        ),
        (filed(), History(change=Change("closed", NOON)), "open", f"closing, sent {AT}: the reply was lost"),
        (filed(), History(change=Change("open", NOON, "j1")), "open", f"reopening, sent {AT}: job j1"),
        (
            filed(),
            History(change=Change("open", NOON, "j1", ended=True)),
            "open",
            f"reopening, sent {AT}: job j1 ended without its outcome",
        ),
        (
            filed(),
            History(held=True),
            "open",
            "kept open until its finding is listed again: a person may have reopened it",
        ),
    ],
)
def test_a_ticket_and_what_waits_are_shown_as_far_as_they_are_known(
    known: Known, history: History, ticket: str, pending: str
) -> None:
    row = row_of(known, history)
    assert (row["ticket"], row["pending"]) == (ticket, pending)


def test_the_list_of_a_scope_shows_what_a_reconciling_has_done(
    sandbox: SandboxServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scope = Scope(sandbox, tmp_path / folder_of(""))
    scope.run("a", "b", "c")
    scope.run("c", close_after=1)
    scope.run("b", "c", close_after=1)
    scope.run("b", "a", close_after=1, on_returned="create")
    capsys.readouterr()
    assert main(["register", "list", "--register", str(tmp_path), "--output", "json"]) == 0
    rows = {row["identifier"]: row for row in json.loads(capsys.readouterr().out)}
    shown = {name: (row["ticket"], row["generation"], row["lists_without_it"]) for name, row in rows.items()}
    assert shown == {"a": ("open", "1", "0"), "b": ("open", "0", "0"), "c": ("closed", "0", "1")}
    assert all(row["filed_at"] for row in rows.values())
    assert [bool(rows[name]["closed_at"]) for name in "abc"] == [False, False, True]
    assert [bool(rows[name]["changed_at"]) for name in "abc"] == [False, True, True], "b was closed and reopened"
