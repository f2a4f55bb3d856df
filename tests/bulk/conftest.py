"""What a file is not."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

KINDS = ("pipe", "socket", "device")


@pytest.fixture(params=KINDS)
def irregular(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A pipe that nobody writes into, a socket, a device without end."""
    if request.param == "device":
        yield Path("/dev/zero")
        return
    path = tmp_path / "x.jsonl"
    with socket.socket(socket.AF_UNIX) as listening:
        os.mkfifo(path) if request.param == "pipe" else listening.bind(str(path))
        yield path
