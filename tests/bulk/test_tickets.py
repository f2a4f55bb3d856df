from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import uuid
from datetime import date, datetime
from decimal import Decimal
from enum import Enum, StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, field_serializer

from airflow_provider_leen.api.errors import LeenConfigError
from airflow_provider_leen.api.models import TicketCreate
from airflow_provider_leen.bulk.fitting import Fitting
from airflow_provider_leen.bulk.reading import UnreadableRow
from airflow_provider_leen.bulk.tickets import (
    KeyScope,
    TicketRow,
    payload,
    prepare,
    read_defaults,
)
from airflow_provider_leen.bulk.validation import excerpt

SCOPE = KeyScope("findings", "manual__1", "file", -1, "https://api.leen.dev/v1", "3fa85f64-5717-4562-b3fc-2c963f66afa6")
PROJECT = "0d6b1a8e-23cc-4d4f-9f3a-93c1f1a3a001"


def ticket(**fields: Any) -> dict[str, Any]:
    """A valid ticket with these fields changed; a field set to ``...`` is left out."""
    whole = {"name": "SQL built from strings", "project_vendor_id": "SEC", "type": "Bug", **fields}
    return {field: value for field, value in whole.items() if value is not ...}


def prepare_one(row: Any, defaults: Any = None) -> TicketRow:
    (prepared,) = prepare([row], defaults, SCOPE)
    return prepared


def error_of(row: Any, defaults: Any = None) -> str:
    error = prepare_one(row, defaults).error
    assert error is not None
    return error


def sent(row: Any, defaults: Any = None) -> dict[str, Any]:
    """What is sent for a row, without the identifier that it is given."""
    prepared = prepare_one(row, defaults)
    assert prepared.error is None
    body = payload(prepared, read_defaults(defaults))
    assert body.pop("identifier") == prepared.identifier
    return body


class Severity(StrEnum):
    HIGH = "HIGH"


class Finding(BaseModel):
    name: str
    project_vendor_id: str = "SEC"
    type: str | None = "Bug"
    priority: Severity | None = None


@dataclasses.dataclass
class FindingRecord:
    name: str
    project_id: uuid.UUID
    type: str = "Bug"
    priority: str | None = None


