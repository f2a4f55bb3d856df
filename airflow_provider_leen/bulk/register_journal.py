"""The protocol by which runs share a scope of a register: a ledger's leases and journals, with heads and snapshots.

Every name has the number of its lease:

- ``lease/<k>``: who holds or held the scope, signed with the time again and again; with the number of its values once
  it has ended.
- ``j/<k>-<token>/<n>``: what that one has put on record, as in a ledger.
- ``snapshot/<k>-<token>``: all that was known at its end.
- ``head/<k>``: that snapshot counts (its own, or an older one where nothing has changed), and with it the journals from
  lease ``k + 1`` on. Never overwritten; the newest one counts.

Who ends writes the number of its values, a snapshot, *looks*, and writes the head; then it deletes what no longer
counts, its own lease last. So whoever dies on the way leaves either a head that counts, or a journal that does.

Who opens creates the next lease *only if absent*, makes sure that no head has its number or a higher one (it would not
count), and *then* reads. Another's head may appear meanwhile, which lets what is being read disappear: it reads until
the newest head is the same before and after. What is missing then is lost, and nothing is sent.

It deletes only what is below the head that it has read, at any later time: that can't count any more.
"""

from __future__ import annotations

import json
import logging
import re
import secrets
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar, cast

from airflow_provider_leen.api.errors import LeenConfigError, LeenLedgerError, LeenLedgerLostError
from airflow_provider_leen.bulk.journal import Journal, Owner, Place
from airflow_provider_leen.bulk.register_store import ListingStore
from airflow_provider_leen.bulk.stores import Store
from airflow_provider_leen.bulk.values import VERSION, Value

log = logging.getLogger(__name__)

Result = TypeVar("Result")

STALE_AFTER = 600.0
"""Seconds after its last signature from when on another may take over a lease."""

ROUNDS = 100
"""Give up reading after this many rounds in which another run changed what was read."""

_NUMBERED = re.compile(r"(\d+)(?:-[0-9a-zA-Z]+)?")
_FIELDS = {"token", "scope_id", "base_url", "connection_id", "task", "try"}
_SAME_RUN = ("dag_id", "run_id", "task_id")


class Identity(NamedTuple):
    """What a scope is for.

    :param scope: its name; empty for the register's only one.
    :param base_url: Leen's base URL.
    :param connection_id: Leen's connection ID.
    """

    scope: str
    base_url: str
    connection_id: str


class Reading(NamedTuple):
    """What stands in a scope.

    :param head: the newest head; None where there is none.
    :param snapshot: the snapshot that it names; None where it names none.
    :param journals: the leases that count, in order, each with its values.
    """

    head: Value | None
    snapshot: bytes | None
    journals: list[tuple[Value, list[Value]]]

    @property
    def scope_id(self) -> str | None:
        """The scope's random id, None where there is none yet."""
        known = [self.head] if self.head else [lease for lease, _ in self.journals]
        return next((value["scope_id"] for value in known if value and "scope_id" in value), None)


