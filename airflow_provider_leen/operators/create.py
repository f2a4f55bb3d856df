"""The operator that creates one ticket."""

from __future__ import annotations

from collections.abc import Sequence
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.common.compat.sdk import BaseOperator

from airflow_provider_leen.tasks.arguments import Argument, check_literals, choice
from airflow_provider_leen.tasks.templates import RendersOnce

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

__all__ = ["LeenCreateTicketOperator"]


class LeenCreateTicketOperator(RendersOnce, BaseOperator):
    """Create one ticket, and return it (``POST /itsm/tickets``).

    Leen stores such a ticket at once, with either kind of ids, so it can be looked up by its identifier. If the ticket
    has none, a key that stays the same over retries is sent as the identifier. If a reply is lost, the ticket is looked
    up; a retry looks it up before it creates it.

    ::

        LeenCreateTicketOperator(
            task_id="create_ticket",
            ticket={"name": "Rotate the deploy key", "project_vendor_id": "SEC", "type": "Task"},
        )

    :param ticket: the ticket, by Leen's field names (templated): a mapping, an upstream task's output, or a text that
        holds JSON or a Python literal.
    :param leen_conn_id: the Airflow connection, default ``leen_default`` (templated).
    :param connection_id: the Leen connection ID to use instead of the connection's login (templated).
    :param if_exists: what to do when Leen knows a ticket with the given identifier already (templated): ``create``
        (default) creates another, unless the existing one is this run's own; ``skip`` returns the existing one, which
        may be closed.
    :return: the record as Leen has it: ``id``, ``name``, ``identifier``, ``status``, ``url``, ``vendor_attributes``, …;
        ``url`` is made from the connection's Ticket URL if Leen gives none.
    :raises AirflowFailException: from :class:`LeenAuthError`, :class:`LeenConfigError`, :class:`LeenNotFoundError` or
        :class:`LeenValidationError`, which a retry can't fix.
    :raises LeenOutcomeUnknownError: the reply was lost, and Leen does not know the ticket. A retry looks it up again,
        and creates it if Leen still does not know it.
    :raises LeenConnectError: Leen can't be reached; nothing was sent.
    :raises LeenRateLimitError: Leen asks to wait for longer than the connection allows; nothing was created.
    """

    argument_checks: ClassVar[dict[str, Argument]] = {"if_exists": choice("create", "skip")}
    template_fields: Sequence[str] = ("ticket", "leen_conn_id", "connection_id", *argument_checks)
    rendered_to_objects: ClassVar[frozenset[str]] = frozenset({"ticket"})
    template_fields_renderers: ClassVar[dict[str, str]] = {"ticket": "json"}
    ui_color = "#e6f4ea"

    def __init__(
        self,
        *,
        ticket: Any,
        leen_conn_id: str = "leen_default",
        connection_id: str | None = None,
        if_exists: str = "create",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.ticket = ticket
        self.leen_conn_id = leen_conn_id
        self.connection_id = connection_id
        self.if_exists = if_exists
        check_literals(self, self.argument_checks)
        # Not an Event: the signal handler would deadlock on the lock that the main thread may hold.
        self._stops: SimpleQueue[None] | None = None

    def execute(self, context: Context) -> dict[str, Any]:
        """Create the ticket, unless an earlier try did, and return it."""
        from airflow_provider_leen.tasks.creating_one import create_ticket

        self._stops = SimpleQueue()
        return create_ticket(self, context, self._stops)

    def on_kill(self) -> None:
        """Stop the look-ups. Called in the signal handler, at any point of the main thread."""
        if self._stops is not None:
            self._stops.put(None)
