"""The format of a snapshot: gzipped JSON Lines, a header, then a line for each ticket."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterable, Mapping
from typing import Any

from airflow_provider_leen.api.errors import LeenLedgerLostError
from airflow_provider_leen.bulk.values import REGISTER_EXITS, VERSION

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def pack(header: Mapping[str, Any], records: Iterable[Mapping[str, Any]]) -> bytes:
    """Return a snapshot.

    :param header: its first line.
    :param records: its other lines.
    """
    lines = list(map(_encode, records))
    first = _encode({"v": VERSION, **header, "records": len(lines)})
    return gzip.compress("\n".join([first, *lines]).encode(), compresslevel=6, mtime=0)


def unpack(content: bytes) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the header and the lines of a snapshot.

    :raises LeenLedgerLostError: it can't be read, or another release has written it.
    """
    try:
        first, *lines = gzip.decompress(content).decode().split("\n")
        header, records = json.loads(first), list(map(json.loads, lines))
        if header["v"] == VERSION and header["records"] == len(records):
            return header, records
        problem = f"it is of version {header['v']!r}, this release reads {VERSION}" if header["v"] != VERSION else ""
    except (OSError, EOFError, ValueError, KeyError, TypeError, zlib.error) as error:
        problem = f"{type(error).__name__}: {str(error)[:200]}"
    raise LeenLedgerLostError(
        f"A snapshot of the register can't be read ({problem or 'it is incomplete'}), so nothing was sent. "
        f"{REGISTER_EXITS}"
    )
