"""Creates and changes tickets in the store, as far as Jira allows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from airflow_provider_leen.sandbox import jira
from airflow_provider_leen.sandbox.routing import APIError, found, refusal
from airflow_provider_leen.sandbox.schemas import TicketBody, TicketPatch
from airflow_provider_leen.sandbox.store import Store

UPDATABLE = tuple(TicketPatch.model_fields)


def create_many(
    store: Store, connection_id: str, tickets: Sequence[TicketBody], *, persist: bool | None = None
) -> dict[str, Any]:
    """Create the tickets of a bulk call that Jira accepts, and return the call's reply.

    :param persist: whether Leen stores the tickets; None (default): those that came without vendor ids.
    """
    parents = store.parents(connection_id, tickets)
    accepted: list[tuple[TicketBody, jira.Accepted]] = []
    results: list[dict[str, Any]] = []
    for index, ticket in enumerate(tickets):
        result = {
            "success": False,
            "request_index": index,
            "identifier": ticket.identifier,
            "ticket_id": None,
            "vendor_ticket_id": None,
            "error": None,
        }
        try:
            accepted.append((ticket, jira.examine(ticket, parents)))
            result["success"] = True
        except jira.Refused as refused:
            result["error"] = str(refused)
        results.append(result)
    successes = [result for result in results if result["success"]]
    made = store.add(connection_id, accepted, persist=persist)
    for result, created, (_, placed) in zip(successes, made, accepted, strict=True):
        result["identifier"] = created.identifier
        result["vendor_ticket_id"] = created.vendor_key
        result["ticket_id"] = None if placed.by_vendor_id else created.ticket_id
    return breakdown(results)


def update_many(store: Store, connection_id: str, ticket_ids: Sequence[str], updates: dict[str, Any]) -> dict[str, Any]:
    """Set the same values on tickets, the status first and the rest only if that worked; return the job's breakdown."""
    steps = [{"status": updates["status"]}] if "status" in updates else []
    steps += [{name: value for name, value in updates.items() if name != "status"}]
    results: list[dict[str, Any]] = []
    for index, ticket_id in enumerate(ticket_ids):
        error = None
        try:
            for step in steps:
                update_one(store, connection_id, ticket_id, step)
        except APIError as refused:
            error = str(refused)
        results.append({"success": error is None, "request_index": index, "ticket_id": ticket_id, "error": error})
    return breakdown(results)


def update_one(store: Store, connection_id: str, ticket_id: str, body: Mapping[str, Any]) -> None:
    """Change a ticket, if Leen knows it and Jira allows it.

    :raises APIError: the ticket or the change is refused.
    """
    known = found(store.leen.get(connection_id, ticket_id.lower()))
    columns = changes(body)
    held = store.held(known["ticket_id"])
    if held is None:
        raise APIError(404, "not_found", f"Jira has no ticket {known['vendor_key']} any more.")
    if "status" in columns:
        try:
            store.workflow.check(held["vendor_key"], held["status"], columns["status"])
        except jira.Refused as refused:
            raise refusal(refused) from None
    store.update(known["ticket_id"], columns)


def breakdown(results: list[dict[str, Any]]) -> dict[str, Any]:
    """The results of a bulk call with their counts."""
    succeeded = sum(result["success"] for result in results)
    return {"total": len(results), "succeeded": succeeded, "failed": len(results) - succeeded, "results": results}


def changes(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the store's columns for a change of a ticket.

    :raises APIError: it can't be made.
    """
    unknown = sorted(body.keys() - set(UPDATABLE))
    if unknown:
        raise APIError(422, "validation_error", f"{', '.join(unknown)} can't be updated; {', '.join(UPDATABLE)} can.")
    try:
        patch = TicketPatch.model_validate(body)
    except ValueError:
        raise APIError(422, "validation_error", "The fields of a ticket are texts, and user IDs are UUIDs.") from None
    columns: dict[str, Any] = {}
    try:
        if patch.name is not None:
            jira.check_summary(patch.name)
            columns["name"] = patch.name
        if "description" in body:
            jira.check_description(patch.description)
            columns["description"] = patch.description
        if patch.priority is not None:
            columns["priority"] = jira.find_priority(patch.priority)
        if "assigned_user_id" in body or "assigned_user_vendor_id" in body:
            user = jira.find_assignee(patch.assigned_user_id, patch.assigned_user_vendor_id)
            columns["assignee_id"] = user and user.id
    except jira.Refused as refused:
        raise refusal(refused) from None
    if patch.status is not None:
        if patch.status not in jira.STATUSES:
            raise APIError(422, "validation_error", f"There is no status '{patch.status}'.")
        columns["status"] = patch.status
    return columns
