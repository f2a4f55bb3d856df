"""Reconciles a list of findings with their tickets: files new ones, reopens returned ones, closes gone ones.

The steps are those of :mod:`.register`, with :mod:`.plan` in the middle (:meth:`Reconciliation._story`). The plan reads
the findings' state from the register's table, and its decisions are recorded there before anything is sent.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any, cast

from airflow_provider_leen.api import jira, jobs
from airflow_provider_leen.api.client import AsyncLeenClient
from airflow_provider_leen.api.errors import PASSING, LeenBrakeError, LeenConfigError, LeenNotFoundError
from airflow_provider_leen.api.retry import is_unknown_to_leen
from airflow_provider_leen.api.text import MAX_NAME, one_line
from airflow_provider_leen.api.tolerances import normalised
from airflow_provider_leen.bulk.asking import ask_all
from airflow_provider_leen.bulk.changes import StatusChange
from airflow_provider_leen.bulk.findings import Finding, History, Shown
from airflow_provider_leen.bulk.lookup import project_of
from airflow_provider_leen.bulk.plan import Action, FindingList, Plan, Reading, Scope, Settings, plan
from airflow_provider_leen.bulk.register import LEARNS_FOR, RegisterCreation
from airflow_provider_leen.bulk.register_ledger import RegisterLedger
from airflow_provider_leen.bulk.register_table import Known, RegisterTable, key_of
from airflow_provider_leen.bulk.sending import Batching
from airflow_provider_leen.bulk.statuses import RECONCILE_STATUSES, SUCCEEDED, ReconcileStatus
from airflow_provider_leen.bulk.summary import ReconcileSummary, TicketResult, counted, counts_of, shown_error
from airflow_provider_leen.bulk.ticket_list import Payload
from airflow_provider_leen.bulk.tickets import TicketRow
from airflow_provider_leen.bulk.tracker import OTHERS, Asked, TicketReader

log = logging.getLogger(__name__)


class Reconciliation(RegisterCreation):
    """One run over the list of a scope.

    :param payload: makes the request body of a valid row, with a text for its description.
    :param settings: how the scope is reconciled.
    :param is_whole: whether all sources of the list were there; rows without a usable identifier make it incomplete,
        too.
    :param run: the Dag run's id.
    :param at: the time of the list, in seconds since the epoch.
    :param statuses: Leen's statuses for ``open`` and ``closed``.
    :param poll_interval: seconds between two polls of jobs.
    :param dry_run: plan only: send and record nothing.
    :param expected: the hash of the approved plan; None for any.
    """

    def __init__(
        self,
        client: AsyncLeenClient,
        ledger: RegisterLedger,
        rows: Sequence[TicketRow],
        payload: Callable[[TicketRow, str], dict[str, Any]],
        batching: Batching,
        *,
        settings: Settings,
        is_whole: bool,
        run: str,
        at: float,
        statuses: Mapping[Shown, str],
        poll_interval: float,
        dry_run: bool = False,
        expected: str | None = None,
        **options: Any,
    ) -> None:
        self._body: Payload = lambda row: payload(row, self._note_of(row))
        super().__init__(client, ledger, rows, self._body, batching, **options)
        self.plan: Plan | None = None
        self._settings = settings
        self._is_whole = is_whole
        self._dag_run = run
        task = json.dumps(ledger.register.task, sort_keys=True)
        self._task = hashlib.sha256(task.encode()).hexdigest()[:12]
        self._at = at
        self._statuses = statuses
        self._poll_interval = poll_interval
        self._dry_run = dry_run
        self._expected = expected
        self._batching = batching
        self._running_jobs: set[str] = set()
        self._change: StatusChange | None = None
        self._errors: dict[str, str] = {}
        """By key, why tickets were not changed."""
        self._names: dict[str, str] = {}
        """By identifier, the titles of tickets that were read: the register keeps none."""

    async def _story(self) -> None:
        await self._take_over()
        began = self.ledger.now()
        await self._collect_jobs()
        await self._settle_earlier()
        await self._learn_ids(began)
        await self._collect_changes()
        self.plan = made = await self._make_plan()
        if self._dry_run:
            self.ledger.table.pending.clear()
        else:
            self._record(made)
            await self.ledger.flush()
        _refuse(made)
        self._log_gone(made)
        if self._dry_run:
            log.info("This is a dry run: nothing was sent; the results show what would be. The plan is %s.", made.hash)
        else:
            await self._carry_out(made)

    def _log_gone(self, made: Plan) -> None:
        """Log what is not in the list, and why its tickets stay as they are."""
        if not made.complete:
            nameless = sum(not normalised(row.identifier or "") for row in self._tickets.rows)
            reason = f" ({counted(nameless, 'row')} without an identifier)" if nameless else ""
            log.warning("The list is not complete%s, so nothing is closed, and the list does not count.", reason)
        elif not self._tickets.rows and (made.missing or made.waiting):
            log.warning(
                "The list is empty, so %s stay open (%d of findings that have been missing from %d lists in a row). "
                "Is the scan all right? If they really are gone, run it with max_close_rate=1.",
                counted(made.missing + made.waiting, "ticket"),
                made.waiting,
                self._settings.close_after,
            )
        elif made.missing:
            log.info(
                "Missing from this list: %s with open tickets. A ticket is closed when its finding is missing from %d "
                "lists in a row.",
                counted(made.missing, "finding"),
                self._settings.close_after,
            )
        if made.closed_by_people:
            log.info("Closed by people, when they were read last: %s.", counted(made.closed_by_people, "ticket"))

    async def _carry_out(self, made: Plan) -> None:
        await self._create()
        await self._send_changes("open", made)
        if any(self._history(it.finding).refusal for it in made.actions if it.kind == "reopen"):
            # Findings whose tickets the tracker refused to reopen get new tickets in this run.
            again = await self._make_plan(replace(self._settings, max_new=None))
            _brake_again(made, again, self._settings.max_new)
            self._record(again)
            await self._create()
        await self._send_changes("closed", made)

    async def _create(self) -> None:
        if self.error is None:
            await self._send()
            await self._settle()

    # Changes of earlier runs

    async def _collect_changes(self) -> None:
        """Collect the jobs by which earlier tries changed tickets."""
        table, by_job = self.ledger.table, dict[str, dict[str, str]]()
        for key, history in table.histories.items():
            ticket_id, job = table[key].ticket_id, history.get("change", {}).get("job")
            if ticket_id and job:
                by_job.setdefault(job, {})[ticket_id.lower()] = key
        await self._ask(ask_all(lambda job: self._collect_change(job, by_job[job]), by_job))

    async def _collect_change(self, job_id: str, keys: Mapping[str, str]) -> None:
        try:
            job = await self._client.get_job(job_id)
        except LeenNotFoundError as error:
            if not is_unknown_to_leen(error):
                raise
            return
        except PASSING as error:
            log.warning("Could not get job %s, which changes tickets: %s", job_id, error)
            self._running_jobs.add(job_id)
            return
        if not jobs.has_ended(job):
            self._running_jobs.add(job_id)
            return
        table, steps = self.ledger.table, dict[str, Any]()
        for key, claim in zip(keys.values(), jobs.results_of_update(job, list(keys)), strict=True):
            history = table.history(key)
            if claim.status == "succeeded":
                history = history.made(by=self._task)
            else:
                history = history.refused(str(claim.error)) if claim.status == "rejected" else history.ended()
            steps[key] = history.as_json()
        table.reconciled(steps)

    def _lacking_ids(self, before: float) -> list[Known]:
        """Look up the ids of tickets that are to be closed, however long ago they were filed."""
        table = self.ledger.table
        return [
            known
            for known in table.lacking_ids(0.0)
            if (known.filed_at or 0.0) >= before - LEARNS_FOR or "close_since" in table.histories.get(known.key, {})
        ]

    # The plan

    async def _make_plan(self, settings: Settings | None = None) -> Plan:
        table, shown = self.ledger.table, dict[str, Reading | None]()
        # A row whose identifier is blank could be any finding's, too.
        named = [row for row in self._tickets.rows if normalised(row.identifier or "")]
        rows = dict[str, bool]()
        for row in named:
            identifier = normalised(str(row.identifier))
            rows[identifier] = rows.get(identifier, False) or row.key is not None
        is_whole = self._is_whole and len(named) == len(self._tickets.rows)
        found = FindingList(rows, is_whole, self._dag_run, self._at, self._task)
        scope, reader = scope_of(table), None
        while True:
            made = plan(
                found,
                scope,
                shown,
                settings or self._settings,
                self.ledger.now(),
                running=self._running_jobs,
                expected=self._expected if settings is None else None,
            )
            if not made.to_read:
                return made
            reader = reader or TicketReader(self._client, _others(table))
            shown |= await self._read(reader, made.to_read, rows)

    async def _read(
        self, reader: TicketReader, identifiers: Sequence[str], listed: Container[str]
    ) -> dict[str, Reading | None]:
        """Read the newest ticket of each finding; of those in the list the earlier ones, too."""
        table = self.ledger.table
        newest = {identifier: cast(Known, table.known(identifier)) for identifier in identifiers}
        earlier = {
            identifier: list(table.all_before(known.key)) if identifier in listed else []
            for identifier, known in newest.items()
        }
        asked = map(self._asked, (*newest.values(), *chain.from_iterable(earlier.values())))
        shown = await self._ask(reader.read(list(asked)))
        readings = {
            identifier: Reading.of_all(shown[known.key], [shown[it.key] for it in earlier[identifier]])
            for identifier, known in newest.items()
        }
        self._names |= {identifier: it.name for identifier, it in readings.items() if it and it.name}
        return readings

    def _asked(self, known: Known) -> Asked:
        written_at = max(known.filed_at or 0.0, self.ledger.table.history(known.key).changed_at or 0.0)
        return Asked(known.key, known.vendor_ticket_id, known.ticket_id, written_at)

    def _record(self, made: Plan) -> None:
        """Record the findings' new states."""
        table = self.ledger.table
        if made.refusal is None or made.refusal.kind != "older list":
            table.list_seen([self._dag_run], self._at)
        rows = {normalised(str(row.identifier)): row for row in self._tickets.by_key.values()}
        for finding in made.changed.values():
            known = table.known(finding.identifier)
            if known is not None and finding.generation == known.generation:
                ids = finding.ticket_id, finding.vendor_ticket_id
                if ids != (known.ticket_id, known.vendor_ticket_id):
                    table.renamed({known.key: list(ids)})
                table.reconciled({known.key: finding.history.as_json()})
            elif known is not None:
                key = key_of(table.scope_id, finding.identifier, finding.generation)
                project = project_of(self._body(rows[finding.identifier]))
                table.entered({key: [known.identifier, finding.generation, project]})
        self._tickets.begin()

    # Changes

    async def _send_changes(self, wanted: Shown, made: Plan) -> None:
        kind = "reopen" if wanted == "open" else "close"
        findings = [it.finding for it in made.actions if it.kind == kind]
        if not findings or self.error is not None:
            return
        keys = {str(finding.ticket_id).lower(): self._key(finding) for finding in findings}
        status = self._statuses[wanted]
        change = StatusChange(self._client, self.ledger, keys, wanted, status, self._task, self._batching)
        self._change = change
        if self._stop_reason is not None:
            change.stop(self._stop_reason)
        await change.run(self._poll_interval)
        self._change = None
        self._errors |= change.errors()
        await self.ledger.flush()
        if change.error is not None:
            raise change.error

    async def _stop(self) -> None:
        if self._change is not None:
            await self._change._stop()
        await super()._stop()

    # Results

    def summary(self) -> ReconcileSummary:
        """Return the result of each finding: those of the list in its order, then the gone ones."""
        results, made = self.results(), self.plan
        actions: Mapping[str, Action] = {it.finding.identifier: it for it in made.actions} if made else {}
        for row, result in zip(self._tickets.rows, results, strict=True):
            action = actions.get(normalised(row.identifier)) if row.identifier else None
            if action is not None and row.key is not None:
                self._tell(result, action)
        for action in made.actions if made else ():
            if not action.listed:
                gone = cast(TicketResult, dict.fromkeys(TicketResult.__annotations__))
                identifier = action.finding.identifier
                gone["request_index"], gone["identifier"] = len(results), identifier
                gone["name"] = one_line(self._names.get(identifier, ""), MAX_NAME) or identifier
                gone["ticket_id"], gone["vendor_ticket_id"] = action.finding.ticket_id, action.finding.vendor_ticket_id
                self._tell(gone, action)
                results.append(gone)
        summary = {
            **counts_of((result["status"] for result in results), RECONCILE_STATUSES),
            "complete": bool(made and made.complete),
            "waiting": made.waiting if made else 0,
            "closed_by_people": made.closed_by_people if made else 0,
            "earlier_unknown": self.earlier_unknown,
            **({"dry_run": True} if self._dry_run else {}),
            "plan": made.hash if made and not made.refusal else None,
            "results": results,
        }
        return cast(ReconcileSummary, summary)

    def _tell(self, result: TicketResult, action: Action) -> None:
        """Replace a row's result by that of its finding's action."""
        status, error = self._outcome(action)
        if status is not None:
            result["status"], result["error"] = status, shown_error(error or None)
            result["success"] = status in SUCCEEDED

    def _outcome(self, action: Action) -> tuple[ReconcileStatus | None, str]:
        """Return the status and reason of a finding's action; None if its filing has them."""
        if action.kind in ("pending", "reopened", "closed"):
            return action.kind, action.reason
        if action.kind == "reject":
            return "rejected", action.reason
        if self._dry_run and action.kind == "create":
            return "created", action.reason
        if action.kind not in ("reopen", "close"):
            return None, ""
        done: ReconcileStatus = "reopened" if action.kind == "reopen" else "closed"
        if self._dry_run:
            return done, action.reason
        key = self._key(action.finding)
        newest = self.ledger.table.known(action.finding.identifier)
        if newest is not None and newest.generation > action.finding.generation:
            return None, ""  # The tracker refused to reopen it: the result is that of its successor's filing.
        history, error = self._history(action.finding), self._errors.get(key, "")
        if history.change is not None:
            return "pending", error or "The outcome of its last change is not known yet."
        if history.closed_by == ("us" if action.kind == "close" else None):
            return done, ""
        return ("rejected", error) if error else ("unsent", f"Not sent: {self.error}" if self.error else "Not sent.")

    def _note_of(self, row: TicketRow) -> str:
        """Return the note in a new ticket about the one before it; empty if there is none."""
        table = self.ledger.table
        before = table.before(row.key) if row.key in table.entries else None
        named = before and (before.vendor_ticket_id or before.ticket_id)
        return f"This finding was gone and is back. Its earlier ticket is {named}." if named else ""

    def _key(self, finding: Finding) -> str:
        return key_of(self.ledger.table.scope_id, finding.identifier, finding.generation)

    def _history(self, finding: Finding) -> History:
        return self.ledger.table.history(self._key(finding))


