"""Combines the rows of a list with the facts about their tickets: what to send, what is unknown, each row's result.

All facts are read from the ledger's table; only the texts of look-ups are kept here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any, cast

from airflow_provider_leen.api.errors import LeenError
from airflow_provider_leen.api.settings import LeenSettings
from airflow_provider_leen.bulk.ledger import Ledger
from airflow_provider_leen.bulk.lookup import Control, Created, UnknownTicket, final_from, project_of
from airflow_provider_leen.bulk.state import Ticket
from airflow_provider_leen.bulk.summary import Progress, TicketResult, shown_error
from airflow_provider_leen.bulk.tickets import TicketRow, follows

Payload = Callable[[TicketRow], dict[str, Any]]
"""Makes the request body of a valid row."""


_CONTROLS = 6
"""About how many tickets a search is tested with: people may have moved or deleted some."""


class TicketList:
    """The rows of a try and their tickets.

    :param rows: all rows of the input, the invalid ones included.
    :param ledger: the facts of this try.
    :param payload: makes the request body of a valid row.
    :param settings: how patient to be.
    """

    def __init__(self, rows: Sequence[TicketRow], ledger: Ledger, payload: Payload, settings: LeenSettings) -> None:
        self.rows = rows
        self.by_key = {row.key: row for row in rows if row.key is not None}
        self._ledger = ledger
        self._payload = payload
        self._settings = settings
        self._findings: dict[str, str] = {}
        """By key, what look-ups of tickets with an unknown outcome found, for a person."""

    def begin(self) -> None:
        """Prepare the list, once the ledger is open."""

    def __contains__(self, key: str) -> bool:
        """Return whether a ticket is in the list, or was in it before this try waited for its jobs."""
        return key in self.by_key or self._was_listed(key)

    def identifier_of(self, key: str) -> str | None:
        """Return the identifier with which a ticket was sent."""
        row, label = self.by_key.get(key), self._ledger.table[key].label
        return row.identifier if row else label and label.identifier

    def with_status(self, *statuses: str) -> list[TicketRow]:
        """Return the rows whose tickets have one of these statuses."""
        table = self._ledger.table
        return [row for key, row in self.by_key.items() if table[key].status in statuses]

    def without_ids(self, keys: Collection[str]) -> list[UnknownTicket]:
        """Return those tickets that were created, but whose ids no reply has named."""
        table = self._ledger.table
        return [
            self._as_unknown(self.by_key[key])
            for key in keys
            if key in self.by_key and table[key].status == "created" and not table[key].ticket_id
        ]

    def unknown_tickets(self, jobs_under_way: Mapping[str, Collection[str]]) -> list[UnknownTicket]:
        """Return the tickets with an unknown outcome, except those in running jobs, which may still create them."""
        in_jobs = {key for keys in jobs_under_way.values() for key in keys}
        return [self._as_unknown(row) for row in self.with_status("unknown") if row.key not in in_jobs]

    def note_found(self, found: Mapping[str, Created], asked: Sequence[UnknownTicket]) -> list[UnknownTicket]:
        """State which tickets were found, and keep the texts about the others, which are returned."""
        table = self._ledger.table
        table.found(found)
        left = [ticket for ticket in asked if table[ticket.key].status == "unknown"]
        self._findings |= {ticket.key: ticket.findings for ticket in left}
        return left

    def controls(self, project: str) -> list[Control]:
        """Return some tickets in a project that carry their keys and that the tracker's search must find."""
        made = []
        for row in self.with_status("created"):
            ticket = self._ledger.table[str(row.key)]
            is_embedded = ticket.sendings and all(sending.embedded for sending in ticket.sendings)
            if is_embedded and project_of(self._payload(row)) == project:
                made.append((ticket, str(row.key)))
        return self._some_of(made)

    def _some_of(self, made: Iterable[tuple[Ticket, str]]) -> list[Control]:
        """Return some of these tickets that the tracker's search must find by now, the newest first."""
        sent_before = self._ledger.now() - self._settings.settle_time - self._settings.timeout
        sent = ((max(sending.at for sending in ticket.sendings), key, ticket) for ticket, key in made)
        newest = sorted((it for it in sent if it[0] < sent_before), key=itemgetter(0), reverse=True)
        # Older ones, too: all of one day may have been deleted together.
        chosen = [*newest[:2], *newest[2 :: max(1, len(newest) // _CONTROLS)]]
        return [Control(key, ticket.vendor_ticket_id) for _, key, ticket in chosen]

    # Reporting

    def progress(self) -> Progress:
        """Return the progress of the try."""
        table = self._ledger.table
        counts = Counter(table[key].status for key in self.by_key)
        counts.update(table[str(self.rows[row.follows].key)].status for row in self.rows if row.follows is not None)
        invalid = len(self.rows) - counts.total()
        done = counts.total() - counts["unknown"] - counts["unsent"] + invalid
        return {"total": len(self.rows), "done": done, "failed": counts["rejected"] + invalid}

    def results(self, error: LeenError | None, *, with_gone: bool) -> list[TicketResult]:
        """Return a result for every row, in the order of the input.

        :param error: what ended the try early.
        :param with_gone: whether to append rows that were in the list only before this try waited for its jobs.
        """
        results = [self._result(row, error) for row in self.rows]
        listed = self._ledger.table if with_gone else ()
        gone = [key for key in listed if key not in self.by_key and self._was_listed(key)]
        for index, key in enumerate(gone, start=len(results)):
            ticket = self._ledger.table[key]
            assert ticket.label is not None
            why = f"{self._error_of(key, ticket, error) or ''} Its row is gone from the list.".strip()
            results.append(_result(index, ticket.label.name, ticket.label.identifier, ticket, why))
        return results

    def _result(self, row: TicketRow, error: LeenError | None) -> TicketResult:
        if row.follows is not None:
            return _result_of_twin(row, self._result(self.rows[row.follows], error))
        if row.key is None:
            return _result(row.index, row.name, row.identifier, "invalid", row.error)
        if not self._ledger.is_open:
            why = "Not sent in this try, and it is unknown what earlier tries sent."
            return _result(row.index, row.name, row.identifier, "unknown", why)
        ticket = self._ledger.table[row.key]
        return _result(row.index, row.name, row.identifier, ticket, self._error_of(row.key, ticket, error))

    def _error_of(self, key: str, ticket: Ticket, error: LeenError | None) -> str | None:
        if ticket.proved is not None:
            return None
        if ticket.status == "unsent":
            return f"Not sent: {error}" if error else "Not sent."
        findings = self._findings.get(key) if ticket.status == "unknown" else None
        return f"{ticket.error} Looked up: {findings}" if findings else ticket.error

    def _was_listed(self, key: str) -> bool:
        label = self._ledger.table[key].label
        return label is not None and label.lease == self._ledger.place.lease

    def _as_unknown(self, row: TicketRow) -> UnknownTicket:
        ticket, body = self._ledger.table[str(row.key)], self._payload(row)
        until = final_from(ticket.sendings, self._settings, self._ledger.host)
        return UnknownTicket(row, body["name"], project_of(body), ticket.sendings, until, ticket.named)


class _Result:
    """Its ``__dict__`` is a result: such dicts share one table of keys, which halves the size of a long list."""

    def __init__(
        self, index: int, name: str | None, identifier: str | None, ticket: Ticket | str, error: str | None
    ) -> None:
        known, status = (Ticket(), ticket) if isinstance(ticket, str) else (ticket, ticket.status)
        self.request_index = index
        self.success = known.proved is not None
        self.status = status
        self.name = name
        self.identifier = identifier
        self.ticket_id = known.ticket_id
        self.vendor_ticket_id = known.vendor_ticket_id
        self.error = shown_error(error)


def _result(
    index: int, name: str | None, identifier: str | None, ticket: Ticket | str, error: str | None
) -> TicketResult:
    """Make a result.

    :param ticket: the facts, or the status if there are none.
    """
    return cast(TicketResult, vars(_Result(index, name, identifier, ticket, error)))


def _result_of_twin(row: TicketRow, first: TicketResult) -> TicketResult:
    """Make the result of a row that shares an earlier one's identifier, and so its ticket.

    :param first: the result of the earlier row.
    """
    own = {"request_index": row.index, "name": row.name, "identifier": row.identifier}
    if first["success"]:
        return cast(TicketResult, {**first, **own, "status": "existing"})
    error = follows(f"#{first['request_index']}", row.identifier, f"is {first['status']}", first["error"])
    return cast(TicketResult, {**first, **own, "error": shown_error(error)})
