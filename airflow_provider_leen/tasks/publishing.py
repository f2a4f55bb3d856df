"""Publishes a task's XComs: each is independent, and a failed one does not hide the error that ended the task."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from airflow_provider_leen.api.errors import LeenConfigError, LeenError
from airflow_provider_leen.api.text import clean_json, one_line
from airflow_provider_leen.tasks.supervisor import SupervisorThread

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

log = logging.getLogger(__name__)

PUBLISHED_BY_A_RETRY = "A retry publishes them, and creates nothing twice."


class Publisher:
    """Pushes the XComs of a task, made safe for any database. A failure is logged, and the others are still pushed.

    The ``return_value`` is pushed here, too: Airflow publishes it only if the task succeeds, and would retry the task
    if the push fails, even without a durable ledger.

    :param context: the task's.
    :param supervisor: makes the calls.
    """

    def __init__(self, context: Context, supervisor: SupervisorThread) -> None:
        self._push = context["ti"].xcom_push
        self._supervisor = supervisor
        self._failed: list[str] = []
        self._interruption: BaseException | None = None

    def push(self, key: str, value: Any) -> None:
        """Push one XCom. :meth:`problem` reports a failure."""
        try:
            self._supervisor.call(self._push, key=key, value=clean_json(value))
        except Exception as error:  # Airflow's, a database's, a custom XCom backend's
            self._failed.append(f"{key} ({type(error).__name__}: {one_line(str(error), 300)})")
            log.error("The XCom %s could not be published.", self._failed[-1])
        except BaseException as error:
            # A signal: the task timed out, or was stopped. The others are still pushed.
            log.warning("The task was interrupted while it published the XCom %s.", key)
            self._interruption = self._interruption or error

    def problem(self, retry: str | None) -> BaseException | None:
        """Return the error to fail the task with, unless it failed anyway; None if everything was published.

        :param retry: what a retry of the task does, for a person; None if it must not be retried.
        """
        if self._interruption is not None or not self._failed:
            return self._interruption
        sentence = f"The tickets are done, but these XComs could not be published: {', '.join(self._failed)}."
        if retry is not None:
            return LeenError(f"{sentence} {retry}")
        return LeenConfigError(
            f"{sentence} There is no durable ledger of what was sent, so don't clear the task: look into the tracker."
        )

    def conclude(self, ended_with: BaseException | None, retry: str | None) -> None:
        """Raise the error that ended the task, else that of :meth:`problem`."""
        if error := ended_with or self.problem(retry):
            raise error
