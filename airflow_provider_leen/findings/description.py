"""The ticket of a SARIF finding: its name and its description."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from airflow_provider_leen.api.text import MAX_NAME, clean_json, cut, one_line
from airflow_provider_leen.findings import markdown
from airflow_provider_leen.findings.identity import Subject
from airflow_provider_leen.findings.paths import common_folder, is_url, within
from airflow_provider_leen.findings.places import Place
from airflow_provider_leen.findings.reading import mapping, objects, text, texts
from airflow_provider_leen.findings.rules import (
    PRIORITIES,
    Rule,
    priority_of_severity,
    severities_of,
    tags_of,
    weaknesses_of,
)

_MAX_RULE, _MAX_PLACE = 64, 100
_MAX_DESCRIPTION = 30_000
_MAX_TEXT = 8_000
_MAX_CODE = 3_000
_MAX_PLACES = 100
_MAX_STEPS = _MAX_MESSAGES = 20

_LINK = re.compile(r"(?<!\\)\[((?:[^\[\]\\]|\\.)*)\]\((\d{1,9})\)")
"""A link of a SARIF message to one of the result's related locations."""


_TEMPLATE = re.compile(r"\{\w*\}")


@dataclass(frozen=True, slots=True)
class Finding:
    """A parsed result of a report.

    :param subject: what identifies it.
    :param result: the result in the report.
    :param rule: its rule.
    :param message: its message.
    :param priority: by Leen's names.
    :param more_places: the places besides the first.
    :param related: other places that it refers to, by id.
    :param flow: the steps that lead to it.
    """

    subject: Subject
    result: Mapping[str, Any]
    rule: Rule
    message: str | None
    priority: str
    more_places: Sequence[Place]
    related: Mapping[int | None, Sequence[Place]]
    flow: Sequence[Place]


def ticket(identifier: str, findings: Sequence[Finding], folder: str) -> dict[str, str]:
    """Return the ticket of the findings with one identifier.

    :param identifier: theirs.
    :param findings: at least one.
    :param folder: the folder that is removed from paths whose root is unknown.
    """
    findings = sorted(findings, key=lambda finding: finding.subject.place.first or 0)
    first, words = findings[0], _Words(folder)
    places = list(dict.fromkeys(place for one in findings for place in (one.subject.place, *one.more_places)))
    lines = {(place.file, place.first) for place in places}
    return {
        "name": words.name(first, len(lines)),
        "description": cut(words.description(first, places, findings), _MAX_DESCRIPTION),
        "priority": min((finding.priority for finding in findings), key=PRIORITIES.index),
        "identifier": identifier,
    }


