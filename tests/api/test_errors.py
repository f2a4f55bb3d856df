from __future__ import annotations

import copy
import pickle

import pytest

from airflow_provider_leen.api import errors
from airflow_provider_leen.api.errors import (
    LeenError,
    LeenOutcomeUnknownError,
    LeenRateLimitError,
    LeenResponseError,
    LeenThresholdError,
)

RESPONSE_FACTS = {
    "status": 422,
    "type": "validation",
    "code": "BAD",
    "detail": [{"loc": ["body"], "msg": "no"}],
    "request_id": "r-1",
}


def every_class() -> list[type[LeenError]]:
    return [thing for thing in vars(errors).values() if isinstance(thing, type) and issubclass(thing, LeenError)]


def example(kind: type[LeenError]) -> LeenError:
    if issubclass(kind, LeenRateLimitError):
        return kind("It happened.", retry_after=7.0, **RESPONSE_FACTS)
    if issubclass(kind, LeenResponseError):
        return kind("It happened.", **RESPONSE_FACTS)  # type: ignore[arg-type]
    if issubclass(kind, LeenOutcomeUnknownError):
        return kind("It happened.", identifiers=["a", "b"])
    if issubclass(kind, LeenThresholdError):
        return kind("It happened.", summary={"failed": 3})
    return kind("It happened.")


@pytest.mark.parametrize("kind", every_class(), ids=lambda kind: kind.__name__)
def test_every_exception_survives_pickling_and_copying_with_all_that_it_carries(kind: type[LeenError]) -> None:
    error = example(kind)
    for twin in (pickle.loads(pickle.dumps(error)), copy.deepcopy(error)):
        assert type(twin) is kind
        assert str(twin) == "It happened."
        assert vars(twin) == vars(error)


@pytest.mark.parametrize("kind", every_class(), ids=lambda kind: kind.__name__)
def test_every_exception_can_be_made_of_a_sentence_alone(kind: type[LeenError]) -> None:
    assert str(kind("It happened.")) == "It happened."


def test_the_tree_in_the_docstring_is_the_tree_of_the_classes() -> None:
    drawn = [line for line in (errors.__doc__ or "").splitlines() if "Leen" in line and line.startswith("    ")]
    parents: list[tuple[int, str]] = []
    edges = set()
    for line in drawn:
        depth, name = line.index("Leen"), line[line.index("Leen") :].split()[0]
        parents = [(at, above) for at, above in parents if at < depth]
        edges.add((name, parents[-1][1] if parents else "Exception"))
        parents.append((depth, name))
    assert edges == {(kind.__name__, kind.__bases__[0].__name__) for kind in every_class()}


def test_what_is_carried_is_a_copy_that_the_caller_cant_change() -> None:
    identifiers = ["a"]
    summary = {"failed": 1}
    unknown = LeenOutcomeUnknownError("It happened.", identifiers=identifiers)
    threshold = LeenThresholdError("It happened.", summary=summary)
    identifiers.append("b")
    summary["failed"] = 2
    assert unknown.identifiers == ["a"]
    assert threshold.summary == {"failed": 1}
