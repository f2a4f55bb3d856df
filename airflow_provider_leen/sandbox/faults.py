"""The sandbox's faults: rules, and which requests they affect.

:mod:`airflow_provider_leen.sandbox.replies` makes the bad replies; the gate applies both.

Kinds, and whether the tickets are made (``commit``; always or never unless both are named):

=============  ==================================================================================  ================
kind           what the client gets                                                                tickets made
=============  ==================================================================================  ================
latency        the true reply, ``seconds`` late; the request is processed even if the client left  after the wait
status         ``status`` (default 503) with a ``body``, ``retry_after`` where given               no, or ``commit``
rate_limit     429 with ``retry_after``                                                            no, or ``commit``
poison         ``status`` (default 422) if a ticket's name contains ``text``                       no
lost           the connection closed without a reply                                               no, or ``commit``
stall          nothing for ``seconds`` (default an hour), then the connection closed               no, or ``commit``
cut            the first half of the true reply, then the connection closed                        yes
trickle        the true reply, a byte each ``seconds`` (default 0.1), and then blanks for ever     yes
garbage        200 and something that is not JSON                                                  yes, or no
previous       the true reply to the request before on the same path: results, or the id of a job  yes
bomb           200 and a body of few bytes that unpacks to ``megabytes`` (default 64)              yes
=============  ==================================================================================  ================

Others change the true results: of a bulk call, or, with ``method="GET"`` and ``path="/v1/jobs/"``, of a job that has
failed. The tickets are always made, as far as they would have been:

===================  ========================================================================  =======================
kind                 what is changed                                                           what it proves
===================  ========================================================================  =======================
short                the last result is missing                                                nothing
no_first             the first one is missing; the others keep their numbers                   nothing
twice                the last result comes twice                                               nothing
wrong_index          ``request_index`` counts down (a single one is 2)                         nothing
foreign              the identifiers are those of other tickets                                nothing
wrong_counts         ``succeeded`` is 0                                                        nothing
no_counts            the counts are missing                                                    nothing
failed_with_id       the first result is a failure, and keeps its ids                          nothing of that ticket
error_with_success   the first result is a success with an error text                          nothing of that ticket
no_ids               the first result is a success without an id                               nothing of that ticket
same_id              the second result has the ids of the first                                nothing of the two
claims_success       the status of a failed job is SUCCESS                                     nothing
one_based            ``request_index`` counts from 1                                           all
shuffled             the results come in another order, number and identifier agree            all
no_identifiers       the identifiers are null                                                  all
upper_identifiers    the identifiers are in upper case, with blanks around                     all
cut_identifiers      the identifiers have 64 characters at most                                all
empty_errors         the error of a success is an empty text                                   all
failures_only        the successes are left out                                                of a job, all
lower_case           the status of a job is in lower case                                      all
===================  ========================================================================  =======================
"""

from __future__ import annotations

import random
import threading
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

__all__ = ["FaultRule"]

BULK_PATH = "/v1/itsm/tickets/bulk/sync"

Kind = Literal[
    "latency",
    "status",
    "rate_limit",
    "poison",
    "lost",
    "stall",
    "cut",
    "trickle",
    "garbage",
    "previous",
    "bomb",
    "short",
    "no_first",
    "twice",
    "wrong_index",
    "foreign",
    "wrong_counts",
    "no_counts",
    "failed_with_id",
    "error_with_success",
    "no_ids",
    "same_id",
    "claims_success",
    "one_based",
    "shuffled",
    "no_identifiers",
    "upper_identifiers",
    "cut_identifiers",
    "empty_errors",
    "failures_only",
    "lower_case",
]
Body = Literal["error_response", "located", "detail_text", "detail_list", "html", "empty"]

_STATUS = {"rate_limit": 429, "poison": 422, "status": 503}
_SECONDS = {"latency": 1.0, "stall": 3600.0, "trickle": 0.1}
EDITS = get_args(Kind)[get_args(Kind).index("short") :]
"""The kinds that change the true results."""