@dataclass(frozen=True, slots=True)
class _Words:
    """Writes the texts of findings.

    :param folder: the folder that is removed from paths whose root is unknown.
    """

    folder: str

    def name(self, finding: Finding, places: int) -> str:
        """Return "rule: what it is in where"."""
        rule = _from_the_left(one_line(finding.subject.rule, 1_000), _MAX_RULE)
        where = self._where(finding.subject.place)
        end = f" in {_from_the_left(where, _MAX_PLACE)}" if where else ""
        end += f" and {places - 1} more place{'s' if places > 2 else ''}" if places > 1 else ""
        room = MAX_NAME - len(f"{rule}: {end}".encode("utf-16-le")) // 2
        headline = _headline(finding)
        name = f"{rule}: {cut(headline, max(room, 1))}{end}" if headline else f"{rule}{end}"
        return cut(name, MAX_NAME)

    def description(self, first: Finding, places: Sequence[Place], findings: Sequence[Finding]) -> str:
        """Return the ticket's Markdown."""
        rule, code = first.rule, first.subject.place.code
        messages = list(dict.fromkeys(self._message(finding) for finding in findings))
        return markdown.paragraphs(
            *messages[:_MAX_MESSAGES],
            markdown.facts(self._facts(first)),
            markdown.fenced(_limited(code, _MAX_CODE)) if code else None,
            markdown.section("Places", self._list(places)) if len(places) > 1 else None,
            markdown.section("How it gets there", self._list(first.flow, _MAX_STEPS) if len(first.flow) > 1 else None),
            markdown.section("See also", self._list([place for kind in first.related.values() for place in kind])),
            markdown.section("Fix", _fix(first.result)),
            markdown.section("About this rule", _help(rule, first.message)),
        )

    def _facts(self, finding: Finding) -> Iterator[tuple[str, str | None]]:
        rule, place, result = finding.rule, finding.subject.place, finding.result
        yield "File" if not _is_web(place) else "Address", self._shown(place)
        yield "In", markdown.span(place.logical) if place.logical else None
        yield "Rule", markdown.link(markdown.span(finding.subject.rule), text(rule.described.get("helpUri")))
        yield "Severity", _severity(finding)
        yield (
            "Weakness",
            ", ".join(
                markdown.link(f"CWE-{number}", f"https://cwe.mitre.org/data/definitions/{number}.html")
                for number in weaknesses_of(result, rule)
            ),
        )
        yield "Tags", ", ".join(markdown.plain(one_line(tag, 100)) for tag in tags_of(result, rule)[:30])
        yield "Tool", markdown.plain(finding.subject.tool)
        repository = place.repository
        yield "Repository", markdown.link(markdown.span(repository.name), repository.url) if repository else None
        viewer = text(result.get("hostedViewerUri"))
        yield "Details", markdown.link("in the scanner", viewer) if viewer else None
        yield "Tickets", ", ".join(markdown.link(markdown.span(uri), uri) for uri in texts(result.get("workItemUris")))

    def _message(self, finding: Finding) -> str | None:
        message = finding.message
        if message is None:
            return None

        def target(found: re.Match[str]) -> str:
            shown = re.sub(r"\\([\[\]\\])", r"\1", found[1])
            places = finding.related.get(int(found[2]), ())
            return markdown.link(f"{shown} ({self._where(places[0])})", places[0].link) if places else shown

        return _limited(_LINK.sub(target, message), _MAX_TEXT)

    def _list(self, places: Sequence[Place], limit: int = _MAX_PLACES) -> str:
        lines = []
        for place in places:
            said = f": {markdown.plain(one_line(place.message, 200))}" if place.message else ""
            lines.append(f"- {self._shown(place) or markdown.span(place.logical or '?')}{said}")
        lines = list(dict.fromkeys(lines))
        more = [f"- and {len(lines) - limit} more"] if len(lines) > limit else []
        return "\n".join(lines[:limit] + more)

    def _shown(self, place: Place) -> str | None:
        if place.file is None:
            return None
        lines = "" if place.first is None or _is_web(place) else f", line {place.first}"
        if lines and place.first is not None and place.last is not None and place.last > place.first:
            lines = f", lines {place.first} to {place.last}"
        return markdown.link(markdown.span(one_line(self._path(place), 1_000)) + lines, place.link)

    def _where(self, place: Place) -> str:
        if place.file is None:
            return one_line(place.logical or "", 1_000)
        line = "" if place.first is None or _is_web(place) else f":{place.first}"
        return one_line(self._path(place), 1_000) + line

    def _path(self, place: Place) -> str:
        file = place.file
        assert file is not None
        return (within(file.text, self.folder) or file.text) if file.loose else file.text


def folder_of(places: Sequence[Place]) -> str:
    """Return the common folder of all paths whose root is unknown."""
    return common_folder(place.file.text for place in places if place.file is not None and place.file.loose)


def _headline(finding: Finding) -> str | None:
    """Return a title: the rule's, if it says more than the rule's id, else the message's."""
    rule_id, rule = finding.subject.rule, finding.rule
    short, full, name = rule.text("shortDescription"), rule.text("fullDescription"), text(rule.described.get("name"))
    # A rule's text may be a template: "`{library}` is insecure".
    words = (None if short and _TEMPLATE.search(short) else short, finding.message, full, name)
    for each in filter(None, words):
        line = one_line(_LINK.sub(r"\1", each.strip().partition("\n")[0]), MAX_NAME)
        line = re.sub(rf"^{re.escape(rule_id)}[\s:–-]*", "", line, flags=re.IGNORECASE)
        if line and (each is finding.message or rule_id.lower() not in line.lower()):
            return line.removesuffix(".")
    return None


def _severity(finding: Finding) -> str:
    scores = (one_line(str(clean_json(score)), 20) for score in severities_of(finding.result, finding.rule))
    score = next((score for score in scores if priority_of_severity(score) is not None), None)
    return finding.priority if score is None else f"{finding.priority} ({markdown.plain(score)})"


def _help(rule: Rule, message: str | None) -> str | None:
    """Return the rule's help, else its description, if it says more than the message."""
    sources = (("help", "markdown"), ("help", "text"), ("fullDescription", "markdown"), ("fullDescription", "text"))
    for field, form in (*sources, ("shortDescription", "text")):
        if (found := rule.text(field, form)) and found.strip() != (message or "").strip():
            return _limited(found.strip(), _MAX_TEXT)
    return None


def _fix(result: Mapping[str, Any]) -> str | None:
    """Return the report's advice on how to fix the finding."""
    described = [text(mapping(fix.get("description")).get("text")) for fix in objects(result.get("fixes"))]
    return _limited("\n\n".join(filter(None, described)), _MAX_TEXT) or None


def _limited(words: str, limit: int) -> str:
    """Cut a text, between lines if possible."""
    if len(words) <= limit:
        return words
    kept = words[:limit]
    return f"{kept[: kept.rfind(chr(10))] if chr(10) in kept[limit // 2 :] else kept}\n…"


def _from_the_left(words: str, limit: int) -> str:
    return words if len(words) <= limit else f"…{words[1 - limit :]}"


def _is_web(place: Place) -> bool:
    return place.file is not None and is_url(place.file.text)
