"""Airflow provider for Leen: security findings become tickets, each of them once."""

# Airflow imports this module to discover the provider: nothing else may be imported here.
__version__ = "0.1.0"