class TestValidation:
    @pytest.mark.parametrize(
        ("fields", "parts"),
        [
            pytest.param({"name": ...}, ["`name` is missing"], id="no name"),
            pytest.param({"name": None}, ["`name` is missing"], id="null is absent"),
            pytest.param({"name": " \t"}, ["`name` is blank"], id="blank name"),
            pytest.param({"name": 17}, ["`name` is of type int (17)", "write text"], id="number"),
            pytest.param({"name": True}, ["`name` is of type bool (True)"], id="boolean"),
            pytest.param({"priority": ["HIGH"]}, ["`priority` is of type list (['HIGH'])"], id="list"),
            pytest.param({"priority": float("nan")}, ["`priority` is of type float (nan)"], id="missing in pandas"),
            pytest.param({"description": b"x"}, ["`description` is of type bytes"], id="bytes"),
            pytest.param({"project_vendor_id": ...}, ["the project is missing", "ticket_defaults"], id="no project"),
            pytest.param({"project_id": PROJECT}, ["`project_id` and `project_vendor_id` are both"], id="two projects"),
            pytest.param({"type": ...}, ["the type is missing", "ticket_defaults"], id="no type"),
            pytest.param(
                {"type_id": "1", "type_vendor_id": "2"}, ["`type_id` and `type_vendor_id` differ"], id="types"
            ),
            pytest.param({"prioriti": "HIGH"}, ["unknown field 'prioriti' (did you mean `priority`?)"], id="typo"),
            pytest.param(
                {"zzz": 1}, ["unknown field 'zzz': a ticket has only name, project_id, ", ", identifier"], id="no near"
            ),
            pytest.param({"SEVERITY": "x"}, ["unknown field 'SEVERITY' (did you mean `priority`?)"], id="other name"),
            pytest.param({"zzz": 1, "qqq": 2}, ["unknown fields 'zzz', 'qqq': "], id="two unknown fields"),
            pytest.param({f"z{n}": n for n in range(30)}, ["'z4' and 25 more"], id="many unknown fields"),
            pytest.param({"q" * 500: 1}, ["'qqq"], id="long field"),
            pytest.param(
                {"assigned_user_id": PROJECT, "assigned_user_vendor_id": "5b10"},
                ["`assigned_user_id` and `assigned_user_vendor_id` are both"],
                id="two assignees",
            ),
            pytest.param(
                {"parent_ticket_id": PROJECT, "parent_ticket_vendor_id": "SEC-1"},
                ["`parent_ticket_id` and `parent_ticket_vendor_id` are both"],
                id="two parents",
            ),
            pytest.param(
                {"assigned_user_id": "jane"}, ["'jane' is not a UUID", "`assigned_user_vendor_id`"], id="assignee"
            ),
            pytest.param({"parent_ticket_id": "SEC-1"}, ["'SEC-1' is not a UUID"], id="parent no UUID"),
            pytest.param({"parent_ticket_id": "{" + PROJECT + "}"}, ["is not a UUID"], id="UUID in braces"),
            pytest.param({"identifier": ""}, ["`identifier` ''"], id="empty identifier"),
            pytest.param({"identifier": "  "}, ["`identifier` '  '"], id="blank identifier"),
            pytest.param({"identifier": ".."}, ["`identifier` '..'"], id="dots"),
            pytest.param({"identifier": "."}, ["`identifier` '.'"], id="dot"),
            pytest.param({"identifier": "a\nb"}, ["`identifier` 'a\\nb'"], id="line break in identifier"),
            pytest.param({"identifier": 5}, ["`identifier` is of type int"], id="number as identifier"),
            pytest.param({"name": "\x00\x1b"}, ["`name` is blank"], id="nothing but control characters"),
            pytest.param({"identifier": "\x00"}, ["`identifier` ''"], id="the same as identifier"),
            pytest.param({"identifier": "x" * 513}, ["has 513 characters, more than 512"], id="long identifier"),
            pytest.param({"identifier": "x" * 70_000}, ["has 70000 characters"], id="very long identifier"),
            pytest.param({"na\x00me": "x"}, ["unknown field 'na\\\\x00me'"], id="control character in a field's name"),
            pytest.param({"na\ud83dme": "x"}, ["unknown field 'na\\\\ud83dme'"], id="half a pair in a field's name"),
            pytest.param(
                {"name": 1, "type": ..., "x": 2}, ["`name` is", "; unknown field", "; the type"], id="all of it"
            ),
        ],
    )
    def test_a_bad_ticket_says_all_that_is_wrong_with_it(self, fields: dict[str, Any], parts: list[str]) -> None:
        error = error_of(ticket(**fields))
        assert [part for part in parts if part not in error] == []
        assert len(error) < 400

    @pytest.mark.parametrize(
        "row", [None, 17, "a finding", ["a"], [ticket()], object(), FindingRecord], ids=lambda row: type(row).__name__
    )
    def test_a_row_that_is_no_mapping_is_one_invalid_row(self, row: Any) -> None:
        prepared = prepare_one(row)
        assert prepared.error is not None
        assert f"of type {type(row).__name__}" in prepared.error
        assert (prepared.name, prepared.identifier, prepared.key) == (None, None, None)

    def test_a_row_that_could_not_be_read_is_an_invalid_row(self) -> None:
        row = prepare_one(UnreadableRow("'{oops'", "it is not JSON", 1))
        assert (row.error, row.given, row.key) == ("line 1: it is not JSON", "'{oops'", None)

    def test_field_names_must_be_text(self) -> None:
        assert "the key 3 is of type int" in error_of({**ticket(), 3: "x"})

    def test_a_bad_row_does_not_stop_the_others(self) -> None:
        rows = prepare([ticket(), 17, ticket(name=""), ticket(name="b")], None, SCOPE)
        assert [row.index for row in rows] == [0, 1, 2, 3]
        assert [row.error is None for row in rows] == [True, False, False, True]

    def test_a_value_whose_repr_fails_does_not_stop_the_list(self) -> None:
        class Broken(dict[str, Any]):
            def __repr__(self) -> str:
                raise RuntimeError

        assert "`name` is of type Broken (<Broken" in error_of(ticket(name=Broken()))
        assert "(<int>)" in error_of(ticket(name=10**5000))

    @pytest.mark.parametrize(
        "fields",
        [
            pytest.param({"name": "Ünïcode ✓ 🎫", "description": "x" * 30_000}, id="unicode and 30 kB"),
            pytest.param({"name": "{{ conn.x.password }}"}, id="template marks"),
            pytest.param({"type": ..., "type_vendor_id": "10034"}, id="vendor type only"),
            pytest.param({"type_vendor_id": "10034"}, id="both types"),
            pytest.param({"project_vendor_id": ..., "project_id": PROJECT}, id="project as UUID"),
            pytest.param({"project_vendor_id": ..., "project_id": PROJECT.upper()}, id="UUID in capitals"),
            pytest.param({"assigned_user_vendor_id": "5b10", "parent_ticket_id": PROJECT}, id="forms mixed"),
            pytest.param({"status": "TODO", "priority": ""}, id="status and an empty text"),
        ],
    )
    def test_a_good_ticket_is_sent_as_it_is(self, fields: dict[str, Any]) -> None:
        assert sent(ticket(**fields)) == ticket(**fields)

    def test_every_field_of_the_model_is_accepted_and_no_other(self) -> None:
        for field in TicketCreate.model_fields:
            error = prepare_one({field: "x"}).error or ""
            assert "unknown field" not in error
        assert "unknown field" in error_of({"key": "x"})

    def test_nulls_are_not_sent(self) -> None:
        assert sent(ticket(priority=None, identifier=None)) == ticket()

    def test_type_id_is_sent_as_type_vendor_id_and_warned_about_once(self, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.WARNING):
            rows = prepare([ticket(type=..., type_id="7"), ticket(type_id="7"), ticket()], None, SCOPE)
        assert [payload(row, {}).get("type_vendor_id") for row in rows] == ["7", "7", None]
        assert not any("type_id" in payload(row, {}) for row in rows)
        assert [record.getMessage().count("type_vendor_id") > 0 for record in caplog.records] == [True]

    def test_a_list_without_type_id_is_not_warned_about(self, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.INFO):
            prepare([ticket(), 17], None, SCOPE)
        assert caplog.records == []


