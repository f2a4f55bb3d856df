"""Results and summaries as the operators leave them."""

from __future__ import annotations

from typing import Any

from airflow_provider_leen.bulk.statuses import SUCCEEDED, Status
from airflow_provider_leen.bulk.summary import Summary, TicketResult, summarise


def result(index: int = 0, status: Status = "created", **fields: Any) -> TicketResult:
    """The result of one ticket, with other values for the fields that are named."""
    succeeded = status in SUCCEEDED
    return {
        "request_index": index,
        "success": succeeded,
        "status": status,
        "name": f"finding {index}",
        "identifier": f"id-{index}",
        "ticket_id": None,
        "vendor_ticket_id": f"SEC-{index}" if succeeded else None,
        "error": None if succeeded else f"refused {index}",
        **fields,  # type: ignore[typeddict-item]
    }


def summary_of(*statuses: Status) -> Summary:
    """The summary of tickets that ended like this, in their order."""
    return summarise([result(index, status) for index, status in enumerate(statuses)])
