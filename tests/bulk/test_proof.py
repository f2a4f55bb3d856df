"""Whole runs against a server that counts what it truly made, and lies about it: nothing lost, doubled or invented."""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from airflow_provider_leen.api.client import AsyncLeenClient
from tests.api.wire import RawServer, reply
from tests.bulk.runs import UUID, VENDOR, Store, Try, answering, settings_for, try_with
from tests.bulk.truth import Content, Lie, Truth

FORMS = pytest.mark.parametrize("defaults", [VENDOR, UUID], ids=["vendor ids", "uuids"])


def run(
    truth: Truth,
    names: list[str],
    store: Store | None = None,
    *,
    defaults: Content = VENDOR,
    as_jobs: bool = False,
    at_once: int = 1,
    size: int = 5,
    **options: Any,
) -> Try:
    usual: dict[str, Any] = {"on_unknown": "fail", "batch_size": size, "max_concurrent_batches": at_once}
    options = usual | options
    given = [{"name": name} for name in names]
    return try_with(answering(truth), store or Store(), given, defaults=defaults, as_jobs=as_jobs, **options)


def tries(truth: Truth, names: list[str], *, as_jobs: bool = False, **options: Any) -> Try:
    """Run a try, and with jobs its second half; then another one, in which the server tells the truth."""
    store = Store()
    ended = run(truth, names, store, as_jobs=as_jobs, **options)
    if as_jobs:
        ended = run(truth, names, store, as_jobs=True, resume=ended.place, **options)
    assert truth.contradicts(ended) == []
    honest = truth.lie
    truth.lie = lambda number, content: None
    truth.submission = lambda number, content: None
    again = run(truth, names, store, as_jobs=as_jobs, **options)
    assert truth.contradicts(again) == []
    truth.lie = honest
    return ended


NAMES = [f"t{number}" for number in range(10)]
MIXED = [f"bad{number}" if number % 3 == 0 else f"t{number}" for number in range(10)]


def only(number: int, lie: Callable[[Content], Any]) -> Lie:
    return lambda call, content: lie(content) if call == number else None


def results_of(content: Content) -> Content:
    """The part of a reply, or of a job, that has the results."""
    return content.get("failure_reason") or content


def edit(change: Callable[[Content], Any]) -> Callable[[Content], Content]:
    def edited(content: Content) -> Content:
        change(results_of(content))
        return content

    return edited


def without_first(said: Content) -> None:
    said["results"] = said["results"][1:]


def without_first_and_counted(said: Content) -> None:
    without_first(said)
    succeeded = sum(result["success"] for result in said["results"])
    said |= {"total": len(said["results"]), "succeeded": succeeded, "failed": len(said["results"]) - succeeded}


def without_names(change: Callable[[Content], None]) -> Callable[[Content], None]:
    def edited(said: Content) -> None:
        change(said)
        for result in said["results"]:
            result["identifier"] = None

    return edited


def all_succeeded(said: Content) -> None:
    for result in said["results"]:
        result |= {"success": True, "error": None}


def foreign(said: Content) -> None:
    for number, result in enumerate(said["results"]):
        result["identifier"] = f"airflow-{number:024}"


def reversed_names(said: Content) -> None:
    names = [result["identifier"] for result in said["results"]]
    for name, result in zip(reversed(names), said["results"], strict=True):
        result["identifier"] = name


LIES_ABOUT_ALL = {
    "A1, A2: the first is missing": without_first,
    "A1, A2: and not counted": without_first_and_counted,
    "A1, A2: and nothing is named": without_names(without_first_and_counted),
    "A3: other identifiers": foreign,
    "A3: identifiers in another order": reversed_names,
    "A5: counts of failures": lambda said: said.update(succeeded=0, failed=5),
    "counts of successes": lambda said: said.update(succeeded=5, failed=0),
    "no counts": lambda said: [said.pop(name) for name in ("total", "succeeded", "failed")],
    "a result twice": lambda said: said["results"].append(said["results"][-1]),
    "an error besides": lambda said: said.update(error="the vendor timed out"),
    "A5: all claim to have succeeded": all_succeeded,
}


