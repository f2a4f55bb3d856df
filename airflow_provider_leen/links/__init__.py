"""Links from a task to its tickets."""

from airflow_provider_leen import version_compat as version_compat
