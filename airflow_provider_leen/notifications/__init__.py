"""Notifiers: a ticket when a Dag or a task fails."""

from airflow_provider_leen import version_compat as version_compat
