from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import pytest

from tests.chaos.lab import Lab


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """Airflow under a scheduler; ``CHAOS_AIRFLOW_PYTHON`` names another environment's Python, with Airflow 2.11 say."""
    with Lab(slots=3, python=os.environ.get("CHAOS_AIRFLOW_PYTHON", sys.executable)) as lab:
        yield lab
