"""The statuses that a ticket can end with: the one list, from which summaries, gate, log, tab and command line follow.

A status succeeded unless it is listed under :data:`Failed`. A new one is added to the ``Literal`` of the summaries that
have it, to their counts in :mod:`~airflow_provider_leen.bulk.summary`, and where it follows from a ticket's facts
(:mod:`~airflow_provider_leen.bulk.state`).
"""

from __future__ import annotations

from typing import Literal, get_args

Failed = Literal["rejected", "invalid", "unknown", "unsent"]
"""Refused by Leen or the tracker; refused here; sent with an unknown outcome; known not to have been carried out."""

Status = Literal["created", "existing", Failed]
"""How the creation of a ticket ends."""

UpdateStatus = Literal["updated", Failed]
"""How the change of a ticket ends."""

FAILED: tuple[str, ...] = get_args(Failed)
STATUSES: tuple[Status, ...] = get_args(Status)
UPDATE_STATUSES: tuple[UpdateStatus, ...] = get_args(UpdateStatus)

SUCCEEDED: frozenset[str] = frozenset({*STATUSES, *UPDATE_STATUSES} - {*FAILED})

ALL_STATUSES: tuple[str, ...] = (*sorted(SUCCEEDED), *FAILED)
"""In the order in which they are shown, failures last."""

LEFT_OUT_OF_THE_RATE: frozenset[str] = frozenset({"existing", "pending"})
"""This run did nothing about these tickets, so they must not dilute the share of those that failed."""

MAY_BE_SENT_AGAIN: frozenset[str] = frozenset(FAILED) - {"unknown"}
"""These tickets are known not to exist."""
