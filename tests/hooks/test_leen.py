from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowNotFoundException, task

from airflow_provider_leen.api.errors import LeenConfigError, LeenNotFoundError
from airflow_provider_leen.get_provider_info import CONN_FIELDS
from airflow_provider_leen.hooks.leen import LeenHook
from airflow_provider_leen.sandbox.findings import findings
from airflow_provider_leen.sandbox.server import SandboxServer
from qa.support.processes import free_port
from tests.support.airflow_run import AIRFLOW

TICKET = {"name": "SQL built from strings", "project_vendor_id": "SEC", "type": "Task"}
ID = "7f2c1e0a-0000-4000-8000-000000000000"
KEY = "lk_live_f00d"

Connect = Callable[..., None]


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Connect:
    """Sets the connection ``leen_default``: from a URI, or from fields."""

    def connect(uri: str | None = None, **fields: Any) -> None:
        given = {"conn_type": "leen", "login": ID, "password": KEY} | fields
        monkeypatch.setenv("AIRFLOW_CONN_LEEN_DEFAULT", uri or json.dumps(given))

    return connect


# The connection


def test_nothing_is_looked_up_before_the_first_use() -> None:
    hook = LeenHook("no_such_connection", connection_id="c", timeout=-1, max_retries=-1)
    hook.close()
    assert "no_such_connection" not in repr(hook)


@pytest.mark.parametrize(
    ("uri", "base_url"),
    [
        pytest.param(f"leen://{ID}:{KEY}@", "https://api.leen.dev/v1", id="no host"),
        pytest.param(f"leen://{ID}:{KEY}@/?region=eu-c1", "https://api.eu-c1.leen.dev/v1", id="region"),
        pytest.param(
            f"leen://{ID}:{KEY}@{quote('http://127.0.0.1:8765/v1', safe='')}",
            "http://127.0.0.1:8765/v1",
            id="host quoted",
        ),
        pytest.param(f"leen://{ID}:{KEY}@api.acme.example/v1", "https://api.acme.example/v1", id="host, path"),
        pytest.param(
            f"leen://{ID}:{KEY}@api.acme.example:8443/v1", "https://api.acme.example:8443/v1", id="host, port, path"
        ),
        pytest.param(
            f"leen://http://{ID}:{KEY}@127.0.0.1:8765/v1", "http://127.0.0.1:8765/v1", id="with a scheme of its own"
        ),
    ],
)
def test_a_connection_may_be_a_uri(connect: Connect, uri: str, base_url: str) -> None:
    connect(uri)
    settings = LeenHook().settings
    assert (settings.base_url, settings.connection_id, settings.api_key) == (base_url, ID, KEY)


def test_a_uri_may_carry_all_extras_and_a_quoted_key(connect: Connect) -> None:
    connect(f"leen://{ID}:{quote('a b/c+d=', safe='')}@/?timeout=7&max_retries=1&verify=false&settle_time=2.5")
    settings = LeenHook().settings
    assert settings.api_key == "a b/c+d="
    assert (settings.timeout, settings.max_retries, settings.verify, settings.settle_time) == (7.0, 1, False, 2.5)


@pytest.mark.parametrize(
    ("fields", "base_url"),
    [
        pytest.param({}, "https://api.leen.dev/v1", id="nothing"),
        pytest.param({"extra": {"region": "ap-se2"}}, "https://api.ap-se2.leen.dev/v1", id="region"),
        pytest.param(
            {"host": "leen.acme.example", "port": 8443, "schema": "/api/v1/"},
            "https://leen.acme.example:8443/api/v1",
            id="parts",
        ),
        pytest.param(
            {"host": "https://api.leen.dev/v1", "schema": "https"}, "https://api.leen.dev/v1", id="schema is a scheme"
        ),
    ],
)
def test_a_connection_may_be_json(connect: Connect, fields: dict[str, Any], base_url: str) -> None:
    connect(**fields)
    assert LeenHook().settings.base_url == base_url