class TestRowsOfOtherKinds:
    def test_a_pydantic_model_is_a_ticket(self) -> None:
        row = Finding(name="SQL built from strings", priority=Severity.HIGH)
        assert sent(row) == ticket(priority="HIGH")

    def test_a_model_with_unknown_fields_is_an_invalid_ticket(self) -> None:
        class Loose(BaseModel):
            model_config = ConfigDict(extra="allow")

        assert "unknown field 'labels'" in error_of(Loose.model_validate(ticket(labels="x")))

    def test_a_model_that_cannot_be_dumped_is_one_invalid_row(self) -> None:
        class Broken(BaseModel):
            name: str

            @field_serializer("name")
            def serialise(self, name: str) -> str:
                raise ValueError(name)

        assert "of type Broken" in error_of(Broken(name="a"))

    def test_a_dataclass_is_a_ticket_and_its_uuid_is_sent_as_text(self) -> None:
        row = FindingRecord("SQL built from strings", uuid.UUID(PROJECT))
        assert sent(row) == ticket(project_vendor_id=..., project_id=PROJECT)

    def test_a_mapping_that_is_no_dict_is_a_ticket(self) -> None:
        assert sent(MappingProxyType(ticket(priority=None))) == ticket()

    def test_uuids_enums_and_text_of_other_classes_are_sent_as_plain_text(self) -> None:
        class Mark(str):
            __slots__ = ()

        class Kind(Enum):
            BUG = "Bug"

        body = sent(ticket(name=Mark("a"), project_vendor_id=..., project_id=uuid.UUID(PROJECT), type=Kind.BUG))
        assert body == {"name": "a", "project_id": PROJECT, "type": "Bug"}
        assert {type(value) for value in body.values()} == {str}

    def test_a_plain_row_is_kept_and_not_copied(self) -> None:
        row = ticket(priority=None)
        assert prepare_one(row).given is row

    @pytest.mark.parametrize(
        ("row", "given"),
        [
            pytest.param(17, 17, id="number"),
            pytest.param(None, None, id="null"),
            pytest.param("text \ud83d\x00", "text \ufffd", id="text with half a pair"),
            pytest.param({"name": None, "x": {1: {"y"}}}, {"name": None, "x": {"int 1": ["y"]}}, id="nested"),
            pytest.param({"name": uuid.UUID(PROJECT), "n": 1.5}, {"name": PROJECT, "n": 1.5}, id="UUID"),
            pytest.param({"na\x00me": "x"}, {"na\\x00me": "x"}, id="a name that would become another one"),
            pytest.param(
                FindingRecord("", uuid.UUID(PROJECT)),
                {"name": "", "project_id": PROJECT, "type": "Bug"},
                id="dataclass",
            ),
        ],
    )
    def test_a_bad_row_is_given_back_in_plain_json_types(self, row: Any, given: Any) -> None:
        prepared = prepare_one(row)
        assert prepared.error is not None
        assert prepared.given == given
        json.dumps(prepared.given, allow_nan=False).encode()

    @pytest.mark.parametrize(
        ("value", "was"),
        [
            (datetime(2024, 1, 1), "datetime (datetime.datetime(2024, 1, 1, 0, 0))"),
            (date(2024, 1, 1), "date (datetime.date(2024, 1, 1))"),
            (Decimal("1.5"), "Decimal (Decimal('1.5'))"),
            (float("nan"), "float (nan)"),
            (float("-inf"), "float (-inf)"),
            (2**64, f"int ({2**64})"),
            (10**5000, "int (<int>)"),
            (b"x\x00", "bytes (b'x\\x00')"),
            (Path("/x"), "PosixPath (PosixPath('/x'))"),
            (Finding(name="a"), "Finding ("),
        ],
        ids=excerpt,
    )
    @pytest.mark.parametrize("field", ["name", "priority", "identifier"])
    def test_a_value_that_cannot_be_sent_is_invalid_again_wherever_the_row_is_given_to(
        self, value: Any, was: str, field: str
    ) -> None:
        first = prepare_one(ticket(**{field: value}))
        handed_on = json.loads(json.dumps(first.given, allow_nan=False))
        again = prepare_one(handed_on)
        assert f"`{field}` is of type {was}" in str(again.error)
        assert again.error == first.error
        assert again.given == handed_on

    @pytest.mark.parametrize("row", [datetime(2024, 1, 1), float("nan"), b"x", Decimal(1)], ids=repr)
    def test_a_row_that_json_does_not_have_is_invalid_again(self, row: Any) -> None:
        first = prepare_one(row)
        again = prepare_one(json.loads(json.dumps(first.given, allow_nan=False)))
        assert (
            again.error
            == first.error
            == f"the row is of type {type(row).__name__} ({row!r}): " + ("write a mapping of ticket fields")
        )

    def test_a_row_that_holds_itself_is_given_back_cut_off(self) -> None:
        row: dict[str, Any] = {"name": "a"}
        row["self"] = row
        json.dumps(prepare_one(row).given)


