from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.chaos.environment import python_with_airflow
from tests.chaos.lab import Lab


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """Airflow under a scheduler; ``CHAOS_AIRFLOW=2.11.2`` takes another release than the installed one."""
    with Lab(slots=3, python=python_with_airflow(os.environ.get("CHAOS_AIRFLOW"))) as lab:
        yield lab
