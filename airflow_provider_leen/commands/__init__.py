"""What the commands of ``airflow leen`` do; :mod:`airflow_provider_leen.cli` says what they are called."""
