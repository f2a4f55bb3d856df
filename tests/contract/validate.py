"""Holds a request that was recorded on the wire to the contract, ``bulk_sync.json``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

PATH = "/itsm/tickets/bulk/sync"
CONTRACT: dict[str, Any] = json.loads(Path(__file__).with_name("bulk_sync.json").read_text())
OPERATION: dict[str, Any] = CONTRACT["paths"][PATH]["post"]

_TICKET_FIELDS = set(CONTRACT["components"]["schemas"]["ITSMTicketCreateRequestModel"]["properties"])
_SCHEMES = CONTRACT["components"]["securitySchemes"]


def _validator(schema: Mapping[str, Any]) -> Draft202012Validator:
    return Draft202012Validator(
        {**schema, "components": CONTRACT["components"]}, format_checker=Draft202012Validator.FORMAT_CHECKER
    )


_REQUEST = _validator(OPERATION["requestBody"]["content"]["application/json"]["schema"])
_REPLY = _validator(OPERATION["responses"]["200"]["content"]["application/json"]["schema"])


def request_problems(body: Any, headers: Mapping[str, str]) -> list[str]:
    """What is wrong with a bulk request; empty when nothing is.

    The schema tolerates unknown fields; a client that sends one made a mistake, so they count as wrong here.

    :param body: the body, parsed.
    :param headers: the headers, whatever the case of their names.
    """
    problems = [f"{error.json_path}: {error.message}" for error in _REQUEST.iter_errors(body)]
    if isinstance(body, dict):
        problems += [f"unknown field {name}" for name in sorted(body.keys() - {"tickets"})]
        for index, ticket in enumerate(body.get("tickets", [])):
            unknown = sorted(ticket.keys() - _TICKET_FIELDS) if isinstance(ticket, dict) else []
            problems += [f"tickets[{index}]: unknown field {name}" for name in unknown]
    sent = {name.lower(): value for name, value in headers.items()}
    for requirement in OPERATION["security"]:
        names = [_SCHEMES[scheme]["name"] for scheme in requirement]
        problems += [f"header {name} is missing" for name in names if not sent.get(name.lower())]
    if sent.get("content-type", "").partition(";")[0].strip() != "application/json":
        problems.append(f"content type is {sent.get('content-type')!r}")
    return problems


def reply_problems(body: Any) -> list[str]:
    """What is wrong with the body of a 200; empty when nothing is."""
    return [f"{error.json_path}: {error.message}" for error in _REPLY.iter_errors(body)]
