"""The judge of the days: it must see what it is there to see."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from qa.chaos.days.book import Book, Ended, Listed

SIX = tuple(f"finding {number}" for number in range(6))


def held(finding: str, number: int = 0, **changes: Any) -> dict[str, Any]:
    number = number or 1 + SIX.index(finding)
    return {
        "ticket_id": f"id-{number}",
        "vendor_ticket_id": f"SEC-{number}",
        "identifier": f"rule/{finding}",
        "name": finding,
        "description": f"airflow-{number:024x}",
        "priority": "MEDIUM",
        "project": "SEC",
        "assignee": None,
        "status": "TODO",
    } | changes


class World:
    """A book, and what the tracker holds."""

    def __init__(self, *, reconciles: bool = True, max_new: int = 10) -> None:
        self.book = Book(reconciles=reconciles, close_after=2, max_new=max_new, max_close_rate=0.2)
        self.tickets = [held(finding) for finding in SIX]
        self.runs = 0
        self.problems: list[str] = []
        self.run(SIX)

    def run(
        self, findings: Sequence[str], *, closes: Sequence[int] = (), opens: Sequence[int] = (), **how: Any
    ) -> list[str]:
        """Let a run with this list close and reopen tickets, by their positions."""
        self.runs += 1
        for index in (*closes, *opens):
            self.set(index, "CLOSED" if index in closes else "TODO")
        may_change = how.pop("may_change", True)
        listed = Listed(f"run {self.runs}", frozenset(findings), **how)
        self.problems += self.book.judge(self.tickets, [listed], may_change=may_change)
        return self.problems

    def person(self, action: str, index: int) -> None:
        self.book.person(action, self.tickets[index]["ticket_id"])
        if action in ("close", "reopen"):
            self.set(index, "CLOSED" if action == "close" else "TODO")
        elif action == "delete":
            del self.tickets[index]
        self.book.look(self.tickets)

    def set(self, index: int, status: str) -> None:
        self.tickets[index] = self.tickets[index] | {"status": status}

    def says(self, status: str, finding: str = SIX[0], **changes: Any) -> list[str]:
        """Judge a run that says this of a finding's ticket, or that."""
        result = {"name": finding, "status": status, "vendor_ticket_id": None}
        summary = {"unknown": 0, "unsent": 0, "results": [result]}
        ended: dict[str, Any] = {"run": "it", "state": "success", "summary": summary, "rows": [finding], "speaks": True}
        ended |= changes
        rows, speaks = ended.pop("rows"), ended.pop("speaks")
        return list(self.book.judge_run(Ended(**ended), rows, speaks=speaks))


def words(problems: Sequence[str]) -> set[str]:
    return {problem.partition(":")[0] for problem in problems}


LEFT = SIX[1:]


def days_as_they_should_be(world: World) -> None:
    world.run(LEFT)
    world.run(LEFT, closes=[0])
    assert world.says("closed") == []
    world.run(SIX, opens=[0])
    assert world.says("reopened") == []


def a_regression(world: World) -> None:
    world.run(LEFT)
    world.run(LEFT, closes=[0])
    world.person("edit", 0)
    world.tickets.append(held(SIX[0], 7))
    world.run(SIX)


def a_register_that_was_repaired(world: World) -> None:
    world.person("delete", 0)
    world.book.forget()
    world.tickets.append(held(SIX[0], 7))
    world.run(SIX)


def an_incomplete_list(world: World) -> None:
    world.run(LEFT)
    world.run(LEFT, is_whole=False)
    world.run(LEFT, closes=[0])
    world.run(SIX, opens=[0])


RIGHT: dict[str, Callable[[World], Any]] = {
    "days as they should be": days_as_they_should_be,
    "a new ticket for a finding that is back, whose old one a person had a hand in": a_regression,
    "a deleted ticket, and a register that lost what it knew": a_register_that_was_repaired,
    "a list that is not complete does not count": an_incomplete_list,
}


@pytest.mark.parametrize("days", RIGHT.values(), ids=RIGHT)
def test_what_is_right_is_no_problem(days: Callable[[World], Any]) -> None:
    world = World()
    days(world)
    assert world.problems == []
    assert world.book.out_of_step(SIX) == []


def filed_again(world: World) -> None:
    world.tickets.append(held(SIX[0], 7))
    world.run(SIX)


def same_key(world: World) -> None:
    world.run(LEFT)
    world.run(LEFT, closes=[0])
    world.tickets.append(held(SIX[0], 7, description=world.tickets[0]["description"]))
    world.run(SIX)


