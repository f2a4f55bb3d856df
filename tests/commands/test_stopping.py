"""How a command ends early: Ctrl-C, an output that nothing reads, a full disk. Each runs in its own process."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from subprocess import PIPE
from typing import Any

import pytest

from airflow_provider_leen.commands.terminal import print_rows
from airflow_provider_leen.sandbox.server import SandboxServer
from tests.commands.processes import AIRFLOW, MODULE, environment, needs_airflow_commands, start, wait_until

pytestmark = pytest.mark.slow

SANDBOX = [sys.executable, "-m", "airflow_provider_leen.sandbox", "--port", "0"]
CREATE = ["create", "t.json", "--default", "project_vendor_id=SEC", "--default", "type=Task"]
COMMANDS = {
    "check": [*MODULE, "check", "leen_default"],
    "projects": [*MODULE, "projects"],
    "users as plain text": [*MODULE, "users", "--output", "plain"],
    "create": [*MODULE, *CREATE],
    "dry run": [*MODULE, *CREATE, "--dry-run"],
    "sandbox": SANDBOX,
}
every_command = pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_tickets(tmp_path, 1)
    return tmp_path


def write_tickets(folder: Path, count: int) -> None:
    (folder / "t.json").write_text(json.dumps([{"name": f"finding {number}"} for number in range(count)]))


def finished(
    command: list[str], sandbox: SandboxServer, folder: Path, *, stdout: Any = PIPE, stderr: Any = PIPE, **more: str
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        command, env=environment(sandbox, **more), cwd=folder, stdout=stdout, stderr=stderr, text=True, check=False
    )


# Ctrl-C


def wait_until_it_says(process: subprocess.Popen[str], words: str) -> None:
    assert process.stderr is not None
    while not process.stderr.readline().startswith(words):
        assert process.poll() is None


@pytest.mark.parametrize(
    "command",
    [
        COMMANDS["check"],
        COMMANDS["projects"],
        COMMANDS["users as plain text"],
        pytest.param([*AIRFLOW, "check", "leen_default"], marks=needs_airflow_commands),
    ],
    ids=["check", "projects", "users", "airflow check"],
)
def test_ctrl_c_ends_a_command_that_reads_without_a_traceback(command: list[str], sandbox: SandboxServer) -> None:
    sandbox.inject("stall", method="GET", path="/v1/itsm")
    process = start(command, sandbox)
    wait_until(lambda: sandbox.count("GET") > 0, process)
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=120) == ("", "")
    assert process.returncode == 130


@pytest.mark.smoke
def test_ctrl_c_stops_create_well_and_says_what_was_created(sandbox: SandboxServer, folder: Path) -> None:
    stopping = threading.Event()
    sandbox.inject("latency", until=stopping.is_set, nth=tuple(range(5, 41)))
    write_tickets(folder, 2000)
    process = start([*MODULE, *CREATE], sandbox, cwd=folder)
    wait_until(lambda: sandbox.count("POST") >= 5, process)
    process.send_signal(signal.SIGINT)
    wait_until_it_says(process, "Stopping")
    stopping.set()
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130
    created = len(sandbox.tickets())
    assert 0 < created < 2000
    assert err.endswith(f"Stopped: {created} tickets created, {2000 - created} not sent.\n")
    assert out.endswith(f"2000 tickets: {created} created, {2000 - created} unsent.\n")
    assert "Traceback" not in err


def test_a_second_ctrl_c_waits_for_nothing_and_reports_what_is_known(sandbox: SandboxServer, folder: Path) -> None:
    sandbox.inject("stall")
    process = start([*MODULE, *CREATE], sandbox, cwd=folder)
    wait_until(lambda: sandbox.count("POST") > 0, process)
    process.send_signal(signal.SIGINT)
    wait_until_it_says(process, "Stopping")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert err.startswith("Stopped: 0 tickets created")
    assert "1 ticket: 1 " in out


# An output that nothing reads, a full disk


@pytest.mark.parametrize("unbuffered", ["", "1"], ids=["buffered", "unbuffered"])
@every_command
def test_a_command_whose_output_is_no_longer_read_ends_quietly(
    command: list[str], unbuffered: str, sandbox: SandboxServer, folder: Path
) -> None:
    assert_ends_quietly(command, sandbox, folder, unbuffered)


@pytest.mark.parametrize("unbuffered", ["", "1"], ids=["buffered", "unbuffered"])
@pytest.mark.parametrize("command", [[*MODULE, "--help"], [*SANDBOX, "--help"]], ids=["all", "sandbox"])
def test_help_whose_output_is_no_longer_read_ends_quietly(
    command: list[str], unbuffered: str, sandbox: SandboxServer, folder: Path
) -> None:
    assert_ends_quietly(command, sandbox, folder, unbuffered)


@pytest.mark.parametrize("form", ["table", "json", "yaml"])
def test_a_list_in_every_other_form_ends_quietly_too(form: str, sandbox: SandboxServer, folder: Path) -> None:
    assert_ends_quietly([*MODULE, "users", "--output", form], sandbox, folder, "")


@needs_airflow_commands
@pytest.mark.parametrize("arguments", [CREATE, ["users", "--output", "plain"]], ids=["create", "users"])
def test_a_command_of_airflow_ends_quietly_too(arguments: list[str], sandbox: SandboxServer, folder: Path) -> None:
    assert_ends_quietly([*AIRFLOW, *arguments], sandbox, folder, "")


def assert_ends_quietly(command: list[str], sandbox: SandboxServer, folder: Path, unbuffered: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    # The variable of the tests' environment must not decide: a user's shell starts a command buffered.
    done = finished(command, sandbox, folder, stdout=writer, PYTHONUNBUFFERED=unbuffered)
    os.close(writer)
    assert done.returncode == 141
    assert [
        line for line in done.stderr.splitlines() if not line.startswith("This command keeps no durable ledger")
    ] == []
    assert len(sandbox.tickets()) == (command[-len(CREATE) :] == CREATE)


@every_command
def test_a_full_disk_is_a_sentence_and_costs_no_counts(
    command: list[str], sandbox: SandboxServer, folder: Path
) -> None:
    done = into_full_disk(command, sandbox, folder)
    assert done.returncode == 1
    assert done.stderr.endswith("The output can't be written: No space left on device.\n")
    assert "Traceback" not in done.stderr
    assert ("\n1 ticket: 1 created.\n" in done.stderr) == (command is COMMANDS["create"])


@pytest.mark.parametrize("unbuffered", ["", "1"], ids=["buffered", "unbuffered"])
def test_help_that_does_not_fit_on_the_disk_is_a_sentence(
    unbuffered: str, sandbox: SandboxServer, folder: Path
) -> None:
    done = into_full_disk([*MODULE, "--help"], sandbox, folder, PYTHONUNBUFFERED=unbuffered)
    assert (done.returncode, done.stderr) == (1, "The output can't be written: No space left on device.\n")


def into_full_disk(
    command: list[str], sandbox: SandboxServer, folder: Path, **more: str
) -> subprocess.CompletedProcess[str]:
    with Path("/dev/full").open("w") as full:
        return finished(command, sandbox, folder, stdout=full, **more)


def test_results_that_do_not_fit_on_the_disk_are_printed_all(sandbox: SandboxServer, folder: Path) -> None:
    write_tickets(folder, 60)
    done = finished([*MODULE, *CREATE, "--output", "/dev/full"], sandbox, folder)
    assert done.returncode == 1
    assert "The results can't be written to /dev/full: No space left on device." in done.stderr
    assert done.stdout.count("| created |") == 60


def test_tickets_are_created_even_if_nothing_can_be_printed(sandbox: SandboxServer, folder: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = finished([*MODULE, *CREATE], sandbox, folder, stderr=full)
    assert done.returncode == 0
    assert done.stdout.endswith("1 ticket: 1 created.\n")


# Terminals


HOSTILE = "\x1b[2J\x9b31m\x00\x7f\u202e\r"
OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]")


@pytest.mark.parametrize("form", ["table", "plain", "json", "yaml"])
def test_what_a_terminal_would_obey_is_shown_as_text_in_every_form(
    form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    print_rows([{"name": f"red{HOSTILE} alert", "half": "\ud83d|", "none": None}], form)
    shown = capsys.readouterr().out
    assert OBEYED.findall(shown) == []
    assert re.search(r"red\\(x1b|u001b|e)\[2J", shown)
    if form == "json":
        assert json.loads(shown) == [{"name": f"red{HOSTILE} alert", "half": "\ud83d|", "none": None}]


def test_leens_texts_never_reach_the_terminal_raw(sandbox: SandboxServer, folder: Path) -> None:
    sandbox.inject("status", status=401, message=f"refused{HOSTILE}by Leen")
    done = finished([*MODULE, *CREATE], sandbox, folder)
    said = done.stdout + done.stderr
    assert OBEYED.findall(said) == []
    assert "refused" in said


def test_a_file_s_own_text_never_reaches_the_terminal_raw(sandbox: SandboxServer, folder: Path) -> None:
    (folder / "t.json").write_text(json.dumps([{"name": HOSTILE, f"field{HOSTILE}": "x"}]))
    done = finished([*MODULE, *CREATE], sandbox, folder)
    assert OBEYED.findall(done.stdout + done.stderr) == []


def test_a_letter_that_the_terminal_lacks_costs_nothing(sandbox: SandboxServer, folder: Path) -> None:
    (folder / "t.json").write_text('{"name": "Schl\\u00fcssel"}')
    done = finished([*MODULE, *CREATE], sandbox, folder, PYTHONIOENCODING="ascii")
    assert done.returncode == 0
    assert "Schl\\xfcssel" in done.stdout


@pytest.mark.parametrize("form", ["table", "plain"])
def test_a_name_of_several_lines_makes_no_further_row(capsys: pytest.CaptureFixture[str], form: str) -> None:
    print_rows([{"name": "a\n2 | forged\u2028b", "id": "1"}], form)
    assert [line for line in capsys.readouterr().out.splitlines() if line.strip().startswith("2 | forged")] == []


@pytest.mark.parametrize("is_terminal", [True, False])
def test_the_progress_bar_is_for_terminals_only(sandbox: SandboxServer, folder: Path, is_terminal: bool) -> None:
    write_tickets(folder, 60)
    reader, writer = pty.openpty() if is_terminal else os.pipe()
    done = finished([*MODULE, *CREATE], sandbox, folder, stderr=writer, FORCE_COLOR="1", TERM="xterm")
    said = os.read(reader, 65536).decode()
    os.close(reader)
    os.close(writer)
    assert done.returncode == 0
    assert ("0/60" in said) == is_terminal
