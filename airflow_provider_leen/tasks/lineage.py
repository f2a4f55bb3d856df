"""How many tickets ended how, for machines: a field of the log line that tells it, and a run facet of OpenLineage."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors import OperatorLineage

NAME = "leen_tickets"
"""What the field and the facet are called. One name for all counts: a log record has a ``created`` of its own."""


def counts_in(summary: Mapping[str, Any]) -> dict[str, int]:
    """Return the counts of a summary, without its results."""
    return {name: value for name, value in summary.items() if isinstance(value, int)}


def lineage_of(counts: Mapping[str, int] | None) -> OperatorLineage[Any, Any] | None:
    """Return the counts as a run facet. Called by the OpenLineage provider, hence only where it is installed.

    :param counts: what the task published; None when it ended before that.
    """
    if counts is None:
        return None
    # RunFacet is a class only where the provider is installed.
    import attrs
    from airflow.providers.common.compat.openlineage.facet import RunFacet
    from airflow.providers.openlineage.extractors import OperatorLineage

    facet = attrs.make_class("LeenTicketsRunFacet", list(counts), bases=(RunFacet,))
    return OperatorLineage(run_facets={NAME: facet(**counts)})
