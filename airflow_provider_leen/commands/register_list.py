"""What ``register list`` shows of a finding: its ticket, and its history as far as the register knows it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from airflow_provider_leen.bulk.findings import History
from airflow_provider_leen.bulk.register_table import Known


def row_of(known: Known, history: History) -> dict[str, Any]:
    """Return what is shown of a finding.

    :param known: its newest ticket.
    :param history: what reconciling has seen and done since that was filed.
    """
    return {
        "identifier": known.identifier,
        "status": known.status,
        "ticket": _ticket(known, history),
        "ticket_id": known.ticket_id or "",
        "vendor_ticket_id": known.vendor_ticket_id or "",
        "generation": known.generation,
        "filed_at": shown_time(known.filed_at),
        "changed_at": shown_time(history.changed_at),
        "closed_at": shown_time(history.closed_at),
        "lists_without_it": len(history.missing),
        "pending": _pending(known, history),
        "error": known.error or "",
    }


def shown_time(seconds: float | None) -> str:
    """Return a time for a person; empty where there is none."""
    return "" if seconds is None else datetime.fromtimestamp(seconds).astimezone().isoformat(timespec="seconds")


def _ticket(known: Known, history: History) -> str:
    """Say what the ticket is like, as far as is known: it is read only before it is changed."""
    if known.status not in ("created", "existing"):
        return ""
    if not (known.ticket_id or known.vendor_ticket_id):
        return "none wanted"
    if known.given:
        return "taken over"
    if history.deleted:
        return "deleted"
    if history.closed_by is not None:
        return "closed" if history.closed_by == "us" else "closed by a person"
    return "open"


def _pending(known: Known, history: History) -> str:
    """Say what is to be done about the ticket, and what that waits for."""
    if (change := history.change) is not None:
        doing = "closing" if change.wanted == "closed" else "reopening"
        outcome = "the reply was lost"
        if change.job:
            outcome = f"job {change.job} ended without its outcome" if change.ended else f"job {change.job}"
        return f"{doing}, sent {shown_time(change.sent_at)}: {outcome}"
    if history.close_since is not None:
        waits = "" if known.ticket_id else ": Leen does not know the ticket yet"
        return f"to be closed since {shown_time(history.close_since)}{waits}"
    if history.held:
        return "kept open until its finding is listed again: a person may have reopened it"
    return f"not reopened: {history.refusal}" if history.refusal else ""
