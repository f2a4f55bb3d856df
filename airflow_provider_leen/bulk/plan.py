"""Plans a reconciliation: one pure function of the list, the register, and the tickets' state in the tracker.

:func:`plan` is called first without readings, and returns in :attr:`Plan.to_read` which tickets must be read before it
can decide; then with the readings. A person's changes are never undone: tickets that can't be read are not changed.

The new state of findings (:attr:`Plan.changed`) is recorded before anything is sent. So a second plan of the same run,
for example after a crash, decides the same, except for what was done meanwhile.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from airflow_provider_leen.bulk.findings import Finding, History
from airflow_provider_leen.bulk.summary import counted
from airflow_provider_leen.bulk.verdict import too_many_new

DAY = 86_400.0

WAIT_FOR_ID = 7 * DAY
"""Seconds that a change waits for Leen's id of its ticket before it counts as rejected."""

WAIT_FOR_CHANGE = 3 * DAY
"""Seconds to wait for the outcome of a change; after that, the ticket's state counts."""

TOUCHED_AFTER = 60.0
"""Seconds after our own change within which the tracker may still update the ticket."""

ALWAYS_ALLOWED = 5
"""This many tickets may always be closed in one run, whatever their share."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How a scope is reconciled; the arguments of the operator.

    :param settled_after: the seconds after which a request can have no further effect.
    """

    on_gone: str = "close"
    on_returned: str = "reopen"
    close_after: int = 2
    max_close_rate: float = 0.2
    max_new: int | None = 500
    settled_after: float = 440.0


@dataclass(frozen=True, slots=True)
class FindingList:
    """The list of a Dag run.

    :param rows: by identifier, in order, whether a ticket can be filed for it.
    :param complete: whether findings that are missing from it are gone.
    :param run: the Dag run's id.
    :param at: which list is newer, in seconds since the epoch.
    :param task: the task of the Dag run that reconciles it; its tries have it in common.
    """

    rows: Mapping[str, bool]
    complete: bool
    run: str
    at: float
    task: str = ""


@dataclass(frozen=True, slots=True)
class Scope:
    """The findings of a scope in the register.

    :param findings: by identifier.
    :param newest: the newest list that reached its plan.
    """

    findings: Mapping[str, Finding]
    newest: float | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """A ticket's state in the tracker or in Leen.

    :param state: ``gone`` if it was deleted.
    :param updated_at: when it was last changed, in seconds since the epoch.
    :param vendor_ticket_id: the tracker's current id, if shown: a moved ticket has a new one.
    :param ticket_id: Leen's id, if shown.
    :param is_replaced: whether it is not open, but an earlier ticket of the finding is: a person has reopened that.
    :param name: its title, if shown.
    """

    state: Literal["open", "closed", "gone"]
    updated_at: float | None = None
    vendor_ticket_id: str | None = None
    ticket_id: str | None = None
    is_replaced: bool = False
    name: str | None = None

    @classmethod
    def of_all(cls, newest: Reading | None, earlier: Collection[Reading | None]) -> Reading | None:
        """Return the reading of a finding's newest ticket, with what was read of its earlier ones."""
        if newest is None or newest.state == "open" or not earlier:
            return newest
        if any(it is not None and it.state == "open" for it in earlier):
            return replace(newest, is_replaced=True)
        return None if None in earlier else newest


Kind = Literal["create", "keep", "reopen", "close", "reopened", "closed", "pending", "reject", "unknown"]