def test_arguments_override_the_connection(connect: Connect) -> None:
    connect(extra={"timeout": 5, "max_retries": 5, "max_retry_wait": 5})
    settings = LeenHook(connection_id="other", timeout=7.5, max_retries=0).settings
    assert (settings.connection_id, settings.timeout, settings.max_retries, settings.max_retry_wait) == (
        "other",
        7.5,
        0,
        5.0,
    )
    assert LeenHook(connection_id="").settings.connection_id == ID


AIRFLOW_REFUSES = pytest.mark.skipif(
    (3, 0) <= AIRFLOW < (3, 2), reason="Airflow 3.1 says itself that a connection with such an extra is not defined"
)


@AIRFLOW_REFUSES
@pytest.mark.parametrize("extra", ["no JSON", "[1]", '"text"', "5", "{"])
def test_an_extra_that_is_no_object_is_refused(connect: Connect, extra: str) -> None:
    connect(extra=extra)
    with pytest.raises(LeenConfigError, match="extra of connection 'leen_default' is not a JSON object"):
        _ = LeenHook().settings


@pytest.mark.parametrize("extra", [None, "", "{}"])
def test_an_empty_extra_is_the_same_as_none(connect: Connect, extra: str | None) -> None:
    connect(extra=extra)
    assert LeenHook().settings.timeout == 120


def test_an_unknown_extra_is_warned_about_once_and_its_value_is_not_shown(
    connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    connect(extra={"time_out": "hunter2", "timeout": 7})
    assert [LeenHook().settings.timeout for _ in range(3)] == [7.0] * 3
    [warning] = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert warning == (
        "Connection 'leen_default': the extra 'time_out' is unknown and ignored: did you mean 'timeout'?"
    )


def test_another_connection_can_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_LEEN_EU", f"leen://{ID}:{KEY}@/?region=eu-c1")
    assert LeenHook("leen_eu").settings.base_url == "https://api.eu-c1.leen.dev/v1"


def test_a_connection_that_does_not_exist_is_airflows_own_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_LEEN_DEFAULT", raising=False)
    hook = LeenHook("leen_nowhere")
    with pytest.raises(AirflowNotFoundException, match="leen_nowhere"):
        hook.get_conn()


# The Test button


def test_the_test_says_what_leen_shows(sandbox: SandboxServer) -> None:
    passed, sentence = LeenHook().test_connection()
    assert passed
    assert "Leen accepts the key and the connection" in sentence
    [request] = sandbox.requests
    assert (request.method, request.path, request.query) == ("GET", "/v1/itsm/projects", "limit=1")
    assert not [thread for thread in threading.enumerate() if thread.name == "leen-client"]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        pytest.param({"password": KEY}, "Check the API key", id="the key is refused"),
        pytest.param({"login": "no-uuid"}, "Check the Base URL and the Leen connection ID", id="an unknown connection"),
        pytest.param({"host": "{url}/v2/v1"}, "Check the Base URL", id="another address"),
        pytest.param({"host": "http://127.0.0.1:{free}/v1"}, "Leen could not be reached", id="nobody there"),
        pytest.param({"host": "{url}"}, "lacks the API's version", id="no version"),
        pytest.param({"password": ""}, "The API key is missing", id="no key"),
        pytest.param({"login": ""}, "The Leen connection ID is missing", id="no connection ID"),
        pytest.param({"extra": {"timeout": "soon"}}, "Timeout (s) is 'soon'", id="a bad extra"),
        pytest.param({"extra": "no JSON"}, "not a JSON object", id="no extra", marks=AIRFLOW_REFUSES),
    ],
)
def test_the_test_says_in_a_sentence_what_is_wrong(
    sandbox: SandboxServer, connect: Connect, fields: dict[str, Any], said: str
) -> None:
    places = {"{url}": sandbox.url, "{free}": str(free_port())}
    given = {"login": ID, "password": sandbox.api_key, "host": sandbox.base_url, "extra": {"max_retries": 0}} | fields
    for place, value in places.items():
        given["host"] = given["host"].replace(place, value)
    connect(**given)
    passed, sentence = LeenHook().test_connection()
    assert not passed
    assert said in sentence
    assert sentence.endswith(".")
    assert KEY not in sentence