class RegisterJournal(Journal):
    """One run's share of a scope. Its methods block.

    :param store: where the scope is.
    :param owner: whose try it is.
    :param identity: what the scope is for.
    :param token: what its values are written under; random.
    :param now: the time in seconds since the epoch.
    :param sleep: waits for some seconds, before a failed call is repeated.
    :param moves: whether another base URL and connection ID than the scope's are taken over, not refused.
    :param repairs: whether what is missing is noted in :attr:`gaps`, not refused.
    """

    def __init__(
        self,
        store: ListingStore,
        owner: Owner,
        identity: Identity,
        *,
        token: str | None = None,
        now: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
        moves: bool = False,
        repairs: bool = False,
    ) -> None:
        super().__init__(store, owner, token=token, now=now, sleep=sleep)
        self.gaps: list[str] = []
        """What is missing, where that is not refused."""
        self.scope_id = secrets.token_hex(8)
        self.gap: Value | None = None
        """When tickets may have been sent of which the record is lost; it stays in every head."""
        self._files = store
        self._identity = identity
        self._moves = moves
        self.repairs = repairs
        self._head: Value | None = None

    @property
    def identity(self) -> Identity:
        """What the scope is for."""
        return self._identity

    @property
    def task(self) -> dict[str, Any]:
        """Whose run this is."""
        return dict(self._owner.task)

    @property
    def shown_scope(self) -> str:
        """The scope, for a person."""
        return f"scope {self._identity.scope!r} of the register" if self._identity.scope else "register"

    # Opening

    def take(self) -> Value | None:
        """Take the lease where it is free; else return that of who holds it.

        :raises LeenConfigError: the scope is another one's.
        :raises LeenLedgerError: a newer try of this task has opened, or it can't be read.
        """
        for _ in range(ROUNDS):
            heads, leases = self._numbers("head"), self._numbers("lease")
            newest = max(heads, default=0)
            head = self._attempt(self._store.get, f"head/{newest}") if heads else None
            if heads and head is None:
                continue  # There is a newer one by now, or it is missing, which reading finds.
            self._check(head)
            last = max(leases, default=0)
            if last > newest:
                holder: Value | None = self._attempt(self._store.get, f"lease/{last}")
                if holder is None:
                    continue
                self._check(holder)
                if not self._is_free(holder):
                    return holder
            # Beyond whatever is there, too, so that a head that was lost leaves a gap.
            number = 1 + max([newest, last, *self._numbers("j"), *self._numbers("snapshot")])
            at = self._now()
            self._lease = self._value(at) | {"at": at, "signed": at, "values": None}
            if self._attempt(self._store.create, f"lease/{number}", self._lease):
                # It may have ended meanwhile, and no longer counts.
                if max(self._numbers("head"), default=0) < number:
                    self._place = Place(number, self._place.token, 0)
                    return None
                self._attempt(self._store.delete, f"lease/{number}")
        raise self._is_restless()

    def read(self) -> Reading:
        """Read what stands in the scope, after :meth:`take`, and delete what no longer counts.

        :raises LeenLedgerError: something is missing or can't be read, or a newer try has opened.
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

    def peek(self) -> Reading:
        """Read what stands in the scope, without taking it; of a run under way, what it has written so far.

        :raises LeenLedgerError: something is missing or can't be read.
        """
        return self._read_whole(None)

    def resume_reading(self, place: Place) -> Reading:
        """Go on with a try after a deferral, under its own lease; return the same as :meth:`read`.

        :raises LeenLedgerError: something is missing or can't be read, or a newer try has opened.
        """
        self._place = place
        self.look()
        reading = self._read_whole(place.lease)
        self._lease = reading.journals[-1][0]
        self._know(reading)
        return reading

    # Holding

    def look(self) -> None:
        """Make sure that the newest lease is this try's own, and that no head has its number or a higher one.

        :raises LeenLedgerError: it is not so, or that can't be read.
        """
        self._refuse_if_overtaken()
        number = self._place.lease
        mine = self._attempt(self._store.get, f"lease/{number}")
        is_own = mine is not None and mine.get("token") == self._place.token
        # The heads last: a newer run may have come and gone, and a signature may have brought the lease back.
        is_own = is_own and max(self._numbers("lease"), default=0) == number
        if not is_own or max(self._numbers("head"), default=0) >= number:
            raise self._is_overtaken()

    def sign(self) -> bool:
        """Write the time into the lease; see :func:`sign`."""
        return self._attempt(sign, self._store, self._place.lease, self._place.token, self._now())

    # Ending

    def end(self, snapshot: Callable[[], bytes] | None) -> None:
        """End the record, fold it, and release the lease.

        :param snapshot: returns all that is known; None where nothing has changed.
        :raises LeenLedgerError: this try may not go on, or it can't be written.
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
        # Nobody else writes this one, so it need not be created exclusively, which some stores don't do whole.
        self._head = self._value(self._now()) | {"snapshot": name, "first": number + 1, "gap": self.gap}
        self._attempt(self._store.set, f"head/{number}", self._head)
        self._clean()

    def _value(self, at: float) -> Value:
        return {
            "v": VERSION,
            "token": self._place.token,
            **self._identity._asdict(),
            "scope_id": self.scope_id,
            "task": dict(self._owner.task),
            "try": self._owner.try_number,
            "written": at,
        }

    def _know(self, reading: Reading) -> None:
        self._head = reading.head
        self.scope_id = reading.scope_id or self.scope_id
        self.gap = self.gap or (reading.head or {}).get("gap")

    def give_up(self) -> None:
        """Let others take the lease at once, without having done anything."""
        if self._overtaken is None:
            try:
                self._store.set(f"lease/{self._place.lease}", self._lease | {"values": self._place.values})
            except Exception as error:
                log.warning("The lease of the %s could not be released: %s", self.shown_scope, error)

    def _clean(self) -> None:
        """Delete what can't count any more, whatever has happened since the head was read. It may fail."""
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
            for lease in sorted(self._below(first, "lease"), key=_number):
                self._store.delete(f"lease/{lease}")
        except Exception as error:
            log.warning("What no longer counts in the %s could not be deleted: %s", self.shown_scope, error)

    # Reading

    def _read_whole(self, own: int | None) -> Reading:
        """Read until nobody has written a head meanwhile, which lets what was read before it disappear."""
        for _ in range(ROUNDS):
            newest = max(self._numbers("head"), default=0)
            problem: LeenLedgerError | None = None
            self.gaps = []
            try:
                reading = self._read_once(newest, own)
            except LeenLedgerError as error:
                problem = error
            if max(self._numbers("head"), default=0) != newest:
                continue
            if problem is not None:
                raise problem
            return reading
        raise self._is_restless()

    def _read_once(self, newest: int, own: int | None) -> Reading:
        head = self._attempt(self._store.get, f"head/{newest}") if newest else None
        if newest and head is None:
            self._miss(f"head/{newest}")
        if head is not None:
            self._check_version(head)
        first = newest + 1
        there = {kind: self._numbers(kind) for kind in ("lease", "j", "snapshot")}
        last = max((number for numbers in there.values() for number in numbers), default=0)
        if own is not None and (own < first or max(there["lease"], default=0) > own):
            raise self._is_overtaken()
        snapshot, name = None, self._snapshot_of(head)
        if name is not None:
            snapshot = self._attempt(self._files.read, f"snapshot/{name}")
            if snapshot is None:
                self._miss(f"snapshot/{name}")
        return Reading(head, snapshot, self._read_journals(range(first, max(last, own or 0) + 1), own))

    def _read_journals(self, numbers: range, own: int | None) -> list[tuple[Value, list[Value]]]:
        """Read the leases that count, and their journals."""
        journals: list[tuple[Value, list[Value]]] = []
        names = set(self._attempt(self._files.names, "j"))
        for number in numbers:
            lease = self._attempt(self._store.get, f"lease/{number}")
            if lease is None:
                self._miss(f"lease/{number}")
            elif lease:
                self._check_version(lease)
                journal = f"{number}-{lease['token']}"
                names.discard(journal)
                known = self._place.values if number == own else lease["values"] or 0
                journals.append((lease, self._read_journal(journal, known)))
            # Else whoever created it died before it was written, and has sent nothing.
        for journal in sorted(names, key=_number):
            if _number(journal) >= numbers.start:
                self._miss(f"the lease of j/{journal}")
                journals.insert(0, ({"task": None}, self._read_journal(journal, 0)))
        return journals

    def _snapshot_of(self, head: Value | None) -> str | None:
        """Return the name of the snapshot that counts; where the head is lost, the newest one is the best guess."""
        if head is not None:
            return cast("str | None", head["snapshot"])
        if not self.repairs:
            return None
        names = [name for name in self._attempt(self._files.names, "snapshot") if _NUMBERED.fullmatch(name)]
        return max(names, key=_number, default=None)

    def _read_journal(self, journal: str, at_least: int) -> list[Value]:
        numbers = self._numbers(f"j/{journal}")
        values = []
        for number in range(1, max([at_least, *numbers]) + 1):
            value = self._attempt(self._store.get, f"j/{journal}/{number}")
            if value:
                values.append(value)
            else:
                self._miss(f"j/{journal}/{number}")
        return values

    def _numbers(self, folder: str) -> list[int]:
        return [_number(name) for name in self._attempt(self._files.names, folder) if _NUMBERED.fullmatch(name)]

    def _below(self, number: int, folder: str) -> list[str]:
        names = self._files.names(folder)
        return [name for name in names if _NUMBERED.fullmatch(name) and _number(name) < number]

    # Refusing

    def _is_free(self, lease: Value) -> bool:
        """Tell whether a lease may be taken over."""
        if not lease or lease["values"] is not None or lease["task"] == dict(self._owner.task):
            return True
        return bool(self._now() - lease["signed"] >= STALE_AFTER)

    def _check(self, value: Value | None) -> None:
        """Refuse a head or a lease of another destination, of a sibling, or of a newer try."""
        if not value:
            return
        self._check_version(value)
        mine, task = dict(self._owner.task), value["task"]
        if task == mine:
            if value["try"] > self._owner.try_number:
                raise self._is_overtaken()
        elif all(name in mine and task.get(name) == mine[name] for name in _SAME_RUN):
            raise LeenConfigError(
                f"Another mapped instance of this task uses the {self.shown_scope}, too. Give each instance a `scope` "
                "of its own."
            )
        theirs = value["base_url"], value["connection_id"]
        if not self._moves and theirs != (self._identity.base_url, self._identity.connection_id):
            raise LeenConfigError(
                f"The {self.shown_scope} belongs to the Leen connection {theirs[1]} at {theirs[0]}, this task uses "
                f"{self._identity.connection_id} at {self._identity.base_url}. Use another `register` or `scope`, or "
                "run `airflow leen register move` if the tickets are the same."
            )

    def _check_version(self, value: Value) -> None:
        version = value.get("v")
        if version == VERSION and not value.keys() >= _FIELDS:
            raise LeenLedgerLostError(
                f"The {self.shown_scope} holds a value that can't be read: {json.dumps(value)[:200]}. Restore it from "
                "a backup, or run `airflow leen register repair`."
            )
        if version != VERSION:
            raise LeenLedgerLostError(
                f"The {self.shown_scope} was written by another release of airflow-provider-leen (version "
                f"{version!r}, this one reads {VERSION}). Install the newer release everywhere that uses the register."
            )

    def _miss(self, key: str) -> None:
        if not self.repairs:
            raise LeenLedgerLostError(
                f"The {self.shown_scope} has a gap: {key} is missing. It may hide tickets that were filed, so nothing "
                "is sent. Restore it from a backup, or run `airflow leen register repair`."
            )
        self.gaps.append(key)

    def _is_restless(self) -> LeenLedgerError:
        return LeenLedgerError(f"Other runs change the {self.shown_scope} faster than it can be read. Try again.")

    def _is_overtaken(self) -> LeenLedgerError:
        self._overtaken = LeenLedgerError(
            f"Another run or try has taken over the {self.shown_scope}. This one sends and publishes nothing more; see "
            "the newest one."
        )
        return self._overtaken


def sign(store: Store, number: int, token: str, at: float) -> bool:
    """Write the time into a lease, so that nobody takes it over; say whether it is there, and has not ended.

    It is all that is written for a task that has freed its worker.
    """
    lease = store.get(f"lease/{number}")
    if lease is None or lease.get("token") != token or lease["values"] is not None:
        return False
    store.set(f"lease/{number}", lease | {"signed": at})
    return True


def _number(name: str) -> int:
    return int(name.partition("-")[0])


def shown_owner(lease: Value) -> str:
    """Return who holds a lease, for a person."""
    task: Any = lease.get("task") or {}
    parts: Sequence[str] = [f"{name} {value}" for name, value in task.items() if value not in (None, -1, "")]
    return ", ".join(parts) or "somebody"
