"""Airflow hooks for Leen."""

from airflow_provider_leen import supported as supported
