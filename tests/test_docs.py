"""README and docs: every code block is run, every message quoted is one that comes, every link leads somewhere."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import textwrap
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from airflow_provider_leen import cli
from airflow_provider_leen.api import errors
from airflow_provider_leen.bulk.summary import check_summary
from airflow_provider_leen.get_provider_info import CONN_FIELDS, UI_FIELD_BEHAVIOUR
from airflow_provider_leen.hooks.leen import LeenHook
from airflow_provider_leen.operators import leen as operators
from airflow_provider_leen.sandbox.server import SandboxServer
from airflow_provider_leen.sensors import leen as sensors
from tests.airflow_run import AirflowRun
from tests.operators.dags import bulk_dag, tickets

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
BREAKS = ROOT / "docs" / "what-happens-when-it-breaks.md"
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
SANDBOX_COMMAND = ["python", "-m", "airflow_provider_leen.sandbox"]

RunDag = Callable[..., AirflowRun]


@dataclass(frozen=True)
class Block:
    page: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"


def blocks_of(page: Path) -> Iterator[Block]:
    text = page.read_text()
    for fence in FENCE.finditer(text):
        yield Block(page, text.count("\n", 0, fence.start()) + 1, fence[2], textwrap.dedent(fence[3]))


BLOCKS = [block for page in PAGES for block in blocks_of(page)]
COMMANDS = [
    pytest.param(command, id=f"{block}: {command[:60]}")
    for block in BLOCKS
    if block.language == "bash"
    for command in block.text.splitlines()
]


def in_language(language: str) -> pytest.MarkDecorator:
    found = [block for block in BLOCKS if block.language == language]
    return pytest.mark.parametrize("block", found, ids=str)


def text_of(page: Path, language: str, beginning: str) -> str:
    [text] = [block.text for block in blocks_of(page) if block.language == language and re.match(beginning, block.text)]
    return text


def test_every_block_is_in_a_language_that_is_run_here() -> None:
    assert {block.language for block in BLOCKS} == {"python", "bash", "json", "text"}
    assert sum(page.read_text().count("```") for page in PAGES) == 2 * len(BLOCKS)


# Dags


@in_language("python")
def test_a_dag_runs_as_it_stands(
    block: Block, run_dag: RunDag, sandbox: SandboxServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_VAR_LEEN_LEDGER", str(tmp_path / "ledger"))
    sandbox.sync_after(0)
    run = run_dag(dag_in(block.text, tmp_path))
    assert set(run.states.values()) == {"success"}
    assert sandbox.tickets()


def dag_in(text: str, folder: Path) -> Any:
    """Import a block as the Dag file that it is (Airflow reads the sources of its tasks), and make its Dag."""
    path = folder / "dag_of_a_block.py"
    path.write_text(text)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module: ModuleType = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    last = ast.parse(text).body[-1]
    assert isinstance(last, ast.Expr)
    assert isinstance(last.value, ast.Call)
    return getattr(module, ast.unparse(last.value.func))()


def test_the_smallest_dag_is_the_example_without_its_docstring() -> None:
    example = ast.parse((ROOT / "example_dags" / "leen_smallest.py").read_text()).body[2:]
    shown = ast.parse(text_of(README, "python", r"(?s).*leen_smallest")).body
    assert [ast.unparse(node) for node in shown] == [ast.unparse(node) for node in example]


def test_the_variable_makes_the_careful_dag_send_again_what_the_search_has_not_found(
    run_dag: RunDag, sandbox: SandboxServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [command] = [line for block in blocks_of(BREAKS) for line in block.text.splitlines() if "variables set" in line]
    name, value = shlex.split(command)[-2:]
    monkeypatch.setenv(f"AIRFLOW_VAR_{name.upper()}", value)
    sandbox.inject("lost", times=1)
    run = run_dag(dag_in(text_of(BREAKS, "python", r"(?s).*leen_careful"), tmp_path))
    assert run.states == {"find": "success", "create_tickets": "success", "gate": "success"}
    assert sandbox.count("POST") == 2
    [ticket] = sandbox.tickets()
    assert re.search(r"\n\nairflow-[0-9a-f]{24}$", ticket["description"])


# Commands


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
            monkeypatch.chdir(tmp_path)
            check_leen(arguments)
        case ["airflow", *arguments]:
            check_airflow(arguments)
        case _:
            pytest.fail(f"Nothing here runs {command!r}.")


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
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    place, extra = re.fullmatch(r"(\.)(?:\[(\w+)\])?", what).groups()  # type: ignore[union-attr]
    assert (ROOT / place / "pyproject.toml").exists()
    assert extra is None or extra in project["optional-dependencies"]


def check_leen(arguments: list[str]) -> None:
    if arguments[0] == "sandbox":
        assert len(sandbox_output(["python", "-m", "airflow_provider_leen", *arguments])) == 2
        return
    Path("findings.csv").write_text("name,priority\nRotate the deploy key,HIGH\n")
    assert cli.main(arguments) == 0


def check_airflow(arguments: list[str]) -> None:
    from airflow.cli.cli_parser import get_parser

    parsed = get_parser().parse_args(arguments)
    assert f"var.value.get('{parsed.key}'" in text_of(BREAKS, "python", r"(?s).*leen_careful")


def test_chores_and_installs_named_in_a_sentence_exist() -> None:
    for page in PAGES:
        sentences = FENCE.sub("", page.read_text())
        for words in re.findall(r"`(make [^`]+)`", sentences):
            check_make(shlex.split(words))
        for what in re.findall(r"`pip install '?([^`']+)'?`", sentences):
            check_install(what)


# What is shown


@in_language("json")
def test_the_summary_shown_is_what_its_three_rows_give(block: Block, run_dag: RunDag, sandbox: SandboxServer) -> None:
    shown: dict[str, Any] = json.loads(block.text)
    check_summary(shown)
    rows = [
        {"name": "Rotate the deploy key", "priority": "HIGH"},
        {"name": "Remove the unused admin account", "priority": "URGENT"},
        {"name": "Close the debug port", "prority": "LOW"},
    ]
    real: dict[str, Any] = {**run_dag(bulk_dag(rows)).summary()}
    assert without_keys(json.dumps(shown)) == without_keys(json.dumps(real))


def without_keys(text: str) -> str:
    return re.sub(r"airflow-[0-9a-f]{24}", "airflow-…", text)


def sandbox_says(run_dag: RunDag, sandbox: SandboxServer) -> str:
    lines = sandbox_output(SANDBOX_COMMAND)
    return re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:8765", "".join(lines))


def lost_reply_says(run_dag: RunDag, sandbox: SandboxServer) -> str:
    sandbox.inject("lost")
    [error] = run_dag(bulk_dag(tickets(2))).exceptions
    return f"{error}\n"


SAID = {"Leen sandbox": sandbox_says, "2 tickets were sent": lost_reply_says}


@in_language("text")
def test_a_text_shown_is_what_is_said(block: Block, run_dag: RunDag, sandbox: SandboxServer) -> None:
    [says] = [producer for beginning, producer in SAID.items() if block.text.startswith(beginning)]
    assert without_keys(block.text) == without_keys(says(run_dag, sandbox))


def test_the_connection_table_has_every_field_of_the_form_in_its_order() -> None:
    table = re.findall(r"^\| ([^|]+) \| (?:extra )?`(\w+)` \|", README.read_text(), re.MULTILINE)
    own_fields = [(UI_FIELD_BEHAVIOUR["relabeling"][name], name) for name in ("login", "password", "host")]
    assert table == own_fields + [(spec["label"], name) for name, spec in CONN_FIELDS.items()]


def test_every_exception_and_argument_that_is_named_exists() -> None:
    pages = README.read_text() + BREAKS.read_text()
    classes = {*vars(errors), *vars(operators), *vars(sensors), LeenHook.__name__}
    assert set(re.findall(r"`(Leen[A-Za-z]+)", pages)) <= classes
    own = inspect.signature(operators.LeenBulkCreateTicketsOperator.__init__).parameters
    airflows = {"retries", "soft_fail"}
    assert set(re.findall(r"`([a-z_]+)=", FENCE.sub("", pages))) <= set(own) | airflows


def test_the_methods_of_the_hook_that_are_named_are_those_that_call_leen() -> None:
    [sentence] = re.findall(r"Its methods are (.*?)\.\n", README.read_text(), re.DOTALL)
    calls = {name for name in vars(LeenHook) if re.match(r"(create|update|get|bulk|submit|iter|search)_", name)}
    own_to_airflow = {"get_conn", "get_connection_form_widgets", "get_ui_field_behaviour"}
    assert set(re.findall(r"`(\w+)`", sentence)) == calls - own_to_airflow


# Links


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_into_the_repository_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if re.match(r"https?://", target):
            continue
        path, _, heading = target.partition("#")
        linked = page.parent / path if path else page
        assert linked.exists(), f"{page.name} links to {target}"
        if heading:
            assert heading in headings_of(linked), f"{page.name} links to {target}"


def headings_of(page: Path) -> set[str]:
    titles = re.findall(r"^#+ (.*)$", FENCE.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
