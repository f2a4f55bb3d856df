"""How the API misbehaves in one run of the chaos test, drawn from a random generator. Pure."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

from airflow_provider_leen.sandbox.faults import FaultRule

POISON = "poisonous"
"""What is in the name of a ticket whose whole batch is refused."""

BY_IDENTIFIER = "/v1/itsm/tickets/by-identifier"
SEARCH = "/v1/itsm/passthrough/tickets/search"

CONTRADICTORY = (
    "no_first",
    "twice",
    "foreign",
    "wrong_counts",
    "no_counts",
    "failed_with_id",
    "error_with_success",
    "no_ids",
    "same_id",
)
GARBLING = ("garbage", "short", "wrong_index", "cut", "trickle", "previous", *CONTRADICTORY)
"""Faults after which a reply counts as one with status 200, but may prove nothing."""

ODD = ("one_based", "shuffled", "no_identifiers", "upper_identifiers", "cut_identifiers", "empty_errors")
"""Faults whose replies are odd and prove all the same what they say."""

Maker = Callable[[random.Random], dict[str, Any]]

LATEST = 3.5
"""Seconds that a server may work on a request at most: after two time-outs of a second, and two for connecting, and the
time to settle, a search is believed."""

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
    lambda rng: {"kind": "cut"},
    lambda rng: {"kind": "trickle", "seconds": 0.05},
    # Worked on although the client has left; within the time after which a search is believed.
    lambda rng: {"kind": "latency", "seconds": rng.uniform(0.8, LATEST)},
]
_ODD_REPLIES: list[Maker] = [
    lambda rng: {"kind": rng.choice(CONTRADICTORY)},
    lambda rng: {"kind": rng.choice(CONTRADICTORY)},
    lambda rng: {"kind": "previous"},
    lambda rng: {"kind": rng.choice(ODD)},
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


def draw_rules(rng: random.Random, calls: int, *, fatal: bool, slow: bool, hanging: Sequence[int]) -> list[FaultRule]:
    """Draw how the API misbehaves.

    :param calls: so many bulk calls the list needs.
    :param fatal: the key is refused at one of them.
    :param slow: each call takes a while, so that there is something to hit.
    :param hanging: the numbers of the bulk calls that hang.
    """
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
            makers = _ODD_REPLIES if rng.random() < 0.35 else _LOST_WRITES
            rules.append(_at_random(rng, calls, rng.choice(makers)(rng)))
    for _ in range(rng.choice((0, 0, 1, 2))):
        question = rng.choice(_FAILED_QUESTIONS)(rng)
        times = {"times": rng.randint(1, 12), "rate": rng.choice((1.0, 0.3))}
        rules.append(question | times | {"method": "GET", "path": rng.choice((BY_IDENTIFIER, SEARCH))})
    # First: of all rules but latency, only one applies.
    rules[:0] = [{"kind": "stall", "commit": rng.random() < 0.5, "nth": nth, "times": 1} for nth in hanging]
    if slow:
        rules.append({"kind": "latency", "seconds": rng.choice((0.05, 0.1, 0.3))})
    return [FaultRule.model_validate(rule) for rule in rules]


def _at_random(rng: random.Random, calls: int, fault: dict[str, Any]) -> dict[str, Any]:
    """Let a fault occur in random bulk calls, often enough to matter, and not forever."""
    if rng.random() < 0.5:
        times = fault.get("times", rng.randint(1, 3))
        first = [rng.randint(1, calls + 1) for _ in range(times)]
        return fault | {"nth": tuple(sorted(first)), "times": times}
    return {"times": rng.randint(1, 4)} | fault | {"rate": rng.choice((1.0, 0.5, 0.2))}
