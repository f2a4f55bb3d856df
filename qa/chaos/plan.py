"""What one run of the chaos test does, drawn from a seed: tickets, faults, disturbances. Pure."""

from __future__ import annotations

import math
import random
import uuid
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

from airflow_provider_leen.sandbox.faults import FaultRule
from qa.chaos.faults import POISON, draw_rules

Fate = Literal["good", "invalid", "refused", "poison"]
Victim = Literal["runner", "supervisor", "both"]
Memory = Literal["kept", "gone", "gapped"]

BATCHING = ((50, 4), (50, 1), (20, 8), (10, 3), (3, 2))
MAX_TICKETS = 2000
MAX_TICKETS_SHORT = 100
DISTURBED_SHORT = 5
LEAST_TO_DISTURB = 30
MANY = 300
"""Lists longer than this are not cut into tiny batches: it would only take long."""

PROJECT = "5ec00000-0000-4000-8000-000000000001"

AFTER_THE_END = -1
"""In place of a number of calls: as soon as the run has ended."""


@dataclass(frozen=True)
class Kill:
    """SIGKILL for one try.

    :param victim: the task's process, its supervisor, or both.
    :param after_calls: so many bulk calls of the run must have arrived; 0 for as soon as the task runs.
    :param delay: seconds after that.
    """

    victim: Victim
    after_calls: int
    delay: float

    @property
    def name(self) -> str:
        """What a person calls it."""
        return f"{self.victim} killed"


@dataclass(frozen=True)
class Freeze:
    """SIGSTOP for one try, until another one overlaps with it.

    :param orphaned: its supervisor is killed; else that stops, too, and goes on with it.
    :param until_the_end: SIGCONT comes when the run has ended, not as soon as the next try runs.
    """

    orphaned: bool
    until_the_end: bool
    after_calls: int
    delay: float

    @property
    def name(self) -> str:
        """What a person calls it."""
        return f"{'orphan' if self.orphaned else 'try'} frozen {'to the end' if self.until_the_end else 'for a while'}"


@dataclass(frozen=True)
class Clear:
    """The task is marked as failed if it runs, and cleared at once, as a person would in the UI.

    :param memory: whether the ledger is kept, gone (cleared when the try has ended, as Airflow 3.4 does on each clear),
        or lacks a value in the middle.
    """

    memory: Memory
    after_calls: int
    delay: float

    @property
    def name(self) -> str:
        """What a person calls it."""
        when = " at the end" if self.after_calls == AFTER_THE_END else ""
        return {"kept": "cleared", "gone": "emptied and cleared", "gapped": "gapped and cleared"}[self.memory] + when


Disturbance: TypeAlias = Kill | Freeze | Clear


@dataclass(frozen=True)
class Plan:
    """One run.

    :param rows: the list of tickets, as a Dag would give it.
    :param fates: for each row, whether it is good, refused here (invalid), by the vendor (refused), or with its whole
        batch (poison).
    :param edited: the rows and fates after the list was edited, which happens at the first disturbance; None for never.
    :param results_in_file: whether the results go to a file, by ``results_path``.
    :param ledger_in_folder: remember in a folder although Airflow may have a task state store.
    :param fatal: the API refuses the key at some request, which no retry mends.
    :param may_reject: whole requests are refused now and then, so that a good ticket which was alone is rejected.
    :param away: after so many bulk calls the API is away for so many seconds.
    """

    index: int
    seed: int
    short: bool
    connection_id: str
    rows: list[dict[str, Any]]
    fates: list[Fate]
    edited: tuple[list[dict[str, Any]], list[Fate]] | None
    results_in_file: bool
    embed: bool
    batch_size: int
    concurrency: int
    ledger_in_folder: bool
    rules: list[FaultRule]
    disturbances: list[Disturbance]
    fatal: bool
    may_reject: bool
    away: tuple[int, float] | None

    @property
    def dag_id(self) -> str:
        return f"chaos_{'embed' if self.embed else 'plain'}_{self.batch_size}_{self.concurrency}"

    @property
    def calls(self) -> int:
        return math.ceil(len(self.rows) / self.batch_size)


def draw_plan(seed: int, index: int, *, short: bool = False) -> Plan:
    """Draw a run; the same seed and index give the same run.

    :param short: shorter lists, for the form that is one of the tests; the first runs are disturbed, each otherwise.
    """
    rng = random.Random(f"{seed}/{index}")
    disturbed = index < DISTURBED_SHORT if short else rng.random() < 0.4
    most = MAX_TICKETS_SHORT if short else MAX_TICKETS
    rows, fates = _draw_rows(rng, least=LEAST_TO_DISTURB if disturbed else 0, most=most)
    batch_size, concurrency = rng.choice(BATCHING if len(rows) <= MANY else BATCHING[:3])
    calls = math.ceil(len(rows) / batch_size)
    disturbances: list[Disturbance] = []
    if disturbed:
        disturbances = [_DISTURBANCES[index](rng, calls)] if short else _draw_disturbances(rng, calls)
    fatal = not disturbed and rng.random() < 0.04
    # A task is best cleared while a call hangs.
    hanging = [it.after_calls for it in disturbances if isinstance(it, Clear) and it.after_calls > 0]
    rules = draw_rules(rng, calls, fatal=fatal, slow=disturbed, hanging=hanging)
    edited = _edit(rng, rows, fates) if disturbances and rng.random() < 0.4 else None
    return Plan(
        index=index,
        seed=seed,
        short=short,
        connection_id=str(uuid.UUID(int=rng.getrandbits(128), version=4)),
        rows=rows,
        fates=fates,
        edited=edited,
        results_in_file=rng.random() < 0.3,
        embed=rng.random() < 0.5,
        batch_size=batch_size,
        concurrency=concurrency,
        ledger_in_folder=rng.random() < 0.25,
        rules=rules,
        disturbances=disturbances,
        fatal=fatal,
        may_reject=any(rule.kind == "status" and rule.http_status in (400, 413, 422) for rule in rules),
        away=(rng.randint(1, calls), rng.uniform(0.2, 1.5)) if rng.random() < 0.1 else None,
    )


