from __future__ import annotations

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_leen.api.errors import LeenAuthError, LeenConfigError, LeenConnectError, LeenError
from airflow_provider_leen.tasks.stopping import fail_without_retry

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
