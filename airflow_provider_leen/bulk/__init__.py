"""One long list of tickets becomes many safe calls. Imports no Airflow."""
