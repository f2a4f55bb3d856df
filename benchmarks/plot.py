"""Draws the curves of a run of all benchmarks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.frame import Report


def draw(reports: Mapping[str, Report], path: Path) -> None:
    """Write throughput, growth and peers into one picture."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, middle, right) = pyplot.subplots(1, 3, figsize=(15, 4.5), layout="constrained")
    _throughput(left, reports["throughput"])
    _growth(middle, reports["growth"])
    _peers(right, reports["peers"])
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def _throughput(axes: Any, report: Report) -> None:
    for name, curve in report.curves.items():
        xs, ys = zip(*curve, strict=True)
        axes.plot(xs, ys, label=name, **({"color": "gray", "linestyle": "--"} if name == "limit" else {"marker": "o"}))
    axes.set(title="5,000 tickets, 200 ms a call", xlabel="batches in flight", ylabel="tickets/s", ylim=(0, None))
    axes.set_xticks([x for x, _ in report.curves["limit"]])
    axes.legend()


def _growth(axes: Any, report: Report) -> None:
    units = {"CPU": "s", "memory, list held": "MB"}
    for name, curve in report.curves.items():
        xs, ys = zip(*curve, strict=True)
        axes.loglog(xs, ys, marker="o", label=f"{name} ({units[name]})")
        # What is linear is parallel to this.
        axes.loglog(xs, [ys[-1] * x / xs[-1] for x in xs], color="gray", linestyle=":")
    axes.set(title="growth (dotted: linear)", xlabel="tickets")
    axes.legend()


def _peers(axes: Any, report: Report) -> None:
    names = list(report.curves)
    rates = [curve[0][1] for curve in report.curves.values()]
    bars = axes.barh(names, rates)
    axes.bar_label(bars, fmt="%.0f", padding=3)
    axes.invert_yaxis()
    axes.margins(x=0.12)  # room for the longest bar's label
    axes.set(title="250 tickets, 200 ms a call", xlabel="tickets/s")