@dataclass(frozen=True, slots=True)
class Action:
    """The action for a finding.

    :param kind: ``unknown`` is left to the filing, which determines the outcome; ``reject`` is an impossible change;
        ``reopened`` and ``closed`` were done by an earlier try, or by an earlier run that did not learn the outcome.
    :param finding: its new state; for ``create``, the finding of the new ticket.
    :param reason: for a person.
    :param listed: whether it is in the list.
    """

    kind: Kind
    finding: Finding
    reason: str = ""
    listed: bool = True


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why nothing is sent, for a person."""

    kind: Literal["older list", "max_close_rate", "max_new", "other plan"]
    message: str


@dataclass(frozen=True, slots=True)
class Plan:
    """The plan.

    :param actions: those of the list's rows in order, then those of the findings that are gone.
    :param to_read: the findings whose tickets must be read first.
    :param changed: the findings with a new state, by identifier: to be recorded before anything is sent.
    :param missing: findings with open tickets that are missing from the list, but not yet long enough to be gone.
    :param waiting: gone findings whose tickets stay open because the list is empty.
    :param closed_by_people: tickets that were read and found closed by a person.
    :param task: the task of the Dag run that it is of.
    """

    complete: bool
    actions: tuple[Action, ...] = ()
    to_read: tuple[str, ...] = ()
    changed: Mapping[str, Finding] = field(default_factory=dict)
    refusal: Refusal | None = None
    missing: int = 0
    waiting: int = 0
    closed_by_people: int = 0
    task: str = ""

    @property
    def hash(self) -> str:
        """A hash of what this task sends: plans that send the same have the same hash.

        It includes what earlier tries of the task have sent, so that an approved plan is valid for all of them.
        """
        sent = sorted(
            (kind, it.finding.identifier, it.finding.generation)
            for it in self.actions
            if (kind := self._sent(it)) is not None
        )
        return hashlib.sha256(json.dumps(sent).encode()).hexdigest()[:32]

    def count(self, kind: str) -> int:
        """Return how many tickets this task creates, reopens or closes (``create``, ``reopen``, ``close``)."""
        return sum(self._sent(action) == kind for action in self.actions)

    def _sent(self, action: Action) -> str | None:
        if action.kind in ("create", "unknown") or (action.kind == "keep" and action.finding.is_new):
            return "create"
        if action.kind in ("reopen", "close"):
            return action.kind
        history = action.finding.history
        if action.kind not in ("reopened", "closed", "pending") or not self.task or history.sent_by != self.task:
            return None
        wanted = history.change.wanted if history.change else "open" if history.is_open else "closed"
        return "reopen" if wanted == "open" else "close"


def plan(
    found: FindingList,
    scope: Scope,
    shown: Mapping[str, Reading | None],
    settings: Settings,
    now: float,
    *,
    running: Collection[str] = (),
    expected: str | None = None,
) -> Plan:
    """Decide the action for each finding.

    :param found: the list.
    :param scope: the state in the register.
    :param shown: the tickets that were read, by identifier; None for a ticket that can't be read.
    :param now: the time, in seconds since the epoch.
    :param running: the jobs that are still running.
    :param expected: the hash of the approved plan; None for any.
    """
    if scope.newest is not None and found.at < scope.newest:
        message = (
            "This list is older than the newest one in the register, so nothing was sent: a cleared run must not undo "
            "what a later run did. Run the newest Dag run instead."
        )
        return Plan(found.complete, refusal=Refusal("older list", message))
    draft = _Draft(found, scope, shown, settings, now, running)
    made = draft.plan()
    # A plan that still needs readings can't be compared: they may change it.
    refusal = draft.brake(made)
    if refusal is None and expected is not None and not made.to_read and expected != made.hash:
        refusal = Refusal(
            "other plan",
            f"The plan has changed since it was approved, so nothing was sent. It would file {made.count('create')}, "
            f"reopen {made.count('reopen')} and close {made.count('close')} now (it is {made.hash}, but "
            f"`expected_plan` is {expected}). Run the dry run again and approve its plan.",
        )
    if refusal is None:
        return made
    back = {name: it for name in found.rows if (it := scope.findings.get(name)) and it.history != it.history.listed()}
    seen = {name: replace(it, history=it.history.listed()) for name, it in back.items()}
    return replace(made, actions=(), to_read=(), changed=seen, refusal=refusal)


@dataclass
class _Draft:
    """A plan in the making.

    :param decided: tickets that this run decides to close; those of earlier runs were counted then.
    """

    found: FindingList
    scope: Scope
    shown: Mapping[str, Reading | None]
    settings: Settings
    now: float
    running: Collection[str]
    to_read: list[str] = field(default_factory=list)
    actions: list[Action] = field(default_factory=list)
    missing: int = 0
    waiting: int = 0
    decided: int = 0

    def plan(self) -> Plan:
        findings = self.scope.findings
        rows = self.found.rows
        for identifier, can_be_filed in rows.items():
            action = self.about_listed(findings.get(identifier) or Finding(identifier), can_be_filed)
            self.actions.append(action)
        changed = {it.finding.identifier: it.finding for it in self.actions}
        for identifier, finding in findings.items():
            if identifier not in rows:
                gone = self.about_gone(finding)
                changed[identifier] = gone.finding
                if gone.kind != "keep":
                    self.actions.append(gone)
        changed = {name: it for name, it in changed.items() if it != findings.get(name, Finding(name))}
        return Plan(
            self.found.complete,
            tuple(self.actions),
            tuple(self.to_read),
            changed,
            missing=self.missing,
            waiting=self.waiting,
            closed_by_people=sum(it.history.closed_by == "person" for it in {**findings, **changed}.values()),
            task=self.found.task,
        )

    def brake(self, made: Plan) -> Refusal | None:
        """Return why nothing is sent, if so."""
        new = sum(action.kind == "create" for action in made.actions)
        limit = self.settings.max_new
        if limit is not None and new > limit:
            findings, rows = self.scope.findings, self.found.rows
            known = sum(name in findings and findings[name].ticket != "none" for name in rows)
            return Refusal("max_new", too_many_new(new, limit, known=known, listed=len(rows)))
        open_tickets = sum(it.ticket == "filed" and it.history.is_open for it in self.scope.findings.values())
        rate = self.settings.max_close_rate
        if self.decided > ALWAYS_ALLOWED and self.decided > rate * open_tickets:
            return Refusal(
                "max_close_rate",
                f"{self.decided} of {counted(open_tickets, 'open ticket')} would be closed, more than "
                f"max_close_rate={rate:g} allows, so nothing was sent. Check that the list is complete. If the "
                "findings really are gone, raise `max_close_rate` and clear the task.",
            )
        return None

    # A finding that is in the list

    def about_listed(self, finding: Finding, can_be_filed: bool) -> Action:
        if finding.ticket == "none":
            return Action("create" if can_be_filed else "keep", _with(finding, History()))
        finding, blocked = self.after_its_change(finding, listed=True)
        finding = _with(finding, finding.history.listed())
        if finding.ticket == "unknown":
            return Action("unknown", finding)
        if blocked:
            return Action("pending", finding, blocked)
        history = finding.history
        if finding.ticket == "unwanted" or not history.away:
            return Action("reopened" if history.is_open and self.is_told_now(history) else "keep", finding)
        if self.settings.on_returned == "keep" and not history.late:
            return Action("keep", _with(finding, history.dealt_with()))
        return self.about_returned(finding, can_be_filed)

    def about_returned(self, finding: Finding, can_be_filed: bool) -> Action:
        history = finding.history
        reading = self.read(finding)
        if reading is None:
            return Action("pending", finding, _UNREAD)
        finding = _as_shown(finding, reading)
        if reading.state == "open":
            return Action("keep", _with(finding, history.seen_open().dealt_with()))
        if reading.is_replaced:
            seen = history.seen_closed() if reading.state == "closed" else history.seen_gone()
            return Action("keep", _with(finding, seen.dealt_with()))
        if self.may_reopen(finding, reading):
            return Action("reopen", finding, "Its finding is back.")
        if not can_be_filed:
            return Action("keep", finding)
        why = history.refusal or ("it was deleted" if reading.state == "gone" else "a person closed or changed it")
        if self.settings.on_returned == "create":
            why = "on_returned is 'create'"
        successor = finding.successor()
        return Action("create", successor, f"Its finding is back. {successor.follows} is not reopened: {why}")

    def may_reopen(self, finding: Finding, reading: Reading) -> bool:
        """Return whether we closed the ticket and nobody touched it since."""
        history = finding.history
        return (
            self.settings.on_returned != "create"
            and reading.state == "closed"
            and finding.ticket == "filed"
            and finding.ticket_id is not None
            and history.closed_by == "us"
            and history.closed_at is not None
            and not history.refusal
            and reading.updated_at is not None
            and reading.updated_at <= history.closed_at + TOUCHED_AFTER
        )

    # A finding that is not in the list

    def about_gone(self, finding: Finding) -> Action:
        if finding.ticket in ("none", "unwanted"):
            return Action("keep", finding, listed=False)
        finding, blocked = self.after_its_change(finding, listed=False)
        history = finding.history
        if self.found.complete:
            history = history.missed(self.found.run, self.settings.close_after)
        if self.settings.on_gone == "keep":
            history = replace(history, close_since=None)
        finding = _with(finding, history)
        if blocked:
            return Action("pending", finding, blocked, listed=False)
        if history.closed_by == "us" and self.is_told_now(history):
            return Action("closed", finding, listed=False)
        is_over = len(history.missing) >= self.settings.close_after
        if finding.ticket != "filed" or not history.is_open or history.held:
            return Action("keep", finding, listed=False)
        if self.settings.on_gone == "keep":
            return Action("keep", finding, listed=False)
        if not is_over and history.close_since is None:
            self.missing += self.found.complete
            return Action("keep", finding, listed=False)
        return self.about_to_close(finding)

    def about_to_close(self, finding: Finding) -> Action:
        history = finding.history
        is_decided = history.close_since is not None
        if not self.found.rows and self.found.complete and self.settings.max_close_rate < 1:
            self.waiting += 1
            return Action("pending" if is_decided else "keep", finding, "The list is empty.", listed=False)
        if not self.found.complete:
            return Action("pending" if is_decided else "keep", finding, "The list is not complete.", listed=False)
        if history.close_since is None:
            self.decided += 1
            history = replace(history, close_since=self.now)
            finding = _with(finding, history)
        reading = self.read(finding)
        if reading is None:
            return Action("pending", finding, _UNREAD, listed=False)
        finding = _as_shown(finding, reading)
        if reading.state != "open":
            seen = history.seen_closed() if reading.state == "closed" else history.seen_gone()
            return Action("keep", _with(finding, seen), listed=False)
        if finding.ticket_id is not None:
            return Action("close", finding, "Its finding is gone.", listed=False)
        if self.now - (history.close_since or self.now) < WAIT_FOR_ID:
            return Action("pending", finding, "Leen does not know the ticket until its next sync.", listed=False)
        return Action("reject", finding, _NOT_SYNCED, listed=False)

    # Both

    def read(self, finding: Finding) -> Reading | None:
        if finding.identifier not in self.shown:
            self.to_read.append(finding.identifier)
            return None
        return self.shown[finding.identifier]

    def after_its_change(self, finding: Finding, *, listed: bool) -> tuple[Finding, str]:
        """Determine the outcome of a change that has none recorded; return why its finding has to wait, if so."""
        history, change = finding.history, finding.history.change
        if change is None:
            return finding, ""
        is_overdue = self.now - change.sent_at >= WAIT_FOR_CHANGE
        if change.job in self.running and not is_overdue:
            return finding, f"Job {change.job}, which changes it, is still running."
        reading = self.read(finding)
        if reading is None:
            return finding, _UNREAD
        finding = _as_shown(finding, reading)
        if reading.state == "gone":
            return _with(finding, history.seen_gone()), ""
        if reading.state == change.wanted:
            made = history.made(by=self.found.task)
            if change.wanted == "open" and not listed and self.is_a_persons(reading, change.sent_at):
                made = replace(made, held=True)
            return _with(finding, made), ""
        if change.ended or is_overdue:
            return _with(finding, history.withdrawn()), ""
        return finding, "The outcome of its last change is not known yet."

    def is_told_now(self, history: History) -> bool:
        """Return whether this task saw or learnt that our last change was made."""
        return bool(self.found.task) and history.made_by == self.found.task

    def is_a_persons(self, reading: Reading, sent_at: float) -> bool:
        """Return whether a person may have made the change, rather than our request of that time."""
        ours_until = sent_at + self.settings.settled_after + TOUCHED_AFTER
        return reading.updated_at is None or reading.updated_at > ours_until


_UNREAD = "The ticket could not be read, so it is not changed."
_NOT_SYNCED = (
    "Leen has not synced the ticket for a week, so it can't be changed. Is its project in the filter of the Leen "
    "connection? Close it by hand, or forget it: airflow leen register forget."
)


def _with(finding: Finding, history: History) -> Finding:
    return finding if finding.history == history else replace(finding, history=history)


def _as_shown(finding: Finding, reading: Reading) -> Finding:
    """Take over the ids that were read."""
    vendor_ticket_id = reading.vendor_ticket_id or finding.vendor_ticket_id
    return replace(finding, vendor_ticket_id=vendor_ticket_id, ticket_id=finding.ticket_id or reading.ticket_id)
