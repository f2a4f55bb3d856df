"""What was sent and what came back, kept where a retry finds it.

The ledger is a journal of numbered values, each of them written once. A value says which keys were about to leave and
when (``sent``), and what has been learnt since the value before it: tickets that exist (``created``), sendings that did
nothing (``absent``: refused, or not sent after all), tickets that surely don't exist (``gone``), ids that contradictory
replies named (``named``), and the jobs in which tickets were submitted (``jobs``). Replayed in order, they tell a retry
which tickets are done, which are new, and which went out without an answer.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from airflow_provider_leen.api.errors import LeenLedgerError
from airflow_provider_leen.bulk.whole_file import open_regular, whole_file

VERSION = 1
"""Written into each value; a value of another version is refused, never misread."""

MAX_JOBS_PER_VALUE = 8

MAX_KEYS_PER_ENTRY = 100
"""Keeps a value below the 64 KB above which Airflow's task state store warns, also where a vendor's ids are long."""

Value = dict[str, Any]

_NOTHING: Value = {"sent": [], "created": {}, "absent": [], "gone": [], "named": {}, "jobs": {}}

NEVER = 1e11
"""Seconds: stands for a time that doesn't come, since a ledger's values are plain JSON, which has no infinity."""


class Created(NamedTuple):
    """A ticket that exists."""

    ticket_id: str | None
    vendor_ticket_id: str | None


class Sent(NamedTuple):
    """One sending of a ticket.

    :param at: a time on record before it left, in seconds since the epoch.
    :param final_from: from when on nothing more comes of it, and the vendor's search shows what did.
    :param embedded: whether the ticket's key was in its description.
    """

    at: float
    final_from: float
    embedded: bool


@dataclass
class History:
    """What the tries so far have left.

    :param created: by key, the tickets that exist.
    :param sent: by key, the open sendings of the tickets whose outcome is not on record, the earliest first.
    :param named: by key, the ids that a contradictory reply named for such a ticket.
    :param carrying: by key, the created tickets that carry their keys, and a time at which they existed.
    :param jobs: by job id, the keys that it was submitted with.
    :param job_of: by key, the job that a ticket without an answer is in; none where even the job's id was lost.
    :param values: how many values there were.
    """

    created: dict[str, Created] = field(default_factory=dict)
    sent: dict[str, tuple[Sent, ...]] = field(default_factory=dict)
    named: dict[str, Created] = field(default_factory=dict)
    carrying: dict[str, float] = field(default_factory=dict)
    jobs: dict[str, list[str]] = field(default_factory=dict)
    job_of: dict[str, str] = field(default_factory=dict)
    values: int = 0

    def learn(self, value: Value) -> None:
        """Take in the next value of the journal."""
        for job_id, keys in value["jobs"].items():
            if job_id in self.jobs:
                # One id for two batches: the job proves nothing of either.
                self.job_of = {key: other for key, other in self.job_of.items() if other != job_id}
                keys = []
            self.jobs[job_id] = list(keys)
            self.job_of.update(dict.fromkeys(keys, job_id))
        for key, ids in value["created"].items():
            self.created[key] = Created(*ids)
            sendings = self.sent.get(key, ())
            if sendings and all(sending.embedded for sending in sendings):
                self.carrying[key] = float(value["at"])
            self._answered(key)
        for key in value["gone"]:
            self._answered(key)
        for key in value["absent"]:
            if earlier := self.sent.get(key, ())[:-1]:
                # The last sending did nothing; the ones before it are as open as they were.
                self.sent[key] = earlier
                self.job_of.pop(key, None)
            else:
                self._answered(key)
        self.named |= {key: Created(*ids) for key, ids in value["named"].items()}
        sending = Sent(float(value["at"]), float(value["final_from"]), bool(value["embedded"]))
        for key in value["sent"]:
            self.job_of.pop(key, None)
            # On record as created, and sent all the same: what said so is no longer believed.
            self.created.pop(key, None)
            self.carrying.pop(key, None)
            self.sent[key] = (*self.sent.get(key, ()), sending)

    def open_jobs(self) -> dict[str, list[str]]:
        """Return the jobs of which a ticket has no answer yet, with all their keys."""
        return {job_id: self.jobs[job_id] for job_id in dict.fromkeys(self.job_of.values())}

    def _answered(self, key: str) -> None:
        self.sent.pop(key, None)
        self.named.pop(key, None)
        self.job_of.pop(key, None)


def replay(values: Iterable[Value]) -> History:
    """Read a journal from its first value to its last.

    :raises LeenLedgerError: a value is none of this version.
    """
    history = History()
    for value in values:
        history.values += 1
        try:
            if value["v"] != VERSION:
                raise LeenLedgerError(
                    f"The ledger of this task was written by another release of airflow-provider-leen (version "
                    f"{value['v']!r}, this one reads {VERSION}). Finish the Dag run with that release, or look into "
                    "the tracker and start a new run."
                )
            history.learn(value)
        except (KeyError, TypeError, ValueError, AttributeError):
            problem = f"The ledger of this task holds a value that can't be read: {json.dumps(value)[:200]}."
        else:
            continue
        raise LeenLedgerError(f"{problem} Look into the tracker and start a new Dag run.")
    return history


class LedgerStore(Protocol):
    """Where the values are. Its methods block: :class:`Journal` calls them in a thread of their own."""

    remembers: bool
    """Whether a later try can read what this one writes."""

    def open(self) -> list[Value]:
        """Return what earlier tries wrote, in order, and get ready to append."""

    def append(self, value: Value) -> None:
        """Write the next value; raise when this try may write no more."""


class MemoryLedger:
    """Remembers nothing beyond this try."""

    remembers = False

    def open(self) -> list[Value]:
        """There is nothing to read."""
        return []

    def append(self, value: Value) -> None:
        """There is nowhere to write."""


class TaskStateLedger:
    """Values in Airflow's task state store (Airflow 3.3 and newer), which can't list its keys.

    An older try that is still alive can't write to it: its supervisor is gone.

    :param get: reads the value of a key, None where there is none.
    :param put: writes the value of a key, to be kept without end.
    """

    remembers = True

    def __init__(self, get: Callable[[str], Any], put: Callable[[str, Value], None]) -> None:
        self._get = get
        self._put = put
        self._number = 0

    def open(self) -> list[Value]:
        """Read the values until a number is missing."""
        values: list[Value] = []
        while (value := self._get(self._key(len(values) + 1))) is not None:
            values.append(value)
        self._number = len(values)
        return values

    def append(self, value: Value) -> None:
        """Write the value under the next number."""
        self._put(self._key(self._number + 1), value)
        self._number += 1

    def _key(self, number: int) -> str:
        return f"leen_ledger_{number:06}"


class FolderLedger:
    """Values as files in a folder that all workers reach, an object store's say.

    Two tries can overlap there: each opens with a file of its own, and the older one stops as soon as it sees the
    newer one's. It looks after it has written what it is about to send, and the newer one reads after it has opened, so
    that at least one of them knows of the other.

    :param folder: a path of this task instance's own (pathlib's interface; Airflow's ``ObjectStoragePath``).
    :param try_number: Airflow's number of this try.
    """

    remembers = True

    def __init__(self, folder: Any, try_number: int) -> None:
        self._folder = folder
        self._try_number = try_number
        self._number = 0

    def open(self) -> list[Value]:
        """Write this try's opening file, then read all files in the order of their names."""
        self._folder.mkdir(parents=True, exist_ok=True)
        # A broker may deliver a task twice under one number: what the first one wrote must not be overwritten.
        self._number = sum(name.startswith(f"{self._try_number:04}-") for name in self._names())
        self.append({"v": VERSION, **Sent(time.time(), NEVER, False)._asdict(), **_NOTHING})
        return [json.loads(self._read(name)) for name in self._names()]

    def append(self, value: Value) -> None:
        """Write the next file of this try, then stop when a later try has opened."""
        self._write_next(value)
        newest = self._names()[-1]
        if int(newest.split("-")[0]) > self._try_number:
            if value["sent"]:
                # They don't leave after all; a try that reads from now on need not doubt it.
                self._write_next(value | _NOTHING | {"absent": value["sent"]})
            raise LeenLedgerError("A later try of this task has taken over, so this one stops.")

    def _write_next(self, value: Value) -> None:
        self._write(f"{self._try_number:04}-{self._number:06}.json", json.dumps(value))
        self._number += 1

    def _names(self) -> list[str]:
        return sorted(path.name for path in self._folder.iterdir() if path.name.endswith(".json"))

    def _read(self, name: str) -> str:
        with open_regular(self._folder / name, follow=False) as file:
            return str(file.read())

    def _write(self, name: str, text: str) -> None:
        # The next try may read while this process dies.
        with whole_file(self._folder / name) as file:
            file.write(text)


