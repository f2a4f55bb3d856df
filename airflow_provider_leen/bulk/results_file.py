"""The results of a very large list as JSON Lines in a file, instead of in XCom.

A summary whose results are in a file has the counts, an empty ``results``, and the file's path as ``results_path``.
Paths here have pathlib's interface (Airflow's ``ObjectStoragePath``).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any

from airflow_provider_leen.api.errors import LeenConfigError
from airflow_provider_leen.bulk.statuses import statuses_of
from airflow_provider_leen.bulk.summary import TicketResult, counts_by_status, is_result
from airflow_provider_leen.bulk.whole_file import open_regular, whole_file

_LONGEST_LINE = 10_000_000
"""A longer line is not a result: it is read in pieces, so that any file fits into memory."""

_encode = json.JSONEncoder(separators=(",", ":")).encode


def failed_path(results_path: str) -> str:
    """Return the path of the failed tickets, next to the results; ``tickets_path`` accepts it."""
    return f"{results_path}.failed.jsonl"


def write_lines(path: Any, values: Iterable[Any]) -> None:
    """Write values of plain JSON types, one on each line; the file is written completely or not at all.

    :raises OSError: or whatever else the store raises.
    """
    with whole_file(path) as file:
        for value in values:
            file.write(f"{_encode(value)}\n")


def read_results(path: Any, counts: Mapping[str, Any]) -> Iterator[TicketResult]:
    """Read the results that belong to a summary, one at a time.

    :param path: the file that the summary's ``results_path`` names.
    :param counts: the summary's; once all results are read, they must agree with it.
    :raises LeenConfigError: the file can't be read, or holds something else. Some results may have been read by then.
    """
    return read_opened(path, partial(open_regular, path, follow=False), counts)


def read_opened(path: Any, open_file: Callable[[], Any], counts: Mapping[str, Any]) -> Iterator[TicketResult]:
    """Read results as :func:`read_results` does, from a file that the caller opens for reading text.

    :param path: how messages name the file.
    :raises LeenConfigError: as there; also where opening fails.
    """
    by_status: Counter[str] = Counter()
    statuses = statuses_of(counts)
    try:
        with open_file() as file:
            # Airflow 2 wraps the file so that it can't be iterated over.
            for line in iter(partial(file.readline, _LONGEST_LINE), ""):
                result = json.loads(line)
                if not is_result(result, statuses):
                    raise ValueError("it has entries that are not results")
                by_status[result["status"]] += 1
                yield result
    except FileNotFoundError:
        problem = "there is no such file"
    except Exception as error:  # each object store has errors of its own
        problem = f"{type(error).__name__}: {str(error)[:300]}"
    else:
        if by_status == +Counter(counts_by_status(counts)):
            return
        problem = f"its {by_status.total()} results differ from the summary's counts: it may have been overwritten"
    raise LeenConfigError(f"The results in {path} can't be read: {problem}.")
