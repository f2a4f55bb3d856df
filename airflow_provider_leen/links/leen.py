"""A link from a task to the tickets that it created, reopened or closed."""

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
"""The longest link: servers and proxies may refuse longer ones."""

_KEPT = "%/:?#[]@!$&'()*+,;=~"
"""Characters of the connection's setting that are not escaped: those with a meaning in a URL, and ``%``."""


class LeenTicketsLink(BaseOperatorLink):
    """Links to the ticket that a task created, reopened or closed, or to the tracker's search for all of them.

    The operator publishes the link as an XCom as soon as it knows the tickets, so that Airflow's API server, which
    shows the link, does not need the connection.
    """

    name = "Tickets"
    xcom_key = "ticket_link"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """Return what the operator published for this try; empty if it changed nothing or has no setting.

        Airflow 3 calls this in the worker, where the operator has just run; Airflow 2 in the webserver, which has only
        XCom.
        """
        if hasattr(operator, "ticket_link"):
            return operator.ticket_link or ""
        from airflow.providers.common.compat.sdk import XCom

        return XCom.get_value(key=self.xcom_key, ti_key=ti_key) or ""


def ticket_link(settings: LeenSettings, results: Iterable[TicketResult]) -> str | None:
    """Build the link to the tickets that were created, reopened or closed.

    :param settings: its ``ticket_url`` is used for one ticket, its ``search_url`` for many, or for one if the other is
        missing.
    :param results: the results of the tickets.
    :return: the link, None if nothing was changed or the setting is missing. A search that would be longer than
        2,000 characters names only the first tickets.
    """
    ids = [result["vendor_ticket_id"] for result in results if result["status"] in ("created", "reopened", "closed")]
    changed = [vendor_ticket_id for vendor_ticket_id in ids if vendor_ticket_id]
    if not changed:
        return None
    if len(changed) == 1 and settings.ticket_url:
        return filled(settings.ticket_url, "{vendor_ticket_id}", changed[0])
    if not settings.search_url:
        return None
    link = None
    for count in range(1, len(changed) + 1):
        longer = filled(settings.search_url, "{vendor_ticket_ids}", ",".join(changed[:count]))
        if link and len(longer) > MAX_LENGTH:
            break
        link = longer
    return link


def filled(template: str, placeholder: str, value: str) -> str:
    """Insert a value into a connection's setting, escaped for a URL."""
    return quote(value, safe="").join(fixed_parts(template, placeholder))


def fixed_parts(template: str, placeholder: str) -> tuple[str, ...]:
    """Return the text before and after the value in a connection's setting, escaped for a URL."""
    return tuple(quote(part, safe=_KEPT) for part in clean(template).split(placeholder))
