"""The commands of a register: what they show, and what they put right."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_leen.api.errors import LeenConfigError, LeenLedgerError
from airflow_provider_leen.bulk.register_journal import STALE_AFTER
from airflow_provider_leen.bulk.register_store import RegisterStore, folder_of, mark
from airflow_provider_leen.cli import main
from tests.bulk.register_days import DAY, IDENTITY, Ended, Leen, findings, run_day
from tests.commands.processes import Said, run


class Place:
    """A register in a folder, a Leen that its tickets are filed at, and the commands for it."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self.leen = folder, Leen()
        self.root = RegisterStore(folder)
        self.store = self.root.at(folder_of(""))
        self._capsys = capsys

    def day(self, *numbers: int, run: str = "monday", scope: str = "", **more: Any) -> Ended:
        mark(self.root, {})
        ended = run_day(self.leen, self.root.at(folder_of(scope)), findings(*numbers), run=run, scope=scope, **more)
        assert ended is not None
        self.leen.clock.time += DAY
        self._capsys.readouterr()  # below Airflow 3 the log goes to stdout
        return ended

    def __call__(self, *arguments: str) -> Said:
        return run(["register", *arguments, "--register", str(self.folder)], self._capsys)

    def rows(self, *arguments: str) -> list[dict[str, Any]]:
        said = self(*arguments, "--output", "json")
        assert said.code == 0, said.err
        rows: list[dict[str, Any]] = json.loads(said.out)
        return rows


