"""What jobs report about their tickets, what is looked up if they don't, and what is never submitted twice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from airflow_provider_leen.api.errors import LeenAuthError, LeenNotFoundError, LeenServerError
from airflow_provider_leen.bulk.create import Creation
from airflow_provider_leen.sandbox.recorder import RecordedRequest
from airflow_provider_leen.sandbox.server import SandboxServer
from tests.bulk.runs import FINAL_AFTER, UUID, VENDOR, Clock, Store, Try, run_try, tickets

SUBMISSION, JOBS, LOOK_UP = "/v1/itsm/tickets/bulk", "/v1/jobs/", "/v1/itsm/tickets/by-identifier/"
REFUSED = {"name": "refused", "priority": "URGENT"}


def submit(sandbox: SandboxServer, store: Store, given: Sequence[Any], **options: Any) -> tuple[Try, Creation]:
    """Run a try that submits jobs, or continues after it."""
    ended = run_try(sandbox, store, given, as_jobs=True, **options)
    return ended, ended.run


def go_on(sandbox: SandboxServer, store: Store, given: Sequence[Any], before: Try, **options: Any) -> Try:
    """Go on with the same try, after its jobs have been waited for."""
    return submit(sandbox, store, given, resume=before.place, **options)[0]


def submit_and_go_on(sandbox: SandboxServer, given: Sequence[Any], **options: Any) -> Try:
    store = Store()
    before, _ = submit(sandbox, store, given, **options)
    return go_on(sandbox, store, given, before, **options)


def submissions(sandbox: SandboxServer) -> list[RecordedRequest]:
    return [request for request in sandbox.requests if (request.method, request.path) == ("POST", SUBMISSION)]


# Submitting


def test_each_batch_is_a_job_whose_id_is_on_record_when_the_run_ends(sandbox: SandboxServer) -> None:
    store = Store()
    ended, run = submit(sandbox, store, tickets(25), max_concurrent_batches=2)
    assert [len(request.ticket_names) for request in submissions(sandbox)] == [10, 10, 5]
    assert len(run.jobs_under_way) == 3
    on_record = {job: keys for name, keys, *more in store.facts() if name == "submitted" for job in more}
    assert on_record.keys() == set(run.jobs_under_way)
    assert sorted(key for keys in on_record.values() for key in keys) == sorted(
        str(result["identifier"]) for result in ended.results
    )
    assert sandbox.count("GET") == 0, "nothing is asked before all is on record"
    assert ended.counts == {"unknown": 25}
    assert "It was submitted in job" in str(ended.results[0]["error"])


# What an ended job proves


@pytest.mark.parametrize("defaults", [VENDOR, UUID], ids=["vendor ids", "uuids"])
def test_a_successful_job_returns_no_ids_so_they_are_fetched_by_identifier(
    sandbox: SandboxServer, defaults: dict[str, str]
) -> None:
    ended = submit_and_go_on(sandbox, tickets(12), defaults=defaults)
    held = {ticket["identifier"]: ticket for ticket in sandbox.tickets()}
    assert ended.counts == {"created": 12}
    for result in ended.results:
        ticket = held[result["identifier"]]
        assert (result["ticket_id"], result["vendor_ticket_id"]) == (ticket["ticket_id"], ticket["vendor_ticket_id"])


@pytest.mark.parametrize("status", [404, 500, 403])
def test_ids_that_cannot_be_fetched_stay_null_and_the_ticket_still_counts_as_created(
    sandbox: SandboxServer, status: int
) -> None:
    sandbox.inject("status", status=status, body="html", method="GET", path=LOOK_UP)
    ended = submit_and_go_on(sandbox, tickets(3))
    assert ended.error is None
    assert ended.counts == {"created": 3}
    assert {(result["ticket_id"], result["vendor_ticket_id"]) for result in ended.results} == {(None, None)}


def test_look_ups_that_fail_again_and_again_are_given_up(sandbox: SandboxServer) -> None:
    sandbox.inject("status", status=500, method="GET", path=LOOK_UP)
    ended = submit_and_go_on(sandbox, tickets(60))
    assert ended.counts == {"created": 60}
    assert sandbox.count("GET", LOOK_UP) < 20


def test_another_ticket_under_the_same_identifier_lends_it_no_ids(sandbox: SandboxServer) -> None:
    # By the clocks, it was sent an hour after it was created.
    ended = submit_and_go_on(sandbox, [{"name": "finding", "identifier": "CVE-2026-1"}], clock=Clock(ahead=3600.0))
    assert ended.counts == {"created": 1}
    assert ended.results[0]["ticket_id"] is None


def test_if_a_job_names_no_ticket_each_is_looked_up(sandbox: SandboxServer) -> None:
    sandbox.plan_jobs(reason="plain_text")
    ended = submit_and_go_on(sandbox, [{"name": "one"}, REFUSED, {"name": "three"}])
    assert ended.statuses == ["created", "unknown", "created"]
    assert "1 of 3 tickets failed" in str(ended.results[1]["error"])
    assert "Looked up: Leen does not know its identifier" in str(ended.results[1]["error"])


# Jobs that go on


def test_a_retry_asks_for_open_jobs_and_submits_only_what_is_new(sandbox: SandboxServer) -> None:
    store = Store()
    sandbox.inject("status", status=405, nth=2, path=SUBMISSION)
    first, _ = submit(sandbox, store, tickets(20))
    assert first.counts == {"unknown": 10, "unsent": 10}
    retry, run = submit(sandbox, store, tickets(20))
    assert retry.counts == {"created": 10, "unknown": 10}
    assert len(run.jobs_under_way) == 1
    assert sandbox.count("GET", JOBS) == 1
    assert [len(request.ticket_names) for request in submissions(sandbox)] == [10, 10, 10]
    assert len(sandbox.tickets()) == 20


@pytest.mark.parametrize("on_unknown", ["lookup", "fail", "resend"])
@pytest.mark.parametrize("embedded", [False, True])
@pytest.mark.parametrize("stall", ["before", "after"])
def test_tickets_of_a_running_job_are_neither_looked_up_nor_sent_again(
    sandbox: SandboxServer, on_unknown: str, embedded: bool, stall: str
) -> None:
    sandbox.plan_jobs(stall=stall)
    store = Store()
    options: dict[str, Any] = {"on_unknown": on_unknown, "embedded": embedded}
    before, _ = submit(sandbox, store, tickets(3), **options)
    going_on, run = submit(sandbox, store, tickets(3), resume=before.place, **options)
    retry, _ = submit(sandbox, store, tickets(3), **options)
    for ended in (going_on, retry):
        assert ended.counts == {"unknown": 3}
        assert "has not ended (status RUNNING)" in str(ended.results[0]["error"])
    assert len(run.jobs_under_way) == 1
    assert len(submissions(sandbox)) == 1
    assert sandbox.count("GET") == sandbox.count("GET", JOBS) == 2


def test_while_one_job_runs_lost_tickets_are_settled_and_submitted_again(sandbox: SandboxServer) -> None:
    store = Store()
    sandbox.plan_jobs(stall="before")
    sandbox.inject("lost", nth=2, path=SUBMISSION)
    before, _ = submit(sandbox, store, tickets(20), on_unknown="resend")
    sandbox.plan_jobs()
    going_on, run = submit(sandbox, store, tickets(20), on_unknown="resend", resume=before.place)
    assert [request.ticket_names[0] for request in submissions(sandbox)] == ["finding 0", "finding 10", "finding 10"]
    assert len(run.jobs_under_way) == 2
    assert going_on.counts == {"unknown": 20}


# Jobs that can't be asked for


@pytest.mark.parametrize(("status", "kind"), [(401, LeenAuthError), (404, LeenNotFoundError), (503, LeenServerError)])
def test_when_jobs_cannot_be_polled_nothing_is_submitted_and_their_tickets_stay_unknown(
    sandbox: SandboxServer, status: int, kind: type[Exception]
) -> None:
    store = Store()
    submit(sandbox, store, tickets(3))
    sandbox.inject("status", status=status, body="html", method="GET", path=JOBS)
    retry, _ = submit(sandbox, store, [*tickets(3), {"name": "new"}], on_unknown="resend")
    assert type(retry.error) is kind
    assert retry.statuses == ["unknown"] * 3 + ["unsent"]
    assert len(submissions(sandbox)) == 1
    sandbox.end_faults()
    again, _ = submit(sandbox, store, tickets(3))
    assert again.counts == {"created": 3}
    assert len(submissions(sandbox)) == 1


def forget_jobs(sandbox: SandboxServer) -> None:
    sandbox.inject("status", status=404, method="GET", path=JOBS)


def test_tickets_of_a_job_that_leen_no_longer_knows_are_looked_up(sandbox: SandboxServer) -> None:
    store = Store()
    before, _ = submit(sandbox, store, tickets(3))
    forget_jobs(sandbox)
    assert go_on(sandbox, store, tickets(3), before).counts == {"created": 3}
    assert len(submissions(sandbox)) == 1


def test_a_job_that_leen_forgot_may_have_created_its_tickets(sandbox: SandboxServer) -> None:
    sandbox.plan_jobs(stall="before")
    store = Store()
    before, _ = submit(sandbox, store, tickets(3), embedded=True)
    forget_jobs(sandbox)
    ended = go_on(sandbox, store, tickets(3), before, embedded=True)
    assert ended.counts == {"unknown": 3}
    assert "Leen no longer knows job" in str(ended.results[0]["error"])
    assert "The tracker's search does not find its key" in str(ended.results[0]["error"])
    assert len(submissions(sandbox)) == 1


def test_a_job_of_which_no_ticket_is_left_in_the_list_is_not_polled(sandbox: SandboxServer) -> None:
    store = Store()
    submit(sandbox, store, tickets(3))
    other, _ = submit(sandbox, store, [{"name": "another"}])
    assert sandbox.count("GET") == 0
    assert other.counts == {"unknown": 1}


def test_a_job_whose_list_has_shrunk_reports_what_is_left(sandbox: SandboxServer) -> None:
    store, given = Store(), [{"name": "one"}, REFUSED, {"name": "three"}]
    submit(sandbox, store, given)
    retry, run = submit(sandbox, store, given[1:])
    # What a job of an earlier try refused is tried again, as what a reply refused is.
    assert retry.statuses == ["unknown", "created"]
    assert len(run.jobs_under_way) == 1
    assert go_on(sandbox, store, given[1:], retry).statuses == ["rejected", "created"]


# Lost replies


@pytest.mark.parametrize("embedded", [False, True])
@pytest.mark.parametrize("commit", [False, True])
def test_a_lost_202_is_settled_by_look_up_and_never_sent_again_by_itself(
    sandbox: SandboxServer, embedded: bool, commit: bool
) -> None:
    sandbox.inject("lost", commit=commit, nth=2, path=SUBMISSION)
    store = Store()
    options: dict[str, Any] = {"embedded": embedded}
    before, _ = submit(sandbox, store, tickets(20), **options)
    ended = go_on(sandbox, store, tickets(20), before, **options)
    assert ended.counts == ({"created": 20} if commit else {"created": 10, "unknown": 10})
    if not commit:
        error = str(ended.results[10]["error"])
        assert "its reply was lost" in error
        assert ("The tracker's search does not find its key" in error) == embedded
        retry, _ = submit(sandbox, store, tickets(20), **options)
        assert retry.counts == ended.counts
    assert len(submissions(sandbox)) == 2
    assert sandbox.duplicates() == {"by_identifier": [], "by_content": []}


def test_a_reply_that_names_no_job_is_a_lost_one(sandbox: SandboxServer) -> None:
    sandbox.inject("garbage", commit=True, path=SUBMISSION, status=202)
    ended, run = submit(sandbox, Store(), tickets(3))
    assert ended.counts == {"created": 3}
    assert run.jobs_under_way == {}
    assert len(submissions(sandbox)) == 1


# Sending again


def test_a_crashed_jobs_absence_is_believed_only_some_time_after_its_end_was_seen(sandbox: SandboxServer) -> None:
    sandbox.plan_jobs(crash_after=2)
    store = Store()
    before, _ = submit(sandbox, store, tickets(5), embedded=True)
    sandbox.plan_jobs()
    clock = Clock(ahead=2 * FINAL_AFTER)
    going_on, run = submit(sandbox, store, tickets(5), embedded=True, resume=before.place, clock=clock)
    assert [request.ticket_names for request in submissions(sandbox)[1:]] == [["finding 2", "finding 3", "finding 4"]]
    (end_seen,) = [request.started for request in sandbox.requests if request.path.startswith(JOBS)]
    assert submissions(sandbox)[1].started + clock.slept - end_seen >= FINAL_AFTER
    assert going_on.statuses == ["created"] * 2 + ["unknown"] * 3
    assert run.sent_again
    assert go_on(sandbox, store, tickets(5), going_on, embedded=True).counts == {"created": 5}
    assert len(sandbox.tickets()) == 5


def test_what_was_submitted_again_is_not_looked_up_before_its_job_has_ended(sandbox: SandboxServer) -> None:
    sandbox.plan_jobs(crash_after=0)
    store = Store()
    before, _ = submit(sandbox, store, tickets(3), on_unknown="resend")
    sandbox.plan_jobs(stall="before")
    submit(sandbox, store, tickets(3), on_unknown="resend", resume=before.place)
    assert len(submissions(sandbox)) == 2
    assert sandbox.count("GET", LOOK_UP) == 3


def test_a_run_that_may_not_send_again_only_looks(sandbox: SandboxServer) -> None:
    sandbox.plan_jobs(crash_after=1)
    store = Store()
    before, _ = submit(sandbox, store, tickets(3), on_unknown="resend")
    options: dict[str, Any] = {"on_unknown": "resend", "may_send_again": False}
    going_on, run = submit(sandbox, store, tickets(3), resume=before.place, **options)
    assert going_on.statuses == ["created", "unknown", "unknown"]
    assert not run.sent_again
    assert len(submissions(sandbox)) == 1


# What the try knew before it waited


def test_what_was_known_follows_its_row_when_the_list_has_changed(sandbox: SandboxServer) -> None:
    given = [{"name": "bad"}, {"name": "two"}]
    sandbox.inject("poison", text="bad", message="not this one", body="located", path=SUBMISSION)
    store = Store()
    before, _ = submit(sandbox, store, given)
    ended = go_on(sandbox, store, [{"name": "new"}, *given], before)
    assert ended.statuses == ["unsent", "rejected", "created"]
    assert ended.results[1]["error"] == "name: not this one"


def test_tickets_that_existed_before_are_still_known_after_the_wait(sandbox: SandboxServer) -> None:
    old = {"name": "old", "identifier": "CVE-2026-1"}
    submit(sandbox, Store(), [old])
    ended = submit_and_go_on(sandbox, [old, {"name": "new", "identifier": "CVE-2026-2"}], skip_existing=True)
    assert ended.statuses == ["existing", "created"]
    assert ended.results[0]["vendor_ticket_id"] == "SEC-101"
    assert len(sandbox.tickets()) == 2
