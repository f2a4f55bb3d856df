"""Leen's own vulnerability findings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from airflow_provider_leen.api.text import MAX_NAME, one_line
from airflow_provider_leen.findings import markdown
from airflow_provider_leen.findings.reading import count, mapping, objects, text
from airflow_provider_leen.findings.rules import priority_of_severity

_MAX_VULNERABILITIES = 20


def ticket_from_leen_finding(finding: BaseModel | Mapping[str, Any]) -> dict[str, str]:
    """Return the ticket of one of Leen's vulnerability findings.

    Usage::

        tickets = [ticket_from_leen_finding(finding) for finding in hook.iter_vulnerability_findings()]

    It has ``name``, ``description`` (Markdown), ``priority`` if the finding's severity is one, and the ``identifier``
    ``finding-<id>``. Only the finding's ``id`` is required.

    :param finding: what ``LeenHook.iter_vulnerability_findings()`` yields, or the JSON of one.
    """
    given = finding.model_dump(mode="json") if isinstance(finding, BaseModel) else dict(finding)
    finding_id = text(given.get("id")) or "unknown"
    description = text(given.get("description"))
    title = text(given.get("title")) or (description or "").strip().partition("\n")[0] or f"Finding {finding_id}"
    ticket = {
        "name": one_line(title, MAX_NAME),
        "description": markdown.paragraphs(
            description,
            markdown.facts(_facts(given)),
            markdown.section("Fix", text(given.get("remediation"))),
            markdown.section("Evidence", _evidence(given)),
        ),
        "identifier": f"finding-{finding_id}",
    }
    if priority := priority_of_severity(given.get("severity")):
        ticket["priority"] = priority
    return ticket


def _facts(finding: Mapping[str, Any]) -> Iterator[tuple[str, str | None]]:
    resource, product = mapping(finding.get("resource_related")), mapping(finding.get("product"))
    rule = mapping(finding.get("analytic"))
    yield "Severity", _shown(finding.get("severity"))
    yield "Vulnerability", ", ".join(_vulnerabilities(finding))
    yield "File", _file(mapping(resource.get("affected_code")))
    for title, field in (("Package", "affected_package"), ("Image", "affected_image"), ("System", "affected_os")):
        yield title, _described(resource.get(field))
    yield "Resource", _described(resource)
    yield "Service", _joined(*(resource.get(field) for field in ("service", "protocol", "port")))
    yield "Rule", markdown.link(_joined(rule.get("name") or rule.get("uid")) or "", text(rule.get("url")))
    yield "Found by", _joined(product.get("vendor_name"), product.get("name"))
    yield "State", _shown(finding.get("state"))
    yield "First seen", _shown(finding.get("first_seen"))
    yield "Last seen", _shown(finding.get("last_seen"))


def _vulnerabilities(finding: Mapping[str, Any]) -> list[str]:
    uids = (text(entry.get("uid")) for entry in objects(finding.get("vulnerabilities")))
    names = [one_line(uid, 100) for uid in dict.fromkeys(uids) if uid]
    return [
        markdown.link(
            markdown.plain(name), f"https://nvd.nist.gov/vuln/detail/{name}" if name.startswith("CVE-") else None
        )
        for name in names[:_MAX_VULNERABILITIES]
    ]


def _file(code: Mapping[str, Any]) -> str | None:
    path = text(code.get("file_path"))
    if path is None:
        return None
    first, last = count(code.get("start_line_number")), count(code.get("end_line_number"))
    lines = f", line {first}" if first else ""
    if first and last and last > first:
        lines = f", lines {first} to {last}"
    return markdown.link(markdown.span(one_line(path, 1_000)) + lines, text(code.get("url")))


def _described(value: Any) -> str | None:
    """Return the name and version of an object; a text as it is."""
    if isinstance(value, Mapping):
        return _joined(value.get("name") or value.get("uid") or value.get("id"), value.get("version"))
    return _shown(value)


def _evidence(finding: Mapping[str, Any]) -> str | None:
    output = text(finding.get("analytic_output"))
    return markdown.fenced(output[:3_000]) if output else None


def _joined(*values: Any) -> str | None:
    return " ".join(filter(None, map(_shown, values))) or None


def _shown(value: Any) -> str | None:
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    shown = one_line(value if isinstance(value, str) else hex(value) if abs(value) >= 2**63 else str(value), 200)
    return markdown.plain(shown) if shown else None
