"""Notifiers: a ticket when a Dag or a task fails."""

from airflow_provider_leen import supported as supported
