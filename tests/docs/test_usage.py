"""The public surface is what the reference shows, and what its docstrings show runs."""

from __future__ import annotations

import ast
import asyncio
import importlib
import inspect
import re
import textwrap
from datetime import timedelta
from types import ModuleType
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_leen.api.settings import LeenSettings
from airflow_provider_leen.sandbox.server import SandboxServer
from tests.docs.pages import DOCS
from tests.docs.test_names import CLASSES

REFERENCE = "\n".join(page.read_text() for page in sorted(DOCS.glob("reference/*.rst")))
SINGLE = re.compile(r"^\.\. auto(?:class|function|data):: (airflow_provider_leen\S*)\.(\w+)$", re.MULTILINE)
WHOLE = re.compile(r"^\.\. automodule:: (airflow_provider_leen\S+)\n +:members:(.*)$", re.MULTILINE)
STARTED_BY_OTHERS = {"LeenJobsTrigger", "LeenTicketSyncTrigger", "LeenTicketsLink"}
"""Operators and sensors have them; nobody writes them."""

USED = {**CLASSES, "LeenSettings": LeenSettings, "SandboxServer": SandboxServer}


def documented() -> dict[str, set[str]]:
    """For each module of the reference, its names; empty where all members are shown."""
    names: dict[str, set[str]] = {module: set(re.findall(r"\w+", shown)) for module, shown in WHOLE.findall(REFERENCE)}
    for module, name in SINGLE.findall(REFERENCE):
        names.setdefault(module, set()).add(name)
    return names


def module_named(name: str) -> ModuleType:
    if "retry_policies" in name:
        pytest.importorskip(name, exc_type=ImportError)
    return importlib.import_module(name)


@pytest.mark.parametrize("name", documented())
def test_a_module_s_public_names_are_those_of_the_reference(name: str) -> None:
    module = module_named(name)
    own = {each for each, value in vars(module).items() if inspect.isclass(value) and value.__module__ == name}
    wanted = documented()[name] or {each for each in own if not each.startswith("_")}
    assert set(module.__all__) == wanted


@pytest.mark.parametrize("name", ["LeenBulkCreateTicketsOperator", "LeenReconcileTicketsOperator"])
def test_the_reference_groups_each_argument_of_a_large_operator_once(name: str) -> None:
    [section] = [part for part in REFERENCE.split(".. autoclass:: ") if part.partition("\n")[0].endswith(f".{name}")]
    own = set(inspect.signature(CLASSES[name].__init__).parameters) - {"self", "kwargs"}  # type: ignore[misc]
    assert sorted(re.findall(r"``(\w+)``", section)) == sorted(own)


@pytest.mark.parametrize("name", sorted(USED.keys() - STARTED_BY_OTHERS))
def test_the_usage_that_a_docstring_shows_runs(name: str, sandbox: SandboxServer) -> None:
    docstring = inspect.getdoc(USED[name]) or ""
    [block] = re.findall(r"::\n\n((?:    .*\n|\n)+)", docstring)
    known: dict[str, Any] = {**USED, "timedelta": timedelta}
    known["settings"] = LeenSettings(
        base_url=sandbox.base_url, api_key=sandbox.api_key, connection_id=sandbox.connection_id
    )
    with DAG("usage", schedule=None):

        @task
        def scan() -> list[dict[str, Any]]:
            return []

        known |= {"scan": scan, "find_ids": scan}
        code = compile(textwrap.dedent(block), name, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        result = eval(code, known)
        if inspect.isawaitable(result):
            asyncio.run(result)  # type: ignore[arg-type]
