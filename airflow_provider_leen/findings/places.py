"""Where a result of a SARIF run is: file, lines, code, and the link to them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from airflow_provider_leen.findings.paths import FilePath, is_absolute, is_url, join, normal, replaced, within
from airflow_provider_leen.findings.reading import array, count, entry_at, mapping, objects, text
from airflow_provider_leen.findings.repository import Repository, read_repository

_NUMBERED_LINE = re.compile(r"[ >]*(\d{1,9})[ \t]*(?:[:|]|[ \t]|$)[ ]?(.*)")
"""``12: code``, ``> 12 | code``"""


@dataclass(frozen=True, slots=True)
class Place:
    """One location.

    :param file: the file, or the URL; None if the location names none.
    :param first: its first line, from 1.
    :param last: its last line.
    :param code: the code there.
    :param logical: the function, resource or package there.
    :param message: the report's message about this location.
    :param link: an address that shows it.
    :param repository: the scanned repository, if the report names it.
    :param in_repository: whether the file's path starts at that repository's root.
    """

    file: FilePath | None = None
    first: int | None = None
    last: int | None = None
    code: str | None = None
    logical: str | None = None
    message: str | None = None
    link: str | None = None
    repository: Repository | None = None
    in_repository: bool = False


class Places:
    """Reads the locations of one run.

    :param run: the run.
    :param root: the folder of the sources, if the caller knows it.
    """

    def __init__(self, run: Mapping[str, Any], root: str | None) -> None:
        self._artifacts = array(run.get("artifacts"))
        self._logical = array(run.get("logicalLocations"))
        self._bases = mapping(run.get("originalUriBaseIds"))
        self._root = (normal(root) or None) if root else None
        self._repositories = [
            (self._whole(mapping(provenance.get("mappedTo"))), repository)
            for provenance in objects(run.get("versionControlProvenance"))
            if (repository := read_repository(provenance)) is not None
        ]
        self._folders = sorted(self._known_folders(run), key=len, reverse=True)

    def place(self, location: Any) -> Place:
        """Read a ``location`` object."""
        location = mapping(location)
        physical = mapping(location.get("physicalLocation"))
        artifact = mapping(physical.get("artifactLocation"))
        region = mapping(physical.get("region"))
        first, last = count(region.get("startLine")), count(region.get("endLine"))
        code = _code(region, mapping(physical.get("contextRegion"))) or self._embedded(artifact, first, last)
        place = self.file_place(artifact)
        return replace(
            place,
            first=first,
            last=last,
            code=code,
            logical=self._logical_name(location),
            link=_link(place, first, last),
        )

    def file_place(self, artifact: Mapping[str, Any]) -> Place:
        """Return the file of an ``artifactLocation`` object: its path from the root of the sources, if known."""
        folder, path = self._resolve(artifact)
        repository = self._repositories[0][1] if self._repositories else None
        if path is None:
            return Place(repository=repository)
        if is_url(path):
            return Place(FilePath(path), repository=repository)
        whole = path if folder is None else join(folder, path)
        for known, mapped in ((self._root, repository), *self._repositories):
            if known is not None and (relative := within(whole, known)):
                return Place(FilePath(relative), repository=mapped, in_repository=True)
        in_repository = not is_absolute(whole) or (bool(self._repositories) and self._repositories[0][0] is None)
        if not is_absolute(path) and not path.startswith("../"):
            return Place(FilePath(path), repository=repository, in_repository=in_repository)
        for known in self._folders:
            if relative := within(whole, known):
                return Place(FilePath(relative), repository=repository, in_repository=in_repository)
        return Place(FilePath(whole, loose=True), repository=repository)

    def without_folders(self, words: str) -> str:
        """Return a text without the folders of the sources."""
        for known in (self._root, *(mapped for mapped, _ in self._repositories), *self._folders):
            words = replaced(words, f"{known}/", "") if known and known != "/" else words
        return words

    def _resolve(self, artifact: Mapping[str, Any]) -> tuple[str | None, str | None]:
        """Return the absolute base folder of an artifact's path, if the report has it, and the path."""
        if text(artifact.get("uri")) is None:
            artifact = mapping(entry_at(self._artifacts, artifact.get("index")).get("location"))
        uri = text(artifact.get("uri"))
        if uri is None:
            return None, None
        path, base, seen = normal(uri), artifact.get("uriBaseId"), set[str]()
        while isinstance(base, str) and base not in seen and not is_url(path) and not is_absolute(path):
            seen.add(base)  # bases may form a cycle
            parent = mapping(self._bases.get(base))
            folder = normal(text(parent.get("uri")) or "")
            if is_url(folder) or is_absolute(folder):
                return folder, path
            path, base = join(folder, path), parent.get("uriBaseId")
        return None, path

    def _whole(self, artifact: Mapping[str, Any]) -> str | None:
        """Return an absolute folder; None if the report does not say where it is."""
        if text(artifact.get("uri")) is None and isinstance(artifact.get("uriBaseId"), str):
            artifact = {"uri": ".", "uriBaseId": artifact["uriBaseId"]}
        folder, path = self._resolve(artifact)
        if path is None:
            return None
        whole = path if folder is None else join(folder, path)
        return whole if is_absolute(whole) else None

    def _known_folders(self, run: Mapping[str, Any]) -> Iterator[str]:
        """Yield the run's working folders."""
        named: list[Mapping[str, Any]] = [{"uri": ".", "uriBaseId": base} for base in self._bases]
        named += [mapping(invocation.get("workingDirectory")) for invocation in objects(run.get("invocations"))]
        yield from (whole for artifact in named if (whole := self._whole(artifact)) is not None and whole != "/")

    def _logical_name(self, location: Mapping[str, Any]) -> str | None:
        for logical in objects(location.get("logicalLocations")):
            for described in (logical, entry_at(self._logical, logical.get("index"))):
                if name := text(described.get("fullyQualifiedName")) or text(described.get("name")):
                    return name
        return None

    def _embedded(self, artifact: Mapping[str, Any], first: int | None, last: int | None) -> str | None:
        """Return lines of a file whose text is in the report."""
        contents = mapping(entry_at(self._artifacts, artifact.get("index")).get("contents"))
        whole = text(contents.get("text"))
        return None if whole is None or not first else _lines(whole, first, last or first)


