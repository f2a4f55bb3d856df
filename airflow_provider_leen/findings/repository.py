"""The repository that was scanned: its name, which is the same however it was cloned, and links to its lines."""

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

    :param host: the server, in lower case.
    :param path: owner and name.
    :param revision: the commit, or else the branch, that was scanned.
    """

    host: str
    path: str
    revision: str

    @property
    def name(self) -> str:
        """What is the same for each way to clone it, and holds no password."""
        return f"{self.host}/{self.path}".lower()

    @property
    def url(self) -> str:
        """Its page."""
        return f"https://{self.host}/{quote(self.path)}"

    def link(self, path: str, first: int | None, last: int | None) -> str | None:
        """Return the address of a file's lines; None where the server's form of it is not known."""
        file, revision = quote(path), quote(self.revision)
        span = None if first is None else (first, last if last is not None and last > first else None)
        if "gitlab" in self.host:
            return f"{self.url}/-/blob/{revision}/{file}{_fragment('L', '-', span)}"
        if self.host == "bitbucket.org":
            return f"{self.url}/src/{revision}/{file}{_fragment('lines-', ':', span)}"
        if self.host in ("codeberg.org", "gitea.com"):
            return f"{self.url}/src/commit/{revision}/{file}{_fragment('L', '-L', span)}"
        if "github" in self.host:
            return f"{self.url}/blob/{revision}/{file}{_fragment('L', '-L', span)}"
        return None


def read_repository(provenance: Mapping[str, Any]) -> Repository | None:
    """Return the repository of a ``versionControlDetails`` object; None for a folder of this machine."""
    uri = (text(provenance.get("repositoryUri")) or "").strip()
    revision = text(provenance.get("revisionId")) or text(provenance.get("branch")) or "HEAD"
    if "://" in uri:
        try:
            parts = urlsplit(uri)
            host, path = parts.hostname, parts.path
        except ValueError:
            return None
        if parts.scheme.lower() == "file":
            return None
    elif found := _SCP.fullmatch(uri):
        host, path = found.groups()
    else:
        return None
    path = path.strip("/").removesuffix(".git")
    return Repository(host.lower(), path, revision.strip()) if host and path else None


def _fragment(begin: str, separator: str, span: tuple[int, int | None] | None) -> str:
    if span is None:
        return ""
    first, last = span
    return f"#{begin}{first}" + (f"{separator}{last}" if last is not None else "")
