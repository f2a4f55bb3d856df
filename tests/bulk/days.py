"""Days of a register, played: scanners, people at the tracker, Leen with its lag and its lost replies.

The tracker is the truth. It knows nothing of the plan, keeps its own book of the lists that were taken into account,
and checks each request at the moment when it is sent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from airflow_provider_leen.bulk import plan as planning
from airflow_provider_leen.bulk.findings import Finding, History, Shown
from airflow_provider_leen.bulk.plan import DAY, FindingList, Plan, Reading, Settings

SCANNERS = {"A": [f"A{number}" for number in range(10)], "B": [f"B{number}" for number in range(3)]}
FINDINGS = [finding for findings in SCANNERS.values() for finding in findings]
UNSYNCED = "A7"
"""Its project is not in the filter of the Leen connection: Leen never learns of its tickets."""
ACCEPTED, TAKEN_OVER = "A6", "B2"
"""Known before the first day: one that wants no ticket, and one that has a ticket from elsewhere."""


@dataclass
class Issue:
    """A ticket in the tracker.

    ``by`` set its status last, we by what was ``sent_at``; a person ``defends`` what a run must not close: the register
    knew it as closed (``known_closed``), and they reopened it.
    """

    finding: str
    generation: int
    vendor_id: str
    filed_at: float
    updated_at: float
    is_open: bool = True
    by: str = "us"
    deleted: bool = False
    is_ours: bool = True
    leen_id: str | None = None
    known_closed: bool = False
    defends: bool = False
    by_since: float = 0.0
    sent_at: float = 0.0


@dataclass
class Job:
    """A job of Leen's: ``lands_at`` says when its changes are made, None never."""

    issues: list[Issue]
    wanted: Shown
    says: str
    sent_at: float
    lands_at: float | None
    ended: bool = False


@dataclass(frozen=True)
class Listed:
    """What the tracker's book says of a list that reached its plan."""

    run: str
    at: float
    findings: frozenset[str]
    counts: bool


@dataclass(frozen=True)
class Day:
    """What happens on a day: events (what, to which finding), the scans' kinds, and how well all works.

    ``soon`` is what people do in the minutes after the runs.
    """

    events: tuple[tuple[str, int], ...] = ()
    soon: tuple[tuple[str, int], ...] = ()
    scans: tuple[str, str] = ("whole", "whole")
    some: int = 0
    job: str = "done"
    filing: str = "created"
    is_readable: bool = True
    is_synced: bool = True
    crash: int = 0
    is_retried: bool = False


class Crash(Exception):
    """The worker is killed."""


class Undone(AssertionError):
    """A request breaks a promise."""


