from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from qa.chaos.lab import Lab
from qa.support.environment import python_with_airflow


@pytest.fixture(scope="package")
def lab(migrated_database: Path) -> Iterator[Lab]:
    """Airflow under a scheduler; ``CHAOS_AIRFLOW=2.11.2`` takes another release than the installed one."""
    other = os.environ.get("CHAOS_AIRFLOW")
    with Lab(slots=3, python=python_with_airflow(other), database=None if other else migrated_database) as lab:
        yield lab
