"""The scanned repository: its name, the same for every way to clone it, and links to its lines."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

from airflow_provider_leen.findings.reading import text

_SCP = re.compile(r"(?:[^@/\s]+@)?([\w.-]{2,}):(?!//)/?(\S+)")
"""git@github.com:owner/name.git"""


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository on a server.

    :param server: the server's address, without user and password.
    :param path: owner and name.
    :param revision: the commit, or else the branch, that was scanned.
    """

    server: str
    path: str
    revision: str

    @property
    def name(self) -> str:
        """Its name, the same for every way to clone it."""
        return f"{self._host}/{self.path}".lower()

    @property
    def url(self) -> str:
        """Its page."""
        return f"{self.server}/{quote(self.path)}"

    def link(self, path: str, first: int | None, last: int | None) -> str | None:
        """Return the address of a file's lines; None if the server's URL format is unknown."""
        file, revision, host = quote(path), quote(self.revision), self._host
        span = None if first is None else (first, last if last is not None and last > first else None)
        if "gitlab" in host:
            return f"{self.url}/-/blob/{revision}/{file}{_fragment('L', '-', span)}"
        if host == "bitbucket.org":
            return f"{self.url}/src/{revision}/{file}{_fragment('lines-', ':', span)}"
        if host in ("codeberg.org", "gitea.com"):
            return f"{self.url}/src/commit/{revision}/{file}{_fragment('L', '-L', span)}"
        if any(other in host for other in ("bitbucket", "azure", "visualstudio")):
            return None
        # GitHub's form; a self-hosted GitLab accepts it, too.
        return f"{self.url}/blob/{revision}/{file}{_fragment('L', '-L', span)}"

    @property
    def _host(self) -> str:
        return urlsplit(self.server).hostname or ""


def read_repository(provenance: Mapping[str, Any]) -> Repository | None:
    """Return the repository of a ``versionControlDetails`` object; None for a local folder."""
    uri = (text(provenance.get("repositoryUri")) or "").strip()
    revision = text(provenance.get("revisionId")) or text(provenance.get("branch")) or "HEAD"
    if found := _SCP.fullmatch(uri):
        uri = f"ssh://{found[1]}/{found[2]}"
    try:
        parts = urlsplit(uri)
        scheme, host, port, path = parts.scheme, parts.hostname, parts.port, parts.path.strip("/").removesuffix(".git")
    except ValueError:
        return None
    if scheme == "file" or not host or not path:
        return None
    is_web = scheme in ("http", "https")
    server = f"{scheme if is_web else 'https'}://{host}" + (f":{port}" if is_web and port else "")
    return Repository(server, path, revision.strip())


def _fragment(begin: str, separator: str, span: tuple[int, int | None] | None) -> str:
    if span is None:
        return ""
    first, last = span
    return f"#{begin}{first}" + (f"{separator}{last}" if last is not None else "")
