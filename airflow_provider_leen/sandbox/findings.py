"""The sandbox's vulnerability findings: a few hundred, the same at every start, and ``GET /v2/vulnerability_findings``.

What a scanner would find in two dozen repositories, their images and their services. The vulnerabilities are real, the
repositories are not. A finding's ``ticket`` is one that the scanner knows of; tickets filed through the sandbox do not
show there. Fields and types are those of Leen's page on V2 findings.
"""

# Without postponed annotations: the FastAPI of Airflow 3.1 does not resolve those of a class that is a dependency.

import random
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Annotated, Any, NamedTuple

from fastapi import Depends, FastAPI, Query
from fastapi.responses import JSONResponse

from airflow_provider_leen.sandbox.routing import APIError, Page

COUNT = 320
LAST_SCAN = datetime(2026, 1, 5, 6, 0, tzinfo=UTC)
MAX_IDS = 100


class Weakness(NamedTuple):
    """What a scanner can find.

    :param uid: a CVE, or for code the rule.
    :param product: a package, a service, or for code the file.
    :param version: the one found, for code the line; None for a service.
    :param fixed_in: the first version without it, None if there is none.
    """

    uid: str
    severity: str
    product: str
    version: str | None
    fixed_in: str | None
    published: str | None
    what: str


def _table(text: str) -> tuple[Weakness, ...]:
    rows = ([cell.strip() for cell in line.split("|")] for line in text.strip().splitlines())
    return tuple(Weakness(*(None if cell == "-" else cell for cell in row)) for row in rows)  # type: ignore[arg-type]


_PACKAGES = _table("""
CVE-2021-44228 | CRITICAL | log4j-core | 2.14.1 | 2.17.1 | 2021-12-10 | Remote code execution by a JNDI look-up
CVE-2022-22965 | CRITICAL | spring-beans | 5.3.17 | 5.3.18 | 2022-04-01 | Remote code execution by data binding
CVE-2021-23337 | HIGH | lodash | 4.17.20 | 4.17.21 | 2021-02-15 | Command injection through templates
CVE-2023-32681 | MEDIUM | requests | 2.30.0 | 2.31.0 | 2023-05-26 | Proxy credentials sent to the destination
CVE-2020-28493 | MEDIUM | jinja2 | 2.11.2 | 2.11.3 | 2021-02-01 | Denial of service by the urlize filter
CVE-2022-40897 | MEDIUM | setuptools | 65.3.0 | 65.5.1 | 2022-12-23 | Denial of service by a package page
CVE-2017-18640 | LOW | snakeyaml | 1.25 | 1.26 | 2019-12-12 | Denial of service by nested aliases
""")
_IMAGES = _table("""
CVE-2024-3094 | CRITICAL | xz-utils | 5.6.1 | 5.6.1+really5.4.5 | 2024-03-29 | Backdoor in the release archive
CVE-2014-0160 | HIGH | openssl | 1.0.1f | 1.0.1g | 2014-04-07 | Memory disclosure by TLS heartbeats
CVE-2021-3156 | HIGH | sudo | 1.8.31 | 1.9.5p2 | 2021-01-26 | Local root through a heap overflow
CVE-2023-4863 | HIGH | libwebp | 1.3.1 | 1.3.2 | 2023-09-12 | Heap overflow in a crafted image
""")
_SERVICES = _table("""
CVE-2020-1938 | CRITICAL | ajp13:8009 | - | 9.0.31 | 2020-02-24 | File disclosure through the AJP connector
CVE-2023-44487 | HIGH | https:443 | - | 1.25.3 | 2023-10-10 | Denial of service by HTTP/2 stream resets
CVE-2018-15473 | MEDIUM | ssh:22 | - | - | 2018-08-17 | User names can be found out by guessing
CVE-2013-2566 | MEDIUM | https:8443 | - | - | 2013-03-15 | RC4 cipher suites are offered
""")
_CODE = _table("""
sql-injection | HIGH | orders/query.py | 214 | - | - | SQL is built from strings
weak-hash | LOW | users/tokens.py | 37 | - | - | MD5 is used for a token
""")
_REPOSITORIES = tuple(
    f"{team}-{part}"
    for team in ("web", "api", "data", "billing", "search", "edge")
    for part in ("frontend", "worker", "gateway", "tools")
)
_STATES = ("OPEN",) * 5 + ("REOPENED",) + ("RESOLVED",) * 4


@dataclass(frozen=True, slots=True)
class Finding:
    """A finding as Leen shows it, and what it can be filtered by beside that."""

    record: Mapping[str, Any]
    resource_id: str
    first_seen: datetime
    last_seen: datetime
    state_updated: datetime


@cache
def findings() -> tuple[Finding, ...]:
    """All findings, in the order in which they were first seen."""
    chance = random.Random(4)
    weaknesses = (*_PACKAGES, *_IMAGES, *_SERVICES, *_CODE)
    pairs = [(weakness, repository) for weakness in weaknesses for repository in _REPOSITORIES]
    made = [_finding(weakness, repository, chance) for weakness, repository in chance.sample(pairs, COUNT)]
    return tuple(sorted(made, key=lambda finding: finding.first_seen))


