"""Every name on the pages is one that exists, and every public class is on a page."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from airflow.providers.common.compat.sdk import DAG, BaseOperator, BaseSensorOperator

import airflow_provider_leen
from airflow_provider_leen.api import errors
from airflow_provider_leen.api.models import TicketCreate
from airflow_provider_leen.get_provider_info import CONN_FIELDS, UI_FIELD_BEHAVIOUR
from airflow_provider_leen.hooks.leen import LeenHook
from airflow_provider_leen.sandbox import jira
from tests.docs.pages import BLOCKS, DOCS, PAGES, sentences_of

ADAPTERS = ("hooks", "operators", "sensors", "triggers", "notifications", "links", "retry_policies")
CLIENTS = ("airflow_provider_leen.api.client", "airflow_provider_leen.api.sync_client")


def public_classes() -> Iterator[type]:
    """What users write in their Dags or meet in Airflow; the retry policy is missing below Airflow 3.3."""
    modules = pkgutil.walk_packages(airflow_provider_leen.__path__, "airflow_provider_leen.")
    for name in [module.name for module in modules]:
        if name.split(".")[1] in ADAPTERS or name in CLIENTS:
            try:
                module = importlib.import_module(name)
            except ImportError:
                assert name == "airflow_provider_leen.retry_policies.leen"
                continue
            for kind, value in vars(module).items():
                if inspect.isclass(value) and value.__module__ == name and re.match("(Async)?Leen", kind):
                    yield value


CLASSES = {each.__name__: each for each in public_classes()}
BELOW_3_3 = {"LeenRetryPolicy"} - CLASSES.keys()


def parameters_of(each: type) -> set[str]:
    return set(inspect.signature(each.__init__).parameters)  # type: ignore[misc]


@pytest.mark.parametrize("name", CLASSES)
def test_every_public_class_has_a_section_and_a_dag_that_uses_it(name: str) -> None:
    named_on = [page for page in DOCS.glob("*.md") if f"`{name}`" in sentences_of(page)]
    assert named_on
    with_a_dag = {block.page for block in BLOCKS if block.language == "python"}
    assert with_a_dag & set(named_on), f"no page that names {name} has a Dag"


@pytest.mark.parametrize("name", CLASSES)
def test_every_public_class_is_in_the_reference(name: str) -> None:
    entry = f".. autoclass:: {CLASSES[name].__module__}.{name}\n"
    assert sum(page.read_text().count(entry) for page in DOCS.glob("reference/*.rst")) == 1


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_class_and_argument_that_is_named_exists(page: Path) -> None:
    text = sentences_of(page)
    known = {*vars(errors), *CLASSES, *BELOW_3_3}
    assert set(re.findall(r"`((?:Async)?Leen[A-Za-z]+)", text)) <= known
    own = set().union(*map(parameters_of, CLASSES.values()))
    deadline_alert = {"callback"}  # Airflow 3.1 and newer
    airflows = deadline_alert.union(*map(parameters_of, (BaseOperator, BaseSensorOperator, DAG)))
    named = re.findall(r"`([a-z_]+)=", text) + re.findall(r"`Leen\w+\(([a-z_]+)=", text)
    assert set(named) <= own | airflows


def test_the_connection_table_has_every_field_of_the_form_in_its_order() -> None:
    table = re.findall(r"^\| ([^|]+) \| (?:extra )?`(\w+)` \|", (DOCS / "connection.md").read_text(), re.MULTILINE)
    own_fields = [(UI_FIELD_BEHAVIOUR["relabeling"][name], name) for name in ("login", "password", "host")]
    assert table == own_fields + [(spec["label"], name) for name, spec in CONN_FIELDS.items()]


def test_the_methods_of_the_hook_that_are_named_are_those_that_call_leen() -> None:
    table = re.findall(r"^\| `(\w+)` \| `?[A-Z]", (DOCS / "hooks.md").read_text(), re.MULTILINE)
    calls = {name for name in vars(LeenHook) if re.match(r"(create|update|get|bulk|submit|iter|search)_", name)}
    own_to_airflow = {"get_conn", "get_connection_form_widgets", "get_ui_field_behaviour"}
    assert set(table) == calls - own_to_airflow


def test_the_page_of_fields_has_every_field_priority_and_status() -> None:
    page = (DOCS / "fields.md").read_text()
    assert set(re.findall(r"^\| `([a-z_]+)` \|", page, re.MULTILINE)) == set(TicketCreate.model_fields)
    priorities = dict(re.findall(r"^\| `([A-Z]+)` \| (\w+) \|$", page, re.MULTILINE))
    assert priorities == {name: jiras for name, jiras in jira.PRIORITIES.items() if name != "UNKNOWN"}
    assert ", ".join(f"`{status}`" for status in jira.STATUSES) in page
