"""Airflow and a few slots, and the runs that go on side by side there."""

from __future__ import annotations

import queue
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self, TypeVar

from qa.chaos.plan import Plan
from qa.chaos.run import Outcome, Run
from qa.chaos.scheduler import SchedulerAirflow
from qa.chaos.slot import Slot

Todo = TypeVar("Todo")
Done = TypeVar("Done")

PATIENT = 4.0
"""Seconds. A search is believed after several times as long."""


class Lab:
    """A scheduler's Airflow, and sandboxes that each serve one run at a time, while the context is open.

    :param slots: how many runs go on side by side.
    :param python: the interpreter of the environment that holds Airflow.
    :param database: an SQLite file with that Airflow's tables, to be copied; made where there is none.
    """

    def __init__(
        self,
        slots: int,
        *,
        python: str = sys.executable,
        database: Path | None = None,
    ) -> None:
        self._stack = ExitStack()
        folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="leen-slots-")))
        self.slots = [Slot(number, folder) for number in range(slots)]
        self.patient = Slot(slots, folder, timeout=PATIENT)
        """One more, for what must not depend on how fast the machine is."""
        connections = {slot.conn_id: slot.airflow_conn for slot in (*self.slots, self.patient)}
        self.airflow = SchedulerAirflow(connections, python=python, database=database, at_once=2 * slots)

    def __enter__(self) -> Self:
        with ExitStack() as opened:
            opened.push(self._stack)
            for slot in (*self.slots, self.patient):
                opened.enter_context(slot)
            opened.enter_context(self.airflow)
            self._warm_up()
            self._stack = opened.pop_all()
        return self

    def __exit__(self, *raised: Any) -> None:
        self._stack.__exit__(*raised)

    def _warm_up(self) -> None:
        """Create no ticket: the first task on a new Airflow is so slow that it may be taken for dead."""
        nothing = self.airflow.home / "nothing.json"
        nothing.write_text("[]")
        conf = {"tickets_path": str(nothing), "conn": self.slots[0].conn_id, "connection_id": "", "ledger_path": ""}
        self.airflow.trigger("kill_plain", "warm-up", conf)
        while not self.airflow.look("kill_plain", "warm-up").ended:
            time.sleep(0.2)

    def perform(self, plans: Sequence[Plan], ended: Callable[[Outcome], None] = lambda _: None) -> list[Outcome]:
        """Perform all plans, one in each slot at a time.

        :param ended: called with each outcome as soon as it is there, one at a time.
        :return: the outcomes, in the order of their numbers.
        """
        outcomes = self.share(plans, lambda slot, plan: Run(self.airflow, slot, plan).perform(), ended)
        return sorted(outcomes, key=lambda outcome: outcome.plan.index)

    def share(
        self, todo: Sequence[Todo], perform: Callable[[Slot, Todo], Done], ended: Callable[[Done], Any]
    ) -> list[Done]:
        """Perform what is to be done, one in each slot at a time, and return the outcomes as they came."""
        left: queue.SimpleQueue[Todo] = queue.SimpleQueue()
        for one in todo:
            left.put(one)
        outcomes: list[Done] = []
        broken: list[BaseException] = []
        telling = threading.Lock()

        def work(slot: Slot) -> None:
            try:
                while not broken:
                    outcome = perform(slot, left.get_nowait())
                    with telling:
                        outcomes.append(outcome)
                        ended(outcome)
            except queue.Empty:
                pass
            except BaseException as error:
                broken.append(error)

        threads = [threading.Thread(target=work, args=(slot,), daemon=True) for slot in self.slots]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if broken:
            raise broken[0]
        return outcomes