def _finding(weakness: Weakness, repository: str, chance: random.Random) -> Finding:
    state = chance.choice(_STATES)
    first_seen = LAST_SCAN - timedelta(minutes=chance.randrange(90 * 24 * 60))
    state_updated = first_seen + (LAST_SCAN - first_seen) * chance.random()
    last_seen = state_updated if state == "RESOLVED" else LAST_SCAN
    has_ticket = state != "RESOLVED" and chance.random() < 0.2
    key = f"OPS-{chance.randrange(1000, 10_000)}"
    ticket = {"uid": key, "url": f"https://jira.example.com/browse/{key}", "status": "TODO"}
    record = {
        "id": _uuid(f"{weakness.uid} {repository}"),
        "severity": weakness.severity,
        "state": state,
        "first_seen": _iso(first_seen),
        "last_seen": _iso(last_seen),
        "ticket": ticket if has_ticket else None,
        "has_fix": weakness.fixed_in is not None,
        **(_in_code if weakness in _CODE else _in_component)(weakness, repository),
    }
    return Finding(record, _uuid(repository), first_seen, last_seen, state_updated)


def _in_code(rule: Weakness, repository: str) -> dict[str, Any]:
    line = int(rule.version or 0)
    return {
        "title": f"{rule.what} in {rule.product} of {repository}",
        "description": f"{rule.what} in `{rule.product}`, line {line}.",
        "type": "CODE",
        "analytic": {
            "type": "RULE",
            "uid": rule.uid,
            "name": rule.what,
            "url": f"https://rules.example.com/{rule.uid}",
        },
        "analytic_output": f"{rule.product}:{line}",
        "remediation": None,
        "resource_related": _resource(affected_code=_code(repository, rule.product, line)),
        "vulnerabilities": [],
        **_report("SAST", "Semgrep"),
    }


def _in_component(weakness: Weakness, repository: str) -> dict[str, Any]:
    package = {"name": weakness.product, "version": weakness.version}
    place: dict[str, Any]
    if weakness in _PACKAGES:
        kind, report = "DEPENDENCY", _report("DEPENDENCY_SCANNING", "Gemnasium")
        place = {"affected_package": package, "affected_code": _code(repository, "dependencies.lock")}
    elif weakness in _IMAGES:
        kind, report = "CONTAINER", _report("CONTAINER_SCANNING", "Trivy")
        image = f"registry.example.com/{repository}:latest"
        place = {"affected_package": package, "affected_image": image, "affected_os": "debian 12.4"}
    else:
        kind, report = "NETWORK", _report("DAST", "ZAP")
        service, _, port = weakness.product.partition(":")
        place = {"service": service, "protocol": "tcp", "port": int(port)}
    found = " ".join(filter(None, (weakness.product, weakness.version)))
    return {
        "title": f"{weakness.uid} in {weakness.product} of {repository}",
        "description": f"{weakness.what}. Found in {found} of {repository}.",
        "type": kind,
        "analytic": None,
        "analytic_output": None,
        "remediation": f"Update to {weakness.fixed_in} or newer." if weakness.fixed_in else None,
        "resource_related": _resource(**place),
        "vulnerabilities": [
            {
                "uid": weakness.uid,
                "published": f"{weakness.published}T00:00:00Z",
                "last_modified": None,
                "status": None,
            }
        ],
        **report,
    }


def _resource(**known: Any) -> dict[str, Any]:
    names = ("affected_code", "affected_image", "affected_os", "affected_package", "port", "protocol", "service")
    return {name: known.get(name) for name in names}


def _report(report_type: str, scanner: str) -> dict[str, Any]:
    tool = {"id": scanner.lower(), "vendor": scanner, "name": scanner}
    return {
        "product": {"vendor_name": "GitLab", "name": report_type},
        "vendor_data": {"vendor": "GITLAB", "report_type": report_type, "scanner": tool},
    }


def _code(repository: str, file: str, line: int | None = None) -> dict[str, Any]:
    url = f"https://gitlab.example.com/{repository}/-/blob/main/{file}"
    return {
        "file_path": file,
        "start_line_number": line,
        "end_line_number": line and line + 2,
        "url": f"{url}#L{line}" if line else url,
    }


def _iso(time: datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")


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
        resource_ids: Annotated[str | None, Query(alias="resourceId")] = None,
        has_fix: bool | None = None,
        first_seen_since: datetime | None = None,
        last_seen_since: datetime | None = None,
        state_updated_since: datetime | None = None,
    ) -> None:
        self.one_of = {"severity": _split(severity), "state": _split(state), "id": _split(ids)}
        wanted_ids = self.one_of["id"]
        if wanted_ids is not None and (len(wanted_ids) > MAX_IDS or not all(map(_is_uuid, wanted_ids))):
            raise APIError(422, "validation_error", f"ids takes at most {MAX_IDS} UUIDs, separated by commas.")
        self.resource_ids = _split(resource_ids)
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
            and (self.resource_ids is None or finding.resource_id in self.resource_ids)
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
