"""A notifier that files a ticket when a task or a Dag fails, or when a deadline is missed."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from airflow.providers.common.compat.sdk import BaseNotifier

from airflow_provider_leen.api.errors import LeenConfigError, LeenError, LeenOutcomeUnknownError
from airflow_provider_leen.api.text import one_line
from airflow_provider_leen.tasks.templates import RendersOnce

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_leen.api.models import Ticket
    from airflow_provider_leen.notifications.event import Event

__all__ = ["LeenNotifier", "send_leen_notification"]

CLOSED = ("RESOLVED", "CLOSED")
"""Leen's statuses of a closed ticket. Any other counts as open."""

_DISPENSABLE = ("title", "description", "identifier", "priority", "assigned_user_id", "assigned_user_vendor_id")
"""Optional fields: a default is used instead, or nothing."""

_PASSED_ON = (
    "project_id",
    "project_vendor_id",
    "type",
    "type_vendor_id",
    "priority",
    "assigned_user_id",
    "assigned_user_vendor_id",
)


class LeenNotifier(RendersOnce, BaseNotifier):
    """Creates a ticket for a failed task, a failed Dag run or a missed deadline (``POST /itsm/tickets``).

    There is at most one open ticket for each Dag and task: the notifier first looks up the ticket of an earlier failure
    by its identifier, and creates none while that one is open. Once it is closed, the next failure gets a new ticket.

    Works as ``on_failure_callback`` of tasks and Dags, and in ``AsyncCallback`` and ``SyncCallback`` of a deadline
    alert. As another callback (success, retry, skipped, execute) its title and description say what happened.

    Title and description are cut to what Jira takes. If a template fails, the default text is used, and the
    description says so. If no ticket can be created, an error is raised, which Airflow logs; the task keeps its own
    error.

    ::

        LeenNotifier(project_vendor_id="SEC", type="Bug", title="{{ dag.dag_id }} failed in run {{ run_id }}")

    :param leen_conn_id: the Airflow connection, default ``leen_default`` (templated).
    :param connection_id: the Leen connection ID to use instead of the connection's login (templated).
    :param title: the ticket's title, Leen's ``name`` (templated). Default: names what failed.
    :param description: the ticket's description, in Markdown (templated). Default: names Dag, task, run, try, exception
        and the log's URL.
    :param identifier: identifies the open ticket, at most 512 characters (templated). Default: made from the ids of Dag
        and task.
    :param project_id: the project's Leen UUID; either this or ``project_vendor_id`` (templated).
    :param project_vendor_id: the project's id in the tracker, such as a Jira project key (templated).
    :param type: the ticket's type, such as ``Bug``; this or ``type_vendor_id`` (templated).
    :param type_vendor_id: the type's id in the tracker (templated).
    :param priority: the ticket's priority, such as ``HIGH`` (templated).
    :param assigned_user_id: the assignee's Leen UUID (templated).
    :param assigned_user_vendor_id: the assignee's id in the tracker, such as a Jira account id (templated).
    """

    template_fields: Sequence[str] = (
        "leen_conn_id",
        "connection_id",
        "title",
        "description",
        "identifier",
        *_PASSED_ON,
    )

    def __init__(
        self,
        *,
        leen_conn_id: str = "leen_default",
        connection_id: str | None = None,
        title: str | None = None,
        description: str | None = None,
        identifier: str | None = None,
        project_id: str | None = None,
        project_vendor_id: str | None = None,
        type: str | None = None,
        type_vendor_id: str | None = None,
        priority: str | None = None,
        assigned_user_id: str | None = None,
        assigned_user_vendor_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        # From Airflow 3.1 on, a deadline alert passes its context here.
        super().__init__(**kwargs)
        if (project_id is None) == (project_vendor_id is None):
            raise LeenConfigError("LeenNotifier: pass exactly one of `project_id` and `project_vendor_id`.")
        if type is None and type_vendor_id is None:
            raise LeenConfigError("LeenNotifier: pass `type` (such as 'Bug') or `type_vendor_id`.")
        self.leen_conn_id = leen_conn_id
        self.connection_id = connection_id
        self.title = title
        self.description = description
        self.identifier = identifier
        self.project_id = project_id
        self.project_vendor_id = project_vendor_id
        self.type = type
        self.type_vendor_id = type_vendor_id
        self.priority = priority
        self.assigned_user_id = assigned_user_id
        self.assigned_user_vendor_id = assigned_user_vendor_id
        self._notes: list[str] = []

    def __call__(self, *args: Any) -> None:
        """Create the ticket, as a callback."""
        # Rendering changes the notifier, and one process may call the same one for several runs: work on a copy.
        super(LeenNotifier, copy.copy(self)).__call__(*args)

    def get_template_env(self, dag: Any = None) -> Any:
        """Return the Dag's Jinja environment; the Dag that ``dag.test()`` passes to callbacks has none."""
        return super().get_template_env(dag if hasattr(dag, "get_template_env") else None)

    def render_template_fields(self, context: Context, jinja_env: Any = None) -> None:
        """Render each text by itself, so that one failing template doesn't prevent the ticket.

        :param context: the callback's context.
        :param jinja_env: default the Dag's.
        :raises LeenConfigError: the template of a required field fails.
        """
        environment = jinja_env or self.get_template_env(context.get("dag"))
        self._notes = []
        for field in self.template_fields:
            try:
                self._do_render_template_fields(self, (field,), context, environment, set())
            except Exception as error:  # whatever a template calls
                reason = f"The template of `{field}` failed ({one_line(f'{type(error).__name__}: {error}', 300)})"
                if field not in _DISPENSABLE:
                    raise LeenConfigError(f"No ticket was created. {reason}: fix it in the Dag.") from error
                self._notes.append(f"{reason}, so its default is used.")
                setattr(self, field, None)

    def notify(self, context: Context) -> None:
        """Create the ticket, unless one is open.

        :param context: the callback's context.
        :raises LeenError: no ticket could be created; the message says why.
        """
        from airflow_provider_leen.hooks.leen import LeenHook
        from airflow_provider_leen.notifications.event import read_context

        event = read_context(context)
        try:
            with LeenHook(self.leen_conn_id, connection_id=self.connection_id) as hook:
                client = hook.get_conn()
                client.run(self._file(client.aio, event))
        except LeenError as error:
            failure = _failure(event, error)
        else:
            return
        raise failure

    async def async_notify(self, context: Context) -> None:
        """Create the ticket, unless one is open, in an event loop.

        :param context: the callback's context.
        :raises LeenError: no ticket could be created; the message says why.
        """
        from airflow_provider_leen.hooks.leen import LeenAsyncHook
        from airflow_provider_leen.notifications.event import read_context

        event = read_context(context)
        try:
            async with LeenAsyncHook(self.leen_conn_id, connection_id=self.connection_id) as hook:
                await self._file(hook, event)
        except LeenError as error:
            failure = _failure(event, error)
        else:
            return
        raise failure

    async def _file(self, leen: _Tickets, event: Event) -> None:
        ticket = self._ticket(event)
        known = await leen.get_ticket_by_identifier(ticket["identifier"])
        if known is not None and (known.status or "").upper() not in CLOSED:
            self.log.info(
                "No ticket was created for this: %s. The ticket %s is still open (%s).",
                event,
                known.url or known.id,
                known.status,
            )
            return
        created = await _create(leen, ticket)
        self.log.info("Created the ticket %s for this: %s.", created.url or created.id, event)

    def _ticket(self, event: Event) -> dict[str, str]:
        from airflow.providers.common.compat.sdk import redact

        from airflow_provider_leen.bulk.validation import field_problems, missing_fields
        from airflow_provider_leen.notifications import event as words

        notes = list(self._notes)
        identifier = self.identifier or words.identifier(event)
        if problems := list(field_problems({"name": "-", "identifier": identifier})):
            notes.append(f"{problems[0]}. The default is used.")
            identifier = words.identifier(event)
        # An exception's text may quote a secret that Airflow knows.
        ticket = {
            "name": words.fitting_title(str(redact(self.title or ""))) or words.title(event),
            "description": words.fitting_description(
                str(redact((self.description or "").strip() or words.description(event))),
                [str(redact(note)) for note in notes],
            ),
            "identifier": identifier,
        }
        given = {field: getattr(self, field) for field in _PASSED_ON}
        ticket |= {field: value for field, value in given.items() if value is not None and value != ""}
        problems = [*field_problems(ticket), *missing_fields(ticket)]
        if problems:
            raise LeenConfigError(f"{'; '.join(map(str, problems))}.")
        return ticket


send_leen_notification = LeenNotifier
"""The notifier, under the naming convention of Airflow's own providers."""


class _Tickets(Protocol):
    async def get_ticket_by_identifier(self, identifier: str) -> Ticket | None: ...

    async def create_ticket(self, ticket: Mapping[str, Any]) -> Ticket: ...


async def _create(leen: _Tickets, ticket: Mapping[str, Any]) -> Ticket:
    """Create the ticket; the error says if it may exist anyway."""
    from airflow_provider_leen.api.retry import Effect, effect_of_write

    try:
        return await leen.create_ticket(ticket)
    except LeenError as error:
        if effect_of_write(error) is not Effect.UNKNOWN:
            raise
        unknown = LeenOutcomeUnknownError(str(error), identifiers=[ticket["identifier"]])
    raise unknown


def _failure(event: Event, error: LeenError) -> LeenError:
    if isinstance(error, LeenOutcomeUnknownError):
        return LeenError(f"It is unknown whether a ticket was created for this: {event}. {error}")
    return LeenError(f"No ticket was created for this: {event}. {error}")
