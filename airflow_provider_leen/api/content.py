"""Builds the bodies of requests to the Leen API, and reads its replies."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any, TypeVar
from urllib.parse import quote
from uuid import UUID

from pydantic import BaseModel, ValidationError

from airflow_provider_leen.api.errors import (
    LeenConfigError,
    LeenConnectError,
    LeenOutcomeUnknownError,
    LeenResponseError,
)
from airflow_provider_leen.api.models import (
    MAX_FINDING_IDS,
    MAX_TICKETS_PER_CALL,
    BulkReply,
    BulkResult,
    Job,
    Ticket,
    TicketCreate,
)
from airflow_provider_leen.api.reservations import errors_in
from airflow_provider_leen.api.results import Claim, speaks_of_an_error
from airflow_provider_leen.api.tolerances import is_blank, is_same_identifier, is_same_name

Model = TypeVar("Model", bound=BaseModel)

_MAX_NAMED = 10
_LONGEST_JOB_ID = 255

_FINDING_FILTERS = (
    "severity",
    "state",
    "has_fix",
    "first_seen_since",
    "last_seen_since",
    "state_updated_since",
    "resourceId",
    "ids",
    "limit",
)


def encode(body: Mapping[str, Any]) -> bytes:
    """Return a request's body."""
    # Escaped to ASCII: a lone surrogate in a scanner's output can't be encoded otherwise.
    return json.dumps(body, separators=(",", ":")).encode()


def ticket_body(ticket: TicketCreate | Mapping[str, Any], which: str) -> dict[str, Any]:
    """Return the request body of a ticket.

    :param which: how the message names the ticket.
    :raises LeenConfigError: it has a field that Leen does not know, or one of the wrong type.
    """
    try:
        fields = dict(ticket) if isinstance(ticket, Mapping) else ticket
        return TicketCreate.model_validate(fields).model_dump(exclude_none=True)
    except ValidationError as error:
        raise LeenConfigError(f"The {which} can't be sent: {_problem(error)}.") from None