UNSAFE = "a\x00b\x1b[31mc\x85d\u202ee\ud83df\t\r\n"
SAFE = "ab[31mcde\ufffdf\t\r\n"


class TestTexts:
    @pytest.mark.parametrize("field", ["description", "type", "status", "priority", "project_vendor_id"])
    def test_what_no_tracker_takes_is_left_out_of_what_is_sent(self, field: str) -> None:
        assert sent(ticket(**{field: UNSAFE})) == ticket(**{field: SAFE})

    def test_of_an_identifier_too_and_it_is_looked_up_as_it_is_sent(self) -> None:
        row = prepare_one(ticket(identifier="scan\x00-1\ud83d"))
        assert row.identifier == payload(row, {})["identifier"] == "scan-1\ufffd"

    def test_of_defaults_too(self) -> None:
        assert sent({"name": "a"}, ticket(priority="HI\x00GH")) == ticket(name="a", priority="HIGH")

    def test_a_result_shows_the_name_as_it_is_sent(self) -> None:
        assert prepare_one(ticket(name=UNSAFE)).name == sent(ticket(name=UNSAFE))["name"] == "ab[31mcde\ufffdf"

    def test_two_identifiers_that_are_sent_alike_are_one(self) -> None:
        rows = prepare([ticket(identifier="x"), ticket(identifier="x\x00")], None, SCOPE)
        assert rows[1].follows == 0

    def test_the_row_is_kept_as_it_was_given(self) -> None:
        assert prepare_one(ticket(name=UNSAFE)).given == ticket(name=UNSAFE)

    def test_one_line_counts_the_rows_that_are_not_sent_as_given(self, caplog: pytest.LogCaptureFixture) -> None:
        given = [
            ticket(name="a\x00", description="b\x00\x01"),
            ticket(name="c\x1b\ud83d"),
            ticket(identifier="x"),
            ticket(description="x" * 32_767, identifier="y"),
            ticket(identifier="x"),
            17,
        ]
        with caplog.at_level(logging.INFO):
            prepare(given, None, SCOPE, Fitting(embed_key=True))
        (record,) = caplog.records
        assert record.getMessage() == (
            "Not sent as given: in 2 tickets, control characters are removed; in 1 ticket, half a surrogate pair is "
            "replaced; in 1 ticket, the description is cut to make room for the key; in 1 ticket, the identifier is an "
            "earlier row's: the two share one ticket."
        )

    def test_a_description_ends_with_the_key_where_keys_are_embedded(self) -> None:
        row = prepare_one(ticket(description="x" * 32_740))
        text = payload(row, {}, Fitting(embed_key=True))["description"]
        assert text == f"{'x' * 32_732}…\n\n{row.key}"
        assert payload(row, {})["description"] == "x" * 32_740


