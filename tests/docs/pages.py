"""The pages, the code blocks on them, and the Dags in these."""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from airflow import __version__ as AIRFLOW
from packaging.version import Version

from tests.support.modules import module_at

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
README = ROOT / "README.md"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])
FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)


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


def in_language(language: str) -> pytest.MarkDecorator:
    found = [block for block in BLOCKS if block.language == language]
    return pytest.mark.parametrize("block", found, ids=str)


def sentences_of(page: Path) -> str:
    return FENCE.sub("", page.read_text())


def text_of_dag(name: str) -> str:
    """The code block that holds the Dag of this name."""
    [text] = [block.text for block in BLOCKS if block.language == "python" and f"\ndef {name}()" in block.text]
    return text


def load_dag(text: str, folder: Path) -> Any:
    """Import a block as the Dag file that it is (Airflow reads the sources of its tasks), and make its Dag."""
    if "retry_policies" in text:
        pytest.importorskip("airflow_provider_leen.retry_policies.leen", exc_type=ImportError)
    path = folder / "dag_of_a_block.py"
    path.write_text(text)
    module = module_at(path)
    last = ast.parse(text).body[-1]
    assert isinstance(last, ast.Expr)
    assert isinstance(last.value, ast.Call)
    dag = getattr(module, ast.unparse(last.value.func))()
    if Version(AIRFLOW) < Version("3.3"):
        # If Airflow has no store for the ledger, the pages say to set a path for it; a register replaces it.
        for task in dag.tasks:
            if getattr(task, "ledger_path", "given") is None and getattr(task, "register", None) is None:
                task.ledger_path = str(folder / "ledger")
    return dag
