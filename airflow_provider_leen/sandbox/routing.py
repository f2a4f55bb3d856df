"""What the routes share: errors as Leen writes them, and cursor pages."""

# Without postponed annotations: the FastAPI of Airflow 3.1 does not resolve those of a class that is a dependency.

import base64
import binascii
import json
from datetime import datetime
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from airflow_provider_leen.sandbox import jira
from airflow_provider_leen.sandbox.replies import error_body


class APIError(Exception):
    """Ends a request with an ``ErrorResponse``."""

    def __init__(self, status: int, type: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.content = error_body(type, type.upper(), message)


def refusal(refused: jira.Refused) -> APIError:
    """The error of a call about one ticket that Jira refused."""
    return APIError(404 if refused.not_found else 422, "not_found" if refused.not_found else "refused", str(refused))


def found(row: Any, what: str = "ticket") -> Any:
    """Return a row, or answer with a 404.

    :raises APIError: there is none.
    """
    if row is None:
        raise APIError(404, "not_found", f"Leen knows no such {what}.")
    return row


Since = Annotated[datetime | None, Query(alias="updatedSince")]


class Page:
    """One cursor page: where it starts and how long it is."""

    def __init__(self, limit: Annotated[int, Query(ge=0, le=1_000_000)] = 100, cursor: str | None = None) -> None:
        self.limit = limit
        self.offset = 0
        self.since: float | None = None
        self._cursor = cursor
        if cursor is not None:
            try:
                offset, self.since = json.loads(base64.urlsafe_b64decode(cursor))
                self.offset = int(offset)
            except (ValueError, TypeError, binascii.Error):
                raise APIError(422, "validation_error", "The cursor can't be read.") from None

    def start(self, updated_since: datetime | None) -> None:
        """Begin with the filter of the first request; the cursor keeps it."""
        if updated_since is not None and self._cursor is not None:
            raise APIError(422, "validation_error", "updatedSince belongs to the first request, without a cursor.")
        if updated_since is not None:
            self.since = updated_since.timestamp()

    def of(self, items: list[dict[str, Any]]) -> dict[str, Any]:
        """The page's reply.

        :param items: everything from the page's start, or at least one more than fits.
        """
        more = self.limit > 0 and len(items) > self.limit
        return {
            "items": items[: self.limit],
            "next_cursor": self._at(self.offset + self.limit) if more else None,
            "previous_cursor": self._at(max(0, self.offset - self.limit)) if self.offset else None,
        }

    def _at(self, offset: int) -> str:
        return base64.urlsafe_b64encode(json.dumps([offset, self.since]).encode()).decode()


def add_error_handlers(app: FastAPI) -> None:
    """Answer every error in Leen's form."""
    app.add_exception_handler(APIError, _api_error)
    app.add_exception_handler(RequestValidationError, _malformed)
    app.add_exception_handler(400, _unreadable)


async def _api_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, APIError)
    return JSONResponse(error.content, status_code=error.status)


async def _unreadable(request: Request, error: Exception) -> JSONResponse:
    """FastAPI's 400 for a body that is not even text; Leen's document knows only 422."""
    assert isinstance(error, HTTPException)
    message = f"The request is not well-formed: {error.detail}"
    return JSONResponse(error_body("validation_error", "VALIDATION_ERROR", message), status_code=422)


async def _malformed(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    # Without what was sent: it may be long, or no valid text at all.
    detail = [{key: problem[key] for key in ("loc", "msg", "type")} for problem in error.errors()]
    message = f"The request is not well-formed: {detail[0]['msg']}" if detail else "The request is not well-formed."
    return JSONResponse(error_body("validation_error", "VALIDATION_ERROR", message, detail), status_code=422)
