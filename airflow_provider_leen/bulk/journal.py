"""The protocol by which several tries of one task share a ledger: leases, journals, and who may continue.

The store has two kinds of values:

- ``lease/<k>``: the k-th try that opened, with its random token, its owner, and at its end the number of its values.
- ``j/<k>-<token>/<n>``: the n-th value of that try, written once. No other try writes under its token.

A try opens by creating the next free lease, *only if absent*; *then* it reads the journals of all earlier leases. It
continues only while the newest lease is its own, and checks that after each write. So if two tries overlap, either the
older one's check comes before the newer one's lease, and the newer one reads what the older one is about to send; or
the check comes after the lease, and the older one stops without sending. If the store itself refuses the writes of a
replaced try, a successful write is the check.

Values are written strictly one after the other. So if a number is missing while a later one exists, or while the lease
counts more values, a value is lost: nothing is sent then.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from airflow_provider_leen.api.errors import LeenLedgerError, LeenLedgerLostError
from airflow_provider_leen.bulk.stores import Store
from airflow_provider_leen.bulk.values import EXITS, VERSION, Value, check_version, unreadable

Result = TypeVar("Result")

# No retry: it would find an empty ledger and send everything again.
_DELETED = (
    "This try's ledger was deleted while it ran. This try sends and publishes nothing more. Clear the task: then the "
    "outcome of every ticket is unknown, and `on_unknown` decides."
)


class Owner(NamedTuple):
    """Who holds a lease.

    :param task: what the tries have in common: Dag, run, task, map index, and region if there is one.
    :param try_number: Airflow's number of the try.
    """

    task: Mapping[str, Any]
    try_number: int


@dataclass(frozen=True)
class Place:
    """A try's position in the ledger, as plain values that can cross a deferral.

    :param lease: the number of its lease.
    :param token: its token.
    :param values: how many values it has written.
    """

    lease: int
    token: str
    values: int


class Journal:
    """One try's section of the ledger. Its methods block.

    :param store: the store of the values.
    :param owner: the owner of the try.
    :param token: the random token in the keys of its values.
    :param now: the time in seconds since the epoch.
    :param sleep: waits for some seconds.
    """

    ahead = 8
    """How many numbers after a missing one are tried, since a store can't list."""

    pauses: Sequence[float] = (0.5, 1.5)
    """Seconds before a failed call to the store is retried."""

    def __init__(
        self,
        store: Store,
        owner: Owner,
        *,
        token: str | None = None,
        now: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._store = store
        self._owner = owner
        self._now = now
        self._sleep = sleep
        self._place = Place(0, token or secrets.token_hex(8), 0)
        self._overtaken: LeenLedgerError | None = None
        self._lease: Value = {}

    @property
    def place(self) -> Place:
        """The position, for the process that continues this try after a deferral."""
        return self._place

    def open(self, forgotten: Value | None = None) -> tuple[list[Value], Value | None]:
        """Take the next lease, then read the values of earlier tries.

        :param forgotten: the note to write into the lease if there is none although an earlier try may have sent
            tickets; later tries, which find a lease, read the note there.
        :return: the values of earlier tries, in order, and the note of the first lease, with its time as ``until``.
        :raises LeenLedgerError: a value is missing or can't be read, or a newer try has opened.
        """
        leases: list[Value] = []
        while True:
            number = len(leases) + 1
            lease = self._next("lease/{}", number, probe=number > 1 or self._owner.try_number > 1)
            if lease is not None:
                self._check_lease(lease)
                leases.append(lease)
                continue
            at = self._now()
            # Missing leases were deleted before now: nothing that was sent later can be missing.
            gone = None if forgotten is None or any(leases) else forgotten | {"until": at}
            self._lease = {
                "v": VERSION,
                "token": self._place.token,
                "task": dict(self._owner.task),
                "try": self._owner.try_number,
                "at": at,
                "values": None,
                "forgotten": gone,
            }
            if self._attempt(self._store.create, f"lease/{number}", self._lease):
                break
        self._place = Place(number, self._place.token, 0)
        return self._read_all([*leases, self._lease])

    def resume(self, place: Place) -> tuple[list[Value], Value | None]:
        """Continue a try after a deferral, under its own lease; return the same as :meth:`open`.

        :raises LeenLedgerError: a value is missing or can't be read, or a newer try has opened.
        """
        self._place = place
        self.look()
        leases = []
        for number in range(1, place.lease + 1):
            lease = self._attempt(self._store.get, f"lease/{number}")
            if lease is None:
                raise missing(f"lease/{number}")
            leases.append(lease)
        self._lease = leases[-1]
        return self._read_all(leases)

    def append(self, value: Value) -> None:
        """Write the next value, then check that this try may continue.

        :raises LeenLedgerError: it may not.
        """
        self._refuse_if_overtaken()
        number = self._place.values + 1
        try:
            # Retries write the same number and content, so a write may succeed twice without harm.
            self._attempt(self._store.set, self._key(self._place.lease, self._place.token).format(number), value)
        except Exception:
            # If it was refused because this try was replaced, raise that error.
            self.look()
            raise
        self._place = Place(self._place.lease, self._place.token, number)
        if not self._store.refuses_overtaken_writes:
            self.look()

    def look(self) -> None:
        """Check that the newest lease is this try's own.

        :raises LeenLedgerError: it is not, or it can't be read.
        :raises LeenLedgerLostError: its lease was deleted.
        """
        self._refuse_if_overtaken()
        if not self._store.durable:
            return
        mine = self._attempt(self._store.get, f"lease/{self._place.lease}")
        newer = None
        # A store that refuses the writes of a replaced try shows it no lease at all.
        if not self._store.refuses_overtaken_writes:
            newer = self._attempt(self._store.get, f"lease/{self._place.lease + 1}")
        if newer is not None or (mine is not None and mine.get("token") != self._place.token):
            raise self._is_overtaken()
        if mine is None:
            if self._is_refused():
                raise self._is_overtaken()
            self._overtaken = LeenLedgerLostError(_DELETED)
            raise self._overtaken

    def close(self) -> None:
        """Write the number of values into the lease; nothing is written after that.

        :raises LeenLedgerError: this try may not continue, or the lease can't be written.
        """
        self.look()
        lease = self._lease | {"values": self._place.values}
        self._attempt(self._store.set, f"lease/{self._place.lease}", lease)

    def _read_all(self, leases: list[Value]) -> tuple[list[Value], Value | None]:
        values: list[Value] = []
        for number, lease in enumerate(leases, start=1):
            is_own = number == self._place.lease
            if "token" not in lease or (is_own and self._place.values == 0):
                # A try that died before its lease was written has sent nothing.
                continue
            known = self._place.values if is_own else lease["values"] or 0
            own = self._read(self._key(number, lease["token"]), known)
            if is_own:
                self._place = Place(number, self._place.token, len(own))
            values += own
        return values, next((lease["forgotten"] for lease in leases if lease.get("forgotten")), None)

    def _read(self, key: str, at_least: int) -> list[Value]:
        values: list[Value] = []
        while (value := self._next(key, len(values) + 1)) is not None:
            values.append(value)
        if len(values) < at_least:
            raise missing(key.format(len(values) + 1))
        return values

    def _next(self, key: str, number: int, *, probe: bool = True) -> Value | None:
        """Read the value of a number; if there is none, check that no later one exists."""
        value: Value | None = self._attempt(self._store.get, key.format(number))
        if value is not None or not probe:
            return value
        for later in range(number + 1, number + 1 + self.ahead):
            if self._attempt(self._store.get, key.format(later)) is not None:
                # Values are written in order: if it was written meanwhile, it is there now.
                value = self._attempt(self._store.get, key.format(number))
                if value is None:
                    raise missing(key.format(number))
                return value
        return None

    def _check_lease(self, lease: Value) -> None:
        try:
            if not lease:
                return
            check_version(lease)
            is_newer = lease["task"] == dict(self._owner.task) and lease["try"] > self._owner.try_number
            str(lease["token"]), lease["values"], lease["forgotten"]
        except (KeyError, TypeError):
            raise unreadable(lease) from None
        if is_newer:
            raise self._is_overtaken()

    def _attempt(self, function: Callable[..., Result], *args: Any) -> Result:
        for pause in self.pauses:
            try:
                return function(*args)
            except Exception:
                self._sleep(pause)
        return function(*args)

    def _refuse_if_overtaken(self) -> None:
        if self._overtaken is not None:
            raise self._overtaken

    def _is_refused(self) -> bool:
        """Return whether the store refuses this try's writes, since it was replaced."""
        if not self._store.refuses_overtaken_writes:
            return False
        key = self._key(self._place.lease, self._place.token).format(self._place.values + 1)
        try:
            self._attempt(self._store.set, key, {"v": VERSION})
        except Exception:
            return True
        return False

    def _is_overtaken(self) -> LeenLedgerError:
        self._overtaken = LeenLedgerError(
            "Another try of this task has taken over. This try sends and publishes nothing more; see the newest try."
        )
        return self._overtaken

    @staticmethod
    def _key(lease: int, token: str) -> str:
        return f"j/{lease}-{token}/{{}}"


def missing(key: str) -> LeenLedgerLostError:
    """Return the error of a missing value."""
    return LeenLedgerLostError(
        f"The ledger of this task has a gap: {key} is missing. It may hide tickets that were sent, so this try sends "
        f"nothing. {EXITS}"
    )
