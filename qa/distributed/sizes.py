"""How much is done, and how much of it at the same time."""

from __future__ import annotations

LISTS = 20
TICKETS = 500
"""In each list."""

POOL = "leen"
POOL_SLOTS = 4
CONCURRENT_BATCHES = 2
"""Of each task: so there are never more than POOL_SLOTS times as many requests in flight."""
