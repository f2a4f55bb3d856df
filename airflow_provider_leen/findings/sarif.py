"""SARIF 2.1.0, the format that most scanners can write: one finding, one ticket."""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from airflow_provider_leen.api.errors import LeenConfigError
from airflow_provider_leen.api.text import clean_json, one_line
from airflow_provider_leen.findings.description import Finding, folder_of, ticket
from airflow_provider_leen.findings.identity import Identities, Subject, read_fingerprints
from airflow_provider_leen.findings.places import Place, Places
from airflow_provider_leen.findings.reading import array, count, mapping, objects, text
from airflow_provider_leen.findings.rules import Tool, message_text

log = logging.getLogger(__name__)

_MAX_SAID = 4_000
"""How many characters of a message identify a finding."""

_NO_PROBLEM = ("pass", "notApplicable", "informational")


class SarifTickets(list[dict[str, Any]]):
    """The tickets of a SARIF report, and counts of the results without a ticket.

    A result that can't be read is a row that the operator reports as ``invalid``.

    :param tickets: the rows.
    :param left_out: how many results have no ticket, by the reason.
    :param remarks: sentences about the whole report: that a scan failed, or that results are in another file.
    """

    def __init__(self, tickets: list[dict[str, Any]], left_out: Mapping[str, int], remarks: list[str]) -> None:
        super().__init__(tickets)
        self.left_out = dict(left_out)
        self.remarks = remarks

    @property
    def findings(self) -> int:
        """How many results the report has, with and without a ticket."""
        return len(self) + sum(self.left_out.values())

    @property
    def account(self) -> str:
        """One sentence that counts every result of the report."""
        counts = [f"{number} {reason}" for reason, number in self.left_out.items()]
        tickets = f"{_counted(self.findings, 'result')} in the SARIF report: {_counted(len(self), 'ticket')}"
        return ", ".join([tickets, *counts]) + "."


def is_sarif(document: Any) -> bool:
    """Return whether a parsed JSON document is a SARIF report."""
    if not isinstance(document, dict) or not isinstance(document.get("runs"), list):
        return False
    schema, version = document.get("$schema"), document.get("version")
    return isinstance(version, str) or (isinstance(schema, str) and "sarif" in schema.lower())


def tickets_from_sarif(document: Any, *, repository: str | None = None, root: str | None = None) -> SarifTickets:
    """Return the tickets of a SARIF 2.1.0 report, one for each finding.

    Usage::

        @task
        def find() -> list[dict[str, str]]:
            return tickets_from_sarif(json.loads(Path("/data/scan.sarif").read_text()))

    A ticket has ``name``, ``description`` (Markdown), ``priority`` and an ``identifier`` that stays the same from scan
    to scan.

    Results that are suppressed, gone (``baselineState`` "absent") or report no problem have no ticket. Equal results in
    one file share a ticket, which lists the places. One log line counts them all.

    :param document: the report, parsed.
    :param repository: the name of what was scanned, for reports that don't name the repository (default: none). Set it
        if several repositories share one project, to distinguish equal findings.
    :param root: the folder of the sources, for reports with absolute paths (default: the report's).
    :return: a list of the tickets, with the counts of the other results.
    :raises LeenConfigError: this is not a SARIF report, or has another major version.
    """
    if not is_sarif(document):
        raise LeenConfigError(
            "This is not a SARIF report: an object with `version` and `runs` is expected. "
            "Have the scanner write SARIF 2.1.0."
        )
    version = document.get("version")
    if isinstance(version, str) and not version.strip().startswith("2."):
        raise LeenConfigError(
            f"The report is SARIF {one_line(version, 20)}, which can't be read: have the scanner write SARIF 2.1.0."
        )
    report = _Report(repository or "", root)
    for number, run in enumerate(document["runs"], 1):
        report.read_run(run, number)
    if array(document.get("inlineExternalProperties")):
        report.remarks.append("The report has inline external properties, which are not read.")
    tickets = SarifTickets(report.tickets(), +report.left_out, report.remarks)
    log.info("%s", tickets.account)
    for remark in tickets.remarks:
        log.warning("%s", remark)
    return tickets


