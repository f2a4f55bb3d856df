from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_leen.cli import COMMANDS
from airflow_provider_leen.sandbox.server import SandboxServer
from tests.commands.processes import (
    AIRFLOW,
    MODULE,
    Said,
    environment,
    has_airflow_commands,
    needs_airflow_commands,
    run,
)

TO_SEC = ["--default", "project_vendor_id=SEC", "--default", "type=Task"]


@pytest.fixture
def leen(capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """Runs a command in this process: ``leen("check", "leen_default")``."""
    return lambda *arguments: run(arguments, capsys)


@pytest.fixture
def findings(tmp_path: Path) -> Callable[[int], str]:
    """Writes a file of tickets, and returns its path."""

    def findings(count: int) -> str:
        path = tmp_path / "findings.jsonl"
        path.write_text("".join(json.dumps({"name": f"finding {number}"}) + "\n" for number in range(count)))
        return str(path)

    return findings


@pytest.fixture
def mixed(tmp_path: Path) -> str:
    path = tmp_path / "mixed.csv"
    path.write_text("name,priority,prio\nRotate the key,HIGH,\n[/bold] markup,LOW,x\nNo such priority,URGENT,\n")
    return str(path)


# check


def test_check_says_what_leen_says_of_a_connection(leen: Callable[..., Said], sandbox: SandboxServer) -> None:
    said = leen("check", "leen_default")
    assert said.code == 0
    assert said.out.startswith("Leen accepts the key and the connection; it sees projects such as")


@pytest.mark.parametrize(
    ("wrong", "words"),
    [({"password": "a-wrong-key"}, "Check the API key"), ({"host": "http://127.0.0.1:9/v1"}, "could not be reached")],
    ids=["key", "host"],
)
def test_check_says_in_a_sentence_what_is_wrong_and_never_shows_the_key(
    leen: Callable[..., Said],
    sandbox: SandboxServer,
    monkeypatch: pytest.MonkeyPatch,
    wrong: dict[str, str],
    words: str,
) -> None:
    fields = json.loads(sandbox.airflow_conn) | wrong | {"extra": {"max_retries": 0}}
    monkeypatch.setenv("AIRFLOW_CONN_LEEN_DEFAULT", json.dumps(fields))
    said = leen("check", "leen_default")
    assert (said.code, said.out) == (1, "")
    assert words in said.err
    assert fields["password"] not in said.err
    assert said.err.count("\n") == 1


def test_check_takes_another_leen_connection(leen: Callable[..., Said], sandbox: SandboxServer) -> None:
    assert leen("check", "leen_default", "--connection-id", "no-uuid").code == 1


def test_a_connection_that_is_not_there_is_a_sentence(leen: Callable[..., Said], airflow_db: None) -> None:
    said = leen("check", "no_such_connection")
    assert said.code == 1
    assert said.err.startswith("The conn_id `no_such_connection` isn't defined")
    assert "Traceback" not in said.err


def test_a_connection_in_airflow_s_database_is_found(
    leen: Callable[..., Said], sandbox: SandboxServer, airflow_db: None
) -> None:
    from airflow.models import Connection
    from airflow.utils.session import create_session

    fields = json.loads(sandbox.airflow_conn)
    with create_session() as session:
        session.add(Connection(conn_id="leen_in_database", **fields))  # noqa: AIR311  # the table's model is meant
    assert leen("check", "leen_in_database").code == 0


# projects, users


def test_projects_and_users_are_listed(leen: Callable[..., Said], sandbox: SandboxServer) -> None:
    projects = json.loads(leen("projects", "--output", "json").out)
    assert [(project["vendor_id"], project["name"]) for project in projects] == [
        ("SEC", "Security"),
        ("APP", "Applications"),
    ]
    said = leen("users")
    assert said.code == 0
    assert "Ada Okafor" in said.out
    assert "712020:0a1b2c01" in said.out


# create


def test_every_row_becomes_a_ticket(
    leen: Callable[..., Said], sandbox: SandboxServer, findings: Callable[[int], str]
) -> None:
    said = leen("create", findings(120), *TO_SEC)
    assert said.code == 0
    assert said.out.endswith("120 tickets: 120 created.\n")
    assert "… and 70 more tickets" in said.out
    [note] = said.err.splitlines()
    assert note.startswith("This command keeps no durable ledger")
    assert sandbox.count("POST") == 3
    assert len(sandbox.tickets()) == 120


def test_failures_are_shown_with_their_rows_and_set_the_exit_code(
    leen: Callable[..., Said], sandbox: SandboxServer, mixed: str, tmp_path: Path
) -> None:
    output = tmp_path / "results.json"
    said = leen("create", mixed, *TO_SEC, "--output", str(output))
    assert said.code == 1
    assert "3 tickets: 1 created, 1 rejected, 1 invalid." in said.out
    assert "did you mean `priority`?" in said.out
    assert "[/bold] markup" in said.out
    summary = json.loads(output.read_text())
    assert [result["status"] for result in summary["results"]] == ["created", "invalid", "rejected"]


def test_a_link_in_place_of_the_output_is_replaced_and_not_followed(
    leen: Callable[..., Said], sandbox: SandboxServer, mixed: str, tmp_path: Path
) -> None:
    victim, output = tmp_path / "victim", tmp_path / "results.json"
    victim.write_text("precious")
    output.symlink_to(victim)
    leen("create", mixed, *TO_SEC, "--dry-run", "--output", str(output))
    assert victim.read_text() == "precious"
    assert not output.is_symlink()
    assert output.stat().st_mode & 0o777 == 0o600


def test_failures_are_shown_before_tickets_that_exist(
    leen: Callable[..., Said], sandbox: SandboxServer, tmp_path: Path
) -> None:
    path = tmp_path / "t.json"
    path.write_text(json.dumps([{"name": f"finding {number}"} for number in range(70)] + [{"name": "last", "x": "y"}]))
    assert "unknown field 'x'" in leen("create", str(path), *TO_SEC).out


def test_a_dry_run_checks_every_row_and_sends_nothing(
    leen: Callable[..., Said], sandbox: SandboxServer, mixed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_LEEN_DEFAULT")
    said = leen("create", mixed, "--default", "type=Task", "--dry-run")
    assert said.code == 1
    assert [line.split(":")[0] for line in said.out.splitlines()[:-1]] == ["line 2", "line 3", "line 4"]
    assert "the project is missing: write `project_vendor_id` or `project_id`, in the file or by --default" in said.out
    assert said.out.endswith("0 of 3 rows can be sent; nothing was sent.\n")
    assert sandbox.requests == []


def test_a_dry_run_shows_what_is_made_of_each_row_and_what_the_tracker_will_refuse(
    leen: Callable[..., Said], sandbox: SandboxServer, tmp_path: Path
) -> None:
    path = tmp_path / "t.ndjson"
    rows = [
        {"name": "a\nb", "priority": "error", "identifier": "x"},
        {"name": "c" * 300, "priority": "low"},
        {"name": "d", "priority": "P1", "identifier": "x"},
        {"name": "e", "priority": "P1"},
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    said = leen("create", str(path), *TO_SEC, "--priority-map", "ERROR=HIGH", "--dry-run")
    assert said.code == 0
    assert said.out.splitlines() == [
        "line 1: the priority is mapped",
        "line 1: line breaks in the name become spaces",
        "line 2: the priority is mapped",
        "line 2: the name is cut, and the description begins with the whole name",
        "line 3: `identifier` 'x' is also that of line 1: the two share one ticket",
        "line 4: the tracker will refuse it: `priority` 'P1' is none of Leen's (CRITICAL, HIGH, MEDIUM, LOW, "
        "INFORMATIONAL, UNKNOWN): unless the tracker has one of this name, map it with --priority-map",
        "Not sent as given: in 2 tickets, the priority is mapped; in 1 ticket, line breaks in the name become spaces; "
        "in 1 ticket, the name is cut, and the description begins with the whole name; in 1 ticket, the identifier is "
        "that of an earlier row with another name: the two share one ticket.",
        "4 of 4 rows can be sent; nothing was sent.",
    ]
    said = leen("create", str(path), *TO_SEC, "--priority-map", "ERROR=HIGH", "--priority-map", "P1=CRITICAL")
    assert said.code == 0
    assert "4 tickets: 3 created, 1 existing." in said.out
    assert "Not sent as given: in 3 tickets" in said.err
    assert [ticket["priority"] for ticket in sandbox.tickets()] == ["High", "Low", "Highest"]


def test_the_results_of_a_report_that_are_no_tickets_of_their_own_are_counted(leen: Callable[..., Said]) -> None:
    report = Path(__file__).parents[1] / "example_dags" / "scan.sarif"
    said = leen("create", str(report), *TO_SEC, "--dry-run")
    assert said.out == "5 of 5 rows can be sent; nothing was sent.\n"
    assert "7 results in the SARIF report: 5 tickets, 1 suppressed, 1 in the ticket of an equal one." in said.err


def test_a_dry_run_writes_what_it_found_to_the_output(
    leen: Callable[..., Said], sandbox: SandboxServer, mixed: str, tmp_path: Path
) -> None:
    output = tmp_path / "results.json"
    assert leen("create", mixed, *TO_SEC, "--dry-run", "--output", str(output)).code == 1
    summary = json.loads(output.read_text())
    assert (summary["total"], summary["invalid"], summary["unsent"]) == (3, 1, 2)
    assert [result["status"] for result in summary["results"]] == ["unsent", "invalid", "unsent"]
    assert [result["identifier"] for result in summary["results"]] == [None, None, None]
    assert "did you mean `priority`?" in summary["results"][1]["error"]
    assert sandbox.requests == []


@pytest.mark.parametrize("dry_run", [[], ["--dry-run"]], ids=["sending", "dry run"])
def test_an_empty_file_is_a_success_that_says_so(
    leen: Callable[..., Said],
    sandbox: SandboxServer,
    findings: Callable[[int], str],
    tmp_path: Path,
    dry_run: list[str],
) -> None:
    output = tmp_path / "results.json"
    said = leen("create", findings(0), *TO_SEC, *dry_run, "--output", str(output))
    assert (said.code, said.out, said.err) == (0, "The file holds no tickets: there is nothing to do.\n", "")
    assert json.loads(output.read_text())["total"] == 0
    assert sandbox.requests == []


def test_a_row_is_named_by_the_line_that_it_begins_at(
    leen: Callable[..., Said], sandbox: SandboxServer, tmp_path: Path
) -> None:
    path = tmp_path / "t.csv"
    path.write_text('name,identifier,description\nfirst,a,"one\ntwo"\n\nthird,,\n,b,\nfourth,a,\n')
    said = leen("create", str(path), *TO_SEC, "--dry-run")
    assert said.out.splitlines()[:-2] == [
        "line 6: `name` is missing: write the ticket's title",
        "line 7: `identifier` 'a' is also that of line 2: the two share one ticket",
    ]
    sandbox.inject("lost")
    said = leen("create", str(path), *TO_SEC)
    assert [line.split()[0] for line in said.out.splitlines() if " | unknown" in line] == ["2", "5", "7"]
    assert re.findall(r"^  (.*) \(identifier", said.err, re.MULTILINE) == [
        "line 2 'first'",
        "line 5 'third'",
        "line 7 'fourth'",
    ]


def test_a_row_of_an_array_is_named_by_its_position_from_1(leen: Callable[..., Said], tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    path.write_text(json.dumps([{"name": "a"}, {"nam": "b"}]))
    assert leen("create", str(path), *TO_SEC, "--dry-run").out.startswith("row 2: `name` is missing")


def test_a_line_that_is_no_json_is_named_once(leen: Callable[..., Said], tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text('\n{"name"\n')
    said = leen("create", str(path), *TO_SEC, "--dry-run")
    assert said.out.startswith("line 2: it is not JSON (Expecting ':' delimiter at column 8)")


def test_tickets_that_leen_knows_are_skipped_where_that_is_asked_for(
    leen: Callable[..., Said], sandbox: SandboxServer, tmp_path: Path
) -> None:
    # What is created with vendor ids alone is not known to Leen before a sync.
    by_uuid = ["--default", "project_id=5ec00000-0000-4000-8000-000000000001", "--default", "type=Task"]
    path = tmp_path / "t.csv"
    path.write_text("name,identifier\nold,finding-1\n")
    assert leen("create", str(path), *by_uuid).code == 0
    path.write_text("name,identifier\nold,finding-1\nnew,finding-2\n")
    said = leen("create", str(path), *by_uuid, "--if-exists", "skip")
    assert said.code == 0
    assert said.out.endswith("2 tickets: 1 created, 1 existing.\n")
    assert "it sends every ticket again whose identifier Leen does not know" in said.err
    assert [ticket["name"] for ticket in sandbox.tickets()] == ["old", "new"]


def test_an_embedded_key_finds_a_ticket_whose_reply_was_lost(
    leen: Callable[..., Said], sandbox: SandboxServer, findings: Callable[[int], str]
) -> None:
    sandbox.inject("lost", commit=True)
    said = leen("create", findings(2), *TO_SEC, "--embed-identifier")
    assert said.code == 0
    assert said.out.endswith("2 tickets: 2 created.\n")
    assert "If a reply is lost, the command waits 380 s" in said.err
    assert all(re.fullmatch(r"airflow-[0-9a-f]{24}", ticket["description"]) for ticket in sandbox.tickets())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--default", "projekt=SEC"], "--default can't be used: unknown field 'projekt'"),
        (["--output", "/no/such/folder/results.json"], "The results can't be written to"),
        (["--conn-id", "no_such_connection"], "isn't defined"),
        (["--default", "identifier=x"], "--default holds an `identifier`"),
    ],
)
def test_what_cannot_be_done_is_reported_before_anything_is_sent(
    leen: Callable[..., Said],
    sandbox: SandboxServer,
    airflow_db: None,
    findings: Callable[[int], str],
    arguments: list[str],
    words: str,
) -> None:
    said = leen("create", findings(2), *TO_SEC, *arguments)
    assert said.code == 1
    assert words in said.err
    assert sandbox.requests == []


@pytest.mark.parametrize("arguments", [[], ["create"], ["create", "x.csv", "--default", "no-equals-sign"], ["fly"]])
def test_wrong_usage_ends_with_2(leen: Callable[..., Said], arguments: list[str]) -> None:
    said = leen(*arguments)
    assert said.code == 2
    assert said.err.startswith("usage: ")


# Processes


def test_the_module_s_exit_code_is_the_command_s(sandbox: SandboxServer) -> None:
    done = subprocess.run(
        [*MODULE, "check", "leen_default"], env=environment(sandbox), capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@needs_airflow_commands
def test_airflow_offers_the_same_commands(sandbox: SandboxServer, mixed: str) -> None:
    def airflow(*arguments: str) -> Any:
        return subprocess.run(
            [*AIRFLOW, *arguments], env=environment(sandbox), capture_output=True, text=True, check=False
        )

    listed = airflow("--help")
    assert all(command.help in listed.stdout for command in COMMANDS)
    done = airflow("create", mixed, *TO_SEC)
    assert done.returncode == 1
    assert "3 tickets: 1 created, 1 rejected, 1 invalid." in done.stdout
    assert len(sandbox.tickets()) == 1


@pytest.mark.skipif(has_airflow_commands(), reason="Airflow 3.2 and newer take commands from providers")
def test_an_older_airflow_knows_no_leen_command_and_works(sandbox: SandboxServer) -> None:
    done = subprocess.run([*AIRFLOW, "check"], env=environment(sandbox), capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "invalid choice: 'leen'" in done.stderr


@pytest.mark.slow
@needs_airflow_commands
def test_airflow_runs_a_sandbox_until_it_is_stopped(sandbox: SandboxServer) -> None:
    process = subprocess.Popen(
        [*AIRFLOW, "sandbox", "--port", "0", "--latency", "0"],
        env=environment(sandbox),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    with process:
        try:
            said = [process.stdout.readline() for _ in range(2)]
        finally:
            process.terminate()
    assert said[0].startswith("Leen sandbox: http://127.0.0.1:")
    assert said[1].startswith("export AIRFLOW_CONN_LEEN_DEFAULT=")
    assert process.returncode == 0


def test_the_module_of_the_commands_imports_little() -> None:
    script = (
        "import sys, json, argparse; before = set(sys.modules);"
        "import airflow_provider_leen.cli;"
        "new = set(sys.modules) - before;"
        "print(json.dumps(sorted(m for m in new if m.split('.')[0] not in sys.stdlib_module_names)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [
        "airflow_provider_leen",
        "airflow_provider_leen.cli",
        "airflow_provider_leen.sandbox",
        "airflow_provider_leen.sandbox.flags",
    ]


def test_the_results_never_overwrite_the_tickets(
    leen: Callable[..., Said], sandbox: SandboxServer, findings: Callable[[int], str]
) -> None:
    file = findings(2)
    before = Path(file).read_text()
    said = leen("create", file, *TO_SEC, "--output", file)
    assert said.code == 1
    assert "name another file for --output" in said.err
    assert Path(file).read_text() == before
    assert sandbox.requests == []
