"""The commands of ``airflow leen``; :mod:`airflow_provider_leen.cli` has their names and arguments."""
