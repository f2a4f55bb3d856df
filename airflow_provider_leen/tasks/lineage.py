"""The counts of a summary for machines: a field of a log line, OpenLineage's run facet, the extra of asset events."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context
    from airflow.providers.openlineage.extractors import OperatorLineage

NAME = "leen_tickets"
"""The name of the field and the facet. One name for all counts: log records already have a ``created``."""


def counts_in(summary: Mapping[str, Any]) -> dict[str, int]:
    """Return the counts of a summary, without its results."""
    return {name: value for name, value in summary.items() if isinstance(value, int)}


def give_to_assets(outlets: Iterable[Any], context: Context, counts: Mapping[str, int]) -> None:
    """Add the counts to the ``extra`` of the event of each asset among a task's outlets.

    Airflow emits the event when the task succeeds. An alias is skipped: it has no event.
    """
    from airflow.providers.common.compat.sdk import Asset

    for outlet in outlets:
        if isinstance(outlet, Asset) and "outlet_events" in context:
            context["outlet_events"][outlet].extra.update(counts)


def lineage_of(counts: Mapping[str, int] | None) -> OperatorLineage[Any, Any] | None:
    """Return the counts as a run facet. Called only by the OpenLineage provider, so only if it is installed.

    :param counts: the published counts; None if the task ended before.
    """
    if counts is None:
        return None
    # RunFacet is a class only if the provider is installed.
    import attrs
    from airflow.providers.common.compat.openlineage.facet import RunFacet
    from airflow.providers.openlineage.extractors import OperatorLineage

    facet = attrs.make_class("LeenTicketsRunFacet", list(counts), bases=(RunFacet,))
    return OperatorLineage(run_facets={NAME: facet(**counts)})
