"""What Airflow discovers about this package, as plain data.

Every Airflow process calls :func:`get_provider_info` at start, so nothing is imported here.
"""

from __future__ import annotations

from typing import Any

from airflow_provider_leen import __version__

CONN_FIELDS: dict[str, dict[str, Any]] = {
    "region": {
        "label": "Region",
        "description": "Where your Leen account lives. Used when Base URL is empty.",
        "schema": {"type": ["string", "null"], "default": "us", "enum": ["us", "eu-c1", "ap-se2"]},
    },
    "timeout": {
        "label": "Timeout (s)",
        "description": "Seconds for the whole reply to one call; a bulk call has up to 50 tickets. Default 120.",
        "schema": {"type": ["integer", "null"], "default": 120, "minimum": 1},
    },
    "max_retries": {
        "label": "Max retries",
        "description": "Retries of one call, if retrying is safe. Default 3.",
        "schema": {"type": ["integer", "null"], "default": 3, "minimum": 0},
    },
    "max_retry_wait": {
        "label": "Max retry wait (s)",
        "description": "The longest single wait in seconds, also when Leen asks for more. Default 120.",
        "schema": {"type": ["integer", "null"], "default": 120, "minimum": 0},
    },
    "settle_time": {
        "label": "Settle time (s)",
        "description": "Seconds, after two calls and a minute, until an empty search counts as proof. Default 120.",
        "schema": {"type": ["integer", "null"], "default": 120, "minimum": 0},
    },
    "verify": {
        "label": "Verify TLS",
        "description": "true (default), false, or the path of a file with the certificates to trust.",
        "schema": {"type": ["string", "null"], "default": "true"},
    },
    "proxy": {
        "label": "Proxy",
        "description": "URL of a proxy, for example http://proxy.acme.example:3128",
        "schema": {"type": ["string", "null"]},
    },
    "ticket_url": {
        "label": "Ticket URL",
        "description": "Where a ticket is seen, for example https://acme.atlassian.net/browse/{vendor_ticket_id}",
        "schema": {"type": ["string", "null"]},
    },
    "search_url": {
        "label": "Search URL",
        "description": (
            "Where many tickets are seen, for example "
            "https://acme.atlassian.net/issues/?jql=key in ({vendor_ticket_ids})"
        ),
        "schema": {"type": ["string", "null"]},
    },
}
"""The connection's extras, in the order of the form (Airflow >= 3.2 reads them here, the hook offers them below)."""

UI_FIELD_BEHAVIOUR: dict[str, Any] = {
    "hidden-fields": ["schema", "port", "extra"],
    "relabeling": {"login": "Leen connection ID", "password": "API key", "host": "Base URL"},
    "placeholders": {
        "login": "7f2c1e0a-0000-4000-8000-000000000000",
        "host": "empty: taken from the region",
    },
}
"""How the form shows Airflow's own fields."""


CONFIG: dict[str, Any] = {
    "leen": {
        "description": "Settings of the provider for Leen.",
        "options": {
            "results_folders": {
                "description": (
                    'Folders of results files that the API server may read for the tab "Leen tickets":\n'
                    "absolute paths or URLs, separated by commas; dag_id in braces stands for the Dag's name.\n"
                    "Empty: the tab reads no file.\n"
                ),
                "version_added": "0.1.0",
                "type": "string",
                "example": "/data/leen,s3://my_aws@reports/leen",
                "default": "",
            }
        },
    }
}
"""Options in ``airflow.cfg``, as ``airflow config list`` shows them."""


def get_provider_info() -> dict[str, Any]:
    """Return what this package provides to Airflow.

    :return: the provider's description, as ``provider_info.schema.json`` of Airflow asks for it.
    """
    return {
        "package-name": "airflow-provider-leen",
        "name": "Leen",
        "description": "Turns security findings into tickets through `Leen <https://docs.leen.dev>`__.",
        "versions": [__version__],
        "integrations": [
            {"integration-name": "Leen", "external-doc-url": "https://docs.leen.dev", "tags": ["service"]},
        ],
        "hooks": [{"integration-name": "Leen", "python-modules": ["airflow_provider_leen.hooks.leen"]}],
        "operators": [
            {
                "integration-name": "Leen",
                "python-modules": [
                    f"airflow_provider_leen.operators.{name}" for name in ("leen", "create", "update", "reconcile")
                ],
            }
        ],
        "triggers": [
            {
                "integration-name": "Leen",
                "python-modules": ["airflow_provider_leen.triggers.leen", "airflow_provider_leen.triggers.sync"],
            }
        ],
        "notifications": ["airflow_provider_leen.notifications.leen.LeenNotifier"],
        "extra-links": ["airflow_provider_leen.links.leen.LeenTicketsLink"],
        "config": CONFIG,
        "cli": ["airflow_provider_leen.cli.get_leen_commands"],
        "sensors": [
            {
                "integration-name": "Leen",
                "python-modules": ["airflow_provider_leen.sensors.leen", "airflow_provider_leen.sensors.sync"],
            }
        ],
        "connection-types": [
            {
                "connection-type": "leen",
                "hook-class-name": "airflow_provider_leen.hooks.leen.LeenHook",
                "hook-name": "Leen",
                "conn-fields": CONN_FIELDS,
                "ui-field-behaviour": UI_FIELD_BEHAVIOUR,
            }
        ],
    }