def scope_of(table: RegisterTable) -> Scope:
    """Return a register's table in the form that the plan needs."""
    findings = {normalised(known.identifier): finding_of(table, known) for known in table.all_known()}
    return Scope(findings, table.newest_list)


def finding_of(table: RegisterTable, known: Known) -> Finding:
    """Return a finding in the form that the plan needs."""
    has_ticket = bool(known.ticket_id or known.vendor_ticket_id)
    before = table.before(known.key) if known.generation else None
    kind: Any = "unknown" if known.status == "unknown" else "none"
    if known.status in ("created", "existing"):
        # Tickets that others filed are never changed.
        is_ours = not known.given and known.filed_at is not None
        kind = "filed" if is_ours else "taken over" if has_ticket else "unwanted"
    return Finding(
        normalised(known.identifier),
        known.generation,
        kind,
        known.ticket_id,
        known.vendor_ticket_id,
        before and (before.vendor_ticket_id or before.ticket_id),
        table.history(known.key),
        is_new=known.status == "created",
    )


def _others(table: RegisterTable) -> dict[str, list[str]]:
    """Return our newest tickets by project, without those known to be deleted."""
    others: dict[str, list[str]] = {}
    for known in reversed(list(table.all_known())):
        project = jira.project_of(known.vendor_ticket_id or "")
        if not project or known.given or len(others.get(project, ())) >= OTHERS:
            continue
        if not table.history(known.key).deleted:
            others.setdefault(project, []).append(str(known.vendor_ticket_id))
    return others


def _refuse(made: Plan) -> None:
    """Raise an error if nothing may be sent.

    :raises LeenBrakeError: more would be filed or closed than is allowed.
    :raises LeenConfigError: the list is older than one before it, or the plan is not the expected one.
    """
    if made.refusal is None:
        return
    is_brake = made.refusal.kind in ("max_new", "max_close_rate")
    raise (LeenBrakeError if is_brake else LeenConfigError)(made.refusal.message)


def _brake_again(made: Plan, again: Plan, max_new: int | None) -> None:
    """Refuse the tickets of refused reopenings if a run would file too many with them.

    :raises LeenBrakeError: more would be filed.
    """
    before, more = (sum(action.kind == "create" for action in it.actions) for it in (made, again))
    if max_new is not None and before + more > max_new:
        raise LeenBrakeError(
            f"The tracker refused to reopen {counted(more, 'ticket')}. With new ones in their place, this run would "
            f"file {counted(before + more, 'ticket')}, and max_new is {max_new}, so they are not filed and nothing is "
            "closed. If they are to be filed, raise max_new and clear the task."
        )
