"""What both chaos programs share: their arguments, the folder of kept logs, and how they end."""

from __future__ import annotations

import argparse
import random
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from qa.support.environment import python_with_airflow


class Arguments(argparse.ArgumentParser):
    """The arguments of a program that performs so many random things.

    :param things: what it performs.
    :param runs: how many by default.
    """

    def __init__(self, prog: str, description: str | None, things: str, runs: int) -> None:
        super().__init__(prog=f"python -m {prog}", description=description)
        self.add_argument("--runs", type=int, default=runs, help=f"{things}, default {runs}")
        self.add_argument("--seed", type=int, help="of all of them; random by default, and printed")
        self.add_argument("--only", type=int, action="append", help="only the one of this number; may be repeated")
        self.add_argument("--slots", type=int, default=4, help=f"{things} at the same time, default 4")
        self.add_argument("--short", action="store_true", help="as the test does that is in `make test-all`")
        self.add_argument(
            "--airflow", metavar="VERSION", help="another Airflow, 2.11.2 say; default: the installed one"
        )

    def read(self) -> argparse.Namespace:
        """Read the command line; ``python``, ``seed`` and ``numbers`` are there, too, whatever was given."""
        given = self.parse_args()
        given.python = python_with_airflow(given.airflow)
        given.seed = random.randrange(10**6) if given.seed is None else given.seed
        given.numbers = given.only or range(given.runs)
        return given


def keep(prefix: str, logs: Sequence[tuple[str, Path]], texts: Sequence[tuple[str, str]] = ()) -> Path:
    """Copy logs, each under a name, into a new folder."""
    folder = Path(tempfile.mkdtemp(prefix=f"leen-{prefix}-"))
    for name, log in logs:
        (folder / name).write_bytes(log.read_bytes())
    for name, text in texts:
        (folder / name).write_text(text)
    return folder


def run(main: Callable[[], int]) -> NoReturn:
    """Run a program. SIGTERM ends it as Ctrl-C does: what was started ends, too."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
