"""Every Dag on the pages runs as it stands, on real Airflow against the sandbox."""

from __future__ import annotations

import ast
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from airflow_provider_leen.sandbox.server import SandboxServer
from tests.docs.pages import BLOCKS, ROOT, Block, in_language, load_dag, text_of_dag
from tests.support.airflow_run import AirflowRun

RunDag = Callable[..., AirflowRun]


@in_language("python")
def test_a_dag_on_a_page_runs_unchanged(
    block: Block, run_dag: RunDag, sandbox: SandboxServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "ApprovalOperator" in block.text:
        pytest.skip("It waits for a person: qa/recipes runs it under a scheduler.")
    monkeypatch.setenv("AIRFLOW_VAR_LEEN_LEDGER", str(tmp_path / "ledger"))
    monkeypatch.setenv("AIRFLOW_VAR_LEEN_FOLDER", str(tmp_path))
    shutil.copy(ROOT / "example_dags" / "scan.sarif", tmp_path)
    sandbox.sync_after(0)
    run = run_dag(load_dag(block.text, tmp_path))
    assert {state for states in run.states.values() for state in states.split()} == {"success"}
    assert sandbox.tickets()


def test_the_smallest_dag_is_the_example_without_its_docstring() -> None:
    example = ast.parse((ROOT / "example_dags" / "leen_smallest.py").read_text()).body[2:]
    shown = ast.parse(text_of_dag("leen_smallest")).body
    assert [ast.unparse(node) for node in shown] == [ast.unparse(node) for node in example]


def test_the_variable_makes_the_careful_dag_send_again_what_the_search_has_not_found(
    run_dag: RunDag, sandbox: SandboxServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [command] = [block.text for block in BLOCKS if "variables set" in block.text]
    name, value = shlex.split(command)[-2:]
    monkeypatch.setenv(f"AIRFLOW_VAR_{name.upper()}", value)
    sandbox.inject("lost", times=1)
    run = run_dag(load_dag(text_of_dag("leen_careful"), tmp_path))
    assert run.states == {"find": "success", "create_tickets": "success", "gate": "success"}
    assert sandbox.count("POST") == 2
    [ticket] = sandbox.tickets()
    assert re.search(r"\n\nairflow-[0-9a-f]{24}$", ticket["description"])
