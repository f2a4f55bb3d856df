"""How busy the machine is, as this process feels it."""

from __future__ import annotations

import threading
import time
from typing import Self

BEAT = 0.02


class Pulse:
    """Measures, while the context is open, for how long this process was not let run at the longest, in seconds."""

    def __init__(self) -> None:
        self.longest_stall = 0.0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _beat(self) -> None:
        last = time.monotonic()
        while not self._ended.wait(BEAT):
            now = time.monotonic()
            self.longest_stall = max(self.longest_stall, now - last - BEAT)
            last = now
