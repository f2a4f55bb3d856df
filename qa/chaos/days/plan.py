"""What happens in a sequence of days, drawn from a seed: findings, scans, people, faults, kills. Pure."""

from __future__ import annotations

import random
import uuid
from dataclasses import dataclass, field
from typing import Any, Literal

from airflow_provider_leen.sandbox.faults import FaultRule
from qa.chaos.faults import draw_rules
from qa.chaos.plan import PROJECT

Kind = Literal["create", "reconcile"]
Scan = Literal["whole", "half", "empty", "none", "flood"]
Part = Literal["head", "snapshot", "value", "lease"]

MAX_NEW = 30
MAX_CLOSE_RATE = 0.2
WRITES = 16
"""A kill comes at one of so many first writes of the store."""

UPDATES = "/v1/itsm/tickets/bulk/update"
JOBS = "/v1/jobs/"


@dataclass(frozen=True)
class Strike:
    """What comes over one try at a write of the register.

    :param write: the number of the write.
    :param moment: ``before`` or ``after`` it was made.
    :param how: ``kill`` the task, ``both`` it and its supervisor, or ``stop`` it until another run has taken over.
    """

    write: int
    moment: str
    how: str


@dataclass(frozen=True)
class Day:
    """One day.

    :param found: the findings that are there.
    :param scan: what the scanner makes of them.
    :param deeds: what people do first, and to the ticket of which finding.
    :param is_synced: whether Leen learns of it all before the run.
    :param rules: how the API misbehaves.
    :param strikes: what comes over the run, by the number of its try.
    :param is_twice: whether a second run begins at the same time.
    :param lost: what the store has lost before the run; whichever of them is there.
    :param cleared: which earlier day's run is cleared at the end of the day, counted backwards; 0 for none.
    """

    found: tuple[str, ...]
    scan: Scan = "whole"
    deeds: tuple[tuple[str, str], ...] = ()
    is_synced: bool = True
    rules: tuple[FaultRule, ...] = ()
    strikes: dict[int, Strike] = field(default_factory=dict)
    is_twice: bool = False
    lost: tuple[Part, ...] = ()
    cleared: int = 0

    @property
    def listed(self) -> tuple[str, ...]:
        """The findings in the day's list."""
        match self.scan:
            case "half":
                return self.found[: len(self.found) // 2]
            case "empty":
                return ()
            case "flood":
                return (*self.found, *(f"flood {number}" for number in range(MAX_NEW + 1)))
        return self.found

    @property
    def is_complete(self) -> bool:
        """Whether what is missing from the list has gone, as far as the run can know."""
        return self.scan != "none"


@dataclass(frozen=True)
class Sequence:
    """Days of one scope of a register.

    :param kind: whether findings are only filed, or reconciled.
    :param by_vendor_id: tickets are filed by project keys, so that Leen knows them after a sync only.
    :param is_deferrable: batches are submitted as jobs, and the worker is freed while they run.
    :param is_url: the register is named by a URL, as in object storage.
    """

    index: int
    seed: int
    short: bool
    kind: Kind
    connection_id: str
    by_vendor_id: bool
    is_deferrable: bool
    is_url: bool
    scope: str
    batch_size: int
    close_after: int
    days: tuple[Day, ...]

    @property
    def dag_id(self) -> str:
        return f"days_{self.kind}"

    def row(self, finding: str) -> dict[str, Any]:
        """The row of a finding, as the Dag gives it."""
        project = {"project_vendor_id": "SEC"} if self.by_vendor_id else {"project_id": PROJECT}
        return {"name": finding, "identifier": f"rule/{finding}", **project}


def draw_sequence(seed: int, index: int, *, short: bool = False) -> Sequence:
    """Draw a sequence; the same seed and index give the same one.

    :param short: a few days, for the form that is one of the tests.
    """
    rng = random.Random(f"days/{seed}/{index}")
    kind: Kind = "reconcile" if index % 3 else "create"
    findings = [f"finding {number}" for number in range(rng.randint(6, 12) if short else rng.randint(8, 24))]
    present = set(findings[: rng.randint(4, len(findings) - 1)])
    number_of_days = 3 if short else rng.randint(5, 8)
    days = []
    for number in range(number_of_days):
        for _ in range(rng.randint(1, 5) if number else 0):
            present ^= {rng.choice(findings)}
        present = present or {findings[0]}
        draw = _draw_short_day if short else _draw_day
        days.append(draw(rng, index, number, tuple(it for it in findings if it in present), kind))
    return Sequence(
        index=index,
        seed=seed,
        short=short,
        kind=kind,
        connection_id=str(uuid.UUID(int=rng.getrandbits(128), version=4)),
        by_vendor_id=rng.random() < 0.5,
        is_deferrable=kind == "create" and index % 2 == 1,
        is_url=index % 4 > 1,
        scope=rng.choice(("all", "scanner/a")),
        batch_size=rng.choice((3, 5, 50)),
        close_after=rng.choice((1, 2)),
        days=tuple(days),
    )


def _draw_day(rng: random.Random, index: int, number: int, found: tuple[str, ...], kind: Kind) -> Day:
    scans: tuple[Scan, ...] = ("half", "empty", "none", "flood")
    actions = ("close", "close", "reopen", "edit", "move", "delete", "clone")
    rare: list[Part] = ["value", "lease"]
    parts: list[Part] = ["head", "snapshot"]
    rng.shuffle(rare)
    rng.shuffle(parts)
    return Day(
        found,
        scan=rng.choice(scans) if number and rng.random() < 0.25 else "whole",
        deeds=tuple((rng.choice(actions), rng.choice(found)) for _ in range(rng.randint(0, 3) if number else 0)),
        is_synced=rng.random() < 0.6,
        rules=tuple(_draw_rules(rng)) if rng.random() < 0.5 else (),
        strikes=_draw_strikes(rng, index, number) if rng.random() < 0.6 else {},
        is_twice=rng.random() < 0.2,
        lost=(*rare, *parts) if number > 1 and rng.random() < 0.15 else (),
        cleared=rng.randint(1, 2) if number > 1 and rng.random() < 0.25 else 0,
    )


def _draw_short_day(rng: random.Random, index: int, number: int, found: tuple[str, ...], kind: Kind) -> Day:
    """Draw a day of the test: a kill on the first, people on the second, an old run cleared on the third."""
    deeds = (("close", found[0]), ("move", found[-1])) if number == 1 else ()
    strikes = {1: Strike(rng.randint(2, 8), rng.choice(("before", "after")), "kill")} if number == 0 else {}
    return Day(found, deeds=deeds, strikes=strikes, is_twice=number == 1, cleared=2 if number == 2 else 0)


def _draw_rules(rng: random.Random) -> list[FaultRule]:
    rules = draw_rules(rng, 2, fatal=rng.random() < 0.1, slow=False, hanging=())
    if rng.random() < 0.6:
        drawn = rng.choice(
            (
                {"kind": "lost", "commit": rng.random() < 0.5, "path": UPDATES},
                {"kind": "garbage", "commit": rng.random() < 0.5, "path": UPDATES},
                {"kind": "status", "status": rng.choice((400, 422, 500, 503)), "path": UPDATES},
                {"kind": "rate_limit", "retry_after": 0.3, "path": UPDATES},
                {"kind": "lost", "method": "GET", "path": JOBS},
                {"kind": "status", "status": 404, "method": "GET", "path": JOBS},
                {"kind": "garbage", "method": "GET", "path": JOBS},
            )
        )
        rules.insert(0, FaultRule.model_validate(drawn | {"times": rng.randint(1, 4)}))
    return rules


def _draw_strikes(rng: random.Random, index: int, number: int) -> dict[int, Strike]:
    """Draw what comes over the tries of a run. The first kill's write is the next in turn, over days and sequences."""
    write = 1 + (index * 5 + number * 7) % WRITES
    how = rng.choices(("kill", "stop", "both"), (6, 3, 1))[0]
    strikes = {1: Strike(write, rng.choice(("before", "after")), how)}
    if how == "kill":
        # Now and then all tries, so that the next run finds what is left.
        tries = rng.choices((1, 2, 4), (4, 2, 5))[0]
        for following in range(2, tries + 1):
            strikes[following] = Strike(rng.randint(1, WRITES // 2), rng.choice(("before", "after")), "kill")
    return strikes
