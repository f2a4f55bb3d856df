"""SARIF reports for the tests, as short as can be."""

from __future__ import annotations

from typing import Any

from airflow_provider_leen.findings import SarifTickets, tickets_from_sarif


def report(*results: Any, rules: list[Any] | None = None, tool: str = "Scanner", **run: Any) -> dict[str, Any]:
    """A report of one run; ``run`` are further fields of it."""
    driver = {"name": tool, "rules": rules or []}
    return {"version": "2.1.0", "runs": [{"tool": {"driver": driver}, "results": list(results), **run}]}


def result(
    rule: str = "R1", uri: str | dict[str, Any] | None = "src/a.py", line: int | None = 7, **fields: Any
) -> dict[str, Any]:
    """A result in a line of a file; ``code`` is what stands there."""
    region: dict[str, Any] = {} if line is None else {"startLine": line}
    if code := fields.pop("code", None):
        region["snippet"] = {"text": code}
    artifact = {"uri": uri} if isinstance(uri, str) else uri
    location = {"physicalLocation": {"artifactLocation": artifact, "region": region}}
    found: dict[str, Any] = {"ruleId": rule, "message": {"text": fields.pop("message", "Found")}}
    return found | ({"locations": [location]} if artifact else {}) | fields


def read(*results: Any, repository: str | None = None, root: str | None = None, **run: Any) -> SarifTickets:
    return tickets_from_sarif(report(*results, **run), repository=repository, root=root)


def only(*results: Any, **run: Any) -> dict[str, str]:
    """The one ticket of these results."""
    [ticket] = read(*results, **run)
    return ticket


def identifiers(*results: Any, **run: Any) -> list[str]:
    return [ticket["identifier"] for ticket in read(*results, **run)]
