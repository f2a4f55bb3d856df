"""What a newcomer meets first: the picture, the workflows, the checks before a commit."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from scripts.picture import BOX, BOXES, HEIGHT, PICTURE, WIDTH, picture

ROOT = Path(__file__).resolve().parent.parent
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def test_the_picture_is_what_its_script_draws() -> None:
    assert PICTURE.read_text() == picture(), "run: python -m scripts.picture"


def test_every_box_is_inside_the_picture_and_on_no_other() -> None:
    places = {(box.left, box.top) for box in BOXES}
    assert len(places) == len(BOXES)
    assert all(left + BOX[0] <= WIDTH and top + BOX[1] <= HEIGHT for left, top in places)
    for one in places:
        assert not [two for two in places if two != one and all(abs(one[i] - two[i]) < BOX[i] for i in (0, 1))]


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_every_action_is_pinned_by_its_commit_and_names_its_version(workflow: Path) -> None:
    used = re.findall(r"uses: (.*)", workflow.read_text())
    assert used
    assert [action for action in used if not re.fullmatch(r"[\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action)] == []


def test_the_workflows_start_what_everybody_runs() -> None:
    text = {workflow.stem: workflow.read_text() for workflow in WORKFLOWS}
    assert "bash .ci/run" in text["ci"]
    assert "nox --list --json" in text["matrix"]
    assert "make release-check" in text["release"]
    assert "make build" in text["release"]


def test_the_hooks_before_a_commit_run_programs_of_the_environment_and_files_that_exist() -> None:
    text = (ROOT / ".pre-commit-config.yaml").read_text()
    hooks = {name: entry.split() for name, entry in re.findall(r"- id: (.*)\n +name: .*\n +entry: (.*)", text)}
    assert {"ruff-format", "ruff-check", "mypy", "codespell", "imports"} <= hooks.keys()
    assert all(entry[0].startswith(".venv/bin/") for entry in hooks.values())
    assert all((ROOT / word).exists() for entry in hooks.values() for word in entry if word.endswith(".py"))
