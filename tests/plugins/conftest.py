"""Fixtures: Airflow's own API server, in this process, with the plugin in it as Airflow loads it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from airflow_provider_leen.bulk.statuses import STATUSES, Status
from airflow_provider_leen.bulk.summary import TicketResult
from airflow_provider_leen.plugins.leen import LeenPlugin
from tests.support.results import result


def results(count: int) -> list[TicketResult]:
    """The results of a long list, a failure among them now and then."""

    def a_result(index: int) -> TicketResult:
        status: Status = STATUSES[index % len(STATUSES)] if index % 50 == 0 else "created"
        name = f"SQL built from strings in orm/query.py:{index}"
        return result(index, status, name=name, identifier=f"airflow-{index:024}", vendor_ticket_id=f"SEC-{index}")

    return [a_result(index) for index in range(count)]


@pytest.fixture(scope="module")
def server(airflow_db: None) -> Iterator[Any]:
    """A client of the API server that is not logged in."""
    if not LeenPlugin.external_views:
        pytest.skip("this Airflow has no tabs")
    from airflow.api_fastapi.app import create_app, purge_cached_app
    from fastapi.testclient import TestClient

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW__API_AUTH__JWT_SECRET", "a secret of this Airflow alone".center(64, "-"))
        with TestClient(create_app(apps="core"), base_url="http://localhost") as client:
            yield client
        purge_cached_app()


@pytest.fixture(scope="module")
def token(server: Any) -> Callable[..., str]:
    """Makes a token as a log-in does: ``token("VIEWER")``."""
    from airflow.api_fastapi.app import get_auth_manager
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser

    def make(role: str | None) -> str:
        user = SimpleAuthManagerUser(username="somebody", role=role)
        return get_auth_manager().generate_jwt(user)

    return make


@pytest.fixture
def get(server: Any, token: Callable[..., str]) -> Callable[..., Any]:
    """Asks for a part of the tab as a viewer: ``get("data", run, task_id="create")``."""

    def ask(path: str, dag_run: Any, headers: dict[str, str] | None = None, **query: Any) -> Any:
        return server.get(
            f"/leen/tickets/{path}".rstrip("/"),
            params={"dag_id": dag_run.dag_id, "run_id": dag_run.run_id, **query},
            headers={"Authorization": f"Bearer {token('VIEWER')}", **(headers or {})},
        )

    return ask
