"""Authentication: the API key, and connections, each to a tracker or a scanner."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated

from fastapi import Header

from airflow_provider_leen.sandbox.routing import APIError
from airflow_provider_leen.sandbox.schemas import UUID_PATTERN

TRACKER_ID = "1ee00000-0000-4000-8000-000000000001"
"""A tracker's connection ID, for tickets. Every other UUID except the scanner's is one, too."""

SCANNER_ID = "5ca00000-0000-4000-8000-000000000001"
"""The scanner's connection ID, for findings."""

Authenticated = Callable[..., str]
"""A dependency: checks both headers and returns the connection ID in lower case."""


def authenticate(api_key: str, *, scanner: bool) -> Authenticated:
    """Return a check of both headers.

    :param api_key: the only accepted key.
    :param scanner: whether the route is about a scanner's data; else it is about a tracker's.
    """

    def authenticated(
        x_api_key: Annotated[str | None, Header()] = None, x_connection_id: Annotated[str | None, Header()] = None
    ) -> str:
        if x_api_key != api_key:
            raise APIError(401, "unauthorized", "The API key is missing or not valid.")
        if x_connection_id is None:
            raise APIError(401, "unauthorized", "The header X-CONNECTION-ID is missing.")
        if not re.match(UUID_PATTERN, x_connection_id):
            raise APIError(404, "connection_not_found", "There is no connection with the ID in X-CONNECTION-ID.")
        connection_id = x_connection_id.lower()
        if scanner and connection_id != SCANNER_ID:
            message = f"This connection is a tracker's and has no findings. The scanner's connection is {SCANNER_ID}."
            raise APIError(404, "connection_not_found", message)
        if not scanner and connection_id == SCANNER_ID:
            message = f"This connection is a scanner's and has no tickets. A tracker's connection is {TRACKER_ID}."
            raise APIError(404, "connection_not_found", message)
        return connection_id

    return authenticated