class Tracker:
    """Jira and Leen."""

    def __init__(self) -> None:
        self.issues: list[Issue] = []
        self.jobs: dict[str, Job] = {}
        self.book: dict[str, list[Listed]] = {scope: [] for scope in SCANNERS}

    def newest(self, finding: str) -> Issue | None:
        return next((it for it in reversed(self.issues) if it.finding == finding and it.is_ours), None)

    def find(self, finding: Finding) -> Issue | None:
        """Find a ticket by its key, which is in its description wherever it was moved."""
        same = [it for it in self.issues if (it.finding, it.generation) == (finding.identifier, finding.generation)]
        return next((it for it in same if it.is_ours), None)

    def land(self, now: float) -> None:
        for job in self.jobs.values():
            if job.lands_at is not None and job.lands_at <= now and not job.ended:
                job.ended = True
                for issue in job.issues if job.says not in ("refused", "unclear") else ():
                    self.set(issue, job.wanted, "us", job.lands_at)
                    issue.sent_at = job.sent_at

    def set(self, issue: Issue, wanted: Shown, by: str, now: float) -> None:
        if not issue.deleted:
            issue.is_open, issue.by, issue.updated_at = wanted == "open", by, now
            issue.by_since = now
            issue.defends = False
            issue.known_closed = issue.known_closed and not issue.is_open

    def person(self, what: str, finding: str, now: float) -> None:
        issue = self.newest(finding)
        if issue is None or issue.deleted:
            return
        issue.updated_at = now
        if what == "close" and issue.is_open:
            self.set(issue, "closed", "person", now)
        elif what == "reopen" and not issue.is_open:
            knew = issue.known_closed
            self.set(issue, "open", "person", now)
            issue.defends = knew
        elif what == "move":
            issue.vendor_id = f"OTHER-{len(self.issues)}-{now:.0f}"
        elif what == "delete":
            issue.deleted, issue.is_open, issue.by, issue.by_since = True, False, "person", now
        elif what == "clone":
            self.issues.append(replace(issue, vendor_id=f"SEC-{len(self.issues)}", is_ours=False))

    def note(self, scope: str, listed: Listed) -> None:
        self.book[scope].append(listed)
        for issue in self.issues:
            if issue.finding in listed.findings:
                issue.defends = False

    def absence(self, scope: str, finding: str, since: float = 0.0) -> Iterator[tuple[Listed, int]]:
        """Yield each list with the number of Dag runs that, one after another, did not have the finding."""
        runs: set[str] = set()
        for listed in self.book[scope]:
            if listed.at < since:
                continue
            if finding in listed.findings:
                runs = set()
            elif listed.counts:
                runs.add(listed.run)
            yield listed, len(runs)

    # What a run may do

    def check_create(self, scope: str, finding: Finding, settings: Settings) -> None:
        mine = [it for it in self.issues if it.finding == finding.identifier and it.is_ours]
        if any(it.generation == finding.generation for it in mine):
            raise Undone(f"{finding.identifier} is filed twice")
        if any(it.is_open and it.by == "us" for it in mine):
            raise Undone(f"{finding.identifier} gets a second open ticket")
        if mine:
            absent = [count for _, count in self.absence(scope, finding.identifier, mine[-1].filed_at)]
            if not any(count >= settings.close_after for count in absent):
                raise Undone(f"{finding.identifier} was never away, and gets a new ticket")

    def check_change(self, scope: str, issue: Issue, wanted: Shown, settings: Settings) -> None:
        if wanted == "open":
            if not issue.is_open and issue.by == "person":
                raise Undone(f"{issue.finding} was closed by a person, and is reopened")
            return
        if not issue.is_ours or (issue.finding == TAKEN_OVER and issue.generation == 0):
            raise Undone(f"{issue.finding} has a ticket of somebody else's, and it is closed")
        if issue.defends:
            raise Undone(f"{issue.finding} was reopened by a person, and is closed")
        if not issue.is_open and issue.by == "person":
            raise Undone(f"{issue.finding} was closed by a person, and is closed once more")
        last = list(self.absence(scope, issue.finding))
        newest = max(listed.at for listed, _ in last)
        now, count = last[-1]
        if now.at < newest or not now.counts or issue.finding in now.findings or count < settings.close_after:
            raise Undone(f"{issue.finding} is closed, and its finding is not gone")


@dataclass
class Scope:
    """The register's part for a scanner, as it is stored."""

    name: str
    findings: dict[str, Finding] = field(default_factory=dict)
    newest: float | None = None