class Journal:
    """The ledger of one try: reads what there is, then records while batches are in flight.

    Values are written one at a time. What is recorded while a write is under way leaves together in the next one, so
    that arrived results and the next batch's keys share a write.

    :param store: where the values are.
    :param threads: an executor of one thread, in which the store is called: signals (a task's timeout, SIGTERM) reach
        only the main thread, and an exception in the middle of a call to Airflow's supervisor shifts all later replies.
    :param final_after: seconds after a sending from which on nothing more comes of it.
    :param embedded: whether tickets leave with their keys in their descriptions.
    :param now: the time in seconds since the epoch.
    """

    def __init__(
        self,
        store: LedgerStore,
        threads: Executor,
        *,
        final_after: float = NEVER,
        embedded: bool = False,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.remembers = store.remembers
        self.failure: LeenLedgerError | None = None
        self._store = store
        self._threads = threads
        self.carrying: dict[str, float] = {}
        """As in :class:`History`, with what this try has created."""
        self._final_after = final_after
        self._embedded = embedded
        self._now = now
        self._sent: list[str] = []
        self._created: dict[str, Created] = {}
        self._absent: list[str] = []
        self._gone: list[str] = []
        self._named: dict[str, Created] = {}
        self._jobs: dict[str, list[str]] = {}
        self._recorded = 0
        self._written = 0
        self._writing = asyncio.Lock()

    async def open(self) -> History:
        """Read what earlier tries have left.

        :raises LeenLedgerError: it can't be read.
        """
        history = replay(await self._call("read", self._store.open))
        self.carrying = history.carrying
        return history

    def sent_now(self) -> Sent:
        """Return what is to be known of a ticket that leaves now."""
        at = self._now()
        return Sent(at, at + self._final_after, self._embedded)

    async def intend(self, keys: Iterable[str]) -> Sent:
        """Record that these keys are about to leave.

        :return: what is to be known of them; its time is not after the recorded one.
        :raises LeenLedgerError: it can't be recorded, so the keys must not leave.
        """
        asked = self.sent_now()
        self._sent += keys
        self._recorded += 1
        await self.flush()
        return asked

    def learn(
        self,
        created: Mapping[str, Created],
        absent: Iterable[str],
        *,
        gone: Iterable[str] = (),
        jobs: Mapping[str, list[str]] | None = None,
        named: Mapping[str, Created] | None = None,
    ) -> None:
        """Note what came back; it is written with the next value.

        :param created: tickets that exist.
        :param absent: keys whose last sending did nothing; an earlier one without an answer stays open.
        :param gone: keys of tickets that surely don't exist, whatever was sent.
        :param jobs: jobs that were submitted, with their keys.
        :param named: ids that contradictory replies named for tickets whose outcome is unknown.
        """
        absent, gone = list(absent), list(gone)
        if self._embedded:
            self.carrying.update(dict.fromkeys(created, self._now()))
        if created or absent or gone or jobs or named:
            self._jobs.update(jobs or {})
            self._named.update(named or {})
            self._created.update(created)
            self._absent += absent
            self._gone += gone
            self._recorded += 1

    async def flush(self) -> None:
        """Write what was noted and not yet written.

        :raises LeenLedgerError: it can't be recorded.
        """
        wanted = self._recorded
        while self._written < wanted:
            async with self._writing:
                if self._written < wanted:
                    await self._write_value()

    async def _write_value(self) -> None:
        carried = self._recorded
        created = _take_ids(self._created, MAX_KEYS_PER_ENTRY)
        named = _take_ids(self._named, MAX_KEYS_PER_ENTRY - len(created))
        absent, gone = _take(self._absent), _take(self._gone)
        # A key that leaves again was first learnt to be absent: its new sending may not be read before that.
        sent = [] if self._created or self._absent or self._gone or self._named else _take(self._sent)
        jobs = dict(list(self._jobs.items())[:MAX_JOBS_PER_VALUE])
        for job_id in jobs:
            del self._jobs[job_id]
        entries = {"sent": sent, "created": created, "absent": absent, "gone": gone, "named": named, "jobs": jobs}
        value = {"v": VERSION, **self.sent_now()._asdict(), **entries}
        whole = not any((self._created, self._absent, self._gone, self._named, self._sent, self._jobs))
        await self._call("written", self._store.append, value)
        if whole:
            self._written = carried

    async def _call(self, what: str, function: Callable[..., Any], *args: Any) -> Any:
        if self.failure is None:
            try:
                return await asyncio.get_running_loop().run_in_executor(self._threads, function, *args)
            except LeenLedgerError as error:
                self.failure = error
            except Exception as error:
                self.failure = LeenLedgerError(
                    f"The ledger could not be {what} ({type(error).__name__}: {str(error)[:300]}), so no more tickets "
                    "are sent: a retry could not tell what exists. Mend the cause, then clear the task."
                )
        raise self.failure


def _take(keys: list[str]) -> list[str]:
    taken, keys[:MAX_KEYS_PER_ENTRY] = keys[:MAX_KEYS_PER_ENTRY], []
    return taken


def _take_ids(ids_by_key: dict[str, Created], most: int) -> dict[str, list[str | None]]:
    return {key: list(ids_by_key.pop(key)) for key in list(ids_by_key)[:most]}
