"""Fixtures of tests and qa: a sandbox on a real socket, and real Airflow with a database of its own."""

from __future__ import annotations

import atexit
import base64
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

# The same examples in every run: what they find is found where it was made. `--hypothesis-profile default` searches.
settings.register_profile("the same", derandomize=True, database=None)
settings.load_profile("the same")

# Before anything imports Airflow, which reads its environment once.
for name in [name for name in os.environ if name.startswith("AIRFLOW")]:
    del os.environ[name]
home = tempfile.mkdtemp(prefix="airflow-")
atexit.register(shutil.rmtree, home, ignore_errors=True)
os.environ |= {
    "AIRFLOW_HOME": home,
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    # Without these two, older Airflows warn of it.
    "AIRFLOW__CORE__FERNET_KEY": base64.b64encode(bytes(32)).decode(),
    "AIRFLOW__METRICS__TIMER_UNIT_CONSISTENCY": "True",
    "AIRFLOW__CORE__DAGS_FOLDER": home,
    # A Dag counts at once, also where one of the same name ran a moment ago.
    "AIRFLOW__CORE__MIN_SERIALIZED_DAG_UPDATE_INTERVAL": "0",
    "AIRFLOW__LOGGING__COLORED_CONSOLE_LOG": "False",
}

from airflow_provider_leen.sandbox.server import SandboxServer  # noqa: E402
from tests.support.airflow_home import home_in, migrated_in  # noqa: E402
from tests.support.airflow_run import AirflowRun, run  # noqa: E402

TOGETHER = (
    "qa/chaos/",
    "tests/contract/",
    "tests/example_dags/test_leen_bandit_demo.py",
    "tests/operators/test_hostile_texts.py",
    "tests/operators/test_secrets.py",
    "tests/plugins/test_app.py",
    "tests/plugins/test_files.py",
    "tests/test_costs.py",
    "tests/test_package.py",
)


MOST_DAGS_IN_SMOKE = 12
"""Of the tests that run a Dag so many may be marked ``smoke``."""


@pytest.fixture(scope="session")
def sandbox_server() -> Iterator[SandboxServer]:
    with SandboxServer(seed=1) as server:
        yield server


@pytest.fixture
def sandbox(sandbox_server: SandboxServer, monkeypatch: pytest.MonkeyPatch) -> SandboxServer:
    """The sandbox, empty and well-behaved; Airflow's connection ``leen_default`` leads to it."""
    sandbox_server.reset()
    monkeypatch.setenv("AIRFLOW_CONN_LEEN_DEFAULT", sandbox_server.airflow_conn)
    return sandbox_server


@pytest.fixture(scope="session")
def migrated_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite file with Airflow's tables, to be copied; made once for all workers."""
    folder = tmp_path_factory.getbasetemp()
    return migrated_in(folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder)


@pytest.fixture
def airflow_home(migrated_database: Path, tmp_path: Path) -> Path:
    """A home for an Airflow in its own process, with its database."""
    return home_in(tmp_path / "airflow", migrated_database)


@pytest.fixture(scope="session")
def airflow_db(migrated_database: Path) -> None:
    """The database of the Airflow in this process."""
    settings = sys.modules.get("airflow.settings")
    if settings is not None and settings.engine is not None:
        # Opened by a test that needs no tables: it would go on with the file that was there.
        settings.engine.dispose()
    home_in(Path(home), migrated_database)


@pytest.fixture
def run_dag(airflow_db: None) -> Callable[..., AirflowRun]:
    """Runs a Dag on real Airflow, with its real XCom and task state store: ``run_dag(dag)``."""
    return run


def pytest_itemcollected(item: pytest.Item) -> None:
    """What runs a Dag, or needs Airflow's database for something else, takes seconds."""
    if _needs_airflow(item):
        item.add_marker("slow")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep ``make test`` quick: a Dag for each way into the package, and no more; names that all workers agree on."""
    smoke = [item.nodeid for item in items if item.get_closest_marker("smoke") and _needs_airflow(item)]
    if len(smoke) > MOST_DAGS_IN_SMOKE:
        raise pytest.UsageError(f"At most {MOST_DAGS_IN_SMOKE} smoke tests may run a Dag, not {len(smoke)}: {smoke}")
    if addresses := [item.nodeid for item in items if " at 0x" in item.nodeid]:
        raise pytest.UsageError(f"An address in memory is in the names of {addresses[:3]}: give `ids`.")


def _needs_airflow(item: pytest.Item) -> bool:
    return "migrated_database" in getattr(item, "fixturenames", ())


@pytest.hookimpl(optionalhook=True, wrapper=True)
def pytest_xdist_auto_num_workers() -> Generator[None, int, int]:
    """``-n auto``: one worker more than processors, since many tests wait for a time-out, or for another process."""
    return (yield) + 1


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Tests that share an expensive start go to one worker, the others to any.

    (``--dist loadgroup`` does nothing with pytest 9.2 and xdist 3.8.)
    """
    from xdist.scheduler import LoadScopeScheduling

    class Together(LoadScopeScheduling):  # type: ignore[misc]  # it has no types
        def _split_scope(self, nodeid: str) -> str:
            return next((place for place in TOGETHER if nodeid.startswith(place)), nodeid)

    return Together(config, log)
