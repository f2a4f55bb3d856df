"""Airflow provider for Leen: turns security findings into tickets, each once."""

# Airflow imports this module to discover the provider: nothing that costs time may be imported here.
import sys

__version__ = "0.1.0"

if sys.version_info < (3, 11):  # noqa: UP036  # pip refuses it too, but there are other ways to get here
    raise ImportError(
        "airflow-provider-leen needs Python 3.11 or newer, and this is Python {}.{}.".format(*sys.version_info)
    )