class Days:
    """Plays days. :class:`Undone` is raised where a promise is broken."""

    has_scopes = True
    keeps_order = True
    reads = True

    def __init__(self, settings: Settings, *, knows_ids: bool, can_reopen: bool = True) -> None:
        self.settings = settings
        self.knows_ids = knows_ids
        self.can_reopen = can_reopen
        self.tracker = Tracker()
        self.scopes = {name: Scope(name) for name in SCANNERS} if self.has_scopes else {}
        if not self.has_scopes:
            self.scopes = dict.fromkeys(SCANNERS, Scope("both"))
        self.present = set(FINDINGS)
        self.now = 0.0
        self.day = 0
        self.lists: dict[str, list[FindingList]] = {name: [] for name in SCANNERS}
        self.plans: dict[str, Plan] = {}
        self.weather = Day()
        self.steps = 0
        self.tracker.issues.append(Issue(TAKEN_OVER, 0, "OLD-1", 0.0, 0.0, is_ours=True))
        self.scopes["B"].findings[TAKEN_OVER] = Finding(TAKEN_OVER, 0, "taken over", vendor_ticket_id="OLD-1")
        self.scopes["A"].findings[ACCEPTED] = Finding(ACCEPTED, 0, "unwanted")

    def live(self, day: Day) -> None:
        """Play a day: things happen, then each scanner's Dag runs."""
        self.day += 1
        self.now = self.day * DAY
        self.weather = day
        self.tracker.land(self.now)
        for what, number in day.events:
            finding = FINDINGS[number]
            self.now += 60
            if what == "toggle":
                self.present ^= {finding}
            else:
                self.tracker.person(what, finding, self.now)
        self.now = self.day * DAY + DAY / 2
        self.tracker.land(self.now)
        if day.is_synced:
            for issue in self.tracker.issues:
                if issue.finding != UNSYNCED and issue.filed_at < self.now - 3600:
                    issue.leen_id = issue.leen_id or f"id-of-{issue.vendor_id}"
        for scope, kind in zip(SCANNERS, day.scans, strict=True):
            found = self.scan(scope, kind)
            if found is not None:
                self.run_task(scope, found)
        for what, number in day.soon:
            self.now += 60
            self.tracker.person(what, FINDINGS[number], self.now)

    def scan(self, scope: str, kind: str) -> FindingList | None:
        """Return the list of a day's run."""
        if kind == "none":
            return None
        earlier = self.lists[scope]
        if kind in ("old", "again") and earlier:
            return earlier[-1] if kind == "again" else earlier[self.weather.some % len(earlier)]
        present = [finding for finding in SCANNERS[scope] if finding in self.present]
        if kind == "empty":
            present = []
        elif kind in ("partial", "broken"):
            present = present[: self.weather.some % 4]
        found = FindingList(dict.fromkeys(present, True), kind != "partial", f"{scope}-{self.day}", self.now)
        earlier.append(found)
        return found

    def run_task(self, scope: str, found: FindingList) -> None:
        crash = self.weather.crash
        for _ in range(1 + self.weather.is_retried):
            self.steps = crash or -1
            try:
                self.run(scope, found)
            except Crash:
                crash = 0
            else:
                return

    def step(self) -> None:
        """Time goes by, and the worker may be killed."""
        self.now += 2
        self.tracker.land(self.now)
        self.steps -= 1
        if self.steps == 0:
            raise Crash

    # A run

    def run(self, scope: str, found: FindingList) -> None:
        register = self.scopes[scope]
        self.take_over(register)
        made = self.plan(register, found)
        if made.refusal is None or made.refusal.kind != "older list":
            counts = found.complete and made.refusal is None
            self.tracker.note(scope, Listed(found.run, found.at, frozenset(found.rows), counts))
        newest = found.at if register.newest is None else max(found.at, register.newest)
        register.newest = newest if self.keeps_order else None
        for finding in made.changed.values():
            self.record(register, finding)
        self.plans[scope] = made
        self.step()
        if made.refusal is not None:
            assert not made.actions
            return
        self.check_brakes(found, made, register)
        self.create(scope, made)
        if self.change(scope, made, "open"):
            again = self.plan(register, found)
            for finding in again.changed.values():
                self.record(register, finding)
            self.create(scope, again)
        self.change(scope, made, "closed")

    def check_brakes(self, found: FindingList, made: Plan, register: Scope) -> None:
        creates = sum(it.kind == "create" for it in made.actions)
        closes = [it.finding for it in made.actions if it.kind == "close"]
        if self.settings.max_new is not None and creates > self.settings.max_new:
            raise Undone("too many tickets are filed")
        is_open = sum(it.ticket == "filed" and it.history.is_open for it in register.findings.values())
        decided = sum(it.history.close_since == self.decided_at for it in made.changed.values())
        if decided > max(5, self.settings.max_close_rate * is_open):
            raise Undone("the brake did not hold")
        if closes and (not found.complete or (not found.rows and self.settings.max_close_rate < 1)):
            raise Undone("a list that is not whole closes tickets")

    def take_over(self, register: Scope) -> None:
        """Learn the outcome of what earlier runs sent."""
        for name, finding in register.findings.items():
            issue = self.tracker.find(finding)
            if finding.ticket == "unknown" and self.weather.is_readable:
                finding = self.filed(finding, issue) if issue else replace(finding, ticket="none")
            elif issue and finding.ticket_id is None and issue.leen_id:
                finding = replace(finding, ticket_id=issue.leen_id)
            if (change := finding.history.change) and (job := self.tracker.jobs.get(change.job)) and job.ended:
                finding = replace(finding, history=self.outcome(finding.history, job, None))
            register.findings[name] = finding
            self.know(finding)

    def plan(self, register: Scope, found: FindingList) -> Plan:
        self.decided_at = self.now
        running = {name for name, job in self.tracker.jobs.items() if not job.ended}
        shown: dict[str, Reading | None] = {}
        while True:
            known = planning.Scope(dict(register.findings), register.newest)
            made = planning.plan(found, known, shown, self.settings, self.now, running=running)
            if not made.to_read:
                return made
            assert not set(made.to_read) & set(shown)
            shown |= {name: self.read(register.findings[name]) for name in made.to_read}

    def read(self, finding: Finding) -> Reading | None:
        if not self.reads:
            return Reading("open" if finding.history.is_open else "closed", finding.history.closed_at)
        if not self.weather.is_readable:
            return None
        issue = self.tracker.find(finding)
        if issue is None or issue.deleted:
            return Reading("gone")
        return Reading("open" if issue.is_open else "closed", issue.updated_at, issue.vendor_id)

    def create(self, scope: str, made: Plan) -> None:
        register = self.scopes[scope]
        for action in made.actions:
            if action.kind != "create":
                continue
            finding = replace(action.finding, ticket="unknown")
            self.record(register, finding)
            self.step()
            issue = None
            if self.weather.filing in ("created", "lost"):
                self.tracker.check_create(scope, finding, self.settings)
                vendor_id = f"SEC-{len(self.tracker.issues)}"
                issue = Issue(finding.identifier, finding.generation, vendor_id, self.now, self.now)
                issue.leen_id = f"id-of-{vendor_id}" if self.knows_ids else None
                self.tracker.issues.append(issue)
            self.step()
            if self.weather.filing == "created" and issue:
                self.record(register, self.filed(finding, issue))
            elif self.weather.filing == "rejected":
                self.record(register, replace(finding, ticket="none"))

    def filed(self, finding: Finding, issue: Issue) -> Finding:
        return replace(finding, ticket="filed", vendor_ticket_id=issue.vendor_id, ticket_id=issue.leen_id)

    def change(self, scope: str, made: Plan, wanted: Shown) -> bool:
        """Send an update job; return whether it was refused."""
        register = self.scopes[scope]
        kind = "reopen" if wanted == "open" else "close"
        findings = [action.finding for action in made.actions if action.kind == kind]
        if not findings:
            return False
        for finding in findings:
            self.record(register, replace(finding, history=finding.history.sent(wanted, self.now)))
        self.step()
        issues = []
        for finding in findings:
            issue = self.tracker.find(finding)
            assert issue is not None
            assert finding.ticket_id == issue.leen_id
            self.tracker.check_change(scope, issue, wanted, self.settings)
            issues.append(issue)
        how = self.weather.job if wanted == "closed" or self.can_reopen else "refused"
        delay = {"slow": 6 * 3600.0, "very slow": 30 * 3600.0}.get(how, 1.0)
        lands_at = None if how in ("never", "vanished") else self.now + delay
        job = Job(issues, wanted, how, self.now, lands_at)
        name = f"job-{len(self.tracker.jobs)}"
        if how not in ("lost", "vanished", "forgotten"):
            self.tracker.jobs[name] = job
        elif lands_at:
            for issue in issues:
                self.tracker.set(issue, wanted, "us", self.now)
                issue.sent_at = self.now
        if how in ("lost", "vanished"):
            return False
        self.step()
        self.history(register, findings, lambda it: it.submitted(name))
        self.step()
        if job.ended:
            self.history(register, findings, lambda it: self.outcome(it, job, self.now))
        return how == "refused"

    def outcome(self, history: History, job: Job, seen_at: float | None) -> History:
        if job.says == "refused":
            return history.refused("The workflow has no such transition.")
        if job.says in ("unclear", "unclear, made"):
            return history.ended()
        return history.made(seen_at)

    def history(self, register: Scope, findings: list[Finding], step: Callable[[History], History]) -> None:
        for finding in findings:
            finding = register.findings[finding.identifier]
            self.record(register, replace(finding, history=step(finding.history)))

    def record(self, register: Scope, finding: Finding) -> None:
        history = History.from_json(finding.history.as_json())
        assert history == finding.history
        register.findings[finding.identifier] = finding
        self.know(finding)

    def know(self, finding: Finding) -> None:
        issue = self.tracker.find(finding)
        if issue is not None and finding.history.closed_by:
            issue.known_closed = not issue.is_open or issue.known_closed

    # The end

    def end(self) -> None:
        """Play quiet days, on which a person has confirmed what the brakes held back; then look at what is open."""
        before = self.settings
        self.settings = replace(before, max_close_rate=1.0, max_new=None)
        if not self.present & set(SCANNERS["A"]) - {ACCEPTED}:
            self.present.add("A0")
        self.present.add("B0")
        for _ in range(12):
            self.live(Day())
        for scope, findings in SCANNERS.items():
            pending = [it for it in self.plans[scope].actions if it.kind in ("pending", "unknown")]
            if pending:
                raise Undone(f"{pending[0].finding.identifier} is pending without end: {pending[0].reason}")
            for finding in findings:
                self.check_end(scope, finding)

    def check_end(self, scope: str, finding: str) -> None:
        mine = [it for it in self.tracker.issues if it.finding == finding and it.is_ours and not it.deleted]
        ours = [it for it in mine if it.is_open and it.by == "us"]
        if len(ours) > 1:
            raise Undone(f"{finding} has {len(ours)} open tickets")
        if finding == ACCEPTED:
            assert not mine
        elif finding in self.present:
            if not any(it.is_open for it in mine) and not self.may_have_none(scope, finding):
                raise Undone(f"{finding} is found every day, and has no open ticket")
        elif ours and self.settings.on_gone == "close" and not (finding == TAKEN_OVER and ours[0].generation == 0):
            rejected = [it.finding.identifier for it in self.plans[scope].actions if it.kind == "reject"]
            # Our unconfirmed reopening can't be distinguished from a person's if the ticket was changed later
            # than a request takes: the job took its time, or a person touched it.
            is_late = ours[0].updated_at > ours[0].sent_at + 3600
            is_held = self.scopes[scope].findings[finding].history.held and is_late
            if not is_held and (finding not in rejected or finding != UNSYNCED):
                raise Undone(f"{finding} is gone, and its ticket is still open")

    def may_have_none(self, scope: str, finding: str) -> bool:
        """Return whether a person closed or deleted its ticket, and it was not reopened since."""
        issue = self.tracker.newest(finding)
        if issue is None:
            return False
        was_away = is_away = has_returned = False
        for listed, count in self.tracker.absence(scope, finding, issue.filed_at):
            if finding in listed.findings:
                has_returned = has_returned or (is_away and listed.at > issue.by_since)
                is_away = False
            is_away = is_away or count >= self.settings.close_after
            was_away = was_away or is_away
        if self.settings.on_returned == "keep" and was_away:
            return True
        return issue.by == "person" and not has_returned
