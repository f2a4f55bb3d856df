from __future__ import annotations

import signal
import threading
import time
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_leen.api.errors import (
    LeenAuthError,
    LeenConfigError,
    LeenConnectError,
    LeenError,
    LeenLedgerLostError,
    LeenNotFoundError,
    LeenThresholdError,
    LeenValidationError,
)
from airflow_provider_leen.tasks.stopping import Interruptible, drive, fail_without_retry
from tests.api.test_errors import every_class as every_error

CONNECT = "Leen can't be reached.\nDocs: what-happens-when-it-breaks#leen-cant-be-reached"
AUTH = "The key is refused.\nDocs: what-happens-when-it-breaks#401-403-key-or-connection-refused"


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (LeenConnectError("Leen can't be reached."), LeenConnectError, CONNECT),
        (LeenAuthError("The key is refused."), AirflowFailException, AUTH),
        (LeenConfigError("Write a number."), AirflowFailException, "Write a number."),
    ],
)
def test_an_error_ends_with_the_page_that_helps_and_with_no_retry_where_none_can(
    error: LeenError, kind: type[Exception], text: str
) -> None:
    with pytest.raises(kind) as raised, fail_without_retry():
        raise error
    assert str(raised.value) == str(error) == text


@pytest.mark.parametrize("kind", every_error(), ids=lambda kind: kind.__name__)
def test_airflow_retries_unless_the_key_the_configuration_the_address_or_a_decision_is_to_blame(
    kind: type[LeenError],
) -> None:
    decided = LeenAuthError, LeenConfigError, LeenNotFoundError, LeenValidationError, LeenThresholdError
    fails = issubclass(kind, (*decided, LeenLedgerLostError))
    with pytest.raises(AirflowFailException if fails else kind) as raised, fail_without_retry():
        raise kind("It happened.")
    assert type(raised.value.__cause__ if fails else raised.value) is kind


def test_a_signal_that_does_not_wake_the_main_thread_is_still_handled(monkeypatch: pytest.MonkeyPatch) -> None:
    """As one does that arrives right before the main thread begins to wait."""
    monkeypatch.setattr("airflow_provider_leen.tasks.stopping.SIGNAL_DELAY", 0.05)
    work: Future[None] = Future()

    def signal_another_thread() -> None:
        time.sleep(0.2)
        signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, lambda *_: work.set_result(None))
    try:
        other = threading.Thread(target=signal_another_thread)
        other.start()
        client: Any = SimpleNamespace(start=lambda coroutine: work)
        nothing: Any = None
        drive(Interruptible(), client, nothing, nothing)
        other.join()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert work.done()
