"""Retry policies (Airflow 3.3 and newer)."""

from airflow_provider_leen import version_compat as version_compat