def ticket_bodies(tickets: Sequence[TicketCreate | Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the request bodies of the tickets of one bulk call.

    :raises LeenConfigError: there is none, or more than 50, or one of them can't be sent.
    """
    if not 1 <= len(tickets) <= MAX_TICKETS_PER_CALL:
        raise LeenConfigError(
            f"One bulk call takes 1 to {MAX_TICKETS_PER_CALL} tickets, not {len(tickets)}: split the list, or use "
            "LeenBulkCreateTicketsOperator, which does."
        )
    return [ticket_body(ticket, f"ticket {position}") for position, ticket in enumerate(tickets)]


def names_of(bodies: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the names under which tickets with an unknown outcome are reported."""
    return [body.get("identifier") or body["name"] for body in bodies]


def bulk_reply(names: Sequence[str], claims: Sequence[Claim]) -> BulkReply:
    """Return the proved results of one bulk call, in the form of Leen's reply.

    :raises LeenOutcomeUnknownError: the outcome of some tickets is not proved.
    """
    unknown = [(name, claim) for name, claim in zip(names, claims, strict=True) if claim.status == "unknown"]
    if unknown:
        lines = [f"{name}: {claim.error}" for name, claim in unknown[:_MAX_NAMED]]
        if len(unknown) > _MAX_NAMED:
            lines.append(f"… and {len(unknown) - _MAX_NAMED} more")
        raise LeenOutcomeUnknownError(
            f"Leen's reply does not prove the outcome of {len(unknown)} of {len(names)} tickets; look for them in the "
            "tracker before sending them again:\n  " + "\n  ".join(lines),
            identifiers=[name for name, _claim in unknown],
        )
    results = [
        BulkResult(
            success=claim.status == "succeeded",
            request_index=position,
            identifier=claim.identifier,
            ticket_id=claim.ticket_id,
            vendor_ticket_id=claim.vendor_ticket_id,
            error=claim.error,
        )
        for position, claim in enumerate(claims)
    ]
    succeeded = sum(result.success for result in results)
    return BulkReply(total=len(results), succeeded=succeeded, failed=len(results) - succeeded, results=results)


def created_ticket(content: Any, body: Mapping[str, Any]) -> Ticket:
    """Return the ticket in the reply to ``POST /itsm/tickets``.

    :param body: what was sent.
    :raises LeenOutcomeUnknownError: the reply is not a ticket, or not the one that was sent.
    """
    try:
        ticket = read(Ticket, content)
        mismatch = _mismatch(ticket, body)
    except LeenResponseError as error:
        mismatch = str(error)
    else:
        if mismatch is None:
            return ticket
    raise LeenOutcomeUnknownError(
        f"POST /itsm/tickets was sent, and its reply does not prove that {names_of([body])[0]!r} was created: "
        f"{mismatch}"
    )


def _mismatch(ticket: Ticket, body: Mapping[str, Any]) -> str | None:
    """Return why a ticket may not be the one that was sent; None if it is."""
    if is_blank(ticket.id):
        return "It has no id."
    if speaks_of_an_error(ticket.model_extra or {}):
        return f"It names the ticket {ticket.id}, but reports an error."
    sent, named = body.get("identifier"), ticket.identifier
    if not is_blank(sent) and not is_blank(named):
        is_another = not is_same_identifier(str(sent), str(named))
    else:
        is_another = not is_blank(ticket.name) and not is_same_name(body["name"], str(ticket.name))
    return f"It names another ticket, {ticket.id} ({named or ticket.name})." if is_another else None


def ticket_by_id(content: Any, ticket_id: str) -> Ticket:
    """Return the ticket in the reply to ``GET /itsm/tickets/{ticket_id}``.

    :raises LeenResponseError: the reply is not a ticket, or is another one.
    """
    ticket = read(Ticket, content)
    if is_uuid(ticket_id) and ticket.id.strip().lower() != ticket_id.lower():
        raise LeenResponseError(f"Leen was asked for the ticket {ticket_id} and answered with another one.", status=200)
    return ticket


def ticket_by_identifier(content: Any, identifier: str) -> Ticket:
    """Return the ticket in the reply to ``GET /itsm/tickets/by-identifier/{identifier}``.

    :raises LeenResponseError: the reply is not a ticket, is another one, or contradicts itself: it is then unknown
        whether such a ticket exists.
    """
    ticket = read(Ticket, content)
    if not is_same_identifier(identifier, ticket.identifier):
        problem = f"the ticket {ticket.id:.80}, whose identifier is {ticket.identifier!r:.80}"
    elif errors := errors_in(ticket.model_extra or {}):
        problem = f"the ticket {ticket.id:.80}, which contradicts itself ({errors[0]})"
    elif is_blank(ticket.id):
        problem = "a ticket without an id"
    else:
        return ticket
    raise LeenResponseError(
        f"Leen was asked for the identifier {identifier!r:.80} and answered with {problem}: it is unknown whether a "
        "ticket with that identifier exists.",
        status=200,
    )


def updated_ticket(content: Any, ticket_id: str) -> Ticket | None:
    """Return the ticket in the reply to ``PATCH /itsm/tickets/{ticket_id}``; None if the reply is not a ticket.

    :raises LeenOutcomeUnknownError: the reply reports an error, or is about another ticket.
    """
    try:
        ticket = read(Ticket, content)
    except LeenResponseError:
        ticket = None
    if (isinstance(content, Mapping) and speaks_of_an_error(content)) or (
        ticket is not None and is_uuid(ticket_id) and ticket.id.lower() != ticket_id.lower()
    ):
        raise LeenOutcomeUnknownError(
            f"The change of the ticket {ticket_id} was sent, but the reply does not prove it: it reports an error, "
            "or is about another ticket."
        )
    return ticket


def read_job(content: Any, job_id: str) -> Job:
    """Return the job in the reply to ``GET /jobs/{job_id}``.

    :raises LeenResponseError: the reply is not a job.
    :raises LeenConnectError: the reply is another job, and so belongs to another request.
    """
    job = read(Job, content)
    extra = job.model_extra or {}
    named = extra.get("job_id") or extra.get("id")
    if isinstance(named, str) and named.lower() != job_id.lower():
        answer = f"Leen was asked for the job {job_id} and answered with {named!r:.80}."
        raise LeenConnectError(answer, unreadable=True)
    return job


def is_uuid(value: Any) -> bool:
    """Return whether a value is a UUID, or a text in the form of one."""
    try:
        return isinstance(value, UUID) or str(UUID(value)) == value.lower()
    except (ValueError, AttributeError, TypeError):
        return False


def read_job_id(path: str, content: Any) -> str:
    """Return the id in the reply to a job that was submitted.

    :raises LeenOutcomeUnknownError: it names no job, or one that can't be asked for, or it reports an error.
    """
    job_id = content.get("job_id") if isinstance(content, dict) else None
    if not (isinstance(job_id, str) and len(job_id) <= _LONGEST_JOB_ID and _is_segment(job_id)):
        raise LeenOutcomeUnknownError(f"POST {path} was accepted, but the reply names no job; the job may still run.")
    if speaks_of_an_error(content):
        raise LeenOutcomeUnknownError(
            f"POST {path} was accepted as the job {job_id}, but the reply also reports an error; the job may still run."
        )
    return job_id


def address(base_url: str, path: str) -> str:
    """Return the URL of a path. ``/v2/…`` is next to ``/v1``, which the base URL includes."""
    if not path.startswith("/v2/"):
        return base_url + path
    # read_settings made sure that one of the segments is v1.
    segments = base_url.split("/")
    last = len(segments) - 1 - segments[::-1].index("v1")
    return "/".join(segments[:last]) + path


def finding_filters(filters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the query of a list of findings.

    :raises LeenConfigError: there is no such filter, or its value can't be used.
    """
    # A filter that is silently dropped would turn every finding into a ticket.
    unknown = sorted(filters.keys() - set(_FINDING_FILTERS))
    if unknown:
        raise LeenConfigError(f"Findings can't be filtered by {', '.join(unknown)}: use {', '.join(_FINDING_FILTERS)}.")
    lists = {name: list(value) for name, value in filters.items() if isinstance(value, list | tuple | set | frozenset)}
    for name, values in lists.items():
        if not values:
            raise LeenConfigError(f"The filter {name} is an empty list: leave it out to get every finding.")
    if len(lists.get("ids", ())) > MAX_FINDING_IDS:
        raise LeenConfigError(f"Findings can be asked for by at most {MAX_FINDING_IDS} ids, not {len(lists['ids'])}.")
    return {**filters, **{name: ",".join(map(str, values)) for name, values in lists.items()}}


def read(model: type[Model], content: Any) -> Model:
    """Return a reply as a model.

    :raises LeenResponseError: it doesn't fit the model.
    """
    try:
        return model.model_validate(content)
    except ValidationError as error:
        message = f"Leen's reply is not a {model.__name__.lower()}: {_problem(error)}."
    raise LeenResponseError(message, status=200)


def _problem(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(map(str, first["loc"]))
    return f"{place}: {first['msg']}" if place else first["msg"]


def read_page(content: Any) -> tuple[list[Any], str | None]:
    """Read a page of a list: items and the next cursor. The search's shape is not documented, so look for its list."""
    if isinstance(content, list):
        return content, None
    if isinstance(content, dict):
        for name in ("items", "issues", "tickets", "results"):
            if isinstance(content.get(name), list):
                cursor = content.get("next_cursor") or content.get("nextPageToken") or None
                if cursor is None or isinstance(cursor, str):
                    return content[name], cursor
                raise LeenResponseError(f"Leen's reply has a cursor that is not text: {cursor!r:.40}.", status=200)
    raise LeenResponseError("Leen's reply holds no list, although a page of a list was asked for.", status=200)


def path_segment(text: str) -> str:
    """Return a text, escaped, as one segment of a path.

    :raises LeenConfigError: it can't be one.
    """
    if not _is_segment(text):
        raise LeenConfigError(f"Leen can't be asked for a ticket by {text!r}: give the id that the ticket has.")
    return quote(text, safe="")


def _is_segment(text: str) -> bool:
    # URLs are normalised: the empty text, . and .. would lead to another endpoint.
    return text not in ("", ".", "..") and text.isprintable()


def query_value(value: Any) -> Any:
    """Return a filter's value as it goes into the query."""
    return value.isoformat() if isinstance(value, date) else value
