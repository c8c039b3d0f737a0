"""The metrics of frozen features; `dbtssl.evaluation.probes.frozen_probes` computes both in one go, from features.

The entries are apart from the computation because that needs scikit-learn, which a table does not.
"""

from __future__ import annotations

from dbtssl.evaluation.metrics.metric import Metric

DENSITY, RECALL = "density-rho", "recall@10"

DENSITY_RHO = Metric(
    DENSITY,
    "Density ρ",
    "Spearman's correlation of breast density with a ridge regression on frozen features",
    unit="plain",
    decimals=2,
    low=-1.0,
    interval="bootstrap",
)
RECALL_AT_10 = Metric(
    RECALL,
    "R@10",
    "volumes whose other view of the same breast is among the 10 nearest by frozen features",
    interval="wilson",
)
