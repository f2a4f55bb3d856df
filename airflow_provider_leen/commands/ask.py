"""The commands that only read from Leen: ``check``, ``projects``, ``users``."""

from __future__ import annotations

from argparse import Namespace

from airflow_provider_leen.commands.terminal import complain, open_hook, print_rows, say


def check(options: Namespace) -> int:
    """Report whether Leen accepts a connection."""
    accepted, sentence = open_hook(options.conn_id, options.connection_id).test_connection()
    (say if accepted else complain)(sentence)
    return 0 if accepted else 1


def projects(options: Namespace) -> int:
    """List the projects: the values for ``project_id`` and ``project_vendor_id``."""
    with open_hook(options.conn_id, options.connection_id) as hook:
        rows = [
            {"id": project.id, "vendor_id": project.vendor_id, "name": project.name} for project in hook.iter_projects()
        ]
    print_rows(rows, options.output)
    return 0


def users(options: Namespace) -> int:
    """List the users: the values for ``assigned_user_id`` and ``assigned_user_vendor_id``."""
    with open_hook(options.conn_id, options.connection_id) as hook:
        rows = [
            {
                "id": user.id,
                "vendor_id": user.vendor_id,
                "name": user.name,
                "email": user.email,
                "status": user.status,
            }
            for user in hook.iter_users()
        ]
    print_rows(rows, options.output)
    return 0
