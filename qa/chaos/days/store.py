"""What a register's store may lose, so that the next run can know it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qa.chaos.days.plan import Part


def losable(scope: Path, part: Part) -> list[Path]:
    """Return the files of this kind whose loss the next run must notice, the newest last; none where there are none."""
    heads = sorted(_numbers(scope, "head"))
    newest = heads[-1] if heads else 0
    leases = {number: _json(scope / f"lease/{number}.json") for number in _numbers(scope, "lease") if number > newest}
    head = _json(scope / f"head/{newest}.json") if newest else {}
    match part:
        case "head":
            return [scope / f"head/{newest}.json"] if newest and (leases or head["snapshot"]) else []
        case "snapshot":
            return [scope / f"snapshot/{head['snapshot']}.jsonl.gz"] if head.get("snapshot") else []
        case "lease":
            return [scope / f"lease/{number}.json" for number, lease in leases.items() if number < max(leases)]
    return [
        scope / f"j/{number}-{lease['token']}/{value}.json"
        for number, lease in sorted(leases.items())
        if lease
        for value in known_values(_numbers(scope, f"j/{number}-{lease['token']}"), lease)
    ]


def known_values(there: list[int], lease: Mapping[str, Any]) -> list[int]:
    """Return the values that something else shows to have been there: a later one, or the number in the lease."""
    last = max(there, default=0)
    return [value for value in there if value < last or value <= (lease["values"] or 0)]


def lose(scope: Path, part: Part) -> str:
    """Delete one of them, and return its name."""
    file = losable(scope, part)[-1]
    file.unlink()
    return str(file.relative_to(scope))


def _numbers(scope: Path, folder: str) -> list[int]:
    names = [file.name.partition(".")[0] for file in (scope / folder).glob("[!.]*")]
    return sorted(int(name) for name in names if name.isdecimal())


def _json(file: Path) -> dict[str, Any]:
    text = file.read_text()
    found: dict[str, Any] = json.loads(text) if text else {}
    return found
