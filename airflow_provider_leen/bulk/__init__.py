"""Turns one long list of tickets into many safe calls. Imports no Airflow."""
