"""PostgreSQL and Redis from Debian's packages, on loopback, in their own folders, which end with the harness."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from qa.support.processes import free_port

SECONDS_TO_START = 60.0


class Missing(Exception):
    """A program is not installed; says which, and how to get it."""


@contextmanager
def redis() -> Iterator[str]:
    """Run a Redis that keeps nothing; gives its URL."""
    port = free_port()
    command = [_program("redis-server"), "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    with _folder() as folder, _running(command, folder), _ready(_program("redis-cli"), "-p", str(port), "ping"):
        yield f"redis://127.0.0.1:{port}/0"


@contextmanager
def postgres() -> Iterator[Database]:
    """Run a PostgreSQL with an empty database."""
    # The server refuses to run as root.
    user = "postgres" if os.geteuid() == 0 else None
    port = free_port()
    with _folder(user) as folder:
        data = folder / "data"
        create = [postgres_program("initdb"), "--auth=trust", "--username=postgres", "--encoding=UTF8", str(data)]
        subprocess.run(create, cwd=folder, check=True, capture_output=True, user=user, group=user, extra_groups=[])
        settings = {
            "port": port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "fsync": "off",
            "max_connections": 200,
        }
        command = [postgres_program("postgres"), "-D", str(data)]
        command += [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        database = Database(port)
        with (
            _running(command, folder, user=user, stop_signal=signal.SIGINT),
            _ready(postgres_program("pg_isready"), "-h", "127.0.0.1", "-p", str(port)),
        ):
            yield database


class Database:
    """A running PostgreSQL."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.address = f"postgres@127.0.0.1:{port}/postgres"

    def ask(self, query: str) -> list[list[str]]:
        """Return the rows of a query as text."""
        command = [postgres_program("psql"), f"postgresql://{self.address}", "--no-align", "--tuples-only"]
        answer = subprocess.run([*command, "--command", query], check=True, capture_output=True, text=True).stdout
        return [line.split("|") for line in answer.splitlines()]


def install_missing() -> None:
    """Install what is not there, as root on Debian and its kin.

    :raises Missing: that is not possible here.
    """
    try:
        _program("redis-server")
        postgres_program("initdb")
    except Missing:
        if os.geteuid() != 0 or shutil.which("apt-get") is None:
            raise
        print("--- installing postgresql and redis-server", flush=True)
        quietly = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        apt = ["apt-get", "-qq", "-o", "Dpkg::Use-Pty=0"]
        for arguments in (["update"], ["install", "--yes", "--no-install-recommends", "postgresql", "redis-server"]):
            subprocess.run([*apt, *arguments], check=True, env=quietly, stdout=subprocess.DEVNULL)


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise Missing(f"{name} is not installed. On Debian, as root: apt-get install postgresql redis-server")
    return found


def postgres_program(name: str) -> str:
    """Return where a program of PostgreSQL is: Debian keeps each release in a folder of its own, off the path.

    :raises Missing: it is not installed.
    """
    folders = Path("/usr/lib/postgresql").glob("*/bin")
    releases = sorted((folder for folder in folders if (folder / name).exists()), key=lambda f: float(f.parent.name))
    return str(releases[-1] / name) if releases else _program(name)


@contextmanager
def _folder(owner: str | None = None) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="leen-service-"))
    try:
        if owner is not None:
            shutil.chown(folder, owner, owner)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _running(
    command: list[str], folder: Path, *, user: str | None = None, stop_signal: int = signal.SIGTERM
) -> Iterator[None]:
    with (folder / "log").open("wb") as log:
        # A session of its own: Ctrl-C is for the harness, which ends this one last.
        process = subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            user=user,
            group=user,
            extra_groups=[] if user else None,
            start_new_session=True,
        )
    try:
        yield
    finally:
        process.send_signal(stop_signal)
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def _ready(*probe: str) -> Iterator[None]:
    """Wait until a command succeeds."""
    until = time.monotonic() + SECONDS_TO_START
    while subprocess.run(probe, capture_output=True).returncode != 0:
        if time.monotonic() > until:
            raise RuntimeError(f"{Path(probe[0]).name} got no answer for {SECONDS_TO_START:.0f} s.")
        time.sleep(0.1)
    yield
