"""Runs the benchmarks, prints their figures, and writes them into ``docs/benchmarks.md``."""

from __future__ import annotations

import argparse
import os
import platform
import signal
import sys
import time
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

from benchmarks.frame import Report, table_of
from benchmarks.lab import Lab

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "benchmarks.md"
PLOT = ROOT / "docs" / "images" / "benchmarks.png"
BEGIN, END = "<!-- written by make bench: begin -->\n", "<!-- written by make bench: end -->\n"

NAMES = ("cpu", "dag_files", "growth", "adaptive", "memory", "tab", "throughput", "retry", "peers", "daily")
"""The modules here, in the order in which they run."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*NAMES, []], help="the benchmarks, default all of them")
    names = parser.parse_args().names or list(NAMES)
    # So that `kill` ends what was started, as Ctrl-C does.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    began = time.monotonic()
    reports: dict[str, Report] = {}
    with Lab() as lab:
        for name in names:
            started = time.monotonic()
            module = import_module(f"benchmarks.{name}")
            print(f"--- {title_of(name)}", flush=True)
            reports[name] = module.measure(lab)
            print(f"{table_of(reports[name])}\n({time.monotonic() - started:.0f} s)\n", flush=True)
    if set(names) == set(NAMES):
        write(reports, time.monotonic() - began)
    return 0 if all(figure.holds is not False for report in reports.values() for figure in report.figures) else 1


def write(reports: dict[str, Report], seconds: float) -> None:
    """Write the figures into their page, between two marks, and draw the curves."""
    from benchmarks.plot import draw

    PLOT.parent.mkdir(exist_ok=True)
    draw(reports, PLOT)
    sections = [f"Measured {time.strftime('%Y-%m-%d')} in {seconds / 60:.0f} minutes on {machine()}.\n"]
    sections += ["![The curves of throughput, growth and peers](images/benchmarks.png)\n"]
    for name, report in reports.items():
        sections.append(f"### {title_of(name)}\n\n{table_of(report)}\n")
    text = PAGE.read_text()
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    PAGE.write_text(before + BEGIN + "\n" + "\n".join(sections) + "\n" + END + after)
    print(f"Written: {PAGE.relative_to(ROOT)} and {PLOT.relative_to(ROOT)}")


def title_of(name: str) -> str:
    """Return the first line of a benchmark's docstring, without its full stop."""
    return (import_module(f"benchmarks.{name}").__doc__ or name).splitlines()[0].rstrip(".").replace("``", "`")


def machine() -> str:
    """Say what this is measured on."""
    model = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        platform.machine(),
    )
    packages = ("apache-airflow", "apache-airflow-task-sdk", "httpx", "pydantic")
    peers = ("apache-airflow-providers-atlassian-jira", "apache-airflow-providers-http")
    versions = ", ".join(f"{name} {version(name)}" for name in (*packages, *peers))
    return f"{os.cpu_count()} cores ({model}), Python {platform.python_version()}, {versions}"


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
