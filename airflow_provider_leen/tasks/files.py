"""The files of operators: the tickets that they read, and results that are too large for XCom."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from airflow_provider_leen.api.errors import LeenConfigError, LeenError
from airflow_provider_leen.bulk.results_file import failed_path, read_results, write_lines
from airflow_provider_leen.bulk.whole_file import check_writable

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_leen.bulk.summary import Summary, TicketResult

log = logging.getLogger(__name__)


def object_path(argument: str, text: str) -> Any:
    """Return the path that an argument holds, as Airflow's ``ObjectStoragePath``.

    :raises LeenConfigError: it is a relative path, or its store is not available.
    """
    from airflow.providers.common.compat.sdk import ObjectStoragePath

    if "://" not in text and not text.startswith("/"):
        # Also "None", from an empty template.
        raise LeenConfigError(
            f"`{argument}` is {text!r}: write an object-storage URL or an absolute path that all workers can reach."
        )
    try:
        return ObjectStoragePath(text)
    except (ValueError, ImportError) as error:
        problem = str(error)
    raise LeenConfigError(
        f"`{argument}` {text!r} can't be used: {problem}; an object store needs its Airflow provider installed."
    )


def rows_at(tickets_path: str) -> Sequence[Any]:
    """Read the rows of ``tickets_path`` into a temporary file, to save memory.

    :raises LeenConfigError: they can't be read.
    """
    from airflow.providers.common.compat.sdk import ObjectStoragePath

    from airflow_provider_leen.bulk.ticket_file import read_file

    _check_temporary_folder()
    text = tickets_path.strip()
    called = f"`tickets_path` {text!r}"
    try:
        path = ObjectStoragePath(text)
        _ = path.fs  # not every release creates the store before the file is opened
    except (ValueError, ImportError) as error:
        raise LeenConfigError(
            f"{called} can't be read: its file system is not available ({error}); an object store needs its Airflow "
            "provider installed."
        ) from None
    return read_file(path, called).rows


def _check_temporary_folder() -> None:
    """Check that the worker can write temporary files.

    :raises LeenError: no such folder can be written to; another worker may have one.
    """
    try:
        tempfile.gettempdir()
        return
    except FileNotFoundError as error:
        problem = str(error.strerror)
    raise LeenError(f"Nothing was sent: tickets are kept in a temporary file, and it can't be written ({problem}).")


def results_of(summary: Mapping[str, Any]) -> Iterable[TicketResult]:
    """Return a summary's results, one at a time if they are in a file.

    :param summary: from XCom, checked.
    :raises LeenConfigError: the file can't be read, or belongs to another summary.
    """
    place = summary.get("results_path")
    if not place:
        results: list[TicketResult] = summary["results"]
        return results
    return read_results(object_path("results_path", place), summary)


def with_results(summary: Summary) -> Summary:
    """Return a summary with its results, wherever they are.

    :raises LeenConfigError: their file can't be read, or belongs to another summary.
    """
    return summary | {"results": list(results_of(summary))}


def results_written(summary: Summary) -> Summary:
    """Write a summary's results back to the file that they came from, if any; return the summary for XCom."""
    place = cast("Mapping[str, Any]", summary).get("results_path")
    if not place:
        return summary
    write_lines(object_path("results_path", place), summary["results"])
    return summary | {"results": []}


class ResultsFiles:
    """The files for a task's results and its failed tickets, instead of XCom.

    :param results_path: what the operator's argument was rendered to.
    :param tickets_path: where the tickets come from, if from a file.
    :raises LeenConfigError: it can't be used.
    """

    def __init__(self, results_path: str, tickets_path: str | None) -> None:
        self.results_path = results_path.strip()
        self.failed_path = failed_path(self.results_path)
        self._results = object_path("results_path", self.results_path)
        self._failed = object_path("results_path", self.failed_path)
        if tickets_path and _plain(str(tickets_path)) in (_plain(self.results_path), _plain(self.failed_path)):
            raise LeenConfigError(
                f"`results_path` {self.results_path!r} would overwrite the tickets in {tickets_path!r}: results are "
                f"written there, and failed tickets to {self.failed_path!r}. Name another file."
            )

    def check(self) -> None:
        """Check that both files can be written.

        :raises LeenConfigError: they can't.
        """
        try:
            check_writable(self._results)
            check_writable(self._failed)
            return
        except Exception as error:  # each object store has errors of its own
            problem = _reason(error)
        raise LeenConfigError(
            f"`results_path` {self.results_path!r} can't be written ({problem}), so nothing was sent. Fix that, or "
            "name another file."
        )

    def without_results(self, summary: Summary) -> Summary:
        """Return the summary for XCom: the counts, and the path of the results."""
        return cast("Summary", {**summary, "results": [], "results_path": self.results_path})

    def write(self, results: Iterable[TicketResult], failed: Iterable[Any], *, durable: bool) -> LeenError | None:
        """Write the results and the failed tickets; return the error if they can't be written.

        :param results: the result of each ticket.
        :param failed: the failed tickets, as given.
        :param durable: whether there is a durable ledger for the next try.
        """
        try:
            write_lines(self._failed, failed)
            write_lines(self._results, results)
            return None
        except Exception as error:  # each object store has errors of its own
            problem = _reason(error)
        sentence = (
            f"The results can't be written to {self.results_path} ({problem}). XCom has the counts, the log has the "
            "first errors."
        )
        if durable:
            return LeenError(f"{sentence} A retry writes them, and creates nothing twice.")
        return LeenConfigError(
            f"{sentence} There is no durable ledger of what was sent, so don't clear the task: look into the tracker."
        )


def check_differs(context: Context, task_id: str) -> None:
    """Refuse a ``results_path`` that is the same for all instances of a mapped operator.

    :raises LeenConfigError: they would overwrite each other's results.
    """
    # An operator that a task executes by hand is not in the Dag; its arguments may differ.
    shared = getattr(context["dag"].task_dict.get(task_id), "partial_kwargs", {}).get("results_path")
    is_path = isinstance(shared, str) or hasattr(shared, "joinpath")
    if is_path and "map_index" not in str(shared) and "task." not in str(shared):
        raise LeenConfigError(
            f"`results_path` is {str(shared)!r} for all mapped instances, which would overwrite each other's results: "
            "add {{ ti.map_index }} to it."
        )


def _plain(path: str) -> str:
    """Return a path without its scheme, links and doubled slashes, to compare it; URLs stay distinct, too."""
    return os.path.realpath(path.strip().removeprefix("file://"))


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error)[:300]}"
