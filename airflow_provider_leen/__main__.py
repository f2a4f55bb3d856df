"""``python -m airflow_provider_leen``: the commands of ``airflow leen``, on every Airflow."""

from __future__ import annotations

import sys

from airflow_provider_leen.cli import main

if __name__ == "__main__":
    sys.exit(main())
