"""Imports of the package's modules by one another only ever point down, read from the source."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import airflow_provider_leen

ROOT = Path(airflow_provider_leen.__file__).parent
NAME = "airflow_provider_leen"

STOREYS = (
    ("api",),
    ("findings",),
    ("bulk",),
    ("hooks", "links", "retry_policies"),
    ("triggers",),
    ("tasks",),
    ("commands", "notifications", "operators", "plugins", "sensors"),
    ("sandbox",),
    ("cli",),
    ("__main__",),
)
"""From the ground up. A folder may import itself and what is on the storeys below it, its neighbours not."""

BELOW_ALL = ("__init__", "get_provider_info", "version_compat")
"""Modules that anything may import, and that import nothing of the package but one another."""

HEIGHT = dict.fromkeys(BELOW_ALL, -1) | {part: height for height, parts in enumerate(STOREYS) for part in parts}

MODULES = sorted(ROOT.rglob("*.py"), key=str)


def part_of(path: Path) -> str:
    """The folder, or the module, that lies directly in the package."""
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imports(source: str) -> Iterator[tuple[str, int]]:
    """Yield what a module imports when it runs, lazily or not: dotted name and line. What types need does not count."""
    pending: list[ast.AST] = [ast.parse(source)]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            pending += node.orelse
            continue
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((f"{'.' * node.level}{node.module or ''}.{alias.name}", node.lineno) for alias in node.names)
        pending += ast.iter_child_nodes(node)


def imported_parts(source: str) -> Iterator[tuple[str, int]]:
    """Yield the parts of the package that a module imports."""
    for name, line in imports(source):
        package, _, rest = name.partition(".")
        if package == NAME:
            part = rest.partition(".")[0]
            yield (part if part in HEIGHT or (ROOT / part).is_dir() else "__init__"), line


def points_up(importer: str, imported: str) -> bool:
    return importer != imported and HEIGHT[importer] <= HEIGHT[imported] and imported not in BELOW_ALL


def test_every_part_of_the_package_has_its_storey() -> None:
    assert {part_of(path) for path in MODULES} == HEIGHT.keys()


def test_imports_only_ever_point_down() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {imported}"
        for path in MODULES
        for imported, line in imported_parts(path.read_text())
        if points_up(part_of(path), imported)
    ]
    assert wrong == []


def test_only_the_command_line_knows_the_sandbox() -> None:
    known_by = {part_of(path) for path in MODULES for part, _ in imported_parts(path.read_text()) if part == "sandbox"}
    assert known_by <= {"sandbox", "cli"}


@pytest.mark.parametrize("part", ["api", "findings", "bulk", "sandbox"])
def test_what_is_not_about_tasks_imports_no_airflow(part: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in (ROOT / part).rglob("*.py")
        for name, line in imports(path.read_text())
        if name.partition(".")[0] == "airflow"
    ]
    assert wrong == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("from airflow_provider_leen.bulk.state import Ticket", [("bulk", 1)]),
        ("from airflow_provider_leen import operators", [("operators", 1)]),
        ("from airflow_provider_leen import __version__", [("__init__", 1)]),
        ("import airflow_provider_leen.tasks.files as files", [("tasks", 1)]),
        ("def f():\n    from airflow_provider_leen.hooks.leen import LeenHook", [("hooks", 2)]),
        ("if TYPE_CHECKING:\n    from airflow_provider_leen.hooks.leen import LeenHook\nelse:\n    x = 1", []),
        ("from airflow.models import DagRun", []),
    ],
)
def test_an_import_is_found_in_any_position(source: str, found: list[tuple[str, int]]) -> None:
    assert list(imported_parts(source)) == found


@pytest.mark.parametrize(
    ("importer", "imported", "up"),
    [("api", "bulk", True), ("bulk", "api", False), ("hooks", "links", True), ("tasks", "__init__", False)],
)
def test_a_neighbour_is_not_below(importer: str, imported: str, up: bool) -> None:
    assert points_up(importer, imported) is up
