"""The counts of a summary for machines: a field of a log line, OpenLineage's run facet, the extra of asset events."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context
    from airflow.providers.openlineage.extractors import OperatorLineage

NAME = "leen_tickets"
"""What the field and the facet are called. One name for all counts: a log record has a ``created`` of its own."""


def counts_in(summary: Mapping[str, Any]) -> dict[str, int]:
    """Return the counts of a summary, without its results."""
    return {name: value for name, value in summary.items() if isinstance(value, int)}


def give_to_assets(outlets: Iterable[Any], context: Context, counts: Mapping[str, int]) -> None:
    """Add the counts to the ``extra`` of the event of each asset among a task's outlets.

    Airflow emits the event when the task succeeds. An alias is left alone: it has no event of its own.
    """
    from airflow.providers.common.compat.sdk import Asset

    for outlet in outlets:
        if isinstance(outlet, Asset) and "outlet_events" in context:
            context["outlet_events"][outlet].extra.update(counts)


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
