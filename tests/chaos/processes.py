"""Processes that are started, found and killed."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterable
from pathlib import Path

import psutil


def descendants(pids: Iterable[int]) -> list[psutil.Process]:
    """Return these processes and all that they have started."""
    found: list[psutil.Process] = []
    for pid in pids:
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(pid)
            found += [process, *process.children(recursive=True)]
    return found


def processes_in(folder: Path) -> list[psutil.Process]:
    """A task whose supervisor was killed is nobody's descendant any more, but it still works in our folder."""
    return [process for process in psutil.process_iter(["cwd"]) if process.info["cwd"] == str(folder)]


def kill(processes: Iterable[psutil.Process]) -> None:
    """Kill them all; one that has ended meanwhile is no trouble."""
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def free_port() -> int:
    """Return a port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
