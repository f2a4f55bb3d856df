"""What one run of the chaos test does, drawn from a seed: tickets, faults, kills. Pure."""

from __future__ import annotations

import math
import random
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from airflow_provider_leen.sandbox.faults import FaultRule

Fate = Literal["good", "invalid", "refused", "poison"]
Victim = Literal["runner", "supervisor", "both"]

BATCHING = ((50, 4), (50, 1), (20, 8), (10, 3), (3, 2))
MAX_TICKETS = 2000
MAX_TICKETS_SHORT = 100
KILLED_SHORT = 2
MANY = 300
"""Lists longer than this are not cut into tiny batches: it would only take long."""

POISON = "poisonous"
PROJECT = "5ec00000-0000-4000-8000-000000000001"

BY_IDENTIFIER = "/v1/itsm/tickets/by-identifier"
SEARCH = "/v1/itsm/passthrough/tickets/search"


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


@dataclass(frozen=True)
class Plan:
    """One run.

    :param rows: the list of tickets, as a Dag would give it.
    :param fates: for each row, whether it is good, refused here (invalid), by the vendor (refused), or with its whole
        batch (poison).
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
    embed: bool
    batch_size: int
    concurrency: int
    ledger_in_folder: bool
    rules: list[FaultRule]
    kills: list[Kill]
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

    :param short: shorter lists, for the form that is one of the tests; the first two runs are killed.
    """
    rng = random.Random(f"{seed}/{index}")
    rows, fates = _draw_rows(rng, MAX_TICKETS_SHORT if short else MAX_TICKETS)
    batch_size, concurrency = rng.choice(BATCHING if len(rows) <= MANY else BATCHING[:3])
    calls = math.ceil(len(rows) / batch_size)
    killed = index < KILLED_SHORT if short else rng.random() < 0.3
    kills = _draw_kills(rng, calls) if killed else []
    fatal = not kills and rng.random() < 0.04
    rules = _draw_rules(rng, calls, fatal=fatal, slow=bool(kills))
    return Plan(
        index=index,
        seed=seed,
        short=short,
        connection_id=str(uuid.UUID(int=rng.getrandbits(128), version=4)),
        rows=rows,
        fates=fates,
        embed=rng.random() < 0.5,
        batch_size=batch_size,
        concurrency=concurrency,
        ledger_in_folder=rng.random() < 0.25,
        rules=rules,
        kills=kills,
        fatal=fatal,
        may_reject=any(rule.kind == "status" and rule.http_status in (400, 413, 422) for rule in rules),
        away=(rng.randint(1, calls), rng.uniform(0.2, 1.5)) if rng.random() < 0.1 else None,
    )


# Tickets


def _draw_rows(rng: random.Random, most: int) -> tuple[list[dict[str, Any]], list[Fate]]:
    count = int(math.exp(rng.uniform(0, math.log(most + 1))))
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
            row |= rng.choice(({"name": row["name"] + "x" * 255}, {"priority": "Sometime"}, {"type": "Wish"}))
        elif fate == "poison":
            poisons += 1
            row["name"] = f"{POISON} {row['name']}"
        elif rows and rng.random() < 0.05 and fates[-1] == "good" and "identifier" not in rows[-1]:
            row = dict(rows[-1])
        rows.append(row)
        fates.append(fate)
    return rows, fates


# Faults

Maker = Callable[[random.Random], dict[str, Any]]

