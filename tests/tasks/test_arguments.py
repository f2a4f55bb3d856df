"""What a template yields as text is parsed; what makes no sense is refused by name."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_leen.api.errors import LeenConfigError
from airflow_provider_leen.tasks.arguments import (
    FLAG,
    MAX_FAILURE_RATE,
    MAX_FAILURES,
    SECONDS,
    Argument,
    choice,
    whole_number,
)


def name_of(value: object) -> str:
    return value.advice if isinstance(value, Argument) else str(value)


@pytest.mark.parametrize(
    ("argument", "text", "value"),
    [
        (FLAG, "False", False),
        (FLAG, " true\n", True),
        (MAX_FAILURES, "3", 3),
        (MAX_FAILURES, "None", None),
        (MAX_FAILURES, " ", None),
        (MAX_FAILURES, None, None),
        (MAX_FAILURE_RATE, "0.5", 0.5),
        (MAX_FAILURE_RATE, "None", None),
        (MAX_FAILURE_RATE, 0, 0),
        (SECONDS, "2.5", 2.5),
        (whole_number(1, 50), "50", 50),
        (choice("create", "skip"), " skip ", "skip"),
    ],
    ids=name_of,
)
def test_what_a_template_yields_is_parsed(argument: Argument, text: Any, value: Any) -> None:
    parsed = argument("it", text)
    assert (parsed, type(parsed)) == (value, type(value))


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        *[(FLAG, value) for value in ("no", "", "None", None, 1)],
        *[(MAX_FAILURES, value) for value in (-1, 1.0, True, "1.5", "many", "-1", [3])],
        *[(MAX_FAILURE_RATE, value) for value in (-0.1, 1.1, 5, True, float("nan"), "nan", "5 %")],
        *[(SECONDS, value) for value in (0, float("inf"), "inf", "soon", None)],
        *[(whole_number(1, 50), value) for value in (0, 51, "51", "None", None)],
        (choice("create", "skip"), "update"),
        (choice("create", "skip"), ["skip"]),
    ],
    ids=name_of,
)
def test_a_value_that_makes_no_sense_is_refused_in_one_sentence(argument: Argument, value: Any) -> None:
    with pytest.raises(LeenConfigError, match=r"^`it` is .*: write .*\.$"):
        argument("it", value)


@pytest.mark.parametrize("argument", [MAX_FAILURES, MAX_FAILURE_RATE, FLAG, SECONDS], ids=name_of)
def test_a_text_in_the_dag_file_is_not_parsed(argument: Argument) -> None:
    with pytest.raises(LeenConfigError):
        argument.check("it", "1")
