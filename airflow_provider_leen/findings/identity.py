"""Makes identifiers that recognise a finding from scan to scan.

A finding keeps its identifier when lines are added above it, when the sources lie in another folder, and when the
report lists it elsewhere. A scanner's own fingerprints are used if they are suitable.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import dropwhile
from typing import Any

from airflow_provider_leen.findings.paths import common_folder, replaced, within
from airflow_provider_leen.findings.places import Place
from airflow_provider_leen.findings.reading import mapping, text

_MAX_IDENTIFIER = 128
_MAX_TOOL = 32
_DIGEST = 24

_LINE_HASH = "primaryLocationLineHash"
_NOT_OF_CONTENT = re.compile(r"column|line_?number|start_?line|offset|author|e-?mail|date|time|commit", re.IGNORECASE)
"""Fingerprints with these names contain a position, a person or a time: they change while the finding does not."""

_VERSION = re.compile(r"(?:^|/)v?(\d{1,9})$")
_NUMBERED = re.compile(r"\b(lines?|columns?|col|row|at)\b([ :=#]*)\d+|:\d+(?::\d+)?\b", re.IGNORECASE)
"""Line numbers in a message."""

_PASSING = re.compile(
    r"^[ \w]{0,40}(?:version|severity|score|link|url|date)[ \w]{0,40}:.*$", re.IGNORECASE | re.MULTILINE
)
"""Lines of a message such as "Fixed Version: 1.2.3"."""

_TELLING = 100
"""How many characters of code identify a place; more if the first line is longer."""

_COMMENT = ("#", "//", "/*", "*", "--", "<!--", ";")


@dataclass(frozen=True, slots=True)
class Subject:
    """What identifies a finding.

    :param tool: the tool's name.
    :param rule: the rule's id.
    :param repository: the repository's name; empty if none is known.
    :param place: where it is.
    :param message: its message, without folders.
    :param fingerprints: names and values, the best first.
    """

    tool: str
    rule: str
    repository: str
    place: Place
    message: str
    fingerprints: tuple[tuple[str, str], ...]


def read_fingerprints(result: Mapping[str, Any], place: Place) -> tuple[tuple[str, str], ...]:
    """Return the fingerprints of a result that may be used, the best first."""
    partial, whole = mapping(result.get("partialFingerprints")), mapping(result.get("fingerprints"))
    found = []
    if value := text(partial.get(_LINE_HASH)):
        found.append((_LINE_HASH, re.sub(r":\d+$", "", value.strip())))
    for fingerprints in (whole, partial):
        named = [(name, text(value)) for name, value in fingerprints.items() if name != _LINE_HASH]
        named.sort(key=lambda pair: (-_version(pair[0]), pair[0]))
        found += [(name, value.strip()) for name, value in named if value and not _NOT_OF_CONTENT.search(name)]
    return tuple((name, value) for name, value in found if _looks_like_a_hash(value, place))


class Identities:
    """Gives the findings of a report their identifiers, once all of them are known.

    :param subjects: all findings of the report.
    """

    def __init__(self, subjects: Iterable[Subject]) -> None:
        self._uses: dict[tuple[str, str, str], _Uses] = defaultdict(_Uses)
        subjects = list(subjects)
        for subject in subjects:
            for name, value in subject.fingerprints:
                # Messages may differ although the line is the same.
                content = _essence(subject.place.code) or ("" if name == _LINE_HASH else _lasting(subject))
                self._uses[subject.tool, name, value].add(subject, content)
        files: dict[tuple[str, ...], set[str]] = defaultdict(set)
        for subject in subjects:
            if (file := subject.place.file) is not None and file.loose:
                files[self._group(subject)].add(file.text)
        self._folders = {group: common_folder(paths) for group, paths in files.items()}

    def identifier(self, subject: Subject) -> str:
        """Return ``<tool>:<rule>:<24 hex digits>``."""
        parts = [subject.tool, subject.rule, subject.repository, self._path(subject), *self._discriminator(subject)]
        digest = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:_DIGEST]
        tool = _plain(subject.tool)[:_MAX_TOOL] or "tool"
        room = _MAX_IDENTIFIER - len(tool) - _DIGEST - len("::")
        return f"{tool}:{_plain(subject.rule)[-room:] or 'rule'}:{digest}"

    def _path(self, subject: Subject) -> str:
        """Return the path as it is in every checkout.

        If the report does not name the root of the sources, it is the file's name, with as many parent folders as are
        needed to distinguish files with the same finding.
        """
        file = subject.place.file
        if file is None or not file.loose:
            return "" if file is None else file.text
        return within(file.text, self._folders[self._group(subject)]) or file.text

    def _group(self, subject: Subject) -> tuple[str, ...]:
        assert subject.place.file is not None
        name = subject.place.file.text.rpartition("/")[2]
        return (subject.tool, subject.rule, subject.repository, name, *self._discriminator(subject))

    def _discriminator(self, subject: Subject) -> tuple[str, ...]:
        """Return what distinguishes a finding from others of its rule in its file."""
        for name, value in subject.fingerprints:
            if self._uses[subject.tool, name, value].tell_findings_apart():
                return (name, value)
        place = subject.place
        return (place.logical or "", _essence(place.code) or _lasting(subject))


@dataclass(slots=True)
class _Uses:
    """Where one value of a fingerprint is used: for each rule, the findings and their places."""

    by_rule: dict[str, dict[tuple[str, int | None], set[str]]] = field(default_factory=dict)

    def add(self, subject: Subject, content: str) -> None:
        place = subject.place
        where = ("" if place.file is None else place.file.text, place.first)
        self.by_rule.setdefault(subject.rule, {}).setdefault(where, set()).add(content)

    def tell_findings_apart(self) -> bool:
        """Return whether this is a hash of the finding, rather than a text that is in every result.

        A hash may be shared: by rules with findings in the same lines, by copies of the same code.
        """
        if not set.intersection(*(set(contents) for contents in self.by_rule.values())):
            return False
        return all(
            len(contents) == 1 or len(set.union(*contents.values())) == 1  # one line, or the same code
            for contents in self.by_rule.values()
        )


def _looks_like_a_hash(value: str, place: Place) -> bool:
    """Return whether this is a fingerprint: not a word ("requires login"), an ordinal, or a text with a line number."""
    if len(value) < 8 or re.search(r"\s", value) or not re.search(r"\d", value):
        return False
    return place.first is None or not re.search(rf"(?<![0-9A-Za-z]){place.first}(?![0-9A-Za-z])", value)


def _version(name: str) -> int:
    found = _VERSION.search(name)
    return int(found[1]) if found else -1


def _essence(code: str | None) -> str:
    """Return the beginning of a piece of code, without leading comments and white space.

    Some scanners give the whole resource, or the whole file: an edit further down does not change the finding.
    """
    lines = ["".join(line.split()) for line in (code or "").splitlines()]
    telling = list(dropwhile(lambda line: not line or line.startswith(_COMMENT), lines)) or lines
    return "".join(telling)[: max(_TELLING, len(telling[0]))] if telling else ""


def _lasting(subject: Subject) -> str:
    """Return a message without the parts that change while the finding does not: folders, line numbers, a severity."""
    message, file = _PASSING.sub("", subject.message), subject.place.file
    if file is not None and file.loose:
        message = replaced(message, file.text, file.text.rpartition("/")[2])
    return _NUMBERED.sub(lambda found: found[1] or "", " ".join(message.split()))


def _plain(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-")