_LOST_WRITES: list[Maker] = [
    lambda rng: {"kind": "lost", "commit": rng.random() < 0.5},
    lambda rng: {"kind": "stall", "commit": rng.random() < 0.5, "seconds": rng.choice((1.2, 5.0))},
    lambda rng: {
        "kind": "status",
        "status": rng.choice((500, 502, 503, 504)),
        "commit": rng.random() < 0.5,
        "body": rng.choice(("error_response", "html", "empty")),
    },
    lambda rng: {"kind": "status", "status": 408, "commit": rng.random() < 0.5},
    lambda rng: {"kind": "status", "status": rng.choice((202, 204)), "commit": rng.random() < 0.5},
    lambda rng: {"kind": "garbage", "commit": rng.random() < 0.5},
    lambda rng: {"kind": "short"},
    lambda rng: {"kind": "wrong_index"},
    lambda rng: {"kind": "one_based"},
    lambda rng: {"kind": "cut"},
    lambda rng: {"kind": "trickle", "seconds": 0.05},
    # Worked on although the client has left; within the time after which a search is believed.
    lambda rng: {"kind": "latency", "seconds": rng.uniform(0.8, 1.2)},
]
_REFUSED_WRITES: list[Maker] = [
    lambda rng: {"kind": "rate_limit", "retry_after": rng.choice((0.2, 0.4)), "times": rng.randint(1, 4)},
    lambda rng: {"kind": "rate_limit", "retry_after": 30.0, "times": 1},
    lambda rng: {"kind": "rate_limit", "retry_after": 1.0, "retry_after_date": True, "times": 2},
    lambda rng: {"kind": "status", "status": 405, "times": 1},
    lambda rng: {
        "kind": "status",
        "status": rng.choice((400, 413, 422)),
        "body": rng.choice(("error_response", "detail_text", "html")),
        "times": rng.randint(1, 2),
    },
]
_FAILED_QUESTIONS: list[Maker] = [
    lambda rng: {"kind": "status", "status": rng.choice((500, 503))},
    lambda rng: {"kind": "status", "status": 404, "body": "detail_text", "message": "Not Found"},
    lambda rng: {"kind": "status", "status": 400},
    lambda rng: {"kind": "rate_limit", "retry_after": 0.3},
    lambda rng: {"kind": "lost"},
    lambda rng: {"kind": "stall", "seconds": 1.2},
    lambda rng: {"kind": "garbage"},
]


def _draw_rules(rng: random.Random, calls: int, *, fatal: bool, slow: bool) -> list[FaultRule]:
    rules: list[dict[str, Any]] = [
        {"kind": "poison", "text": POISON, "body": rng.choice(("located", "error_response"))}
    ]
    if fatal:
        refusal = {"kind": "status", "status": rng.choice((401, 403, 404, 302)), "nth": rng.randint(1, calls)}
        rules.append(refusal | {"times": 1})
    refused = False
    for _ in range(rng.choice((0, 1, 2, 3, 4))):
        if rng.random() < 0.25 and not refused:
            # One such rule at most: more of them together may look like a request that is wrong as such.
            refused = True
            rules.append(_at_random(rng, calls, rng.choice(_REFUSED_WRITES)(rng)))
        else:
            rules.append(_at_random(rng, calls, rng.choice(_LOST_WRITES)(rng)))
    for _ in range(rng.choice((0, 0, 1, 2))):
        question = rng.choice(_FAILED_QUESTIONS)(rng)
        times = {"times": rng.randint(1, 12), "rate": rng.choice((1.0, 0.3))}
        rules.append(question | times | {"method": "GET", "path": rng.choice((BY_IDENTIFIER, SEARCH))})
    if slow:
        # Something for a kill to hit.
        rules.append({"kind": "latency", "seconds": rng.choice((0.05, 0.1, 0.3))})
    return [FaultRule.model_validate(rule) for rule in rules]


def _at_random(rng: random.Random, calls: int, fault: dict[str, Any]) -> dict[str, Any]:
    """Let a fault strike at random bulk calls, often enough to hurt, and not for ever."""
    if rng.random() < 0.5:
        times = fault.get("times", rng.randint(1, 3))
        first = [rng.randint(1, calls + 1) for _ in range(times)]
        return fault | {"nth": tuple(sorted(first)), "times": times}
    return {"times": rng.randint(1, 4)} | fault | {"rate": rng.choice((1.0, 0.5, 0.2))}


# Kills


def _draw_kills(rng: random.Random, calls: int) -> list[Kill]:
    kills: list[Kill] = []
    after = 0
    for _ in range(rng.choice((1, 1, 2))):
        victim: Victim = rng.choices(("runner", "both", "supervisor"), (6, 2, 2))[0]
        if rng.random() < 0.25:
            kills.append(Kill(victim, 0, rng.uniform(0.0, 2.5)))
        else:
            after += rng.randint(1, max(1, calls // 2))
            kills.append(Kill(victim, after, rng.choice((0.0, rng.uniform(0.0, 0.4)))))
    return kills