class TestIdentifiers:
    def test_a_given_identifier_is_sent(self) -> None:
        row = prepare_one(ticket(identifier="CVE-2024-1 / über"))
        assert row.identifier == payload(row, {})["identifier"] == "CVE-2024-1 / über"
        assert row.key is not None

    def test_the_key_is_the_identifier_where_none_is_given(self) -> None:
        row = prepare_one(ticket())
        assert row.identifier == payload(row, {})["identifier"] == row.key

    def test_a_row_with_an_earlier_rows_identifier_follows_the_first_and_is_never_sent(self) -> None:
        given = [ticket(), *(ticket(name=name, identifier=" x\u00e9") for name in "ab"), ticket(identifier="xe\u0301")]
        rows = prepare(given, None, SCOPE)
        assert [(row.follows, row.key is None, row.error) for row in rows] == [
            (None, False, None),
            (None, False, None),
            (1, True, None),
            (1, True, None),
        ]

    def test_one_with_another_name_is_warned_about(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO)
        prepare([ticket(identifier="x"), ticket(identifier="x")], None, SCOPE)
        prepare([ticket(identifier="x"), ticket(identifier="x", name="another")], None, SCOPE)
        told, record = caplog.records
        assert (told.levelname, record.levelname) == ("INFO", "WARNING")
        assert "in 1 ticket, the identifier is that of an earlier row with another name" in record.getMessage()

    def test_what_scanners_write_instead_of_a_fingerprint_is_no_identifier(self) -> None:
        rows = prepare([ticket(identifier="requires login"), ticket(identifier="requires login")], None, SCOPE)
        assert [row.identifier for row in rows] == [row.key for row in rows]
        assert len({row.key for row in rows}) == 2
        assert payload(rows[0], {})["identifier"] == rows[0].key

    def test_one_that_follows_an_invalid_row_is_invalid_and_names_it(self) -> None:
        rows = prepare([ticket(identifier="x", priority=3), ticket(identifier="x")], None, SCOPE)
        assert rows[1].error == f"`identifier` 'x' is that of #0, which is invalid: {rows[0].error}"

    def test_an_invalid_row_says_what_is_wrong_with_itself(self) -> None:
        rows = prepare([ticket(identifier="x"), ticket(identifier="x", priority=3)], None, SCOPE)
        assert str(rows[1].error).startswith("`priority` is of type int (3)")


