"""Processes that are started, found and killed."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import psutil


def started_in(home: Path, command: Sequence[str], env: Mapping[str, str], log: str) -> subprocess.Popen[bytes]:
    """Start a process in a folder, in its own session; its output is added to a log file there."""
    with (home / log).open("ab") as said:
        return subprocess.Popen(
            command,
            env=env,
            cwd=home,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def end(processes: Sequence[subprocess.Popen[bytes]], home: Path) -> None:
    """End what was started in a folder and all that came of it, and remove the folder."""
    doomed = descendants(process.pid for process in processes) + processes_in(home)
    kill(doomed)
    for process in processes:
        process.wait()
    psutil.wait_procs(doomed, timeout=10)
    shutil.rmtree(home, ignore_errors=True)


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


def resume(processes: Iterable[psutil.Process]) -> None:
    """Let stopped processes continue."""
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.resume()


def free_port() -> int:
    """Return a port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
