"""Every metric that can stand in a table: name, label, unit, digits, direction, range, and what it says.

A rendering needs nothing else: ``CATALOGUE[name]`` tells how to print ``Row.values[name]``. What is measured on units
with one score each (slices, volumes, breasts, patients) is computed in `dbtssl.evaluation.metrics.measure`; the probes
of frozen features in `dbtssl.evaluation.probes.frozen_probes`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Better = Literal["higher", "lower", ""]

EQUAL_DECIMALS = 12
"""Of a metric: values that agree to so many decimals are equal, and share a rank."""

SPECIFICITY_AT = {"sp@87": 0.87, "sp@80": 0.80, "sp@90": 0.90, "sp@95": 0.95}
"""Sensitivities at which the specificity is read off. 87 % is the mean of US screening mammography, 86.9 % (Lehman et
al., Radiology 2017); 87 and 80 % are those of SIFT-DBT, section 3.1."""

SENSITIVITY_AT = {"se@80": 0.80, "se@90": 0.90, "se@95": 0.95}
"""Specificities at which the sensitivity is read off."""

AT_DEPTH = "auc-depth"
"""AUC of slices at equal depth (`dbtssl.evaluation.metrics.equal_depth`); other units have none."""

MISSED = {"workload@0": 0, "workload@1": 1, "workload@2": 2}
"""Positive patients that may be missed while normals are left out."""


@dataclass(frozen=True)
class Metric:
    """One column. ``percent``: a share that is printed times 100. ``low`` and ``high`` bound the values."""

    name: str
    label: str
    meaning: str
    unit: Literal["percent", "plain"] = "percent"
    decimals: int = 1  # of the number as it is printed
    better: Better = "higher"  # empty: it is not ranked
    low: float | None = 0.0
    high: float | None = 1.0
    default: bool = False  # a column of the default table

    def holds(self, value: float) -> bool:
        """Whether ``value`` lies in the range."""
        return (self.low is None or self.low <= value) and (self.high is None or value <= self.high)

    @property
    def range(self) -> str:
        """The range as text: ``[0, 1]``; an open end is left out."""
        low, high = ("" if end is None else f"{end:g}" for end in (self.low, self.high))
        return f"[{low}, {high}]"

    def show(self, value: float) -> str:
        """The number as it is printed, without the sign of percent."""
        return f"{100 * value if self.unit == 'percent' else value:.{self.decimals}f}"


def _at_sensitivities() -> list[Metric]:
    return [
        Metric(
            name,
            name.upper(),
            f"specificity at {100 * s:.0f} % sensitivity",
            default=name in ("sp@87", "sp@80"),
        )
        for name, s in SPECIFICITY_AT.items()
    ]


def _at_specificities() -> list[Metric]:
    return [
        Metric(name, name.upper(), f"sensitivity at {100 * s:.0f} % specificity")
        for name, s in SENSITIVITY_AT.items()
    ]


def _workloads() -> list[Metric]:
    return [
        Metric(
            name,
            name.capitalize(),
            f"share of normals below the score that misses at most {k} positive patient{'' if k == 1 else 's'}",
        )
        for name, k in MISSED.items()
    ]


_METRICS = (
    Metric("auc", "AUC", "area under the ROC curve", default=True),
    Metric(
        AT_DEPTH,
        "AUC at depth",
        "AUC of abnormal slices against normal slices of their depth in the stack alone",
    ),
    # NPV runs from 99.5 to 100 % at a prevalence of 1 %, so one decimal would not tell two rows apart.
    Metric("npv", "NPV", "share of normals among those called normal", decimals=2, default=True),
    Metric("nr", "NR", "normal recall: share of normals called normal (specificity)", default=True),
    Metric(
        "ar",
        "AR",
        "abnormal recall: share of abnormals called abnormal (sensitivity)",
        default=True,
    ),
    *_at_sensitivities(),
    *_at_specificities(),
    Metric(
        "pauc-sens@80",
        "pAUC sens>=80",
        "mean-corrected area (McClish) where sensitivity is at least 80 %: 50 % is chance, 100 % perfect",
    ),
    Metric(
        "pauc-sens@80-raw",
        "pAUC sens>=80 raw",
        "area between sensitivities of 80 and 100 %, at most 0.2",
        unit="plain",
        decimals=4,
        high=0.2,
    ),
    Metric(
        "pauc-spec@90",
        "pAUC spec>=90",
        "mean-corrected area (McClish) where specificity is at least 90 %: 50 % is chance, 100 % perfect",
    ),
    Metric(
        "pauc-spec@90-raw",
        "pAUC spec>=90 raw",
        "area between specificities of 90 and 100 %, at most 0.1",
        unit="plain",
        decimals=4,
        high=0.1,
    ),
    Metric("ap", "AP", "average precision, step-wise; that of a random score is the prevalence"),
    Metric("prevalence", "Prevalence", "share of abnormals", decimals=2, better=""),
    Metric("ppv", "PPV", "share of abnormals among those called abnormal"),
    Metric("balanced-accuracy", "Balanced acc.", "mean of NR and AR"),
    Metric("recall-rate", "Recall rate", "share of all units called abnormal", better=""),
    Metric(
        "npv-gain",
        "NPV gain",
        "NPV less that of calling everything normal",
        decimals=2,
        low=-1.0,
    ),
    *_workloads(),
    Metric(
        "brier",
        "Brier",
        "mean squared error of the probability, 1:1 resampling undone",
        unit="plain",
        decimals=4,
        better="lower",
    ),
    Metric(
        "brier-skill",
        "Brier skill",
        "share of the Brier score of 'always the prevalence' that is saved; below 0 is worse than it",
        unit="plain",
        decimals=3,
        low=None,
    ),
    Metric(
        "log-loss",
        "Log loss",
        "mean negative log-likelihood in nats, 1:1 resampling undone",
        unit="plain",
        decimals=4,
        better="lower",
        high=None,
    ),
    Metric(
        "calibration-slope",
        "Cal. slope",
        "slope of the outcome on the logit: 1 is right, below 1 is overconfident",
        unit="plain",
        decimals=2,
        better="",
        low=None,
        high=None,
    ),
    Metric(
        "calibration-intercept",
        "Cal. intercept",
        "shift of the logit that makes the mean probability right: 0 is right, below 0 was too high",
        unit="plain",
        decimals=2,
        better="",
        low=None,
        high=None,
    ),
    Metric(
        "ece",
        "ECE",
        "calibration error of the probability of abnormal over 15 bins of equal mass; 'always the prevalence' has 0",
        unit="plain",
        decimals=4,
        better="lower",
    ),
    Metric(
        "density-rho",
        "Density ρ",
        "Spearman's correlation of breast density with a ridge regression on frozen features",
        unit="plain",
        decimals=2,
        low=-1.0,
    ),
    Metric(
        "recall@10",
        "R@10",
        "volumes whose other view of the same breast is among the 10 nearest by frozen features",
    ),
)

CATALOGUE: dict[str, Metric] = {metric.name: metric for metric in _METRICS}

TASKS = ("density-rho", "recall@10")
"""The tasks of frozen features beside detection."""

DEFAULT = tuple(metric.name for metric in _METRICS if metric.default)
"""The columns of the default table: those of SIFT-DBT's tables."""