@FORMS
@pytest.mark.parametrize("as_jobs", [False, True], ids=["sync", "jobs"])
@pytest.mark.parametrize("lie", LIES_ABOUT_ALL.values(), ids=LIES_ABOUT_ALL)
def test_a_reply_that_contradicts_itself_leaves_its_batch_unknown(
    lie: Callable[[Content], None], as_jobs: bool, defaults: Content
) -> None:
    truth = Truth(lie=only(0, edit(lie)))
    ended = tries(truth, MIXED, as_jobs=as_jobs, defaults=defaults)
    assert [result["status"] for result in ended.results[:5]] == ["unknown"] * 5
    assert Counter(result["status"] for result in ended.results[5:]) == {"created": 3, "rejected": 2}


@FORMS
def test_a_reply_to_another_request_proves_nothing(defaults: Content) -> None:
    """A3, where no identifiers come back: the ids are those of a batch that has them already."""
    first: list[Content] = []

    def lie(number: int, content: Content) -> Content:
        without_names(lambda said: None)(content)
        first.append(content)
        return first[0] if number < 2 else content

    truth = Truth(lie=lie)
    store = Store()
    ended = run(truth, [*NAMES, "t10"], store, defaults=defaults)
    assert Counter(result["status"] for result in ended.results) == {"unknown": 10, "created": 1}
    assert truth.contradicts(ended) == []
    assert all("Contradictory replies name" in str(result["error"]) for result in ended.results[:10])
    # What was on record as created is taken back there, too.
    again = run(truth, [*NAMES, "t10"], store, defaults=defaults)
    assert Counter(result["status"] for result in again.results) == {"unknown": 10, "created": 1}
    assert truth.contradicts(again) == []


@pytest.mark.parametrize("as_jobs", [False, True], ids=["sync", "jobs"])
def test_a_server_that_answers_twice_on_a_connection_causes_no_wrong_result(as_jobs: bool) -> None:
    """A3, on the wire: without identifiers, only the ids show that the second batch got the reply to the first."""
    truth = Truth(lie=lambda number, content: edit(without_names(lambda said: None))(content))

    def serve(server: RawServer, connection: socket.socket) -> None:
        replies: list[bytes] = []
        while received := server.read(connection):
            line, _, content = received.partition(b"\r\n")
            method, path, _ = line.decode().split()
            request = httpx.Request(method, f"http://leen{path}", content=content.partition(b"\r\n\r\n")[2])
            said = truth(request)
            replies.append(reply(said.content, status=b"%d -" % said.status_code))
            # From the second request on, each gets the reply to the one before.
            connection.sendall(replies[max(0, len(replies) - 2)])

    given = [{"name": name} for name in NAMES[:6]]
    with RawServer(serve) as server:
        client = AsyncLeenClient(settings_for(f"http://127.0.0.1:{server.port}/v1", timeout=30.0))
        ended = try_with(client, Store(), given, batch_size=1, on_unknown="fail", as_jobs=as_jobs)
    # Each batch has a connection of its own, on which there is no reply before. Jobs have not been collected yet.
    assert [result["status"] for result in ended.results] == ["unknown" if as_jobs else "created"] * 6
    assert server.connections == 6
    assert truth.contradicts(ended) == []


LIES_ABOUT_ONE = {
    "A4: a failure with a key": {"success": False, "error": "timed out"},
    "A5: a success with an error": {"error": "timed out"},
    "a success without an id": {"vendor_ticket_id": None, "ticket_id": None},
    "an id that is a number": {"vendor_ticket_id": 7, "ticket_id": None},
}


