"""Airflow triggers for Leen."""
