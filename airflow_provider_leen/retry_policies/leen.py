"""A retry policy that knows what Leen's errors mean (Airflow 3.3 and newer)."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import TYPE_CHECKING

try:
    from airflow.providers.common.compat.sdk import RetryDecision, RetryPolicy
except ImportError:
    raise ImportError(
        "LeenRetryPolicy needs Airflow 3.3 or newer, which brought retry policies: leave retry_policy out and set "
        "retries and retry_delay instead."
    ) from None

from airflow_provider_leen.api.errors import PASSING, LeenOutcomeUnknownError, LeenRateLimitError

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

__all__ = ["LeenRetryPolicy"]


class LeenRetryPolicy(RetryPolicy):
    """Decides when a task that uses Leen is retried.

    =====================================  ===========================================================================
    rate limit (LeenRateLimitError)        retried after the time that Leen asks for; without one, as after an outage
    outage (LeenConnectError,              retried after ``first_delay``, doubled from try to try up to ``max_delay``
    LeenServerError)
    unknown outcome                        failed at once, unless a retry can find out more because the tickets
    (LeenOutcomeUnknownError)              carry their keys, or ``on_unknown="resend"``: then as after an outage
    anything else                          Airflow's own ``retries`` and ``retry_delay``
    =====================================  ===========================================================================

    The task's ``retries`` remain the limit. What a retry can't fix (such as a key that is refused) does not get here:
    the operators raise it as ``AirflowFailException``.

    ::

        LeenBulkCreateTicketsOperator(
            task_id="create_tickets",
            tickets=scan(),
            retries=5,
            retry_policy=LeenRetryPolicy(max_delay=timedelta(minutes=20)),
        )

    :param first_delay: how long to wait after the first try, default one minute.
    :param max_delay: the longest wait, default one hour. The time that Leen asks for is never shortened.
    """

    def __init__(
        self, *, first_delay: timedelta = timedelta(minutes=1), max_delay: timedelta = timedelta(hours=1)
    ) -> None:
        self.first_delay = first_delay
        self.max_delay = max_delay

    def evaluate(
        self, exception: BaseException, try_number: int, max_tries: int, context: Context | None = None
    ) -> RetryDecision:
        """Decide on a failed try.

        :param exception: what the try failed with.
        :param try_number: which try it was, from 1.
        :param max_tries: how many retries the task has.
        :param context: the task's context; not used.
        """
        # Tasks that failed together must not all retry at the same moment.
        return _decide(exception, try_number, self.first_delay, self.max_delay, random.random())


def _decide(
    exception: BaseException, try_number: int, first_delay: timedelta, max_delay: timedelta, jitter: float
) -> RetryDecision:
    if isinstance(exception, LeenRateLimitError) and exception.retry_after:
        # Never less than Leen asked for: the jitter is added.
        seconds = exception.retry_after + jitter * min(60.0, exception.retry_after / 10)
        return RetryDecision.retry(timedelta(seconds=seconds), "Leen asked for this wait.")
    if isinstance(exception, LeenOutcomeUnknownError):
        if not exception.can_be_settled:
            return RetryDecision.fail("The outcome of the tickets is unknown, and a retry can't find out more.")
        reason = "The outcome of the tickets is unknown; a retry can look them up, or may send them again."
    elif isinstance(exception, PASSING):
        reason = f"Leen is not available ({type(exception).__name__})."
    else:
        return RetryDecision.default()
    longest = min(max_delay, first_delay * 2 ** min(try_number - 1, 20))
    return RetryDecision.retry(longest * (0.5 + jitter / 2), reason)
