"""The catalogue as everybody reads it: metrics with their definitions, and what each can be split by."""

from __future__ import annotations

from functools import cache
from typing import Any, get_args

from cloud.bi.semantic.catalogue import ALIASES, METRICS, VERSION
from cloud.bi.semantic.compile import Query, route
from cloud.bi.semantic.dimensions import DIMENSIONS, Dimension
from cloud.bi.semantic.errors import PlanError
from cloud.bi.semantic.metrics import Metric
from cloud.bi.semantic.places import Allowed
from cloud.bi.semantic.plan import Against, Analysis, Grain, Relative

GRAINS: tuple[Grain, ...] = get_args(Grain)


def possible(metric: Metric, dimensions: tuple[Dimension, ...] = (), grain: Grain | None = None) -> bool:
    """Tell whether a metric is kept that way."""
    query = Query(
        metrics=(metric,),
        dimensions=dimensions,
        chosen=(),
        derived=(),
        grain=grain,
        tenant="",
        allowed=Allowed(()),
        lines_named=False,
        spans={},
    )
    try:
        route(query)
    except PlanError:
        return False
    return True


def definition(metric: Metric) -> dict[str, Any]:
    """Give what an answer says about a metric it holds."""
    return {
        "title": dict(metric.title),
        "unit": metric.unit,
        "formula": dict(metric.formula),
        "kind": metric.kind,
        "better": metric.better,
        "version": metric.version,
        "hash": metric.hash,
        "source": metric.source,
    }


@cache
def book() -> dict[str, Any]:
    """Give the whole catalogue."""
    return {
        "version": VERSION,
        "metrics": [
            {
                "id": one.id,
                **definition(one),
                "description": dict(one.description),
                "synonyms": {language: list(names) for language, names in one.synonyms.items()},
                "also": [alias for alias, name in ALIASES.items() if name == one.id],
                "numerator": list(one.numerator),
                "denominator": list(one.denominator),
                "dimensions": [d.id for d in DIMENSIONS.values() if possible(one, (d,))],
                "grains": [grain for grain in GRAINS if possible(one, grain=grain)],
            }
            for one in METRICS.values()
        ],
        "dimensions": [
            {
                "id": one.id,
                "title": dict(one.title),
                "synonyms": {language: list(names) for language, names in one.synonyms.items()},
            }
            for one in DIMENSIONS.values()
        ],
        "analyses": list(get_args(Analysis)),
        "periods": list(get_args(Relative)),
        "grains": list(GRAINS),
        "against": list(get_args(Against)),
    }
