"""Notifiers: a ticket when a Dag or a task fails."""
