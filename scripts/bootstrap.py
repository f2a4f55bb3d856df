"""Make the environment in ``.venv`` that every chore runs in, or leave it alone when it is up to date.

Run with the system's Python, hence nothing but the standard library, and nothing that an older Python can't read: it
must come as far as saying what is wrong. Chores started side by side wait for each other:
the checkout itself is the lock, so that nothing is left behind when one of them is killed.
"""

import fcntl
import hashlib
import importlib.util
import os
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
STAMP = VENV / ".ready"
PYTHON = VENV / "bin" / "python"
OLDEST = (3, 11)


def main() -> None:
    refuse_unfit_python()
    lock_checkout()
    where = place()
    ready = where + requirements()
    found = STAMP.read_text() if STAMP.exists() else ""
    if found == ready:
        return
    if not found.startswith(where):
        # Half built, moved, or made by another Python: its scripts and its path to the package can't be trusted.
        say(f"creating the environment .venv with {python_version()}")
        venv.EnvBuilder(clear=True, symlinks=True, with_pip=True).create(str(VENV))
    install()
    STAMP.write_text(ready)


def refuse_unfit_python() -> None:
    if sys.version_info < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        stop(
            f"Python {oldest} or newer is needed, and {sys.executable} is {python_version()}. "
            "Name another one: make PYTHON=python3.12 ..."
        )
    if importlib.util.find_spec("ensurepip") is None:
        stop(f"{sys.executable} can't create environments. On Debian: apt-get install python3-venv")


def lock_checkout() -> None:
    # Let go of by the system when this process ends, however it ends.
    checkout = os.open(str(ROOT), os.O_RDONLY)
    try:
        fcntl.flock(checkout, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        say("waiting for another run that is setting up .venv")
        fcntl.flock(checkout, fcntl.LOCK_EX)


def place() -> str:
    """Tell what an environment can't survive a change of: the Python that made it and where it lies."""
    return f"{python_version()} {sys.base_prefix} in {VENV}\n"


def python_version() -> str:
    return f"Python {sys.version_info[0]}.{sys.version_info[1]}"


def requirements() -> str:
    import tomllib  # not before the Python was found fit

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return hashlib.sha256(repr(project).encode() + (ROOT / "constraints.txt").read_bytes()).hexdigest()


def install() -> None:
    say("installing the package, Airflow and the tools (a minute or less, once)")
    pinned = ["-c", str(ROOT / "constraints.txt")]
    package = ["--editable", f"{ROOT}[dev]"]
    # Its warnings (a cache that is not ours, a root user) are about pip; errors are shown.
    pip = ["pip", "install", "--quiet", "--quiet", "--disable-pip-version-check", "--root-user-action=ignore", *pinned]
    run(*pip, "uv")
    # The system's certificates, as pip takes them: a company's proxy may have one of its own.
    uv = ["uv", "pip", "install", "--quiet", "--python", str(PYTHON), "--compile-bytecode", "--system-certs"]
    if subprocess.run([str(PYTHON), "-m", *uv, *pinned, *package], capture_output=True).returncode != 0:
        # uv does not read pip's own configuration (a mirror), so pip may still succeed; if not, pip says why.
        say("uv could not install them; trying pip, which is slower")
        run(*pip, *package)


def run(*module_and_arguments: str) -> None:
    if subprocess.call([str(PYTHON), "-m", *module_and_arguments]) != 0:
        stop("installing failed, see above. When the network is back, run the same command again.")


def say(text: str) -> None:
    print(f"--- {text}", flush=True)


def stop(reason: str) -> None:
    sys.exit(f"*** {reason}")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
    except (OSError, subprocess.SubprocessError) as error:
        stop(f"the environment could not be made: {error}")
