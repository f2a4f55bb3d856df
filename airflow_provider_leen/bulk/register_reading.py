"""Reads a scope of a register, and checks that it may be used: the read-only side of the protocol.

Values that are being read may be deleted once another run has written a newer head: so they are read until the newest
head is the same before and after. Values that are missing then are lost.
"""

from __future__ import annotations

import json
import re
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple, cast

from airflow_provider_leen.api.errors import LeenConfigError, LeenLedgerError, LeenLedgerLostError
from airflow_provider_leen.bulk.journal import Journal, Owner
from airflow_provider_leen.bulk.register_store import ListingStore
from airflow_provider_leen.bulk.snapshot import unpack
from airflow_provider_leen.bulk.values import REGISTER_EXITS, VERSION, Value

ROUNDS = 100
"""Give up reading after this many rounds in which another run changed what was read."""

_NUMBERED = re.compile(r"(\d+)(?:-[0-9a-zA-Z]+)?")
_FIELDS = {"token", "scope_id", "base_url", "connection_id", "task", "try"}
_SAME_RUN = ("dag_id", "run_id", "task_id")


class Identity(NamedTuple):
    """The identity of a scope.

    :param scope: its name; empty for the default one.
    :param base_url: Leen's base URL.
    :param connection_id: Leen's connection ID.
    """

    scope: str
    base_url: str
    connection_id: str


class ScopeContent(NamedTuple):
    """The content of a scope.

    :param head: the newest head; None if there is none.
    :param snapshot: the snapshot that it names; None if it names none.
    :param journals: the leases that count, in order, each with its values.
    """

    head: Value | None
    snapshot: bytes | None
    journals: list[tuple[Value, list[Value]]]

    @property
    def scope_id(self) -> str | None:
        """The scope's random id, None if there is none yet."""
        if self.head is not None:
            return cast(str, self.head["scope_id"])
        if self.snapshot is not None:
            # The head is lost; leases may be lost, too.
            with suppress(LeenLedgerError):
                return cast(str, unpack(self.snapshot)[0]["scope_id"])
        return next((lease["scope_id"] for lease, _ in self.journals if "scope_id" in lease), None)


