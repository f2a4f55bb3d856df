"""The flags of the sandbox's command, as data, since ``airflow leen sandbox`` takes them, too."""

from __future__ import annotations

from typing import Any

FLAGS: dict[str, dict[str, Any]] = {
    "--host": {"default": "127.0.0.1", "help": "address to listen on (default: %(default)s)"},
    "--port": {"type": int, "default": 8765, "help": "port, 0 for a free one (default: %(default)s)"},
    "--db": {"metavar": "FILE", "help": "SQLite file that stores the tickets (default: memory)"},
    "--latency": {"type": float, "default": 0.0, "metavar": "S", "help": "seconds that each call takes"},
    "--rate-limit": {"type": int, "metavar": "N", "help": "calls per second; more get a 429"},
    "--fault": {
        "action": "append",
        "default": [],
        "metavar": "KIND[:RATE]",
        "help": "a fault: lost:0.1, 503:0.05, 503-after (tickets created), stall, cut, garbage … (repeatable)",
    },
    "--seed": {"type": int, "help": "makes the faults repeatable"},
    "--search-lag": {
        "type": float,
        "default": 0.0,
        "metavar": "S",
        "help": "seconds until the search finds a new ticket",
    },
    "--sync-after": {
        "type": float,
        "metavar": "S",
        "help": "seconds until Leen knows a ticket created with vendor ids, or a person's change",
    },
    "--job-time": {"type": float, "default": 0.0, "metavar": "S", "help": "seconds that a job takes"},
}
"""The options of each flag for argparse, by name."""