def _code(region: Mapping[str, Any], context: Mapping[str, Any]) -> str | None:
    """Return the code of a region, cut out of its context if needed: the context changes with every line around it."""
    first, begin = count(region.get("startLine")), count(context.get("startLine"))
    if code := text(mapping(region.get("snippet")).get("text")):
        return _without_line_numbers(code, first, count(region.get("endLine")) or first) or code
    around = text(mapping(context.get("snippet")).get("text"))
    if around is None or not first or not begin or first < begin:
        return None
    return _lines(around, first - begin + 1, (count(region.get("endLine")) or first) - begin + 1)


def _without_line_numbers(code: str, first: int | None, last: int | None) -> str | None:
    """Return code without its line numbers; None if its lines don't begin with numbers."""
    lines = [_NUMBERED_LINE.fullmatch(line) for line in code.rstrip().splitlines()]
    numbers = [int(line[1]) for line in lines if line is not None]
    if first not in numbers or numbers != list(range(numbers[0], numbers[0] + len(lines))):
        return None
    return text("\n".join(line[2] for line in lines if line is not None and first <= int(line[1]) <= (last or first)))


def _link(place: Place, first: int | None, last: int | None) -> str | None:
    if place.file is None:
        return None
    if is_url(place.file.text):
        return place.file.text
    return place.repository.link(place.file.text, first, last) if place.repository and place.in_repository else None


def _lines(whole: str, first: int, last: int) -> str | None:
    return text("\n".join(re.split(r"\r\n|\r|\n", whole)[first - 1 : last]))
