"""The final statuses of a ticket: the only list; summaries, gate, log, tab and commands use it.

A new status touches three files: it is listed here, counted in :mod:`~airflow_provider_leen.bulk.summary`, and follows
from facts in :mod:`~airflow_provider_leen.bulk.state`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args

Proved = Literal["created", "existing", "updated"]
"""Proved statuses: created by this run; existed before; changed by this run."""

Succeeded = Literal[Proved, "closed", "reopened", "pending"]
"""Statuses that count as success, with those of a reconciliation; a pending change is left to a later run."""

Failed = Literal["rejected", "invalid", "unknown", "unsent"]
"""Refused by Leen or the tracker; refused here; sent, with an unknown outcome; known not to have been carried out."""

Status = Literal["created", "existing", Failed]
"""The statuses of created tickets."""

UpdateStatus = Literal["updated", Failed]
"""The statuses of changed tickets."""

ReconcileStatus = Literal[Status, "closed", "reopened", "pending"]
"""The statuses of a reconciliation."""

SUCCEEDED: tuple[str, ...] = get_args(Succeeded)
FAILED: tuple[str, ...] = get_args(Failed)
ALL_STATUSES = SUCCEEDED + FAILED
"""In the order of the log."""

STATUSES: tuple[Status, ...] = get_args(Status)
UPDATE_STATUSES: tuple[UpdateStatus, ...] = get_args(UpdateStatus)
RECONCILE_STATUSES: tuple[ReconcileStatus, ...] = get_args(ReconcileStatus)

LEFT_OUT_OF_THE_RATE = frozenset({"existing", "pending"})
"""This run did nothing with these tickets, so they don't count for the failure rate."""

MAY_BE_SENT_AGAIN = frozenset(FAILED) - {"unknown"}
"""These tickets certainly don't exist."""


def statuses_of(summary: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the statuses that a summary counts: of tickets that were created, changed, or reconciled."""
    if "updated" in summary:
        return UPDATE_STATUSES
    return RECONCILE_STATUSES if "reopened" in summary else STATUSES
