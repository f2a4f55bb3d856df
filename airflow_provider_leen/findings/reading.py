"""Reads arbitrary JSON: values of an unexpected type count as absent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_leen.api.text import clean

_NOTHING: Mapping[str, Any] = {}


def mapping(value: Any) -> Mapping[str, Any]:
    """Return an object; an empty one for other values."""
    return value if isinstance(value, dict) else _NOTHING


def array(value: Any) -> list[Any]:
    """Return an array; an empty one for other values."""
    return value if isinstance(value, list) else []


def objects(value: Any) -> list[Mapping[str, Any]]:
    """Return the objects of an array."""
    return [entry for entry in array(value) if isinstance(entry, dict)]


def text(value: Any) -> str | None:
    """Return a text, cleaned; None for a blank text and for other values."""
    if not isinstance(value, str):
        return None
    cleaned = clean(value)
    return cleaned if cleaned.strip() else None


def texts(value: Any) -> list[str]:
    """Return the texts of an array; a single text counts as an array."""
    entries = [value] if isinstance(value, str) else array(value)
    return [entry for entry in map(text, entries) if entry is not None]


def count(value: Any) -> int | None:
    """Return a whole number from 0, an index or a line; None for other values (SARIF's -1 means "unknown")."""
    return value if type(value) is int and 0 <= value < 2**53 else None


def entry_at(entries: Any, index: Any) -> Mapping[str, Any]:
    """Return the object at an index; an empty one if there is none."""
    position, present = count(index), array(entries)
    return mapping(present[position]) if position is not None and position < len(present) else _NOTHING