_ALWAYS_COMMIT = ("cut", "trickle", "previous", "bomb", *EDITS)
_NEVER_COMMIT = ("latency", "poison")


class FaultRule(BaseModel):
    """A fault, and when it occurs.

    :param kind: see the table above.
    :param method: only requests with this method, default POST; None for any.
    :param path: only paths that start with this, default the bulk call's.
    :param nth: only the n-th matching request from now on, counted from 1, or several of them.
    :param rate: the share of matching requests that it hits, 0 to 1, default 1.
    :param times: hit at most this often, default without end.
    :param commit: whether the tickets are made although the reply is bad, if the kind allows both; default false, for
        ``garbage`` true.
    :param status: the HTTP status; 3xx get a ``Location``.
    :param body: ``error_response`` (Leen's, default), ``located`` (the same, and its ``detail`` locates the tickets),
        ``detail_text`` (FastAPI's ``{"detail": "text"}``), ``detail_list`` (FastAPI's list, which locates the
        tickets), ``html`` (a proxy's page) or ``empty``. 204 and 304 are always empty.
    :param content: the whole body as JSON, instead of ``body``: a gateway's own 404, or with status 200 a search that
        is empty and says more than that.
    :param locate: positions of the tickets that are located; for ``poison`` those that contain the text.
    :param message: the message of the error, default one that names the status.
    :param retry_after: seconds for a ``Retry-After`` header; absent by default.
    :param retry_after_date: write that header as an HTTP date, default false.
    :param seconds: how long, for ``latency``, ``stall`` and ``trickle``.
    :param until: for ``latency``, in place of ``seconds``: the call waits until this returns true.
    :param text: what ``poison`` looks for in the tickets' names.
    :param megabytes: of ``bomb``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Kind
    method: str | None = "POST"
    path: str = BULK_PATH
    nth: int | tuple[int, ...] | None = None
    rate: float = Field(default=1.0, ge=0.0, le=1.0)
    times: int | None = Field(default=None, ge=0)
    commit: bool | None = None
    status: int | None = Field(default=None, ge=200, le=599)
    body: Body = "error_response"
    content: Any = None
    locate: tuple[int, ...] = ()
    message: str | None = None
    retry_after: float | None = Field(default=None, ge=0)
    retry_after_date: bool = False
    seconds: float | None = Field(default=None, ge=0)
    until: Callable[[], object] | None = Field(default=None, exclude=True)
    text: str | None = None
    megabytes: int = Field(default=64, ge=1)

    @model_validator(mode="after")
    def _fits_its_kind(self) -> FaultRule:
        if (self.kind == "poison") != bool(self.text):
            raise ValueError("text belongs to the kind poison, which needs it")
        if self.commit is False and self.kind in _ALWAYS_COMMIT:
            raise ValueError(f"{self.kind} garbles the true reply, so the tickets are always made")
        if self.commit and self.kind in _NEVER_COMMIT:
            raise ValueError(f"commit makes no sense for {self.kind}")
        return self

    @property
    def commits(self) -> bool:
        """Whether the tickets are made."""
        if self.commit is not None:
            return self.commit
        return self.kind == "garbage" or self.kind in _ALWAYS_COMMIT

    @property
    def duration(self) -> float:
        """Seconds, with the kind's default."""
        if self.until is not None:
            return 0.0
        return self.seconds if self.seconds is not None else _SECONDS.get(self.kind, 0.0)

    @property
    def http_status(self) -> int:
        """The status, with the kind's default."""
        return self.status if self.status is not None else _STATUS.get(self.kind, 200)


def matches(rule: FaultRule, method: str, path: str, names: Sequence[str]) -> bool:
    """Return whether a rule applies to a request.

    :param names: the names of the request's tickets.
    """
    if rule.method is not None and rule.method.upper() != method:
        return False
    if rule.text is not None and not any(rule.text in name for name in names):
        return False
    return path.startswith(rule.path)


