"""Whatever Leen's texts and a list hold, tickets are filed and their results are in Airflow's database."""

from __future__ import annotations

import importlib.util
import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from qa.distributed import services
from tests.operators.hostile_leen import HOSTILE, HostileLeen, harmful
from tests.support.airflow_home import home_in, python_in

# One run of eleven tasks, on a database that may have to be made, is shared by all.
pytestmark = pytest.mark.timeout(1800)

CLEANED = "AB[31;1mCDEFG\ufffdH]0;I\t\r\nJ"
"""What is left of it."""

FIELDS = ("description", "status", "priority", "assigned_user_vendor_id", "parent_ticket_vendor_id")

GIVEN: list[dict[str, Any]] = [
    {"name": f"created {HOSTILE}", "identifier": "own\x00-\x1b\ud83d1", **dict.fromkeys(FIELDS, HOSTILE)},
    {"name": "long", "description": "x" * 32_740},
    {"name": f"refused {HOSTILE}", **dict.fromkeys(FIELDS, HOSTILE)},
    {"name": "invalid", HOSTILE: HOSTILE},
    {"name": "invalid", "priority": float("nan"), "description": HOSTILE},
    {"name": "invalid", "identifier": "x" * 70_000},
    {"name": "invalid", "identifier": HOSTILE},
]
"""The lines of a file, as JSON escapes them."""


@dataclass
class Seen:
    """What is in Airflow's database after the run, what its tasks ended with, and what Leen got."""

    states: dict[str, str]
    errors: list[list[str]]
    published: dict[str, dict[str, Any]]
    output: str
    leen: HostileLeen

    def statuses(self, task_id: str) -> list[str]:
        return [result["status"] for result in self.published[task_id]["return_value"]["results"]]

    def problems(self, task_id: str) -> list[str]:
        return [result["error"] for result in self.published[task_id]["return_value"]["results"]]


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def seen(request: Any, tmp_path_factory: pytest.TempPathFactory, migrated_database: Path) -> Iterator[Seen]:
    """One run of all operators on one database."""
    folder = tmp_path_factory.mktemp(request.param)
    home = home_in(folder / "airflow", migrated_database)
    given, place = folder / "tickets.jsonl", folder / "seen.json"
    given.write_text("".join(f"{json.dumps(ticket)}\n" for ticket in GIVEN))
    with ExitStack() as stack:
        leen = stack.enter_context(HostileLeen())
        threading.Thread(target=leen.serve_forever, args=(0.01,), daemon=True).start()
        stack.callback(leen.shutdown)
        answers = {"LEEN_DEFAULT": "ok", "REFUSING": "403", "INVALID": "422", "BROKEN": "500"}
        environment = {f"AIRFLOW_CONN_{name}": leen.connection(answer) for name, answer in answers.items()}
        if request.param == "postgresql":
            database = stack.enter_context(_postgres())
            environment["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] = f"postgresql+psycopg2://{database.address}"
        state = "new" if request.param == "postgresql" else "migrated"
        output = python_in(home, "-m", "tests.operators.hostile_run", str(given), state, str(place), **environment)
        found = json.loads(place.read_text())
        yield Seen(found["states"], found["errors"], found["published"], output, leen)


def _postgres() -> Any:
    """A PostgreSQL of the test's own; the test is skipped where none is installed. `.ci/run` installs it."""
    if missing := [name for name in ("psycopg2", "asyncpg") if importlib.util.find_spec(name) is None]:
        pytest.skip(f"Airflow needs {' and '.join(missing)} for PostgreSQL")
    try:
        services.postgres_program("initdb")
    except services.Missing as missing_program:
        pytest.skip(str(missing_program))
    return services.postgres()


def test_every_task_ends_as_it_would_with_harmless_texts(seen: Seen) -> None:
    # In whose results Leen named another identifier is judged elsewhere.
    assert seen.states.pop("mixed_up") in ("success", "failed")
    assert seen.states == {
        "from_file": "success",
        "handed_on": "success",
        "typed": "success",
        "from_upstream": "success",
        "typed_handed_on": "success",
        "refused": "failed",
        "invalid": "success",
        "broken": "failed",
        "deferred": "success",
        "single": "success",
        "update": "success",
    }


def test_what_is_in_the_database_harms_neither_it_nor_a_terminal(seen: Seen) -> None:
    assert list(harmful(seen.published)) == []
    assert list(harmful(seen.errors)) == []
    for task_id in seen.states.keys() - {"typed"}:
        assert "return_value" in seen.published[task_id], task_id


def test_what_the_tasks_log_holds_neither_nul_nor_an_escape_sequence_of_ours(seen: Seen) -> None:
    # Airflow colours its own lines.
    for part in ("\x00", "\x07", "\x1b[31;1m", "\x1b]0;", "\u202e", "\u2066", "\x85"):
        assert [line for line in seen.output.splitlines() if part in line] == []


def test_tickets_are_filed_without_what_no_tracker_takes(seen: Seen) -> None:
    assert list(harmful(seen.leen.sent)) == []
    first = next(ticket for ticket in seen.leen.sent if ticket.get("identifier") == "own-\ufffd1")
    assert first["name"] == " ".join(f"created {CLEANED}".split()), "on one line"
    assert first["priority"] == CLEANED
    assert first["description"].startswith(f"{CLEANED}\n\nairflow-")
    long = next(ticket for ticket in seen.leen.sent if ticket.get("name") == "long")
    assert len(long["description"]) == 32_767
    assert long["description"].endswith(f"x…\n\n{long['identifier']}")


def test_every_row_has_its_result_and_bad_ones_stop_no_others(seen: Seen) -> None:
    assert seen.statuses("from_file") == ["created"] * 2 + ["rejected"] + ["invalid"] * 4
    assert seen.problems("from_file")[2] == " ".join(CLEANED.split())
    assert seen.published["from_file"]["return_value"]["results"][0]["vendor_ticket_id"] == f"SEC-0{CLEANED}"
    assert seen.statuses("deferred") == ["created", "rejected"]
    assert seen.statuses("invalid") == ["rejected"] * 2
    assert seen.statuses("update") == ["rejected"]
    assert seen.published["single"]["return_value"]["description"] == CLEANED


def test_an_invalid_row_is_invalid_for_the_same_reason_in_the_next_operator(seen: Seen) -> None:
    handed_on = seen.statuses("handed_on")
    assert handed_on == ["rejected"] + ["invalid"] * 4
    assert seen.problems("handed_on")[1:] == seen.problems("from_file")[3:]
    assert "`priority` is of type float (nan)" in seen.problems("handed_on")[2]
    assert "70000 characters" in seen.problems("handed_on")[3]
    assert seen.statuses("typed_handed_on") == ["invalid"] * 3
    assert seen.problems("typed_handed_on") == seen.problems("from_upstream")
    assert "datetime.datetime(2024, 1, 1" in seen.problems("typed_handed_on")[0]
    assert "Decimal('1.5')" in seen.problems("typed_handed_on")[1]


def test_a_403_is_not_retried_with_any_body(seen: Seen) -> None:
    assert seen.leen.writes["403"] == 1
    failures = [error for error in seen.errors if error[1] == "LeenAuthError"]
    assert [kind for kind, _cause, _text in failures] == ["AirflowFailException"]
    assert "HTTP 403" in failures[0][2]
    assert seen.statuses("refused") == ["unsent"] * 2
    assert len(seen.published["refused"]["failed_tickets"]) == 2