@FORMS
@pytest.mark.parametrize("changes", LIES_ABOUT_ONE.values(), ids=LIES_ABOUT_ONE)
def test_a_result_that_contradicts_itself_leaves_its_ticket_unknown(changes: Content, defaults: Content) -> None:
    def lie(content: Content) -> Content:
        content["results"][1] |= changes
        succeeded = sum(result["success"] for result in content["results"])
        return content | {"succeeded": succeeded, "failed": 5 - succeeded}

    truth = Truth(lie=only(0, lie))
    ended = tries(truth, NAMES, defaults=defaults)
    assert Counter(result["status"] for result in ended.results) == {"unknown": 1, "created": 9}
    assert ended.results[1]["status"] == "unknown"
    assert ("SEC-2" in str(ended.results[1]["error"])) is ("vendor_ticket_id" not in changes)


@pytest.mark.parametrize(
    "status", [201, 202, 204, 206, 207, 226, 303, 304, 402, 408, 409, 410, 425, 451, 499, 500, 504]
)
@pytest.mark.parametrize("made", [True, False])
@FORMS
def test_a_status_that_does_not_say_that_nothing_was_done_leaves_the_batch_unknown(
    status: int, made: bool, defaults: Content
) -> None:
    truth = Truth(
        lie=lambda number, content: httpx.Response(status) if number == 0 else None,
        makes=lambda number: made or number > 0,
    )
    ended = tries(truth, NAMES, defaults=defaults)
    assert [result["status"] for result in ended.results] == ["unknown"] * 5 + ["created"] * 5


def test_a_success_with_failures_in_its_breakdown_proves_nothing() -> None:
    """A6."""

    def lie(content: Content) -> Content:
        return content | {"status": "SUCCESS"}

    truth = Truth(lie=only(0, lie))
    ended = tries(truth, MIXED, as_jobs=True)
    assert [result["status"] for result in ended.results[:5]] == ["unknown"] * 5


@pytest.mark.parametrize("at_once", [1, 4])
def test_one_job_id_for_two_batches_proves_nothing_about_either(at_once: int) -> None:
    """A7."""

    def lie(number: int, accepted: Content) -> Content | None:
        return None if truth.sent[number] == ["t10"] else {"job_id": "job-9"}

    truth = Truth(submission=lie)
    ended = tries(truth, [*NAMES, "t10"], as_jobs=True, at_once=at_once)
    assert Counter(result["status"] for result in ended.results) == {"unknown": 10, "created": 1}
    assert all("the same job, job-9" in str(result["error"]) for result in ended.results[:10])


# Not too strict


def to_each(change: Callable[[Content], Content]) -> Callable[[Content], None]:
    def edited(said: Content) -> None:
        for result in said["results"]:
            result |= change(result)

    return edited


HABITS = {
    "counts from 1": to_each(lambda result: {"request_index": result["request_index"] + 1}),
    "leaves identifiers out": to_each(lambda result: {"identifier": None}),
    "upper-case identifiers": to_each(lambda result: {"identifier": result["identifier"].upper() + " "}),
    "empty error texts": to_each(lambda result: {"error": result["error"] or ""}),
    "another order": lambda said: said["results"].reverse(),
    "more fields": lambda said: said.update(errors=[], error=None, success=True, warnings=None),
}


@FORMS
@pytest.mark.parametrize("as_jobs", [False, True], ids=["sync", "jobs"])
@pytest.mark.parametrize("habit", HABITS.values(), ids=HABITS)
def test_a_healthy_server_with_tolerated_differences_ends_with_nothing_unknown(
    habit: Callable[[Content], None], as_jobs: bool, defaults: Content
) -> None:
    def lie(number: int, content: Content) -> Content:
        said = results_of(content)
        if "results" in said:
            habit(said)
        return content

    ended = tries(Truth(lie=lie), MIXED, as_jobs=as_jobs, defaults=defaults)
    assert Counter(result["status"] for result in ended.results) == {"created": 6, "rejected": 4}
