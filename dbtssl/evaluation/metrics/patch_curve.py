"""AUC by the number of patches per slice, from stored logits alone (SIFT-DBT, figure 3)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from dbtssl.evaluation.aggregation.apply import apply, slice_set, volume_groups, volume_set
from dbtssl.evaluation.metrics.thresholds import one_class
from dbtssl.evaluation.predictions.selection import first_patches
from dbtssl.evaluation.statistics.intervals import auc_value
from dbtssl.evaluation.values import CurvePoint

if TYPE_CHECKING:
    from dbtssl.evaluation.predictions.prediction_table import Predictions
    from dbtssl.evaluation.protocol import Protocol
    from dbtssl.interfaces import Aggregator

MOST = 20  # counts; SIFT-DBT's figure has 1 to 20


def patch_curve(
    p: Predictions,
    protocol: Protocol,
    slice_aggregator: Aggregator,
    volume_aggregator: Aggregator | None,
) -> tuple[CurvePoint, ...]:
    """AUC with its interval of slices and volumes for the first 1, 2, ... patches of every slice.

    The first n of a row are what a prediction with n patches would have been. Beyond `MOST`, counts are spread evenly
    on the log scale. Empty if patches lie on a lattice, whose order means nothing, if there is one patch, and if a
    class is missing. Without a ``volume_aggregator`` there are slices only.
    """
    largest = int(np.diff(p.offsets).min())
    if p.made.inference == "grid" or largest < 2:
        return ()
    sets = [slice_set(p, np.zeros(len(p.z)))]
    if volume_aggregator is not None:
        sets.append(volume_set(p, np.zeros(len(p.volumes))))
    points = []
    for n in counts(largest):
        of_slices = apply(slice_aggregator, first_patches(p, n), "slice")
        found = [of_slices]
        if volume_aggregator is not None:
            found.append(apply(volume_aggregator, volume_groups(p, of_slices), "volume"))
        for units, scores in zip(sets, found, strict=True):
            if not one_class(units, "test"):
                auc = auc_value(replace(units, scores=scores), protocol)
                points.append(CurvePoint(level=units.level, patches=n, auc=auc))
    return tuple(points)


def counts(largest: int) -> list[int]:
    """1 to ``largest``, at most `MOST` of them, both ends included."""
    if largest <= MOST:
        return list(range(1, largest + 1))
    spread = np.unique(np.rint(np.geomspace(1, largest, MOST)).astype(int))
    return [int(n) for n in spread]
