"""Refuses an Airflow that is too old, with a clear message instead of an obscure error.

Imported by the packages that Dags use. The Python version is checked in the package's ``__init__``.
"""

from __future__ import annotations

from airflow import __version__

OLDEST_AIRFLOW = (2, 11)


def check_airflow(version: str) -> None:
    """Refuse a release of Airflow that is too old.

    :param version: as Airflow reports it, such as ``2.10.5``.
    :raises ImportError: it is too old.
    """
    release = tuple(int(part) for part in version.split(".")[:2])
    if release < OLDEST_AIRFLOW:
        oldest = ".".join(map(str, OLDEST_AIRFLOW))
        raise ImportError(f"airflow-provider-leen needs Airflow {oldest} or newer, and this is Airflow {version}.")


check_airflow(__version__)