class _Report:
    """Reads a report.

    :param repository: the name of the scanned repository, for reports without one.
    :param root: the folder of the sources, if the caller knows it.
    """

    def __init__(self, repository: str, root: str | None) -> None:
        self.left_out: Counter[str] = Counter()
        self.remarks: list[str] = []
        self._repository = repository
        self._root = root
        self._findings: list[Finding | str] = []
        self._known: list[Subject] = []

    def read_run(self, run: Any, number: int) -> None:
        """Read a run."""
        if not isinstance(run, dict):
            self._findings.append(f"run {number} of the SARIF report, which can't be read: it is no object")
            return
        tool, places, results = Tool(run), Places(run, self._root), run.get("results")
        self.remarks += _remarks(run, tool.name)
        if results is not None and not isinstance(results, list):
            self._findings.append(f"the results of {one_line(tool.name, 50)}, which can't be read: they are no array")
        for index, result in enumerate(array(results)):
            if not isinstance(result, dict):
                self._findings.append(
                    f"result {index + 1} of {one_line(tool.name, 50)} in run {number}, which can't be read: "
                    f"it is no object but {one_line(str(clean_json(result)), 100)}"
                )
                continue
            finding = _read_result(result, tool, places, self._repository)
            self._known.append(finding.subject)
            if reason := _left_out(result):
                self.left_out[reason] += 1
            else:
                self._findings.append(finding)

    def tickets(self) -> list[dict[str, Any]]:
        """Return a ticket for each finding; equal ones share the ticket of the first."""
        identities = Identities(self._known)
        folder = folder_of([subject.place for subject in self._known])
        grouped: dict[str, list[Finding]] = defaultdict(list)
        rows: list[str | dict[str, Any]] = []
        for finding in self._findings:
            if isinstance(finding, str):
                # The operator reports the row as invalid, with the reason.
                rows.append({"name": {"unsendable": finding}})
                continue
            identifier = identities.identifier(finding.subject)
            if identifier in grouped:
                self.left_out["in the ticket of an equal one"] += 1
            else:
                rows.append(identifier)
            grouped[identifier].append(finding)
        return [ticket(row, grouped[row], folder) if isinstance(row, str) else row for row in rows]


def _read_result(result: Mapping[str, Any], tool: Tool, places: Places, repository: str) -> Finding:
    rule = tool.rule_of(result)
    message = message_text(result.get("message"), rule)

    def read(location: Any) -> Place:
        return replace(places.place(location), message=message_text(mapping(location).get("message"), rule))

    found = [read(location) for location in objects(result.get("locations"))]
    place, *more = found or [places.file_place(mapping(result.get("analysisTarget")))]
    related: dict[int | None, list[Place]] = defaultdict(list)
    for location in objects(result.get("relatedLocations")):
        related[count(location.get("id"))].append(read(location))
    said = "\n".join(filter(None, (place.message, message)))[:_MAX_SAID]
    subject = Subject(
        tool=tool.name,
        rule=rule.id or text(rule.described.get("name")) or "finding",
        repository=place.repository.name if place.repository else repository,
        place=place,
        message=places.without_folders(said),
        fingerprints=read_fingerprints(result, place),
    )
    return Finding(
        subject=subject,
        result=result,
        rule=rule,
        message=message,
        priority=tool.priority_of(result, rule),
        more_places=more,
        related=related,
        flow=[read(step.get("location")) for step in _steps(result)],
    )


def _steps(result: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the steps of the first flow."""
    for flow in objects(result.get("codeFlows"))[:1]:
        for thread in objects(flow.get("threadFlows"))[:1]:
            yield from objects(thread.get("locations"))


def _left_out(result: Mapping[str, Any]) -> str | None:
    """Return why a result needs no ticket; None if it needs one."""
    if result.get("baselineState") == "absent":
        return "gone since the baseline"
    if result.get("kind") in _NO_PROBLEM:
        return "without a problem"
    suppressions = objects(result.get("suppressions"))
    # A suppression under review, or a rejected one, does not count.
    if suppressions and all((entry.get("status") or "accepted") == "accepted" for entry in suppressions):
        return "suppressed"
    return None


def _remarks(run: Mapping[str, Any], tool: str) -> Iterator[str]:
    name = one_line(tool, 50)
    invocations = objects(run.get("invocations"))
    if any(invocation.get("executionSuccessful") is False for invocation in invocations):
        yield f"{name} reports that its scan failed: findings may be missing."
    notes = [
        note
        for invocation in invocations
        for kind in ("toolExecutionNotifications", "toolConfigurationNotifications")
        for note in objects(invocation.get(kind))
        if note.get("level") == "error"
    ]
    if notes:
        first = text(mapping(notes[0].get("message")).get("text")) or "no text"
        yield f"{name} reports {_counted(len(notes), 'error')} during the scan, the first: {one_line(first, 200)}"
    if mapping(run.get("externalPropertyFileReferences")).get("results"):
        yield f"{name} has written results to other files, which are not read: have it write one file."
    if "results" not in run:
        yield f"{name} has no list of results, not even an empty one: did its scan run?"


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
