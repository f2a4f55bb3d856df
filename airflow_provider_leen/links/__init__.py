"""Links from a task to its tickets."""

from airflow_provider_leen import supported as supported
