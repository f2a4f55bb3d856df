"""Every command on the pages does what the page says."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from airflow_provider_leen import cli
from airflow_provider_leen.get_provider_info import UI_FIELD_BEHAVIOUR
from airflow_provider_leen.hooks.leen import LeenHook
from airflow_provider_leen.sandbox.server import SandboxServer
from tests.commands.processes import has_airflow_commands
from tests.docs.pages import BLOCKS, DOCS, PAGES, README, ROOT, sentences_of, text_of_dag

TOUR = [
    block for block in BLOCKS if block.page == DOCS / "getting-started.md" and re.search(r"(?m)^airflow ", block.text)
]
SHORT_TOUR = [block for block in BLOCKS if block.page == README and "airflow standalone" in block.text]
COMMANDS = [
    pytest.param(command, id=f"{block}: {command[:60]}")
    for block in BLOCKS
    if block.language == "bash" and block not in TOUR + SHORT_TOUR
    for command in block.text.splitlines()
]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_does_what_it_says(
    command: str, sandbox: SandboxServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = shlex.split(command)
    match words:
        case ["make", *_]:
            check_make(words)
        case ["python", "-m", "airflow_provider_leen.sandbox", *_]:
            assert len(sandbox_output(words)) == 2
        case ["export", _]:
            check_export(command, monkeypatch)
        case ["pip", "install", what]:
            check_install(what)
        case ["airflow", "leen", *arguments] | ["python", "-m", "airflow_provider_leen", *arguments]:
            if words[0] == "airflow" and not has_airflow_commands():
                pytest.skip("Airflow below 3.2 takes no commands from providers")
            monkeypatch.chdir(tmp_path)
            check_leen(arguments)
        case ["airflow", *arguments]:
            check_airflow(arguments)
        case _:
            pytest.fail(f"Nothing here runs {command!r}.")


def test_the_tour_in_one_s_own_airflow_ends_with_two_tickets(sandbox: SandboxServer, airflow_home: Path) -> None:
    assert all(block.text in TOUR[0].text for block in SHORT_TOUR)
    # Airflow makes its database when it starts; here that is there already, and Airflow need not stay.
    script = "".join(block.text for block in TOUR).replace("airflow standalone", "airflow db migrate")
    own = {
        "HOME": str(airflow_home.parent),
        "AIRFLOW_HOME": str(airflow_home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(airflow_home / "dags"),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    done = subprocess.run(
        ["bash", "-euc", script], cwd=ROOT, env=environment() | own, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert len(sandbox.tickets()) == 2


def check_make(words: list[str]) -> None:
    done = subprocess.run([*words, "--dry-run", "-C", str(ROOT)], env=environment(), capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


def sandbox_output(words: list[str]) -> list[str]:
    """Start the sandbox on a free port, and return what it says once it is up."""
    command = [sys.executable, *words[1:], "--port", "0"]
    with subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            return [process.stdout.readline() for _ in range(2)]
        finally:
            process.send_signal(signal.SIGINT)


def environment() -> dict[str, str]:
    # A make that runs these tests must not pass its own options on.
    return {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}


def exported(command: str) -> tuple[str, str]:
    """What the shell makes of an ``export`` line."""
    name = command.removeprefix("export ").partition("=")[0]
    shell = ["bash", "-euc", f'{command}\nprintf %s "${name}"']
    return name, subprocess.run(shell, capture_output=True, text=True, check=True).stdout


def check_export(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.providers.common.compat.sdk import conf

    name, value = exported(command)
    monkeypatch.setenv(name, value)
    if name == "AIRFLOW__CORE__TEST_CONNECTION":
        assert conf.get("core", "test_connection") == "Enabled"
        return
    assert name == "AIRFLOW_CONN_LEEN_DEFAULT"
    settings = LeenHook().settings
    assert settings.api_key == "your-api-key"
    assert settings.connection_id == UI_FIELD_BEHAVIOUR["placeholders"]["login"]
    assert (settings.base_url, settings.timeout) == ("https://api.eu-c1.leen.dev/v1", 60.0)


def check_install(what: str) -> None:
    if not what.startswith("."):
        return  # what others have made
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    place, extra = re.fullmatch(r"(\.)(?:\[(\w+)\])?", what).groups()  # type: ignore[union-attr]
    assert (ROOT / place / "pyproject.toml").exists()
    assert extra is None or extra in project["optional-dependencies"]


def check_leen(arguments: list[str]) -> None:
    if arguments[0] == "sandbox":
        assert len(sandbox_output(["python", "-m", "airflow_provider_leen", *arguments])) == 2
        return
    Path("findings.csv").write_text("name,priority\nRotate the deploy key,HIGH\n")
    if arguments[0] == "register":
        [known] = [block.text for block in BLOCKS if block.language == "csv" and "CVE-2026-0001/billing" in block.text]
        Path("known.csv").write_text(known)
        assert cli.main(["register", "import", "known.csv", "--register", "register"]) == 0
    assert cli.main(arguments) == 0


def check_airflow(arguments: list[str]) -> None:
    from airflow.cli.cli_parser import get_parser

    parsed = get_parser().parse_args(arguments)
    assert f"var.value.get('{parsed.key}'" in text_of_dag("leen_careful")


def test_chores_and_installs_named_in_a_sentence_exist() -> None:
    for page in PAGES:
        sentences = sentences_of(page)
        for words in re.findall(r"`(make [^`]+)`", sentences):
            check_make(shlex.split(words))
        for what in re.findall(r"`pip install '?(\.[^`']*)'?`", sentences):  # not those of others
            check_install(what)
