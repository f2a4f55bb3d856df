"""Reads the tool and rules of a SARIF run: the rule of a result, its texts, its severity."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from airflow_provider_leen.api.text import clean_json
from airflow_provider_leen.findings.reading import array, count, entry_at, mapping, objects, text, texts

PRIORITIES = ("CRITICAL", "HIGH", "MEDIUM", "LOW", "INFORMATIONAL")
"""Leen's names, the most severe first."""

_OF_LEVEL = {"error": "HIGH", "warning": "MEDIUM", "note": "LOW", "none": "INFORMATIONAL"}
_OF_SCORE = ((9.0, "CRITICAL"), (7.0, "HIGH"), (4.0, "MEDIUM"), (0.0, "LOW"))
"""The bands of CVSS; a score of 0 is "none" there."""

_OF_WORD = {name: name for name in PRIORITIES} | {
    "IMPORTANT": "HIGH",
    "MODERATE": "MEDIUM",
    "NEGLIGIBLE": "INFORMATIONAL",
    "INFO": "INFORMATIONAL",
    "NONE": "INFORMATIONAL",
    "FATAL": "CRITICAL",
}
_CWE = re.compile(r"\bcwe[-_:/ ]{0,3}0*([1-9]\d{0,4})\b", re.IGNORECASE)
_PLACEHOLDER = re.compile(r"\{\{|\}\}|\{(\d{1,3})\}")


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule, and the tool component that it belongs to; both empty if the report does not have them."""

    id: str | None
    described: Mapping[str, Any]
    component: Mapping[str, Any]

    def text(self, field: str, form: str = "text") -> str | None:
        """Return one of the rule's texts, in the form ``text`` or ``markdown``."""
        return text(mapping(self.described.get(field)).get(form))


class Tool:
    """The tool of a run.

    :param run: the run.
    """

    def __init__(self, run: Mapping[str, Any]) -> None:
        tool = mapping(run.get("tool"))
        self._driver = mapping(tool.get("driver"))
        self._extensions = array(tool.get("extensions"))
        self._components = [self._driver, *objects(self._extensions)]
        self._invocations = array(run.get("invocations"))
        self.name = text(self._driver.get("name")) or text(self._driver.get("fullName")) or "SARIF"
        self._by_id: dict[str, tuple[Mapping[str, Any], Mapping[str, Any]]] = {}
        for component in self._components:
            for rule in objects(component.get("rules")):
                if (rule_id := text(rule.get("id"))) is not None:
                    self._by_id.setdefault(rule_id, (rule, component))

    def rule_of(self, result: Mapping[str, Any]) -> Rule:
        """Return the rule of a result: by its index, in the component that it names, else by its id."""
        reference = mapping(result.get("rule"))
        named = text(result.get("ruleId")) or text(reference.get("id"))
        component = self._component(mapping(reference.get("toolComponent")))
        indices = (reference.get("index"), result.get("ruleIndex"))
        index = next((index for index in indices if count(index) is not None), None)
        rule = entry_at(component.get("rules"), index)
        own = text(rule.get("id"))
        if rule and (named is None or own is None or _is_part(named, own)):
            return Rule(named or own, rule, component)
        if guid := text(reference.get("guid")):
            for component in self._components:
                for rule in objects(component.get("rules")):
                    if rule.get("guid") == guid:
                        return Rule(named or text(rule.get("id")), rule, component)
        for rule_id in _with_parents(named):
            if rule_id in self._by_id:
                return Rule(named, *self._by_id[rule_id])
        return Rule(named, {}, component)

    def level_of(self, result: Mapping[str, Any], rule: Rule) -> str:
        """Return a result's level: its own, that of its kind, of the run's configuration, of the rule."""
        if (level := text(result.get("level"))) in _OF_LEVEL:
            return str(level)
        if result.get("kind", "fail") != "fail":
            return "none"
        for configuration in (self._override(result, rule), rule.described.get("defaultConfiguration")):
            if (level := text(mapping(configuration).get("level"))) in _OF_LEVEL:
                return str(level)
        return "warning"

    def priority_of(self, result: Mapping[str, Any], rule: Rule) -> str:
        """Return a result's priority, by Leen's names: from ``security-severity``, else from its level."""
        for severity in severities_of(result, rule):
            if (priority := priority_of_severity(severity)) is not None:
                return priority
        return _OF_LEVEL[self.level_of(result, rule)]

    def _component(self, reference: Mapping[str, Any]) -> Mapping[str, Any]:
        if (index := count(reference.get("index"))) is not None:
            return entry_at(self._extensions, index)
        for field in ("guid", "name"):
            if wanted := text(reference.get(field)):
                return next((part for part in self._components if part.get(field) == wanted), {})
        return self._driver

    def _override(self, result: Mapping[str, Any], rule: Rule) -> Any:
        """Return the rule's configuration in the invocation that found a result."""
        invocation = entry_at(self._invocations, mapping(result.get("provenance")).get("invocationIndex", 0))
        for override in objects(invocation.get("ruleConfigurationOverrides")):
            reference = mapping(override.get("descriptor"))
            found = self.rule_of({"rule": reference})
            if rule.described and found.described is rule.described:
                return override.get("configuration")
        return None


