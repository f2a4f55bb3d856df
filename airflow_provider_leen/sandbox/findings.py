"""The sandbox's vulnerability findings: a few hundred, the same at every start, and ``GET /v2/vulnerability_findings``.

What a scanner would find on two dozen machines. The vulnerabilities are real, the machines are not. A finding's
``ticket`` is one that the scanner knows of; tickets filed through the sandbox do not show there.
"""

# Without postponed annotations: the FastAPI of Airflow 3.1 does not resolve those of a class that is a dependency.

import random
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Query
from fastapi.responses import JSONResponse

from airflow_provider_leen.sandbox.routing import APIError, Page

COUNT = 320
LAST_SCAN = datetime(2026, 1, 5, 6, 0, tzinfo=UTC)
MAX_IDS = 100

# CVE, severity, product, version found, version that mends it, what it is
_VULNERABILITIES = (
    ("CVE-2021-44228", "CRITICAL", "log4j-core", "2.14.1", "2.17.1", "Remote code execution through JNDI look-ups"),
    ("CVE-2022-22965", "CRITICAL", "spring-beans", "5.3.17", "5.3.18", "Remote code execution by data binding"),
    ("CVE-2020-1938", "CRITICAL", "tomcat", "9.0.30", "9.0.31", "File disclosure through the AJP connector"),
    ("CVE-2024-3094", "CRITICAL", "xz-utils", "5.6.1", "5.6.1+really5.4.5", "Backdoor in the release archive"),
    ("CVE-2014-0160", "HIGH", "openssl", "1.0.1f", "1.0.1g", "Memory disclosure by TLS heartbeats"),
    ("CVE-2021-3156", "HIGH", "sudo", "1.8.31", "1.9.5p2", "Local root through a heap overflow"),
    ("CVE-2023-44487", "HIGH", "nginx", "1.25.2", "1.25.3", "Denial of service by HTTP/2 stream resets"),
    ("CVE-2023-4863", "HIGH", "libwebp", "1.3.1", "1.3.2", "Heap overflow in a crafted image"),
    ("CVE-2021-23337", "HIGH", "lodash", "4.17.20", "4.17.21", "Command injection through templates"),
    ("CVE-2023-32681", "MEDIUM", "requests", "2.30.0", "2.31.0", "Proxy credentials sent to the destination"),
    ("CVE-2020-28493", "MEDIUM", "jinja2", "2.11.2", "2.11.3", "Denial of service by the urlize filter"),
    ("CVE-2022-40897", "MEDIUM", "setuptools", "65.3.0", "65.5.1", "Denial of service by a crafted package page"),
    ("CVE-2018-15473", "MEDIUM", "openssh", "7.7p1", None, "User names can be found out by guessing"),
    ("CVE-2013-2566", "MEDIUM", "tls-rc4", "-", None, "RC4 cipher suites are offered"),
    ("CVE-2017-18640", "LOW", "snakeyaml", "1.25", "1.26", "Denial of service by nested aliases"),
    ("CVE-1999-0524", "LOW", "icmp", "-", None, "Clock readable by ICMP timestamps"),
)
_MACHINES = tuple(
    f"{role}-{number:02}.example.com" for role in ("web", "api", "db", "build", "vpn", "edge") for number in range(1, 5)
)
_STATES = ("OPEN",) * 5 + ("REOPENED",) + ("RESOLVED",) * 4


@dataclass(frozen=True, slots=True)
class Finding:
    """A finding as Leen shows it, and the times that it can be filtered by."""

    record: Mapping[str, Any]
    resource_id: str
    first_seen: datetime
    last_seen: datetime
    state_updated: datetime


@cache
def findings() -> tuple[Finding, ...]:
    """All findings, in the order in which they were first seen."""
    chance = random.Random(4)
    pairs = [(vulnerability, machine) for vulnerability in _VULNERABILITIES for machine in _MACHINES]
    made = [_finding(vulnerability, machine, chance) for vulnerability, machine in chance.sample(pairs, COUNT)]
    return tuple(sorted(made, key=lambda finding: finding.first_seen))


