"""A list that comes again every day, with a register, on real Airflow."""

from __future__ import annotations

import csv
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowFailException

from airflow_provider_leen.api.errors import LeenBrakeError, LeenConfigError
from airflow_provider_leen.operators.leen import LeenBulkCreateTicketsOperator
from airflow_provider_leen.sandbox.server import SandboxServer
from airflow_provider_leen.tasks.register import RegisterPlace, known_at, register_of
from tests.operators.dags import DEFAULTS, Connect, bulk_dag, counts

UUID = {"project_id": "5ec00000-0000-4000-8000-000000000001", "type": "Task"}


def findings(*numbers: int) -> list[dict[str, str]]:
    return [{"name": f"finding {number}", "identifier": f"CVE-2026-{number}"} for number in numbers]


def dag(folder: Path, *numbers: int, **arguments: Any) -> DAG:
    return bulk_dag(findings(*numbers), **{"ledger_path": None, "register": str(folder / "register")} | arguments)


def test_tomorrows_run_files_what_is_new_only_and_a_flood_stops_it(
    sandbox: SandboxServer, run_dag: Any, connect: Connect, tmp_path: Path
) -> None:
    run_dag(dag(tmp_path, 1, 2, 3))
    known = tmp_path / "known.csv"
    with known.open("w", newline="") as file:
        csv.writer(file).writerows([["identifier", "vendor_ticket_id"], ["CVE-2026-4", "OLD-4"], ["CVE-2026-5", ""]])
    run = run_dag(dag(tmp_path, 2, 3, 4, 5, 6, known_path=str(known), results_path=str(tmp_path / "results.jsonl")))
    assert run.states == {"create": "success"}
    assert (run.summary()["existing"], run.summary()["created"], run.summary()["earlier_unknown"]) == (4, 1, 0)
    assert len(sandbox.tickets()) == 4
    assert all(ticket["description"].splitlines()[-1].startswith("airflow-") for ticket in sandbox.tickets())

    run = run_dag(dag(tmp_path, *range(1, 20), max_new="{{ 5 }}", retries=1))
    assert run.states == {"create": "failed"}
    assert [type(error.__cause__) for error in run.exceptions] == [LeenBrakeError], "no retry helps"
    assert counts(run.summary()) == {"existing": 6, "unsent": 13}

    assert counts(run_dag(dag(tmp_path)).summary()) == {}, "an empty list is no trouble"
    (tmp_path / "file").write_text("")
    run = run_dag(dag(tmp_path, 1, register=str(tmp_path / "file" / "register")))
    assert "can't be read or written (NotADirectoryError" in str(run.exceptions[0])

    connect(login="5ec00000-0000-4000-8000-000000000009")
    run = run_dag(dag(tmp_path, 1))
    assert isinstance(run.exceptions[0], AirflowFailException)
    assert "register move" in str(run.exceptions[0])
    assert len(sandbox.tickets()) == 4


def test_a_deferred_task_keeps_its_lease_and_tomorrow_knows_its_tickets(
    sandbox: SandboxServer, run_dag: Any, tmp_path: Path
) -> None:
    deferrable: dict[str, Any] = {"deferrable": True, "poll_interval": 0.05, "ticket_defaults": UUID}
    assert counts(run_dag(dag(tmp_path, 1, 2, 3, **deferrable)).summary()) == {"created": 3}
    assert counts(run_dag(dag(tmp_path, 2, 3, 4, **deferrable)).summary()) == {"existing": 2, "created": 1}
    assert len(sandbox.tickets()) == 4


def test_mapped_instances_share_a_register_with_a_scope_each(
    sandbox: SandboxServer, run_dag: Any, tmp_path: Path
) -> None:
    def mapped(**arguments: Any) -> DAG:
        with DAG("leen_test", schedule=None) as dag:
            LeenBulkCreateTicketsOperator.partial(
                task_id="create", ticket_defaults=DEFAULTS, register=str(tmp_path / "register"), **arguments
            ).expand_kwargs([{"tickets": findings(number), "scope": scope} for number, scope in enumerate("ab")])
        return dag

    run_dag(mapped())
    assert {ticket["name"] for ticket in sandbox.tickets()} == {"finding 0", "finding 1"}
    run_dag(mapped())
    assert len(sandbox.tickets()) == 2
    folders = sorted(path.name.partition("-")[0] for path in (tmp_path / "register").iterdir() if path.is_dir())
    assert folders == ["a", "b"]


ARGUMENTS: dict[str, Any] = {
    "register": "/r",
    "scope": None,
    "known_path": None,
    "max_new": None,
    "durable": True,
    "ledger_path": None,
    "embed_identifier": None,
}


@pytest.mark.parametrize(
    ("arguments", "map_index", "sentence"),
    [
        ({"durable": False}, -1, "leave out `durable=False`"),
        ({"ledger_path": "/ledger"}, -1, "leave out `ledger_path`"),
        ({"embed_identifier": False}, -1, "leave out `embed_identifier=False`"),
        ({"register": None, "scope": "a"}, -1, "`scope` needs a register"),
        ({"register": "None", "max_new": 5}, -1, "`max_new` needs a register"),
        ({"register": None, "known_path": "/k.csv"}, -1, "`known_path` needs a register"),
        ({}, 0, "of a mapped task needs a `scope`"),
        ({"scope": " "}, 3, "`scope` is empty"),
        ({"scope": "\u200e\x9b"}, 3, "`scope` is empty"),
        ({"register": ""}, -1, "`register` is empty"),
        ({"known_path": "  "}, -1, "`known_path` is empty"),
    ],
)
def test_arguments_that_contradict_one_another_or_are_empty_are_refused(
    arguments: dict[str, Any], map_index: int, sentence: str
) -> None:
    context: Any = {"ti": SimpleNamespace(map_index=map_index)}
    with pytest.raises(LeenConfigError, match=sentence):
        register_of(SimpleNamespace(**ARGUMENTS | arguments), context)


def test_a_scope_is_a_folder_in_the_register() -> None:
    context: Any = {"ti": SimpleNamespace(map_index=None)}
    assert register_of(SimpleNamespace(**ARGUMENTS), context) == RegisterPlace("/r", "")
    assert register_of(SimpleNamespace(**ARGUMENTS | {"scope": "a\u202e\x9b/\ud800"}), context) == RegisterPlace(
        "/r", "a/\ufffd"
    )
    assert RegisterPlace("s3://bucket/r/", "a/b").folder.startswith("s3://bucket/r/a-b-")


@pytest.mark.parametrize("name", ["known.txt", "missing.csv", "folder.csv", "latin.csv"])
def test_a_file_of_known_tickets_that_cant_be_read_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "latin.csv").write_bytes(b"identifier\ncaf\xe9\n")
    with pytest.raises(LeenConfigError, match="known_path"):
        known_at(tmp_path / name)
