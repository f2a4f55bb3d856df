"""Airflow hooks for Leen."""
