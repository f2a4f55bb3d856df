"""A link from a task to the tickets that it has created."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow.providers.common.compat.sdk import BaseOperatorLink

from airflow_provider_leen.api.text import clean

if TYPE_CHECKING:
    from airflow_provider_leen.api.settings import LeenSettings
    from airflow_provider_leen.bulk.summary import TicketResult

__all__ = ["LeenTicketsLink", "ticket_link"]

MAX_LENGTH = 2000
"""The longest link; beyond it, servers and proxies begin to refuse a request."""

_KEPT = "%/:?#[]@!$&'()*+,;=~"
"""What stays as it is in the connection's setting: all that has a meaning in a URL, and what is encoded already."""


class LeenTicketsLink(BaseOperatorLink):
    """Leads to the ticket that a task has created, or to the tracker's search for all of them.

    The operator publishes the link as an XCom as soon as it knows the tickets, since Airflow's API server, which shows
    the link, must not need the connection.
    """

    name = "Tickets"
    xcom_key = "ticket_link"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """Return what the operator has published for this try; empty where it created nothing or has no setting.

        Airflow 3 asks in the worker, where the operator has just run; Airflow 2 in the webserver, which has only XCom.
        """
        if hasattr(operator, "ticket_link"):
            return operator.ticket_link or ""
        from airflow.providers.common.compat.sdk import XCom

        return XCom.get_value(key=self.xcom_key, ti_key=ti_key) or ""


def ticket_link(settings: LeenSettings, results: Iterable[TicketResult]) -> str | None:
    """Build the link to the tickets that were created.

    :param settings: its ``ticket_url`` is used for one ticket, its ``search_url`` for many, or where the other is
        missing for one.
    :param results: what became of the tickets.
    :return: the link, None where nothing was created or the setting is missing. A search that would be longer than
        2,000 characters names only the first tickets.
    """
    ids = [result["vendor_ticket_id"] for result in results if result["status"] == "created"]
    created = [vendor_ticket_id for vendor_ticket_id in ids if vendor_ticket_id]
    if not created:
        return None
    if len(created) == 1 and settings.ticket_url:
        return filled(settings.ticket_url, "{vendor_ticket_id}", created[0])
    if not settings.search_url:
        return None
    link = None
    for count in range(1, len(created) + 1):
        longer = filled(settings.search_url, "{vendor_ticket_ids}", ",".join(created[:count]))
        if link and len(longer) > MAX_LENGTH:
            break
        link = longer
    return link


def filled(template: str, placeholder: str, value: str) -> str:
    """Put a value into a connection's setting, with everything in it escaped that has a meaning in a URL."""
    return quote(value, safe="").join(fixed_parts(template, placeholder))


def fixed_parts(template: str, placeholder: str) -> tuple[str, ...]:
    """Return what is before and behind the value in a connection's setting, as it goes into a URL."""
    return tuple(quote(part, safe=_KEPT) for part in clean(template).split(placeholder))
