from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from airflow_provider_leen.api.settings import LeenSettings
from airflow_provider_leen.bulk.summary import TicketResult
from airflow_provider_leen.links.leen import MAX_LENGTH, LeenTicketsLink, ticket_link
from airflow_provider_leen.sandbox.server import SandboxServer
from tests.operators.dags import bulk_dag, connection, tickets
from tests.support.airflow_run import AIRFLOW, AirflowRun
from tests.support.results import result

TICKET_URL = "https://acme.atlassian.net/browse/{vendor_ticket_id}"
SEARCH_URL = "https://acme.atlassian.net/issues/?jql=key in ({vendor_ticket_ids}) order by key"
BOTH = {"ticket_url": TICKET_URL, "search_url": SEARCH_URL}

RunDag = Callable[..., AirflowRun]


def settings(**urls: str) -> LeenSettings:
    return LeenSettings(base_url="https://api.leen.dev/v1", api_key="a-key", connection_id="an-id", **urls)  # type: ignore[arg-type]


def created(*ids: str | None) -> list[TicketResult]:
    return [result(vendor_ticket_id=vendor_ticket_id) for vendor_ticket_id in ids]


def search_of(link: str | None) -> str:
    """The search that the tracker reads out of a link."""
    return parse_qs(urlsplit(link or "").query)["jql"][0]


def test_one_ticket_is_linked_itself() -> None:
    assert ticket_link(settings(**BOTH), created("SEC-1")) == "https://acme.atlassian.net/browse/SEC-1"


def test_many_tickets_are_linked_by_a_search_for_all_of_them() -> None:
    link = ticket_link(settings(**BOTH), created("SEC-1", "SEC-2", "SEC-3"))
    assert search_of(link) == "key in (SEC-1,SEC-2,SEC-3) order by key"
    assert " " not in str(link)


def test_tickets_that_a_reconciliation_closed_or_reopened_are_linked_too() -> None:
    statuses: tuple[Any, ...] = ("existing", "created", "reopened", "closed", "pending")
    results = [result(number, status) for number, status in enumerate(statuses)]
    assert search_of(ticket_link(settings(**BOTH), results)) == "key in (SEC-1,SEC-2,SEC-3) order by key"


def test_one_ticket_is_searched_for_where_only_the_search_is_set() -> None:
    assert search_of(ticket_link(settings(search_url=SEARCH_URL), created("SEC-1"))) == "key in (SEC-1) order by key"


@pytest.mark.parametrize(
    "results",
    [
        [],
        [result(0, "rejected"), result(1, "unknown"), result(2, "unsent")],
        [result(1, "existing")],
        created(None),
    ],
    ids=["no ticket", "none created", "none new", "ids not known"],
)
def test_there_is_no_link_before_something_was_created(results: list[TicketResult]) -> None:
    assert ticket_link(settings(**BOTH), results) is None


def test_there_is_no_link_without_the_setting_that_it_needs() -> None:
    assert ticket_link(settings(), created("SEC-1")) is None
    assert ticket_link(settings(ticket_url=TICKET_URL), created("SEC-1", "SEC-2")) is None


def test_an_id_can_not_break_out_of_its_place() -> None:
    link = ticket_link(settings(**BOTH), created("SEC-1/../?x=1#&", 'B") or 1=1'))
    assert search_of(link) == 'key in (SEC-1/../?x=1#&,B") or 1=1) order by key'
    assert ticket_link(settings(**BOTH), created("a/b?c")) == "https://acme.atlassian.net/browse/a%2Fb%3Fc"


def test_what_is_encoded_in_the_setting_is_not_encoded_twice() -> None:
    encoded = settings(search_url="https://x.example/?jql=key%20in%20({vendor_ticket_ids})")
    assert search_of(ticket_link(encoded, created("A-1", "A-2"))) == "key in (A-1,A-2)"


def test_a_very_long_search_names_the_first_tickets_and_stays_short_enough() -> None:
    link = ticket_link(settings(**BOTH), created(*[f"SEC-{number}" for number in range(1000, 6000)]))
    assert MAX_LENGTH - 20 < len(str(link)) <= MAX_LENGTH
    assert search_of(link).startswith("key in (SEC-1000,SEC-1001,")
    assert search_of(link).endswith(") order by key")


# In Airflow


def link_in_the_ui(run: AirflowRun) -> Any:
    """What Airflow's server finds for the button, from what it knows of the Dag and from XCom."""
    [instance] = run.dag_run.get_task_instances()
    dag = run.dag_run.dag
    if AIRFLOW < (3, 0):
        # By name: newer Airflows have no such thing there.
        serialized: Any = import_module("airflow.serialization.serialized_objects").SerializedDAG
        dag = serialized.from_dict(serialized.to_dict(dag))
    return dag.get_task("create").get_extra_links(instance, LeenTicketsLink.name)


def test_the_operator_publishes_the_link_to_what_it_created(
    run_dag: RunDag, sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_LEEN_DEFAULT", connection(sandbox, extra=BOTH))
    assert link_in_the_ui(run_dag(bulk_dag(tickets(1)))) == "https://acme.atlassian.net/browse/SEC-101"
    assert search_of(link_in_the_ui(run_dag(bulk_dag(tickets(2))))) == "key in (SEC-102,SEC-103) order by key"


def test_a_task_that_fails_has_the_link_to_what_it_created_before(
    run_dag: RunDag, sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_LEEN_DEFAULT", connection(sandbox, extra=BOTH))
    run = run_dag(bulk_dag([*tickets(1), {"name": ""}], max_failures=0))
    assert run.states == {"create": "failed"}
    assert link_in_the_ui(run) == "https://acme.atlassian.net/browse/SEC-101"


def test_without_the_setting_airflow_shows_no_link_and_logs_no_error(
    run_dag: RunDag, sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_LEEN_DEFAULT", connection(sandbox))
    assert not link_in_the_ui(run_dag(bulk_dag(tickets(1))))
    assert "XCom not found" not in capfd.readouterr().out
