"""``python -m benchmarks [NAME …]``: runs them in an environment of their own, with the peers in it."""

from __future__ import annotations

import os
import sys

from qa.support.environment import environment

if __name__ == "__main__":
    python = environment("bench", extra="bench", pinned=True)
    os.execv(python, [python, "-m", "benchmarks.run", *sys.argv[1:]])