def second_open_one(world: World) -> None:
    world.run(LEFT)
    world.run(LEFT)
    world.tickets.append(held(SIX[0], 7))
    world.run(SIX)


def in_no_list(world: World) -> None:
    world.tickets.append(held("finding 9", 7))
    world.run(SIX)


def flooded(world: World) -> None:
    more = [f"finding {number}" for number in range(10, 21)]
    world.tickets += [held(finding, 10 + number) for number, finding in enumerate(more)]
    world.run((*SIX, *more))


def brake_fails(world: World) -> None:
    world.run(())
    world.run(("finding 9",), closes=range(6))


def defended(world: World) -> None:
    world.run(LEFT)
    world.run(LEFT, closes=[0])
    world.says("closed")
    world.person("reopen", 0)
    world.run(LEFT, closes=[0])


def reopened_a_persons(world: World) -> None:
    world.person("close", 0)
    world.run(LEFT)
    world.run(LEFT)
    world.run(SIX, opens=[0])


def edited(world: World) -> None:
    world.tickets[0] = world.tickets[0] | {"priority": "LOW"}
    world.run(SIX)


def disappeared(world: World) -> None:
    del world.tickets[0]
    world.run(SIX)


WRONG: dict[str, tuple[Callable[[World], Any], str]] = {
    "filed again": (filed_again, "doubled"),
    "two tickets with one key": (same_key, "doubled"),
    "a second ticket while the first is open": (second_open_one, "doubled"),
    "filed, and in no list": (in_no_list, "wrong"),
    "more filed than max_new": (flooded, "wrong"),
    "closed, and listed": (lambda world: world.run(SIX, closes=[0]), "wrong"),
    "closed too early": (lambda world: world.run(LEFT, closes=[0]), "wrong"),
    "closed by a list that is not complete": (
        lambda world: (world.run(LEFT), world.run(LEFT, closes=[0], is_whole=False)),
        "wrong",
    ),
    "closed by an empty list": (lambda world: (world.run(()), world.run((), closes=[0])), "wrong"),
    "more closed than the brake allows": (brake_fails, "wrong"),
    "a person reopened it, and it is closed": (defended, "undone"),
    "a person closed it, and it is reopened": (reopened_a_persons, "undone"),
    "reopened, and not back": (
        lambda world: (world.run(LEFT), world.run(LEFT, closes=[0]), world.run(LEFT, opens=[0])),
        "wrong",
    ),
    "a field was changed": (edited, "undone"),
    "a ticket has disappeared": (disappeared, "wrong"),
    "an old run that changes something": (
        lambda world: (world.run(LEFT), world.run(LEFT, closes=[0], may_change=False)),
        "wrong",
    ),
}


@pytest.mark.parametrize(("days", "word"), WRONG.values(), ids=WRONG)
def test_problems_are_found(days: Callable[[World], Any], word: str) -> None:
    world = World()
    days(world)
    assert words(world.problems) == {word}


def test_a_bulk_creation_closes_reopens_and_files_nothing_again() -> None:
    for days in (days_as_they_should_be, a_regression):
        world = World(reconciles=False)
        days(world)
        assert world.problems


SAYS: dict[str, tuple[dict[str, Any], str]] = {
    "failed without a word": ({"status": "created", "state": "failed", "has_said": False}, "silent"),
    "green without a summary": ({"status": "created", "summary": None}, "silent"),
    "other rows": ({"status": "created", "rows": ["another"]}, "silent"),
    "green with an unknown ticket": (
        {"status": "created", "summary": {"unknown": 1, "unsent": 0, "results": [{"name": SIX[0]}]}, "speaks": False},
        "silent",
    ),
    "created, and not there": ({"status": "created", "finding": "finding 9"}, "lost"),
    "closed, and open": ({"status": "closed"}, "wrong"),
}


@pytest.mark.parametrize(("said", "word"), SAYS.values(), ids=SAYS)
def test_what_a_run_says_is_compared_with_the_tracker(said: dict[str, Any], word: str) -> None:
    assert words(World().says(**said)) == {word}


def test_at_the_end_tickets_and_findings_must_be_in_step_except_for_what_people_did() -> None:
    world = World()
    assert words(world.book.out_of_step((*SIX, "finding 9"))) == {"lost"}
    assert words(world.book.out_of_step(LEFT)) == {"stuck"}
    world.person("close", 0)
    assert world.book.out_of_step(LEFT) == []
    world.person("close", 1)
    assert world.book.out_of_step(SIX) == []
