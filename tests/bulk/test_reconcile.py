"""Runs over the list of a scope, against the sandbox: what is sent, and each finding's result."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_leen.api.client import AsyncLeenClient
from airflow_provider_leen.api.errors import LeenBrakeError, LeenConfigError, LeenError, LeenStoppedError
from airflow_provider_leen.bulk.fitting import Fitting
from airflow_provider_leen.bulk.journal import Owner
from airflow_provider_leen.bulk.plan import DAY, Settings
from airflow_provider_leen.bulk.reconcile import Reconciliation
from airflow_provider_leen.bulk.register import refuse_without_identifier
from airflow_provider_leen.bulk.register_journal import RegisterJournal
from airflow_provider_leen.bulk.register_ledger import RegisterLedger
from airflow_provider_leen.bulk.register_reading import Identity
from airflow_provider_leen.bulk.register_store import RegisterStore
from airflow_provider_leen.bulk.sending import Batching
from airflow_provider_leen.bulk.summary import ReconcileSummary, check_summary
from airflow_provider_leen.bulk.tickets import payload
from airflow_provider_leen.sandbox.server import SandboxServer
from tests.bulk.runs import UUID, VENDOR, rows_of, settings_for
from tests.support.waiting import until

STATUSES: dict[Any, str] = {"open": "TODO", "closed": "CLOSED"}
UPDATES = "/v1/itsm/tickets/bulk/update"
SEARCH = "/v1/itsm/passthrough/tickets/search"
LISTS = "/v1/itsm/tickets"
CREATES = "/v1/itsm/tickets/bulk/sync"


class Scope:
    """A scope of a register, and the runs over it. Leen knows each ticket at once, unless the project is a key."""

    def __init__(self, sandbox: SandboxServer, folder: Path, defaults: Mapping[str, str] = UUID) -> None:
        self.sandbox = sandbox
        self.error: LeenError | None = None
        self.ahead = 0.0
        """Seconds by which the clock of the runs is ahead."""
        self.defaults = dict(defaults)
        self._store = RegisterStore(folder)
        self._days = itertools.count(1)
        self._tries = itertools.count(1)

    def run(
        self,
        *identifiers: Any,
        day: int | None = None,
        during: Callable[[Reconciliation], Any] | None = None,
        **given: Any,
    ) -> ReconcileSummary:
        """Reconcile the list of a day, by default the next one."""
        day = next(self._days) if day is None else day
        options: dict[str, Any] = {
            "is_whole": True, "at": float(day), "run": f"run-{day}", "statuses": STATUSES, "poll_interval": 0.01,
            "sleep": self.sleep,
        }  # fmt: skip
        settings = {name: given.pop(name) for name in list(given) if name in Settings.__slots__}
        options["settings"] = Settings(**settings)
        rows = [
            it if not isinstance(it, str) else {"name": f"Finding {it}", "identifier": it, **self.defaults}
            for it in identifiers
        ]
        return asyncio.run(self._run(rows, f"run-{day}", options | given, during))

    async def _run(self, given: Sequence[Any], run: str, options: Any, during: Any) -> ReconcileSummary:
        task = {"dag_id": "dag", "run_id": run, "task_id": "task", "map_index": -1}
        async with AsyncLeenClient(settings_for(self.sandbox.base_url)) as client:
            identity = Identity("", self.sandbox.base_url, self.sandbox.connection_id)
            journal = RegisterJournal(self._store, Owner(task, next(self._tries)), identity, now=self.now)
            rows = rows_of(given, {})
            refuse_without_identifier(rows)
            reconciliation = Reconciliation(
                client,
                RegisterLedger(journal, None, now=self.now),
                rows,
                lambda row, note: payload(row, {}, Fitting(embed_key=True), note),
                Batching(50, 2),
                **options,
            )
            if during:
                during(reconciliation)
            await reconciliation.run()
            self.error = reconciliation.error
            summary = reconciliation.summary()
            if reconciliation.ledger.is_open:
                await reconciliation.ledger.close()
            return summary

    def now(self) -> float:
        return time.time() + self.ahead

    async def sleep(self, seconds: float) -> None:
        self.ahead += seconds

    def open(self) -> list[str]:
        """The names of the tickets that are open in the tracker."""
        return sorted(it["name"] for it in self.sandbox.tickets() if it["status"] not in ("CLOSED", "RESOLVED"))


@pytest.fixture
def scope(sandbox: SandboxServer, tmp_path: Path) -> Scope:
    return Scope(sandbox, tmp_path)


def told(summary: ReconcileSummary) -> dict[str | None, str]:
    check_summary(summary)
    return {result["identifier"]: result["status"] for result in summary["results"]}


def test_new_findings_are_filed_known_ones_left_alone_and_gone_ones_closed(
    scope: Scope, sandbox: SandboxServer
) -> None:
    assert told(scope.run("a", "b", "c")) == dict.fromkeys("abc", "created")
    assert told(scope.run("a", "b", "d")) == {"a": "existing", "b": "existing", "d": "created"}
    assert sandbox.count("POST", UPDATES) == 0
    summary = scope.run("a", "b", "d")
    assert told(summary) == {"a": "existing", "b": "existing", "d": "existing", "c": "closed"}
    assert (summary["closed"], summary["succeeded"], summary["failed"]) == (1, 4, 0)
    assert (summary["complete"], summary["waiting"], summary["closed_by_people"]) == (True, 0, 0)
    assert scope.open() == ["Finding a", "Finding b", "Finding d"]
    assert told(scope.run("a", "b", "d")) == dict.fromkeys("abd", "existing")
    assert (sandbox.count("POST", UPDATES), sandbox.count("GET", SEARCH)) == (1, 1)


def gone(scope: Scope, *stay: str, **given: Any) -> ReconcileSummary:
    """File a to c, then run over lists of what stays until a is to be closed."""
    scope.run("a", "b", "c")
    scope.run(*stay)
    return scope.run(*stay, **given)


def test_a_finding_that_is_back_has_its_ticket_reopened(scope: Scope, sandbox: SandboxServer) -> None:
    summary = gone(scope, "b", "c")
    assert told(summary)["a"] == "closed"
    assert [it["name"] for it in summary["results"]] == ["Finding b", "Finding c", "Finding a"]
    summary = scope.run("a", "b", "c")
    assert told(summary) == {"a": "reopened", "b": "existing", "c": "existing"}
    assert summary["results"][0]["vendor_ticket_id"] == "SEC-101"
    assert len(sandbox.tickets()) == len(scope.open()) == 3
    assert told(scope.run("a", "b", "c"))["a"] == "existing"


@pytest.mark.parametrize("act", ["touch", "close again", "delete"])
def test_a_ticket_that_a_person_has_touched_gets_a_successor_that_names_it(
    scope: Scope, sandbox: SandboxServer, act: str
) -> None:
    gone(scope, "b", "c")
    if act == "touch":
        sandbox.people.edit("SEC-101", {"description": "We accept this."}, ago=-3600)
    elif act == "delete":
        sandbox.people.delete("SEC-101")
    else:
        sandbox.people.reopen("SEC-101", ago=-3600)
        sandbox.people.close("SEC-101", ago=-3700)
    summary = scope.run("a", "b", "c")
    assert told(summary)["a"] == "created"
    assert summary["results"][0]["vendor_ticket_id"] == "SEC-104"
    (new,) = [it for it in sandbox.tickets() if it["vendor_ticket_id"] == "SEC-104"]
    assert "Its earlier ticket is SEC-101." in new["description"]
    assert scope.open() == ["Finding a", "Finding b", "Finding c"]
    assert told(scope.run("a", "b", "c")) == dict.fromkeys("abc", "existing")


@pytest.mark.parametrize("closed_by", ["a person", "us"])
def test_where_a_person_has_reopened_an_earlier_ticket_no_other_is_filed_or_reopened(
    scope: Scope, sandbox: SandboxServer, closed_by: str
) -> None:
    scope.run("a", "b", "c")
    sandbox.people.close("SEC-101")
    scope.run("b", "c")
    scope.run("b", "c")
    assert told(scope.run("a", "b", "c"))["a"] == "created"
    sandbox.people.reopen("SEC-101", ago=-3600)
    if closed_by == "a person":
        sandbox.people.close("SEC-104", ago=-3600)
    scope.run("b", "c")
    scope.run("b", "c")
    assert scope.open() == ["Finding a", "Finding b", "Finding c"], "SEC-101, which is a person's"
    for _ in range(2):
        assert told(scope.run("a", "b", "c")) == dict.fromkeys("abc", "existing")
        assert scope.open() == ["Finding a", "Finding b", "Finding c"]
        assert len(sandbox.tickets()) == 4


def test_a_ticket_that_a_person_closed_is_left_alone_and_counted(scope: Scope, sandbox: SandboxServer) -> None:
    scope.run("a", "b", "c")
    sandbox.people.close("SEC-101", status="RESOLVED")
    scope.run("b", "c")
    summary = scope.run("b", "c")
    assert told(summary) == {"b": "existing", "c": "existing"}
    assert summary["closed_by_people"] == 1
    assert sandbox.count("POST", UPDATES) == 0
    assert told(scope.run("a", "b", "c"))["a"] == "created"


def test_a_ticket_that_was_moved_is_closed_where_it_is(scope: Scope, sandbox: SandboxServer) -> None:
    scope.run("a", "b", "c")
    sandbox.people.move("SEC-101", "APP")
    scope.run("b", "c")
    summary = scope.run("b", "c")
    assert told(summary)["a"] == "closed"
    assert summary["results"][-1]["vendor_ticket_id"] == "APP-101"
    assert scope.open() == ["Finding b", "Finding c"]


def test_a_change_waits_for_leens_id_of_the_ticket(sandbox: SandboxServer, tmp_path: Path) -> None:
    scope = Scope(sandbox, tmp_path, VENDOR)
    summary = gone(scope, "b", "c")
    assert told(summary)["a"] == "pending"
    assert summary["failed"] == 0
    assert summary["results"][-1]["error"] == "Leen does not know the ticket until its next sync."
    assert len(scope.open()) == 3
    sandbox.sync()
    sandbox.inject("status", status=422, method="GET", path=LISTS, times=1)
    assert told(scope.run("b", "c"))["a"] == "closed", "a page of another size may be refused"
    assert len(scope.open()) == 2


def test_leens_ids_of_thousands_of_tickets_are_learnt_in_one_run(sandbox: SandboxServer, tmp_path: Path) -> None:
    scope = Scope(sandbox, tmp_path, VENDOR)
    many = [f"f{number}" for number in range(2100)]
    scope.run(*many, max_new=None)
    sandbox.sync()
    scope.run(*many)
    assert sandbox.count("GET", LISTS) == 5
    scope.run(*many)
    assert sandbox.count("GET", LISTS) == 5, "nothing is asked where all are known"


def test_where_the_tracker_refuses_to_reopen_a_new_ticket_is_filed_in_the_same_run(
    scope: Scope, sandbox: SandboxServer
) -> None:
    sandbox.workflow({"CLOSED": []})
    gone(scope, "b", "c")
    assert told(scope.run("a", "b", "c"))["a"] == "created"
    assert len(sandbox.tickets()) == 4
    assert len(scope.open()) == 3
    assert told(scope.run("a", "b", "c"))["a"] == "existing"


def test_new_tickets_in_place_of_those_that_the_tracker_refuses_to_reopen_count_for_max_new(
    scope: Scope, sandbox: SandboxServer
) -> None:
    sandbox.workflow({"CLOSED": []})
    gone(scope, "b", "c")
    summary = scope.run("a", "b", "c", "d", max_new=1, day=9)
    assert told(summary) == {"a": "rejected", "b": "existing", "c": "existing", "d": "created"}
    assert isinstance(scope.error, LeenBrakeError)
    assert "would file 2 tickets, and max_new is 1" in str(scope.error)
    assert told(scope.run("a", "b", "c", "d", max_new=2, day=9))["a"] == "created"
    assert len(sandbox.tickets()) == 5


def test_where_the_tracker_refuses_to_close_the_ticket_is_rejected_in_every_run(
    scope: Scope, sandbox: SandboxServer
) -> None:
    sandbox.workflow({"TODO": ["IN_PROGRESS"]})
    for summary in (gone(scope, "b", "c"), scope.run("b", "c")):
        assert told(summary)["a"] == "rejected"
        assert summary["failed"] == 1
        assert summary["results"][-1]["error"]
    assert len(scope.open()) == 3


@pytest.mark.parametrize("commit", [True, False])
def test_a_change_whose_reply_is_lost_is_settled_by_reading_the_ticket(
    scope: Scope, sandbox: SandboxServer, commit: bool
) -> None:
    scope.run("a", "b", "c")
    scope.run("b", "c")
    sandbox.inject("lost", path=UPDATES, commit=commit, times=1)
    assert told(scope.run("b", "c"))["a"] == "pending"
    summary = scope.run("b", "c")
    assert told(summary) == {"b": "existing", "c": "existing", "a": "closed" if commit else "pending"}
    assert len(scope.open()) == (2 if commit else 3)
    assert sandbox.count("POST", UPDATES) == 1


def test_a_running_job_is_waited_for_in_the_next_run(
    scope: Scope, sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_provider_leen.bulk.changes.WAITS_FOR_JOBS", 0.0)
    sandbox.plan_jobs(polls=2)
    assert told(gone(scope, "b", "c"))["a"] == "pending"
    assert told(scope.run("a", "b", "c"))["a"] == "pending", "no other change while the job goes on"
    assert told(scope.run("a", "b", "c"))["a"] == "created", "nobody saw our closing end"
    assert scope.open() == ["Finding a", "Finding b", "Finding c"]


def test_what_can_t_be_read_is_not_changed(scope: Scope, sandbox: SandboxServer) -> None:
    sandbox.inject("status", method="GET", path=SEARCH)
    sandbox.inject("status", method="GET", path="/v1/itsm/tickets/")
    assert told(gone(scope, "b", "c"))["a"] == "pending"
    sandbox.end_faults()
    assert told(scope.run("b", "c"))["a"] == "closed"


def test_the_log_says_what_is_missing_from_the_list_and_stays_open(
    scope: Scope, sandbox: SandboxServer, caplog: pytest.LogCaptureFixture
) -> None:
    def logged(*identifiers: str) -> str:
        caplog.clear()
        with caplog.at_level("INFO", "airflow_provider_leen.bulk.reconcile"):
            scope.run(*identifiers)
        return "\n".join(it.getMessage() for it in caplog.records if it.name.endswith("bulk.reconcile"))

    assert not logged("a", "b", "c")
    assert logged("b", "c").startswith("Missing from this list: 1 finding with open tickets. A ticket is closed when")
    empty = "The list is empty, so 3 tickets stay open (%d of findings that have been missing from 2 lists in a row)."
    assert logged().startswith(empty % 1)
    assert logged().startswith(empty % 3), "whether it is the first such list or not"
    sandbox.people.close("SEC-101")
    assert logged("b", "c") == "Closed by people, when they were read last: 1 ticket."


def test_a_list_that_is_not_whole_files_and_closes_nothing(scope: Scope, caplog: pytest.LogCaptureFixture) -> None:
    scope.run("a", "b", "c")
    scope.run("b")
    nameless = {"name": "without identifier", **UUID}
    blank = {"name": "with a blank one", "identifier": " ", **UUID}
    for rows, is_whole in ((["b", "d"], False), (["b", "d", nameless], True), (["b", "d", blank], True)):
        summary = scope.run(*rows, is_whole=is_whole)
        assert summary["complete"] is False
        assert summary["closed"] == summary["pending"] == 0
        reason = "" if not is_whole else " (1 row without an identifier)"
        assert f"The list is not complete{reason}, so nothing is closed" in caplog.text
    assert len(scope.open()) == 4
    assert told(scope.run("b", "d"))["a"] == "closed"


def test_the_brakes_send_nothing(scope: Scope, sandbox: SandboxServer) -> None:
    many = [f"f{number}" for number in range(9)]
    scope.run(*many)
    scope.run("f0", "f1")
    sent = sandbox.count("POST")
    summary = scope.run("f0", "f1", "new")
    assert isinstance(scope.error, LeenBrakeError)
    assert "7 of 9 open tickets would be closed" in str(scope.error)
    assert told(summary) == {"f0": "existing", "f1": "existing", "new": "unsent"}
    scope.run("f0", "f1", "x", "y", max_new=1)
    assert isinstance(scope.error, LeenBrakeError)
    assert sandbox.count("POST") == sent
    assert told(scope.run(*many)) == dict.fromkeys(many, "existing")


def test_a_list_that_is_older_than_one_before_is_refused(scope: Scope, sandbox: SandboxServer) -> None:
    scope.run("a", "b")
    scope.run("a", "b", "c")
    sent = sandbox.count("POST")
    scope.run("b", "d", day=1)
    assert isinstance(scope.error, LeenConfigError)
    assert "older" in str(scope.error)
    assert sandbox.count("POST") == sent


def test_a_dry_run_returns_the_plan_which_is_then_carried_out_unless_something_changed(
    scope: Scope, sandbox: SandboxServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    scope.run("a", "b", "c")
    scope.run("b", "c", "d")
    before = {it["vendor_ticket_id"]: it["status"] for it in sandbox.tickets()}
    planned = scope.run("b", "c", "d", "e", dry_run=True, day=9)
    assert told(planned) == {"b": "existing", "c": "existing", "d": "existing", "e": "created", "a": "closed"}
    assert planned["dry_run"] is True
    assert f"This is a dry run: nothing was sent; the results show what would be. The plan is {planned['plan']}." in (
        caplog.text
    )
    assert {it["vendor_ticket_id"]: it["status"] for it in sandbox.tickets()} == before
    assert told(scope.run("b", "c", "d", "e", dry_run=True, day=9))["a"] == "closed", "it counts for nothing"
    scope.run("b", "c", "d", "e", expected="0" * 32, day=9)
    assert isinstance(scope.error, LeenConfigError)
    assert {it["vendor_ticket_id"]: it["status"] for it in sandbox.tickets()} == before
    done = scope.run("b", "c", "d", "e", expected=planned["plan"], day=9)
    assert told(done) == told(planned)
    assert scope.open() == ["Finding b", "Finding c", "Finding d", "Finding e"]


class Killed(BaseException):
    """The worker is gone."""


def dies_at(number: int) -> Callable[[Reconciliation], None]:
    """Let a run die instead of its n-th write to the register."""

    def let_it_die(run: Reconciliation) -> None:
        append, writes = run.ledger.register.append, itertools.count(1)

        def dies(value: Any) -> None:
            if next(writes) == number:
                raise Killed
            append(value)

        run.ledger.register.append = dies  # type: ignore[method-assign]

    return let_it_die


@pytest.mark.parametrize("write", range(1, 8))
def test_a_run_that_dies_at_any_write_is_made_good_by_the_next(
    scope: Scope, sandbox: SandboxServer, write: int
) -> None:
    gone(scope, "b", "c")
    scope.run("a", "c")
    with suppress(Killed):
        scope.run("a", "c", "d", during=dies_at(write), close_after=1, day=5)
    scope.ahead += 4 * DAY
    for day in (5, 6):
        told(scope.run("a", "c", "d", day=day))
    assert scope.open() == ["Finding a", "Finding c", "Finding d"]
    assert sum(ticket["name"] == "Finding d" for ticket in sandbox.tickets()) == 1


@pytest.mark.parametrize("write", range(1, 10))
def test_a_retry_reports_what_all_tries_did_and_its_approved_plan_holds(
    scope: Scope, sandbox: SandboxServer, write: int
) -> None:
    gone(scope, "b", "c")
    options: dict[str, Any] = {"close_after": 1, "day": 5}
    options["expected"] = scope.run("a", "c", "d", dry_run=True, **options)["plan"]
    with suppress(Killed):
        scope.run("a", "c", "d", during=dies_at(write), **options)
    scope.ahead += 4 * DAY
    for _ in range(2):
        retried = scope.run("a", "c", "d", **options)
        assert scope.error is None
        assert told(retried) == {"a": "reopened", "c": "existing", "d": "created", "b": "closed"}
    assert told(scope.run("a", "c", "d", day=6)) == dict.fromkeys("acd", "existing")


def test_a_stop_ends_the_wait_for_a_change_and_is_reported(scope: Scope, sandbox: SandboxServer) -> None:
    scope.run("a", "b", "c")
    scope.run("b", "c")
    sandbox.plan_jobs(stall="before")

    def stop_while_it_waits(run: Reconciliation) -> None:
        def stop() -> None:
            until(lambda: sandbox.count("GET", "/v1/jobs/") > 0)
            run.stop("The task was stopped.")

        threading.Thread(target=stop).start()

    summary = scope.run("b", "c", during=stop_while_it_waits)
    assert isinstance(scope.error, LeenStoppedError)
    assert told(summary) == {"b": "existing", "c": "existing", "a": "pending"}
    assert told(scope.run("b", "c"))["a"] == "pending", "its job goes on"


def test_a_day_with_many_known_findings_costs_a_search_and_a_job(scope: Scope, sandbox: SandboxServer) -> None:
    known = [f"f{number}" for number in range(300)]
    scope.run(*known)
    scope.run(*known[50:])
    before = len(sandbox.requests)
    new = [f"n{number}" for number in range(100)]
    summary = scope.run(*known[50:], *new)
    assert (summary["created"], summary["existing"], summary["closed"]) == (100, 250, 50)
    made = [(it.method, it.path.split("?")[0]) for it in sandbox.requests[before:]]
    assert [path for method, path in made if method == "POST"].count(CREATES) == 2
    assert [path for _, path in made].count(UPDATES) == 1
    assert [path for _, path in made].count(SEARCH) == 1
    assert len(made) == 5, "and a poll"
