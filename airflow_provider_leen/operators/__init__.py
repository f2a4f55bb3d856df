"""Airflow operators for Leen."""