@pytest.fixture
def register(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Place:
    return Place(tmp_path / "register", capsys)


def unknown_day(register: Place) -> None:
    register.day(1)
    register.leen.lost = "after"
    register.day(2, 3, run="tuesday", on_unknown="fail")


def connect(monkeypatch: pytest.MonkeyPatch, login: str = IDENTITY.connection_id) -> None:
    fields = {"conn_type": "leen", "login": login, "password": "a-long-key", "host": IDENTITY.base_url}
    monkeypatch.setenv("AIRFLOW_CONN_MINE", json.dumps(fields))


def test_show_and_list_say_what_a_register_holds(register: Place) -> None:
    unknown_day(register)
    (scope,) = register.rows("show")
    assert (scope["scope"], scope["findings"], scope["unknown"]) == ("", "3", "2")
    assert (scope["base_url"], scope["in_use_by"], scope["may_have_lost"]) == (IDENTITY.base_url, "", "")
    one, two, _three = register.rows("list")
    assert (one["identifier"], one["status"], one["vendor_ticket_id"]) == ("scanner:1", "existing", "SEC-1")
    assert (two["status"], two["vendor_ticket_id"], two["generation"]) == ("unknown", "", "0")
    assert two["error"]


def test_a_forgotten_finding_gets_a_new_ticket(register: Place) -> None:
    register.day(1, 2)
    assert register("forget", "scanner:1").out.startswith("Forgotten: 1 finding.")
    assert register("forget", "scanner:1").code == 1, "there is nothing to forget any more"
    assert register.day(1, 2, run="tuesday").counts == {"existing": 1, "created": 1}
    assert register.day(1, 2, run="wednesday").counts == {"existing": 2}
    assert register.leen.counts() == {"scanner:1": 2, "scanner:2": 1}
    assert len({ticket["body"]["description"] for ticket in register.leen.made}) == 3, "another key"


def test_an_unknown_outcome_is_settled_by_a_person(register: Place) -> None:
    unknown_day(register)
    assert register("settle", "scanner:2", "--ticket", "SEC-2").out == "scanner:2 has the ticket SEC-2.\n"
    register("settle", "scanner:3", "--absent")
    assert "is known: existing, ticket SEC-2" in register("settle", "scanner:2", "--absent").err
    assert "does not know 'x'" in register("settle", "x", "--absent").err
    assert register("settle", "scanner:3").code == 1
    assert register.day(2, 3, run="wednesday").counts == {"existing": 1, "created": 1}


@pytest.mark.parametrize("key", ["SEC-1", "sec-1 "])
def test_a_ticket_is_not_settled_as_that_of_two_findings(register: Place, key: str) -> None:
    unknown_day(register)
    said = register("settle", "scanner:2", "--ticket", key)
    assert (said.code, said.out) == (1, "")
    assert "as the ticket of 'scanner:1'" in said.err
    assert [row["status"] for row in register.rows("list")] == ["existing", "unknown", "unknown"]


def test_what_is_exported_can_be_imported_again(
    register: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(monkeypatch)
    unknown_day(register)
    exported = register("export")
    assert exported.out == "identifier,vendor_ticket_id,ticket_id\nscanner:1,SEC-1,\n"
    assert "Left out: 2 findings" in exported.err
    (tmp_path / "known.csv").write_text(exported.out + "scanner:9,,\n")
    said = register("import", str(tmp_path / "known.csv"), "--conn-id", "mine")
    assert said.out == "Taken over: 1 of 2 findings; the others are known already.\n"
    assert register.day(1, 9, run="wednesday").counts == {"existing": 2}


def test_tickets_of_another_connection_are_not_imported(
    register: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    register.day(1)
    connect(monkeypatch, login="another")
    (tmp_path / "known.csv").write_text("identifier,vendor_ticket_id\nscanner:9,OTHER-9\n")
    said = register("import", str(tmp_path / "known.csv"), "--conn-id", "mine")
    assert (said.code, said.out) == (1, "")
    assert "belongs to the Leen connection" in said.err
    assert len(register.rows("list")) == 1


def test_a_first_import_makes_the_register_for_a_connection(
    register: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(monkeypatch)
    (tmp_path / "known.jsonl").write_text('{"identifier": "scanner:1", "vendor_ticket_id": "OLD-1"}\n')
    said = register("import", str(tmp_path / "known.jsonl"), "--conn-id", "mine")
    assert (said.code, said.out) == (0, "Taken over: 1 of 1 finding; the others are known already.\n")
    assert "New register at" in said.err
    assert register.day(1, 2).counts == {"existing": 1, "created": 1}


def test_a_register_is_moved_to_another_connection(register: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    register.day(1)
    connect(monkeypatch, login="another")
    assert "belongs to another at https://leen.example.com/v1 now" in register("move", "--conn-id", "mine").out
    with pytest.raises(LeenConfigError, match="register move"):
        register.day(1, run="tuesday")


@pytest.mark.parametrize("lost", ["head", "damaged head", "empty head", "snapshot", "damaged snapshot"])
def test_after_a_repair_what_is_not_known_is_searched_for_before_it_is_filed(
    register: Place, lost: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(monkeypatch)
    register.day(0, 1, 2)
    store = register.store
    if lost == "head":
        store.delete(f"head/{store.names('head')[0]}")
    elif lost.endswith("head"):
        (head,) = (register.folder / folder_of("") / "head").iterdir()
        head.write_text("" if lost == "empty head" else "half of")
    elif lost == "snapshot":
        store.remove(f"snapshot/{store.names('snapshot')[0]}")
    else:
        store.write(f"snapshot/{store.names('snapshot')[0]}", b"half of it")
    with pytest.raises(LeenLedgerError, match="register repair"):
        register.day(1, 2, 3, run="wednesday")
    said = register("repair", "--conn-id", "mine")
    assert said.code == 0, said.err
    assert said.out.startswith("Missing: ")
    assert register.rows("show")[0]["may_have_lost"] == "yes"
    register.leen.clock.time += 10 * STALE_AFTER
    thursday = register.day(0, 1, 2, 3, run="thursday")
    assert set(thursday.counts) <= {"created", "existing", "unknown"}
    assert set(register.leen.counts().values()) == {1}


def test_a_ticket_filed_in_a_gap_is_found_by_its_key_and_not_filed_again(
    register: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(monkeypatch)
    register.day(0, 1)
    (name,) = register.store.names("snapshot")
    old = register.store.read(f"snapshot/{name}")
    assert old is not None
    register.day(0, 1, 2, 3, run="tuesday")
    register.store.delete(f"head/{register.store.names('head')[0]}")
    register.store.remove(f"snapshot/{register.store.names('snapshot')[0]}")
    register.store.write(f"snapshot/{name}", old)
    assert register("repair", "--conn-id", "mine").out.startswith("Missing: ")
    register.leen.clock.time += 10 * STALE_AFTER
    wednesday = register.day(0, 1, 2, 3, 4, run="wednesday")
    assert wednesday.error is None
    assert register.leen.counts() == {f"scanner:{number}": 1 for number in range(5)}
    asked = len(register.leen.requests)
    thursday = register.day(0, 1, 2, 3, 4, run="thursday")
    assert thursday.counts == {"existing": 5}
    assert register.leen.requests[asked:] == ["GET /v1/itsm/tickets"], "what was found once is known"
    found = thursday.run.ledger.table.known("scanner:2")
    assert found is not None
    assert (found.vendor_ticket_id, found.filed_at is not None) == ("SEC-3", True), "and is ours"


def test_commands_for_what_is_not_there_say_so(register: Place) -> None:
    for command in (["show"], ["list"], ["forget", "x"], ["export"], ["settle", "x", "--absent"]):
        said = register(*command)
        assert (said.code, said.out) == (1, "")
        assert "There is no register at" in said.err
    register.day(1)
    for name in ("show", "list", "repair"):
        assert "There is no scope 'x'" in register(name, "--scope", "x").err
    assert register("repair").out == "Nothing is missing.\n"


def test_a_command_is_for_the_only_scope_and_names_the_scopes_if_there_are_several(
    register: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    connect(monkeypatch)
    register.day(1, scope="bandit/shop")
    assert "The scope 'bandit/shop' of the register is new: it knows no finding." in caplog.messages
    caplog.clear()
    register.day(1, run="evening", scope="bandit/shop")
    assert not [message for message in caplog.messages if "is new" in message]
    assert [row["identifier"] for row in register.rows("list")] == ["scanner:1"]
    known = tmp_path / "known.csv"
    known.write_text("identifier,vendor_ticket_id\nscanner:7,SEC-7\n")
    assert register("import", str(known), "--conn-id", "mine").out.startswith("Taken over: 1 of 1")
    assert len(register.rows("show")) == 1, "no second scope without a name"
    assert register("forget", "scanner:1").code == 0

    register.day(1, run="tuesday", scope="ruff/a shop")
    commands = ["list"], ["export"], ["forget", "scanner:1"], ["import", str(known), "--conn-id", "mine"], ["repair"]
    for command in commands:
        said = register(*command)
        assert (said.code, said.out) == (1, "")
        assert "has several scopes: name one, --scope bandit/shop, --scope 'ruff/a shop'." in said.err
    said = register("list", "--scope", "ruff")
    assert said.err.endswith("It has --scope bandit/shop, --scope 'ruff/a shop'.\n")
    assert [row["identifier"] for row in register.rows("list", "--scope", "ruff/a shop")] == ["scanner:1"]


def test_other_things_in_a_folder_are_no_register(register: Place) -> None:
    register.folder.mkdir()
    (register.folder / "notes.txt").write_text("none of ours")
    assert "There is no register at" in register("show").err
    register.day(1)
    assert [row["findings"] for row in register.rows("show")] == ["1"]


def test_a_register_that_can_not_be_read_is_a_sentence(register: Place) -> None:
    register.folder.write_text("a file")
    said = register("show")
    assert (said.code, said.out) == (1, "")
    assert f"The register at {register.folder} can't be read (NotADirectoryError" in said.err
    assert main(["register", "show", "--register", " "]) == 1


def test_the_content_of_the_marker_does_not_matter(register: Place) -> None:
    register.day(1)
    (register.folder / "register.json").write_text("half of")
    assert register.day(1, 2, run="tuesday").counts == {"existing": 1, "created": 1}