def severities_of(result: Mapping[str, Any], rule: Rule) -> list[Any]:
    """Return ``security-severity`` of a result, then of its rule, if they have one."""
    given = [mapping(bearer.get("properties")).get("security-severity") for bearer in (result, rule.described)]
    return [severity for severity in given if severity is not None]


def message_text(message: Any, rule: Rule) -> str | None:
    """Return the text of a ``message`` object, in Markdown if it has that, with placeholders filled in."""
    message = mapping(message)
    arguments = [
        entry if isinstance(entry, str) else str(clean_json(entry)) for entry in array(message.get("arguments"))
    ]
    key = message.get("id")
    strings = [mapping(rule.described.get("messageStrings")), mapping(rule.component.get("globalMessageStrings"))]
    sources = [message, *(mapping(texts_.get(key)) for texts_ in strings if isinstance(key, str))]
    for form in ("markdown", "text"):
        for source in sources:
            if found := text(source.get(form)):
                return _filled(found, arguments)
    return None


def weaknesses_of(result: Mapping[str, Any], rule: Rule) -> list[int]:
    """Return the numbers of the CWE entries that a result or its rule names, in order."""
    found = set()
    for bearer in (result, rule.described):
        properties = mapping(bearer.get("properties"))
        named = [entry for field, value in properties.items() if "cwe" in str(field).lower() for entry in texts(value)]
        found |= {int(entry) for entry in named if entry.isascii() and entry.isdigit() and len(entry) <= 5}
        for entry in (*named, *texts(properties.get("tags"))):
            found |= {int(number) for number in _CWE.findall(entry)}
    relations = [mapping(relation.get("target")) for relation in objects(rule.described.get("relationships"))]
    for taxon in (*objects(result.get("taxa")), *relations):
        if "CWE" in (text(mapping(taxon.get("toolComponent")).get("name")) or "").upper():
            found |= {int(number) for number in re.findall(r"\d{1,5}", text(taxon.get("id")) or "")[:1]}
    return sorted(found - {0})


def tags_of(result: Mapping[str, Any], rule: Rule) -> list[str]:
    """Return the tags of a result and its rule, without those that name a CWE entry."""
    tags = [tag for bearer in (rule.described, result) for tag in texts(mapping(bearer.get("properties")).get("tags"))]
    return [tag for tag in dict.fromkeys(tags) if not _CWE.search(tag)]


def priority_of_severity(severity: Any) -> str | None:
    """Return the priority, by Leen's names, of a CVSS score or of a word; None for other values."""
    if isinstance(severity, str) and (priority := _OF_WORD.get(severity.strip().upper())) is not None:
        return priority
    if isinstance(severity, bool) or not isinstance(severity, str | int | float):
        return None
    try:
        score = float(severity)
    except (ValueError, OverflowError):
        return None
    if not 0 <= score <= 10:
        return None
    return next((priority for least, priority in _OF_SCORE if score >= least and score > 0), "INFORMATIONAL")


def _filled(message: str, arguments: list[str]) -> str:
    if not arguments:
        return message  # many tools write literal braces without arguments

    def fill(found: re.Match[str]) -> str:
        if found[1] is None:
            return found[0][0]
        return arguments[int(found[1])] if int(found[1]) < len(arguments) else found[0]

    return text(_PLACEHOLDER.sub(fill, message)) or message


def _is_part(rule_id: str, whole: str) -> bool:
    """Return whether an id is a rule's or, with another part after a slash, that of one of its cases."""
    return rule_id == whole or rule_id.startswith(f"{whole}/")


def _with_parents(rule_id: str | None) -> Iterator[str]:
    """Yield an id, then the id without its last parts."""
    while rule_id:
        yield rule_id
        rule_id = rule_id.rpartition("/")[0]