def _finding(vulnerability: tuple[str, str, str, str, str | None, str], machine: str, chance: random.Random) -> Finding:
    cve, severity, product, version, fixed_in, what = vulnerability
    finding_id = _uuid(f"{cve} {machine}")
    resource_id = _uuid(machine)
    state = chance.choice(_STATES)
    first_seen = LAST_SCAN - timedelta(minutes=chance.randrange(90 * 24 * 60))
    state_updated = first_seen + (LAST_SCAN - first_seen) * chance.random()
    last_seen = state_updated if state == "RESOLVED" else LAST_SCAN
    has_ticket = state != "RESOLVED" and chance.random() < 0.2
    key = f"OPS-{chance.randrange(1000, 10_000)}"
    ticket = {"uid": key, "url": f"https://jira.example.com/browse/{key}", "status": "TODO"}
    record = {
        "id": finding_id,
        "title": f"{cve} in {product} on {machine}",
        "description": f"{what}. Found in {product} {version} on {machine}.",
        "severity": severity,
        "state": state,
        "type": "VULNERABILITY",
        "first_seen": first_seen.isoformat(),
        "last_seen": last_seen.isoformat(),
        "ticket": ticket if has_ticket else None,
        "has_fix": fixed_in is not None,
        "remediation": {"description": f"Install {product} {fixed_in} or newer."} if fixed_in else None,
        "product": {"name": product, "version": version},
        "analytic": None,
        "resource_related": [{"uid": resource_id, "name": machine, "type": "DEVICE"}],
        "vendor_data": {"vendor": "SANDBOX"},
        "vulnerabilities": [{"cve": {"uid": cve}, "severity": severity}],
    }
    return Finding(record, resource_id, first_seen, last_seen, state_updated)


def _uuid(name: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"https://sandbox.example.com/{name}"))


Texts = Annotated[str | None, Query()]


class Filters:
    """Which findings are wanted."""

    def __init__(
        self,
        severity: Texts = None,
        state: Texts = None,
        ids: Texts = None,
        resource_id: Annotated[str | None, Query(alias="resourceId")] = None,
        has_fix: bool | None = None,
        first_seen_since: datetime | None = None,
        last_seen_since: datetime | None = None,
        state_updated_since: datetime | None = None,
    ) -> None:
        self.one_of = {"severity": _split(severity), "state": _split(state), "id": _split(ids)}
        wanted_ids = self.one_of["id"]
        if wanted_ids is not None and (len(wanted_ids) > MAX_IDS or not all(map(_is_uuid, wanted_ids))):
            raise APIError(422, "validation_error", f"ids takes at most {MAX_IDS} UUIDs, separated by commas.")
        self.resource_id = resource_id
        self.has_fix = has_fix
        self.since = {
            "first_seen": first_seen_since,
            "last_seen": last_seen_since,
            "state_updated": state_updated_since,
        }

    def match(self, finding: Finding) -> bool:
        """Whether a finding is wanted."""
        record = finding.record
        return (
            all(values is None or record[field] in values for field, values in self.one_of.items())
            and self.resource_id in (None, finding.resource_id)
            and self.has_fix in (None, record["has_fix"])
            and all(since is None or getattr(finding, field) >= _aware(since) for field, since in self.since.items())
        )


def _split(values: str | None) -> list[str] | None:
    return None if values is None else [value.strip() for value in values.split(",")]


def _is_uuid(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text.lower()
    except ValueError:
        return False


def _aware(time: datetime) -> datetime:
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def add_finding_routes(app: FastAPI, authenticated: Any) -> None:
    """Add the route to the app."""

    @app.get("/v2/vulnerability_findings")
    async def list_findings(
        page: Annotated[Page, Depends()], filters: Annotated[Filters, Depends()], connection_id: str = authenticated
    ) -> JSONResponse:
        wanted = [dict(finding.record) for finding in findings() if filters.match(finding)]
        return JSONResponse(page.of(wanted[page.offset :]))
