"""Recognises scanners' own reports, so that one given instead of a list of tickets is refused by name.

Only the names of fields are read and shown: their values may be secrets that the scanner found.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from airflow_provider_leen.api.models import TicketCreate
from airflow_provider_leen.api.text import for_terminal

_MAX_FIELDS_SHOWN = 5
_MAX_NAME_SHOWN = 40
_FIELDS_OF_A_FLAT_ROW = 10


class _Report(NamedTuple):
    """A kind of report.

    :param fields: the fields that identify it.
    :param kind: its name.
    :param findings: the path of its findings.
    :param sarif: how to make the scanner write SARIF instead, if it can.
    """

    fields: frozenset[str]
    kind: str
    findings: str
    sarif: str = ""


_REPORTS = tuple(
    _Report(frozenset(fields.split()), *rest)
    for fields, *rest in (
        ("ArtifactName SchemaVersion", "a Trivy report", "`Results[].Vulnerabilities`", "--format sarif"),
        ("Results", "a Trivy report", "`Results[].Vulnerabilities`", "--format sarif"),
        ("matches", "a grype report", "`matches`", "-o sarif"),
        ("runs", "SARIF without its `version`", "`runs[].results`", ""),
        ("results generated_at metrics", "a Bandit report", "`results`", "-f sarif"),
        ("results experimental_config", "an OSV-Scanner report", "`results[].packages`", "--format sarif"),
        ("results plugins_used", "a detect-secrets baseline", "`results`", ""),
        ("results paths", "a Semgrep report", "`results`", "--sarif"),
        ("check_type", "a Checkov report", "`results.failed_checks`", "-o sarif"),
        ("severity state first_seen", "Leen's own findings", "the list (`ticket_from_leen_finding` does it)", ""),
        ("results", "a report of Semgrep, Bandit, OSV-Scanner or the like", "`results`", ""),
        ("RuleID Secret", "a gitleaks report", "the list", "--report-format sarif"),
        ("template-id info", "a Nuclei report", "the list", "-sarif-export"),
        ("SourceMetadata DetectorName", "a TruffleHog report", "the list", ""),
        ("Issues", "a gosec report", "`Issues`", "-fmt sarif"),
        ("bomFormat", "a CycloneDX bill of materials", "`vulnerabilities`", ""),
        ("@version site", "a ZAP report", "`site[].alerts`", ""),
        ("vulnerabilities", "a report of npm audit, Snyk or the like", "`vulnerabilities`", ""),
        ("dependencies", "a report of pip-audit, Dependency-Check or the like", "`dependencies`", ""),
        ("items", "a page of an API", "`items`", ""),
    )
)
"""The first one that matches counts."""


def may_be_ticket(row: Mapping[Any, Any]) -> bool:
    """Return whether this may be a ticket, well-formed or not: it has a name, or at least a known field."""
    return "name" in row or not (row.keys().isdisjoint(TicketCreate.model_fields) or _holds_more_than_texts(row))


def is_entry(row: Mapping[Any, Any]) -> bool:
    """Return whether this is a report's entry, rather than a ticket whose fields are all misspelt."""
    return not may_be_ticket(row) and (len(row) > _FIELDS_OF_A_FLAT_ROW or _holds_more_than_texts(row))


def _holds_more_than_texts(row: Mapping[Any, Any]) -> bool:
    return any(isinstance(value, Mapping | list | tuple) for value in row.values())


def is_known(row: Mapping[Any, Any]) -> bool:
    """Return whether a row is a known kind of report."""
    return _report(row) is not None


def refusal(called: str, row: Mapping[Any, Any]) -> str:
    """Return a message for an object that is not a ticket: what it looks like, and what to do.

    :param called: how the message names the value that it is, or is in.
    """
    shown = ", ".join(f"`{_shown(name)}`" for name in list(row)[:_MAX_FIELDS_SHOWN])
    fields = f"its fields are {shown}{', …' if len(row) > _MAX_FIELDS_SHOWN else ''}" if row else "it is empty"
    report = _report(row)
    findings = report.findings if report else _list_in(row)
    kind = report.kind if report else "a report" if _holds_more_than_texts(row) else "something else"
    tickets = f'a ticket of each entry of {findings}, such as {{"name": …, "description": …}}'
    make = f"Have the scanner write SARIF (`{report.sarif}`), or make" if report and report.sarif else "Make"
    return f"{called} holds no tickets: it looks like {kind} ({fields}). Nothing was sent. {make} {tickets}."


def _report(row: Mapping[Any, Any]) -> _Report | None:
    return next((report for report in _REPORTS if report.fields <= row.keys()), None)


def _list_in(row: Mapping[Any, Any]) -> str:
    lists = [name for name, value in row.items() if isinstance(value, list | tuple)]
    return f"`{_shown(lists[0])}`" if lists else "its list of findings"


def _shown(name: Any) -> str:
    return for_terminal(str(name))[:_MAX_NAME_SHOWN]
