"""Airflow sensors for Leen."""
