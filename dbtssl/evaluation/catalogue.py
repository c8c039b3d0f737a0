"""Every metric that a table can have, in the order of the columns, and the lists that follow from the entries.

``CATALOGUE[name]`` is the whole entry (`dbtssl.evaluation.metrics.metric.Metric`). A new metric is one import and one
line of `METRICS`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dbtssl.evaluation.metrics.calibration import METRICS as CALIBRATION_METRICS
from dbtssl.evaluation.metrics.curve_metrics import (
    AUC,
    AVERAGE_PRECISION,
    PARTIAL_AREAS,
    POINTS,
    PREVALENCE,
)
from dbtssl.evaluation.metrics.equal_depth import AUC_AT_DEPTH
from dbtssl.evaluation.metrics.rates import (
    AR,
    BALANCED_ACCURACY,
    NPV,
    NPV_GAIN,
    NR,
    PPV,
    RECALL_RATE,
)
from dbtssl.evaluation.metrics.workload import METRICS as WORKLOAD_METRICS
from dbtssl.evaluation.probes.frozen_metrics import DENSITY_RHO, RECALL_AT_10

if TYPE_CHECKING:
    from dbtssl.evaluation.metrics.metric import Metric

METRICS: tuple[Metric, ...] = (
    AUC,
    AUC_AT_DEPTH,
    NPV,
    NR,
    AR,
    *POINTS,
    *PARTIAL_AREAS,
    AVERAGE_PRECISION,
    PREVALENCE,
    PPV,
    BALANCED_ACCURACY,
    RECALL_RATE,
    NPV_GAIN,
    *WORKLOAD_METRICS,
    *CALIBRATION_METRICS,
    DENSITY_RHO,
    RECALL_AT_10,
)

CATALOGUE: dict[str, Metric] = {metric.name: metric for metric in METRICS}

MEASURED = tuple(metric.name for metric in METRICS if metric.compute is not None)
"""The metrics of scored units."""

TASKS = tuple(metric.name for metric in METRICS if metric.compute is None)
"""The metrics of frozen features."""

DEFAULT = tuple(metric.name for metric in METRICS if metric.default)
"""The columns of the default table: those of SIFT-DBT's tables."""

COMPARABLE = tuple(metric.name for metric in METRICS if metric.comparable)
"""The metrics by which methods can be compared, paired by patient."""

TESTED = tuple(metric.name for metric in METRICS if metric.tested)
"""Those of them with a test; the others have an interval."""

COMPARED = (
    *(name for name in DEFAULT if name in COMPARABLE),
    *(name for name in TESTED if name not in DEFAULT),
)
"""Those by which a benchmark compares methods."""

AT_DEPTH = AUC_AT_DEPTH.name