class TestDefaults:
    @pytest.mark.parametrize(
        ("given", "defaults", "body"),
        [
            pytest.param({"name": "a"}, ticket(), ticket(name="a"), id="laid under"),
            pytest.param({}, {"priority": "LOW"}, ticket(priority="LOW"), id="added"),
            pytest.param({"priority": "HIGH"}, {"priority": "LOW"}, ticket(priority="HIGH"), id="a ticket beats them"),
            pytest.param({"priority": None}, {"priority": "LOW"}, ticket(priority="LOW"), id="a null hides nothing"),
            pytest.param({"priority": "HIGH"}, {"priority": None}, ticket(priority="HIGH"), id="a null adds nothing"),
            pytest.param({}, {"project_id": PROJECT}, ticket(), id="vendor project beats UUID"),
            pytest.param(
                {"project_vendor_id": ..., "project_id": PROJECT},
                {"project_vendor_id": "OPS"},
                ticket(project_vendor_id=..., project_id=PROJECT),
                id="UUID project beats vendor",
            ),
            pytest.param(
                {"assigned_user_vendor_id": "5b10"},
                {"assigned_user_id": PROJECT},
                ticket(assigned_user_vendor_id="5b10"),
                id="assignee",
            ),
            pytest.param(
                {"parent_ticket_id": PROJECT},
                {"parent_ticket_vendor_id": "SEC-1"},
                ticket(parent_ticket_id=PROJECT),
                id="parent",
            ),
            pytest.param({"type": "Bug"}, {"type_vendor_id": "7"}, ticket(), id="type"),
            pytest.param({"type": "Bug"}, {"type_id": "7"}, ticket(), id="type beats the old name"),
            pytest.param(
                {"type": ..., "type_vendor_id": "7"},
                {"type": "Task"},
                ticket(type=..., type_vendor_id="7"),
                id="type id",
            ),
            pytest.param(
                {"type": ..., "type_id": "7"},
                {"type_vendor_id": "8", "type": "Task"},
                ticket(type=..., type_vendor_id="7"),
                id="the old name beats both",
            ),
            pytest.param(
                {"type": ...},
                {"type": "Task", "type_vendor_id": "8"},
                ticket(type="Task", type_vendor_id="8"),
                id="both types as defaults",
            ),
            pytest.param({}, '{"priority": "LOW"}', ticket(priority="LOW"), id="JSON text"),
            pytest.param({}, "{'priority': 'LOW'}", ticket(priority="LOW"), id="Python text"),
            pytest.param({}, "None", ticket(), id="None as text"),
            pytest.param(
                {"project_vendor_id": ...},
                {"project_id": uuid.UUID(PROJECT)},
                ticket(project_vendor_id=..., project_id=PROJECT),
                id="UUID object",
            ),
        ],
    )
    def test_what_is_sent(self, given: dict[str, Any], defaults: Any, body: dict[str, Any]) -> None:
        row = given if given == {"name": "a"} else ticket(**given)
        assert sent(row, defaults) == body

    def test_a_model_may_hold_the_defaults(self) -> None:
        assert sent({"name": "a"}, TicketCreate(name="b", project_vendor_id="OPS", type="Task")) == {
            "name": "a",
            "project_vendor_id": "OPS",
            "type": "Task",
        }

    @pytest.mark.parametrize(
        ("defaults", "part"),
        [
            ({"projekt_id": "x"}, "'projekt_id' (did you mean `project_id`?)"),
            ({"labels": ["x"]}, "unknown field 'labels'"),
            ({"priority": 3}, "`priority` is of type int (3)"),
            ({"project_id": "SEC"}, "'SEC' is not a UUID"),
            ({"project_id": PROJECT, "project_vendor_id": "SEC"}, "both given"),
            ({"identifier": "x" * 513}, "more than 512"),
            ({"identifier": ".."}, "`identifier` '..'"),
            ({3: "x"}, "the key 3"),
            ([ticket()], "of type list"),
            (17, "of type int"),
            ("[]", "of type list"),
            ("priority=HIGH", "neither JSON nor a Python literal"),
        ],
    )
    def test_bad_defaults_are_refused_in_one_sentence(self, defaults: Any, part: str) -> None:
        with pytest.raises(LeenConfigError, match="ticket_defaults") as caught:
            prepare([ticket()], defaults, SCOPE)
        assert part in str(caught.value)

    def test_an_identifier_may_be_a_default_for_one_ticket_only(self) -> None:
        assert prepare_one(ticket(), {"identifier": "x"}).identifier == "x"
        with pytest.raises(LeenConfigError, match="which all 2 tickets would share"):
            prepare([ticket(), ticket()], {"identifier": "x"}, SCOPE)

    def test_reading_defaults_twice_changes_nothing(self) -> None:
        once = read_defaults({"priority": Severity.HIGH, "type": None, "type_id": "7"})
        assert read_defaults(once) == once == {"priority": "HIGH", "type_id": "7"}


