"""What the operators about many tickets share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_leen.tasks.stopping import Interruptible
from airflow_provider_leen.tasks.templates import RendersOnce

if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors import OperatorLineage


class ManyTickets(RendersOnce, Interruptible):
    """Makes an operator render its arguments once, stop when it is killed, and report its counts.

    Not an operator itself: Airflow wraps the ``__init__`` of each operator class. A base class without its own
    ``__init__`` would wrap it twice, and a mapped operator would lose its inlets and fail.
    """

    counts: dict[str, int] | None = None
    """The counts of the summary, once it is published."""

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> OperatorLineage[Any, Any] | None:
        """Report the counts of the summary to OpenLineage, after a failure too.

        :param task_instance: the one that has ended.
        :return: the run facet ``leen_tickets``.
        """
        from airflow_provider_leen.tasks.lineage import lineage_of

        return lineage_of(self.counts)