@pytest.mark.filterwarnings("ignore:ProvidersManager.hooks is deprecated")  # Airflow's own
def test_airflows_own_test_reaches_the_hook(sandbox: SandboxServer) -> None:
    from airflow.models.connection import Connection

    connection: Any = Connection.from_json(sandbox.airflow_conn, conn_id="leen_default")
    passed, sentence = connection.test_connection()
    assert passed, sentence
    assert "Leen accepts the key" in sentence


# Leen's endpoints


def test_each_endpoint_is_a_method(sandbox: SandboxServer) -> None:
    with LeenHook() as hook:
        reply = hook.bulk_create_tickets([TICKET])
        assert reply.results[0].vendor_ticket_id == "SEC-101"
        created = hook.create_ticket(TICKET | {"identifier": "scan-1"})
        assert hook.get_ticket(created.id) == created
        found = hook.get_ticket_by_identifier("scan-1")
        assert found is not None
        assert found.id == created.id
        assert hook.get_ticket_by_identifier("nobody") is None
        changed = hook.update_ticket(created.id, priority="LOW")
        assert changed is not None
        assert changed.priority == "LOW"
        assert [ticket.id for ticket in hook.iter_tickets(limit=1)] == [created.id]
        assert len(hook.search_tickets("project = SEC")) == 2
        assert len(list(hook.iter_projects())) == 2
        [user] = hook.iter_users(email=next(iter(hook.iter_users())).email)
        assert user.name
        with pytest.raises(LeenNotFoundError):
            hook.get_ticket(ID)
        jobs = hook.submit_bulk_create([TICKET]), hook.submit_bulk_update([created.id], {"status": "CLOSED"})
        assert [hook.get_job(job_id).status for job_id in jobs] == ["SUCCESS", "SUCCESS"]
        assert hook.get_ticket(created.id).status == "CLOSED"
    with LeenHook(connection_id=SandboxServer.scanner_connection_id) as scanner:
        critical = sum(finding.record["severity"] == "CRITICAL" for finding in findings())
        assert len(list(scanner.iter_vulnerability_findings(severity=["CRITICAL"]))) == critical


def test_one_client_serves_all_calls_and_closing_allows_another(sandbox: SandboxServer) -> None:
    hook = LeenHook()
    first = hook.get_conn()
    assert hook.get_conn() is first
    hook.close()
    hook.close()
    assert len(list(hook.iter_projects())) == 2
    assert hook.get_conn() is not first
    hook.close()


def test_the_connection_id_of_the_argument_goes_over_the_wire(sandbox: SandboxServer) -> None:
    with LeenHook(connection_id=ID) as hook:
        hook.bulk_create_tickets([TICKET])
    assert sandbox.requests[0].connection_id == ID
    assert len(sandbox.tickets(ID)) == 1


def test_the_hook_works_alone_in_a_task(sandbox: SandboxServer, run_dag: Any) -> None:
    with DAG("hook_alone", schedule=None) as dag:

        @task
        def create() -> Any:
            with LeenHook() as hook:
                return hook.bulk_create_tickets([TICKET]).results[0].vendor_ticket_id

        create()

    run = run_dag(dag)
    assert run.states == {"create": "success"}
    assert run.xcom("create") == "SEC-101"


# The form below Airflow 3.2


def test_the_form_hides_and_names_airflows_own_fields() -> None:
    behaviour = LeenHook.get_ui_field_behaviour()
    assert behaviour["relabeling"]["password"] == "API key"
    assert "extra" in behaviour["hidden_fields"]


def test_the_forms_widgets_are_the_extras() -> None:
    pytest.importorskip("flask_appbuilder", reason="only Airflow below 3 brings it, or the FAB provider")
    widgets = LeenHook.get_connection_form_widgets()
    assert list(widgets) == list(CONN_FIELDS)