class TestKeys:
    @staticmethod
    def keys(*rows: Any, defaults: Any = None, scope: KeyScope = SCOPE) -> list[str | None]:
        return [row.key for row in prepare(rows, defaults, scope)]

    @pytest.mark.parametrize("region", [[], ["7"]], ids=["Airflow below 3.4", "a task loop of Airflow 3.4"])
    def test_a_key_is_the_hash_of_scope_row_project_and_equal_rows_before(self, region: list[str]) -> None:
        scope = dataclasses.replace(SCOPE, region_id="".join(region))
        row = {"type": "Bug", "name": "ü", "project_vendor_id": "SEC", "priority": None}
        text = json.dumps(
            [
                *dataclasses.astuple(SCOPE)[:-1],
                *region,
                {"name": "ü", "project_vendor_id": "SEC", "type": "Bug"},
                [None, "SEC"],
                1,
            ],
            ensure_ascii=False,
            separators=(",", ":"),
        )
        assert self.keys(row, row, scope=scope)[1] == "airflow-" + hashlib.sha256(text.encode()).hexdigest()[:24]

    def test_keys_do_not_change_between_releases(self) -> None:
        # A retry after an upgrade must find what the earlier release sent.
        assert self.keys(ticket(), ticket(), ticket(project_vendor_id=..., project_id=PROJECT)) == [
            "airflow-65d4d83030cb87fd11776b1d",
            "airflow-3fea21b34ab965b3fec9f178",
            "airflow-a10db41bf1e699aa734dd211",
        ]

    def test_equal_rows_have_different_keys_that_stay_the_same(self) -> None:
        keys = self.keys(ticket(), ticket(), ticket())
        assert len(set(keys)) == 3
        assert keys == self.keys(ticket(), ticket(), ticket())

    def test_a_key_follows_content_and_not_position(self) -> None:
        a, b, c = ticket(name="a"), ticket(name="b"), ticket(name="c")
        assert self.keys(a, b, c) == self.keys(c, b, a)[::-1]
        assert self.keys(a, c) == [self.keys(a, b, c)[0], self.keys(a, b, c)[2]]

    def test_nulls_and_the_order_of_fields_do_not_matter(self) -> None:
        turned = dict(reversed(list(ticket(priority=None).items())))
        assert self.keys(turned) == self.keys(ticket())

    def test_defaults_do_not_matter_except_for_the_project(self) -> None:
        row = ticket(project_vendor_id=...)
        keys = [
            self.keys(row, defaults={"project_vendor_id": "SEC"}),
            self.keys(row, defaults={"project_vendor_id": "SEC", "priority": "LOW", "type": "Task"}),
            self.keys(row, defaults={"project_vendor_id": "OPS"}),
            self.keys(row, defaults={"project_id": PROJECT}),
        ]
        assert keys[0] == keys[1]
        assert len({tuple(key) for key in keys}) == 3

    @pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(KeyScope)])
    def test_every_part_of_the_scope_matters(self, field: str) -> None:
        other = KeyScope(**{**dataclasses.asdict(SCOPE), field: 7 if field == "map_index" else "other"})
        assert self.keys(ticket(), scope=other) != self.keys(ticket())

    def test_neighbouring_parts_of_the_scope_cannot_be_confused(self) -> None:
        left = dataclasses.replace(SCOPE, dag_id='a","b', run_id="c")
        right = dataclasses.replace(SCOPE, dag_id="a", run_id='b","c')
        assert self.keys(ticket(), scope=left) != self.keys(ticket(), scope=right)

    def test_fitting_changes_no_key(self) -> None:
        rows = [ticket(name="a\nb"), ticket(name="x" * 300), ticket(priority="low"), ticket(description="x" * 40_000)]
        plain, fitted = (prepare(rows, None, SCOPE, f) for f in (Fitting(), Fitting({"low": "HIGH"}, embed_key=True)))
        assert [row.key for row in plain] == [row.key for row in fitted] == self.keys(*rows)

    def test_a_key_is_made_from_the_row_as_given_with_any_content(self) -> None:
        keys = self.keys(ticket(name="a"), ticket(name="a\x00"), ticket(name="a\ud83d"), ticket(name="a\ufffd"))
        assert len(set(keys)) == 4

    def test_a_lone_surrogate_in_the_scope_does_not_break_it(self) -> None:
        assert self.keys(ticket(), scope=dataclasses.replace(SCOPE, run_id="\udcff"))[0]

    def test_an_invalid_row_has_no_key_and_is_not_counted(self) -> None:
        assert self.keys(17, ticket(), ticket(name=""), ticket()) == [
            None,
            *self.keys(ticket())[:1],
            None,
            self.keys(ticket(), ticket())[1],
        ]
