"""Airflow hooks for Leen."""

from airflow_provider_leen import version_compat as version_compat