def strikes(rule: FaultRule, *, seen: int, struck: int, draw: float) -> bool:
    """Return whether a rule hits a matching request.

    :param seen: how many matching requests there were, this one included.
    :param struck: how many of the earlier ones it hit.
    :param draw: a random number, at least 0 and less than 1.
    """
    if rule.times is not None and struck >= rule.times:
        return False
    if rule.nth is not None and seen not in ((rule.nth,) if isinstance(rule.nth, int) else rule.nth):
        return False
    return draw < rule.rate


@dataclass(slots=True)
class _Active:
    rule: FaultRule
    seen: int = 0
    struck: int = 0


@dataclass(slots=True)
class Faults:
    """The active rules and how often they struck. Thread-safe.

    :param seed: of the random numbers for ``rate``; None for a random one.
    """

    seed: int | None = None
    struck: Counter[str] = field(default_factory=Counter)
    _active: list[_Active] = field(default_factory=list)
    _random: random.Random = field(init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    def add(self, rule: FaultRule) -> None:
        """Activate a rule; it counts requests from now on."""
        with self._lock:
            self._active.append(_Active(rule))

    def remove_all(self) -> None:
        """Remove all rules, but keep their counts."""
        with self._lock:
            self._active.clear()

    def reset(self) -> None:
        """Remove all rules and their counts, and restart the random numbers."""
        with self._lock:
            self._active.clear()
            self.struck.clear()
            self._random.seed(self.seed)

    def describe(self) -> list[dict[str, Any]]:
        """The active rules as plain data, each with ``seen`` and ``struck``."""
        with self._lock:
            return [
                active.rule.model_dump(exclude_unset=True) | {"seen": active.seen, "struck": active.struck}
                for active in self._active
            ]

    def choose(self, method: str, path: str, names: Sequence[str]) -> list[FaultRule]:
        """The rules that hit this request: every latency, and the first of the others."""
        chosen: list[FaultRule] = []
        settled = False
        with self._lock:
            for active in self._active:
                if not matches(active.rule, method, path, names):
                    continue
                active.seen += 1
                if settled and active.rule.kind != "latency":
                    continue
                draw = self._random.random()
                if strikes(active.rule, seen=active.seen, struck=active.struck, draw=draw):
                    active.struck += 1
                    self.struck[active.rule.kind] += 1
                    chosen.append(active.rule)
                    settled = settled or active.rule.kind != "latency"
        return chosen


@dataclass(slots=True)
class Limiter:
    """Limits the calls in any one second.

    :param calls_per_second: None for no limit.
    """

    calls_per_second: int | None = None
    _times: deque[float] = field(default_factory=deque)

    def allows(self, now: float) -> bool:
        """Count a call, unless it exceeds the limit."""
        if self.calls_per_second is None:
            return True
        while self._times and self._times[0] <= now - 1.0:
            self._times.popleft()
        if len(self._times) >= self.calls_per_second:
            return False
        self._times.append(now)
        return True


def parse_fault(text: str) -> FaultRule:
    """Read a rule as it is written on the command line: ``KIND[-after][:RATE]``.

    ``KIND`` is a kind or an HTTP status; ``-after`` means after the tickets were made.

    :raises ValueError: it can't be read; the message says what to write.
    """
    name, _, rate_text = text.partition(":")
    after = name.endswith("-after")
    name = name.removesuffix("-after")
    kinds = [kind for kind in get_args(Kind) if kind != "poison"]
    options: dict[str, Any] = {"commit": True} if after else {}
    if name.isdecimal() and 200 <= int(name) <= 599:
        options |= {"kind": "status", "status": int(name)}
    elif name in kinds:
        options |= {"kind": name}
    else:
        raise ValueError(
            f"{text!r} is not a fault: write KIND or KIND:RATE, with a status or one of {', '.join(kinds)}"
        )
    try:
        rate = float(rate_text) if rate_text else 1.0
        if not 0.0 <= rate <= 1.0:
            raise ValueError(rate_text)
    except ValueError:
        raise ValueError(f"the rate in {text!r} must be a number from 0 to 1") from None
    if after and name in _NEVER_COMMIT:
        raise ValueError(f"{name} has no -after")
    return FaultRule(rate=rate, **options)
