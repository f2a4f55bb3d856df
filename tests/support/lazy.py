"""What Airflow hands over of mapped tasks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class LazyItems(Sequence[Any]):
    """Behaves as Airflow's lazy sequences do: neither list nor tuple, ends with IndexError."""

    def __init__(self, *items: Any) -> None:
        self.items = items

    def __getitem__(self, index: Any) -> Any:
        return self.items[index]

    def __len__(self) -> int:
        return len(self.items)