class ScopeReader(Journal):
    """Reads a scope. Its methods block.

    :param store: the store of the scope.
    :param owner: the owner of the try.
    :param identity: the identity of the scope.
    :param token: the random token in the keys of its values.
    :param now: the time in seconds since the epoch.
    :param sleep: waits some seconds before a failed call is retried.
    :param moves: whether another base URL and connection ID replace the scope's instead of being refused.
    :param repairs: whether missing values are collected in :attr:`gaps` instead of being refused.
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
        """The missing values, if they are not refused."""
        self.scope_id = secrets.token_hex(8)
        self.gap: Value | None = None
        """The time of sendings whose record may be lost; it is kept in every head."""
        self._files = store
        self.identity = identity
        self._moves = moves
        self.repairs = repairs
        self._head: Value | None = None

    @property
    def task(self) -> dict[str, Any]:
        """The owner of this run."""
        return dict(self._owner.task)

    @property
    def shown_scope(self) -> str:
        """The scope, for a person."""
        return f"scope {self.identity.scope!r} of the register" if self.identity.scope else "register"

    def peek(self) -> ScopeContent:
        """Read the scope without taking its lease; for a running run, what it has written so far.

        :raises LeenLedgerError: a value is missing or can't be read.
        """
        return self._read_whole(None)

    def _read_whole(self, own: int | None) -> ScopeContent:
        """Read until no other run has written a head meanwhile: it may have deleted values."""
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

    def _read_once(self, newest: int, own: int | None) -> ScopeContent:
        head = self._get(f"head/{newest}") if newest else None
        if newest and not head:
            self._miss(f"head/{newest}")
            head = None
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
        return ScopeContent(head, snapshot, self._read_journals(range(first, max(last, own or 0) + 1), own))

    def _read_journals(self, numbers: range, own: int | None) -> list[tuple[Value, list[Value]]]:
        """Read the leases that count, and their journals."""
        journals: list[tuple[Value, list[Value]]] = []
        names = set(self._attempt(self._files.names, "j"))
        for number in numbers:
            lease = self._get(f"lease/{number}")
            if lease is None:
                self._miss(f"lease/{number}")
            elif lease:
                self._check_version(lease)
                journal = f"{number}-{lease['token']}"
                names.discard(journal)
                known = self._place.values if number == own else lease["values"] or 0
                journals.append((lease, self._read_journal(journal, known)))
            # Otherwise its run died before it was written, and has sent nothing.
        for journal in sorted(names, key=number_of):
            if number_of(journal) >= numbers.start:
                self._miss(f"the lease of j/{journal}")
                journals.insert(0, ({"task": None}, self._read_journal(journal, 0)))
        return journals

    def _snapshot_of(self, head: Value | None) -> str | None:
        """Return the name of the snapshot that counts; if the head is lost, the newest one is the best guess."""
        if head is not None:
            return cast("str | None", head["snapshot"])
        if not self.repairs:
            return None
        names = [name for name in self._attempt(self._files.names, "snapshot") if _NUMBERED.fullmatch(name)]
        return max(names, key=number_of, default=None)

    def _read_journal(self, journal: str, at_least: int) -> list[Value]:
        numbers = self._numbers(f"j/{journal}")
        values = []
        for number in range(1, max([at_least, *numbers]) + 1):
            value = self._get(f"j/{journal}/{number}")
            if value:
                values.append(value)
            else:
                self._miss(f"j/{journal}/{number}")
        return values

    def _get(self, key: str) -> Value | None:
        """Read a value; for a repair, one that can't be read is as good as missing."""
        try:
            return self._attempt(self._store.get, key)
        except LeenLedgerLostError:
            if not self.repairs:
                raise self._has_gap(f"{key} can't be read") from None
            return None

    def _numbers(self, folder: str) -> list[int]:
        return [number_of(name) for name in self._attempt(self._files.names, folder) if _NUMBERED.fullmatch(name)]

    def _below(self, number: int, folder: str) -> list[str]:
        names = self._files.names(folder)
        return [name for name in names if _NUMBERED.fullmatch(name) and number_of(name) < number]

    # Refusing

    def _check(self, value: Value | None) -> None:
        """Refuse a head or a lease of another connection, of another mapped instance, or of a newer try."""
        if not value:
            return
        self._check_version(value)
        mine, task = dict(self._owner.task), value["task"]
        if task == mine:
            if value["try"] > self._owner.try_number:
                raise self._is_overtaken()
        elif all(name in mine and task.get(name) == mine[name] for name in _SAME_RUN):
            raise LeenConfigError(
                f"Another mapped instance of this task uses the {self.shown_scope}, too. Give each instance its own "
                "`scope`."
            )
        theirs = value["base_url"], value["connection_id"]
        if not self._moves and theirs != (self.identity.base_url, self.identity.connection_id):
            raise LeenConfigError(
                f"The {self.shown_scope} belongs to the Leen connection {theirs[1]} at {theirs[0]}, but this task uses "
                f"{self.identity.connection_id} at {self.identity.base_url}, so nothing was sent. Use "
                "another `register` or `scope`. If the tickets are the same, run `airflow leen register move`."
            )

    def _check_version(self, value: Value) -> None:
        version = value.get("v")
        if version == VERSION and not value.keys() >= _FIELDS:
            raise LeenLedgerLostError(
                f"The {self.shown_scope} holds a value that can't be read: {json.dumps(value)[:200]}. {REGISTER_EXITS}"
            )
        if version != VERSION:
            raise LeenLedgerLostError(
                f"The {self.shown_scope} was written by another release of airflow-provider-leen (version "
                f"{version!r}, this one reads {VERSION}). Install the newer release everywhere that uses the register."
            )

    def _miss(self, key: str) -> None:
        if not self.repairs:
            raise self._has_gap(f"{key} is missing")
        self.gaps.append(key)

    def _has_gap(self, problem: str) -> LeenLedgerLostError:
        return LeenLedgerLostError(
            f"The {self.shown_scope} has a gap: {problem}. It may hide tickets that were filed, so this run sends "
            f"nothing. {REGISTER_EXITS}"
        )

    def _is_restless(self) -> LeenLedgerError:
        return LeenLedgerError(f"Other runs change the {self.shown_scope} faster than it can be read. Try again.")

    def _is_overtaken(self) -> LeenLedgerError:
        self._overtaken = LeenLedgerError(
            f"Another run or try has taken over the {self.shown_scope}. This one sends and publishes nothing more; see "
            "the newest one."
        )
        return self._overtaken


def number_of(name: str) -> int:
    """Return the number of the lease in a name."""
    return int(name.partition("-")[0])
