"""The protocol by which runs share a scope of a register: a ledger's leases and journals, with heads and snapshots.

Every name has the number of its lease:

- ``lease/<k>``: who holds or held the scope, renewed with the current time regularly; with the number of its values
  once it has ended.
- ``j/<k>-<token>/<n>``: the values of that lease, as in a ledger.
- ``snapshot/<k>-<token>``: all facts at its end.
- ``head/<k>``: the snapshot that counts (its own, or an older one if nothing has changed), and with it the journals
  from lease ``k + 1`` on. Never overwritten; the newest one counts.

At its end, a run writes the number of its values and a snapshot, *checks* its lease, and writes the head; then it
deletes what no longer counts, its own lease last. So a run that dies leaves either a head that counts or a journal that
does.

To open, a run creates the next lease *only if absent*, checks that no head has its number or a higher one (the lease
would not count), and *then* reads. If another run's head appears meanwhile, values that are being read may be deleted:
so it reads until the newest head is the same before and after. Values that are missing then are lost, and nothing is
sent.

A run deletes only what is below the head that it has read: that can never count again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from airflow_provider_leen.api.errors import LeenConfigError, LeenLedgerError
from airflow_provider_leen.bulk.journal import Place
from airflow_provider_leen.bulk.register_reading import ROUNDS, ScopeContent, ScopeReader, number_of
from airflow_provider_leen.bulk.stores import Store
from airflow_provider_leen.bulk.values import VERSION, Value

log = logging.getLogger(__name__)

STALE_AFTER = 600.0
"""Seconds after its last renewal until another run may take over a lease."""


class RegisterJournal(ScopeReader):
    """One run's access to a scope: it takes the lease, keeps it, and ends with a head. Its methods block."""

    # Opening

    def take(self) -> Value | None:
        """Take the lease if it is free; else return its holder's.

        :raises LeenConfigError: the scope belongs to another connection or mapped instance.
        :raises LeenLedgerError: a newer try of this task has opened, or it can't be read.
        """
        for _ in range(ROUNDS):
            heads, leases = self._numbers("head"), self._numbers("lease")
            newest = max(heads, default=0)
            head = self._get(f"head/{newest}") if heads else None
            if heads and head is None and not self.repairs:
                continue  # There is a newer one by now, or it is missing, which the reading finds out.
            self._check(head)
            last = max(leases, default=0)
            if last > newest:
                holder = self._get(f"lease/{last}")
                if holder is None and not self.repairs:
                    continue
                self._check(holder)
                if holder and not self._is_free(holder):
                    return holder
            # Higher than all existing numbers, so that a lost head leaves a gap.
            number = 1 + max([newest, last, *self._numbers("j"), *self._numbers("snapshot")])
            at = self._now()
            self._lease = self._value(at) | {"at": at, "signed": at, "values": None}
            if self._attempt(self._store.create, f"lease/{number}", self._lease):
                # It may have ended meanwhile.
                if max(self._numbers("head"), default=0) < number:
                    self._place = Place(number, self._place.token, 0)
                    return None
                self._attempt(self._store.delete, f"lease/{number}")
        raise self._is_restless()

    def read(self) -> ScopeContent:
        """Read the scope, after :meth:`take`, and delete what no longer counts.

        :raises LeenLedgerError: a value is missing or can't be read, or a newer try has opened.
        """
        try:
            reading = self._read_whole(self._place.lease)
            for value in (reading.head, *(lease for lease, _ in reading.journals)):
                self._check(value)
        except (LeenConfigError, LeenLedgerError):
            self.give_up()
            raise
        self._know(reading)
        self._clean()
        return reading

    def resume_reading(self, place: Place) -> ScopeContent:
        """Continue a try after a deferral, under its own lease; return the same as :meth:`read`.

        :raises LeenLedgerError: a value is missing or can't be read, or a newer try has opened.
        """
        self._place = place
        self.look()
        reading = self._read_whole(place.lease)
        self._lease = reading.journals[-1][0]
        self._know(reading)
        return reading

    # Holding

    def look(self) -> None:
        """Check that the newest lease is this try's own, and that no head has its number or a higher one.

        :raises LeenLedgerError: another run has taken over, or that can't be read.
        """
        self._refuse_if_overtaken()
        number = self._place.lease
        mine = self._attempt(self._store.get, f"lease/{number}")
        is_own = mine is not None and mine.get("token") == self._place.token
        # The heads last: a newer run may have opened and ended, and a renewal may have restored the lease.
        is_own = is_own and max(self._numbers("lease"), default=0) == number
        if not is_own or max(self._numbers("head"), default=0) >= number:
            raise self._is_overtaken()

    def sign(self) -> bool:
        """Renew the lease; see :func:`sign`."""
        return self._attempt(sign, self._store, self._place.lease, self._place.token, self._now())

    # Ending

    def end(self, snapshot: Callable[[], bytes] | None) -> None:
        """End the record, write a snapshot, and release the lease.

        :param snapshot: returns all facts; None if nothing has changed.
        :raises LeenLedgerError: this try may not continue, or it can't be written.
        """
        self.look()
        number, token = self._place.lease, self._place.token
        key = f"lease/{number}"
        self._attempt(self._store.set, key, self._lease | {"values": self._place.values, "signed": self._now()})
        name = None if self._head is None else self._head["snapshot"]
        if snapshot is not None:
            name = f"{number}-{token}"
            self._attempt(self._files.write, f"snapshot/{name}", snapshot())
        try:
            self.look()
        except LeenLedgerError:
            if snapshot is not None:
                self._attempt(self._files.remove, f"snapshot/{name}")
            raise
        if self.gaps:
            self.gap = {"since": 0.0, "until": self._now()}
        # No other run writes this one, so it is not created exclusively, which some stores don't do atomically.
        self._head = self._value(self._now()) | {"snapshot": name, "first": number + 1, "gap": self.gap}
        self._attempt(self._store.set, f"head/{number}", self._head)
        self._clean()

    def _value(self, at: float) -> Value:
        return {
            "v": VERSION,
            "token": self._place.token,
            **self.identity._asdict(),
            "scope_id": self.scope_id,
            "task": dict(self._owner.task),
            "try": self._owner.try_number,
            "written": at,
        }

    def _know(self, reading: ScopeContent) -> None:
        self._head = reading.head
        self.scope_id = reading.scope_id or self.scope_id
        self.gap = self.gap or (reading.head or {}).get("gap")

    def give_up(self) -> None:
        """Release the lease of a run that has done nothing."""
        if self._overtaken is None:
            try:
                self._store.set(f"lease/{self._place.lease}", self._lease | {"values": self._place.values})
            except Exception as error:
                log.warning("The lease of the %s could not be released: %s", self.shown_scope, error)

    def _clean(self) -> None:
        """Delete what can never count again. Failures are logged only."""
        if self._head is None:
            return
        first, name = self._head["first"], self._head["snapshot"]
        try:
            for journal in self._below(first, "j"):
                for value in self._files.names(f"j/{journal}"):
                    self._store.delete(f"j/{journal}/{value}")
                self._files.remove(f"j/{journal}")
            for snapshot in self._below(first, "snapshot"):
                if snapshot != name:
                    self._files.remove(f"snapshot/{snapshot}")
            for head in self._below(first - 1, "head"):
                self._store.delete(f"head/{head}")
            for lease in sorted(self._below(first, "lease"), key=number_of):
                self._store.delete(f"lease/{lease}")
        except Exception as error:
            log.warning("Old values of the %s could not be deleted: %s", self.shown_scope, error)

    def _is_free(self, lease: Value) -> bool:
        """Return whether a lease may be taken over."""
        if lease["values"] is not None or lease["task"] == dict(self._owner.task):
            return True
        return bool(self._now() - lease["signed"] >= STALE_AFTER)


def sign(store: Store, number: int, token: str, at: float) -> bool:
    """Renew a lease, so that no other run takes it over; return whether it exists and has not ended.

    Nothing else is written for a task that has freed its worker.
    """
    lease = store.get(f"lease/{number}")
    if lease is None or lease.get("token") != token or lease["values"] is not None:
        return False
    store.set(f"lease/{number}", lease | {"signed": at})
    return True


def shown_owner(lease: Value) -> str:
    """Return the holder of a lease, for a person."""
    task: Any = lease.get("task") or {}
    parts: Sequence[str] = [f"{name} {value}" for name, value in task.items() if value not in (None, -1, "")]
    return ", ".join(parts) or "somebody"
