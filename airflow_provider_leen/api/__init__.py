"""The Leen API: models, errors, retry decisions and the HTTP clients. Knows neither Airflow nor batching."""
