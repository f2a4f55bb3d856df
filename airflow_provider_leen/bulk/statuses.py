"""The statuses that a ticket can end with: the one list, from which summaries, gate, log, tab and commands follow.

A new status touches three files: it is listed here, counted in :mod:`~airflow_provider_leen.bulk.summary`, and follows
from facts in :mod:`~airflow_provider_leen.bulk.state`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args

Proved = Literal["created", "existing", "updated"]
"""What may be proved of a ticket: created by this run; known before; changed by this run."""

Succeeded = Literal[Proved, "closed", "reopened", "pending"]
"""Also what was done about a finding that has gone or is back; a pending change is left to a later run."""

Failed = Literal["rejected", "invalid", "unknown", "unsent"]
"""Refused by Leen or the tracker; refused here; sent, with an unknown outcome; known not to have been carried out."""

Status = Literal["created", "existing", Failed]
"""How the creation of a ticket ends."""

UpdateStatus = Literal["updated", Failed]
"""How the change of a ticket ends."""

ReconcileStatus = Literal[Status, "closed", "reopened", "pending"]
"""How it ends what is done about a finding."""

SUCCEEDED: tuple[str, ...] = get_args(Succeeded)
FAILED: tuple[str, ...] = get_args(Failed)
ALL_STATUSES = SUCCEEDED + FAILED
"""In the order in which a log shows them."""

STATUSES: tuple[Status, ...] = get_args(Status)
UPDATE_STATUSES: tuple[UpdateStatus, ...] = get_args(UpdateStatus)
RECONCILE_STATUSES: tuple[ReconcileStatus, ...] = get_args(ReconcileStatus)

LEFT_OUT_OF_THE_RATE = frozenset({"existing", "pending"})
"""This run did nothing about these tickets, so they must not dilute the share of those that failed."""

MAY_BE_SENT_AGAIN = frozenset(FAILED) - {"unknown"}
"""These tickets are known not to exist."""


def statuses_of(summary: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the statuses that a summary counts: of tickets that were created, changed, or reconciled."""
    if "updated" in summary:
        return UPDATE_STATUSES
    return RECONCILE_STATUSES if "reopened" in summary else STATUSES
