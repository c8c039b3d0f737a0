"""The metrics of the ROC curve: areas, average precision, and its points; and the prevalence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dbtssl.evaluation.metrics.metric import (
    Draws,
    Metric,
    Point,
    bootstrap,
    with_drawn_interval,
)
from dbtssl.evaluation.operating_points import points, roc
from dbtssl.evaluation.statistics.intervals import auc_value
from dbtssl.evaluation.values import Value

if TYPE_CHECKING:
    from dbtssl.evaluation.metrics.metric import Case
    from dbtssl.evaluation.operating_points.points import OperatingPoint

SPECIFICITY_AT = (0.87, 0.80, 0.90, 0.95)
"""Sensitivities at which the specificity is read off. 87 % is the mean of US screening mammography, 86.9 % (Lehman et
al., Radiology 2017); 87 and 80 % are those of SIFT-DBT, section 3.1."""

SENSITIVITY_AT = (0.80, 0.90, 0.95)
"""Specificities at which the sensitivity is read off."""

_SENS, _SPEC = 0.8, 0.9  # where the partial areas begin

AUC = Metric(
    "auc",
    "AUC",
    "area under the ROC curve",
    compute=lambda metric, case: auc_value(case.units, case.protocol),
    interval="covariance",
    draws=Draws(lambda curves, _: roc.area(curves)),
    all_normal=lambda normals: 0.5,
    default=True,
    keep=100,
)


def _specificity_at(sensitivity: float, *, default: bool, keep: int) -> Metric:
    def find(case: Case) -> OperatingPoint:
        return points.specificity_at(
            case.units.abnormal, case.units.scores, sensitivity, case.protocol.specificity_rule
        )

    def point(case: Case) -> Point:
        found = case.shared(find)
        return Point(found.sensitivity, found.threshold)

    name = f"sp@{100 * sensitivity:.0f}"
    return Metric(
        name,
        name.upper(),
        f"specificity at {100 * sensitivity:.0f} % sensitivity",
        compute=lambda metric, case: with_drawn_interval(
            metric, case, lambda: case.shared(find).specificity
        ),
        interval="bootstrap",
        draws=Draws(lambda curves, rule: roc.specificity_at(curves, sensitivity, rule)),
        point=point,
        default=default,
        keep=keep,
    )


def _sensitivity_at(specificity: float) -> Metric:
    def find(case: Case) -> OperatingPoint:
        return points.sensitivity_at(
            case.units.abnormal, case.units.scores, specificity, case.protocol.specificity_rule
        )

    def point(case: Case) -> Point:
        found = case.shared(find)
        return Point(found.specificity, found.threshold)

    name = f"se@{100 * specificity:.0f}"
    return Metric(
        name,
        name.upper(),
        f"sensitivity at {100 * specificity:.0f} % specificity",
        compute=lambda metric, case: with_drawn_interval(
            metric, case, lambda: case.shared(find).sensitivity
        ),
        interval="bootstrap",
        draws=Draws(
            lambda curves, rule: roc.sensitivity_at(curves, specificity, rule),
            rules=("at-least", "interpolated"),  # the curve does not hold the vertices of nearest
        ),
        point=point,
    )


POINTS = (
    *(
        _specificity_at(s, default=s in (0.87, 0.80), keep={0.87: 50, 0.80: 45}.get(s, 40))
        for s in SPECIFICITY_AT
    ),
    *map(_sensitivity_at, SENSITIVITY_AT),
)

PARTIAL_AREAS = (
    Metric(
        "pauc-sens@80",
        "pAUC sens>=80",
        "mean-corrected area (McClish) where sensitivity is at least 80 %: 50 % is chance, 100 % perfect",
        compute=bootstrap,
        interval="bootstrap",
        draws=Draws(
            lambda curves, _: roc.mean_corrected(roc.area_at_sensitivity(curves, _SENS), 1 - _SENS)
        ),
    ),
    Metric(
        "pauc-sens@80-raw",
        "pAUC sens>=80 raw",
        "area between sensitivities of 80 and 100 %, at most 0.2",
        unit="plain",
        decimals=4,
        high=0.2,
        compute=bootstrap,
        interval="bootstrap",
        draws=Draws(lambda curves, _: roc.area_at_sensitivity(curves, _SENS)),
    ),
    Metric(
        "pauc-spec@90",
        "pAUC spec>=90",
        "mean-corrected area (McClish) where specificity is at least 90 %: 50 % is chance, 100 % perfect",
        compute=bootstrap,
        interval="bootstrap",
        draws=Draws(
            lambda curves, _: roc.mean_corrected(roc.area_at_specificity(curves, _SPEC), 1 - _SPEC)
        ),
    ),
    Metric(
        "pauc-spec@90-raw",
        "pAUC spec>=90 raw",
        "area between specificities of 90 and 100 %, at most 0.1",
        unit="plain",
        decimals=4,
        high=0.1,
        compute=bootstrap,
        interval="bootstrap",
        draws=Draws(lambda curves, _: roc.area_at_specificity(curves, _SPEC)),
    ),
)

AVERAGE_PRECISION = Metric(
    "ap",
    "AP",
    "average precision, step-wise; that of a random score is the prevalence",
    compute=bootstrap,
    interval="bootstrap",
    draws=Draws(lambda curves, _: roc.average_precision(curves)),
    all_normal=lambda normals: 1 - normals,
)


def _prevalence(metric: Metric, case: Case) -> Value:
    value = int(case.units.abnormal.sum()) / len(case.units.scores)
    return Value(value=value, reason="it describes the set, not the method")


PREVALENCE = Metric(
    "prevalence",
    "Prevalence",
    "share of abnormals",
    decimals=2,
    direction="",
    compute=_prevalence,
    all_normal=lambda normals: 1 - normals,
)