# Tickets


def _draw_rows(rng: random.Random, *, least: int, most: int) -> tuple[list[dict[str, Any]], list[Fate]]:
    count = int(math.exp(rng.uniform(math.log(least + 1), math.log(most + 1))))
    form = rng.choice(("uuid", "vendor", "mixed"))
    bad_share = rng.choice((0.0, 0.0, 0.02, 0.1, 0.5))
    rows: list[dict[str, Any]] = []
    fates: list[Fate] = []
    poisons = 0
    for number in range(count):
        by_uuid = form == "uuid" or (form == "mixed" and rng.random() < 0.5)
        row: dict[str, Any] = {"name": f"finding {number} of {rng.getrandbits(32):08x}"}
        row |= {"project_id": PROJECT} if by_uuid else {"project_vendor_id": rng.choice(("SEC", "APP"))}
        if rng.random() < 0.3:
            row["description"] = "Läßt sich ausnützen \N{FIRE}\n" * rng.randint(1, 20)
        if rng.random() < 0.1:
            row["identifier"] = f"given/{rng.getrandbits(48):x} {number}"
        fate: Fate = "good"
        if rng.random() < bad_share:
            fate = rng.choice(("invalid", "refused", "poison"))
            if fate == "poison" and poisons == 3:
                fate = "refused"
        if fate == "invalid":
            row |= rng.choice(
                ({"nmae": "a typo"}, {"name": "  "}, {"project_id": "no-uuid", "project_vendor_id": None})
            )
        elif fate == "refused":
            row |= rng.choice(({"priority": "Sometime"}, {"type": "Wish"}))
        elif fate == "poison":
            poisons += 1
            row["name"] = f"{POISON} {row['name']}"
        elif rows and rng.random() < 0.05 and fates[-1] == "good" and "identifier" not in rows[-1]:
            row = dict(rows[-1])
        rows.append(row)
        fates.append(fate)
    return rows, fates


def _edit(rng: random.Random, rows: list[dict[str, Any]], fates: list[Fate]) -> tuple[list[dict[str, Any]], list[Fate]]:
    """Draw what a person makes of the list: some rows gone, some new, some in another place."""
    pairs = [pair for pair in zip(rows, fates, strict=True) if rng.random() < 0.8]
    if rng.random() < 0.5:
        rng.shuffle(pairs)
    new = {"project_vendor_id": "SEC"}
    for number in range(rng.randint(1, 10)):
        added: tuple[dict[str, Any], Fate] = ({"name": f"new {number} of {rng.getrandbits(32):08x}"} | new, "good")
        pairs.insert(rng.randint(0, len(pairs)), added)
    return [row for row, _ in pairs], [fate for _, fate in pairs]


# Disturbances


def _draw_disturbances(rng: random.Random, calls: int) -> list[Disturbance]:
    """Draw what happens, in this order; nothing comes after the end of a run, or of its memory."""
    drawn: list[Disturbance] = []
    after = 0
    for _ in range(rng.choice((1, 1, 2, 3))):
        one = rng.choices(_DISTURBANCES, _OFTEN)[0](rng, calls)
        if one.after_calls > 0:
            after += one.after_calls
            one = replace(one, after_calls=after)
        drawn.append(one)
        if one.after_calls == AFTER_THE_END or (isinstance(one, Clear) and one.memory != "kept"):
            break
    return drawn


def _kill(rng: random.Random, calls: int) -> Kill:
    victim: Victim = rng.choices(("runner", "both", "supervisor"), (6, 2, 2))[0]
    if rng.random() < 0.25:
        return Kill(victim, 0, rng.uniform(0.0, 2.5))
    return Kill(victim, _some(rng, calls), _soon(rng))


def _freeze(rng: random.Random, calls: int) -> Freeze:
    return Freeze(rng.random() < 0.3, rng.random() < 0.5, _some(rng, calls), _soon(rng))


def _clear(rng: random.Random, calls: int) -> Clear:
    return Clear("kept", rng.choice((_some(rng, calls), _some(rng, calls), AFTER_THE_END)), _soon(rng))


def _clear_without_memory(rng: random.Random, calls: int) -> Clear:
    return Clear("gone", rng.choice((_some(rng, calls), AFTER_THE_END)), _soon(rng))


def _clear_with_gap(rng: random.Random, calls: int) -> Clear:
    return Clear("gapped", rng.choice((_some(rng, calls), AFTER_THE_END)), _soon(rng))


_DISTURBANCES = (_kill, _freeze, _clear, _clear_without_memory, _clear_with_gap)
_OFTEN = (6, 4, 4, 2, 2)


def _some(rng: random.Random, calls: int) -> int:
    return rng.randint(1, max(1, calls // 2))


def _soon(rng: random.Random) -> float:
    return rng.choice((0.0, rng.uniform(0.0, 0.4)))
