"""How well each feature tells the label by itself: AUC with a patient-clustered interval, without optimism.

Where something can be learnt, an unknown direction or the rates of a category, it is learnt from other patients: those
of the training part, or of a random half where there are no parts. Without parts an unknown direction is the better of
both, and the finding says so.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field

from dbtssl.audit.volume_metadata import FEATURES
from dbtssl.config import Config
from dbtssl.data.records import Cohort, Label, Volume
from dbtssl.data.splits.patient_split import split_patients
from dbtssl.evaluation.protocol import STRICT
from dbtssl.evaluation.score_set import ScoreSet
from dbtssl.evaluation.statistics.intervals import auc_value, positive_patients, too_few_patients
from dbtssl.evaluation.statistics.placements import placements
from dbtssl.evaluation.values import Value

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from dbtssl.audit.volume_metadata import Feature, Seen
    from dbtssl.data.splits.patient_split import Actionable

Where = Literal["all", "train", "val", "test"]
WEIGHT = 10.0  # volumes of the overall rate that a category's own rate is pulled by


class Finding(Config):
    """What one feature tells of the label; ``auc`` is 0.5 where it tells nothing."""

    feature: str = Field(description="name of the feature")
    auc: Value = Field(description="of the feature alone, volumes as units, patients as clusters")
    score: str = Field(
        description="what counts as a sign of an abnormality, and where that comes from"
    )
    n_pos: int = Field(description="abnormal volumes that have it")
    n_neg: int = Field(description="normal volumes that have it")
    n_pos_patients: int = Field(description="patients with such an abnormal volume")
    n_patients: int = Field(description="patients with such a volume")
    meaning: str = Field(description="what a model could make of it")
    excludes_chance: bool = Field(
        description="0.5 lies outside the interval; or it separates the classes of enough patients completely"
    )


class _Units:
    """The labelled volumes of an audit, as arrays, without those that the policy on Actionable leaves out."""

    def __init__(self, seen: Sequence[Seen], parts: Sequence[str], actionable: Actionable) -> None:
        keep = [
            i for i, v in enumerate(seen) if actionable != "drop" or v.label != Label.ACTIONABLE
        ]
        self.seen = [seen[i] for i in keep]
        self.parts = np.array([parts[i] for i in keep], dtype=np.str_)
        least = Label.ACTIONABLE if actionable == "abnormal" else Label.BENIGN
        self.abnormal = np.array([v.label >= least for v in self.seen], dtype=np.bool_)
        names = np.array([v.patient for v in self.seen], dtype=np.str_)
        self.patients = np.unique(names, return_inverse=True)[1].astype(np.int64)

    def within(self, part: Where) -> NDArray[np.bool_]:
        """Which volumes are of ``part``."""
        return np.ones(len(self.seen), np.bool_) if part == "all" else self.parts == part

    def scored(self, scores: NDArray[np.float64], among: NDArray[np.bool_]) -> ScoreSet:
        """The volumes ``among`` with their scores."""
        ids = tuple(f"{i}" for i in np.flatnonzero(among))
        return ScoreSet("volume", ids, self.patients[among], self.abnormal[among], scores[among])


def audit(
    seen: Sequence[Seen],
    parts: Sequence[str],
    *,
    part: Where = "all",
    actionable: Actionable = "drop",
    features: Sequence[Feature] = FEATURES,
) -> tuple[Finding, ...]:
    """One finding for each of ``features`` on the volumes of ``part``, the strongest first, those without AUC last.

    ``parts`` names the part of each volume, empty where there are no lists. ``actionable`` is as in `split_patients`.
    """
    units = _Units(seen, parts, actionable)
    learn, score = units.within("train"), units.within(part)
    if part in ("all", "train") or not learn.any():
        learn = np.zeros(len(units.seen), np.bool_)
    findings = [_finding(feature, units, learn, score) for feature in features]
    return tuple(sorted(findings, key=_weakness))


def _weakness(finding: Finding) -> float:
    value = finding.auc.value
    return 1.0 if value is None else 0.5 - abs(value - 0.5)


def _finding(
    feature: Feature, units: _Units, learn: NDArray[np.bool_], among: NDArray[np.bool_]
) -> Finding:
    values = feature.values(units.seen)
    known = np.array([v is not None for v in values], dtype=np.bool_)
    if feature.direction is None:
        scores, words, among = _of_category(values, units, learn & known, among & known)
    else:
        numbers = np.array([np.nan if v is None else float(v) for v in values])
        scores, words = _of_number(feature, numbers, units, learn & known, among & known)
        among = among & known
    chosen = units.scored(scores, among)
    n_pos, n_neg = int(chosen.abnormal.sum()), int((~chosen.abnormal).sum())
    if not known.any():
        auc = Value(reason=f"not known; it needs {feature.missing}")
    elif not n_pos or not n_neg:
        auc = Value(reason=f"{n_pos} abnormal and {n_neg} normal volumes have it")
    elif np.ptp(chosen.scores) == 0:
        auc = Value(value=0.5, reason="all volumes are alike in it")
    else:
        auc = auc_value(chosen, STRICT)
    return Finding(
        feature=feature.name,
        auc=auc,
        score=words if auc.value is not None else "",
        n_pos=n_pos,
        n_neg=n_neg,
        n_pos_patients=positive_patients(chosen),
        n_patients=len(np.unique(chosen.patients)),
        meaning=feature.meaning,
        excludes_chance=_excludes_chance(auc, chosen),
    )


def _excludes_chance(auc: Value, units: ScoreSet) -> bool:
    if auc.low is not None and auc.high is not None:
        return not auc.low <= 0.5 <= auc.high
    return auc.value in (0.0, 1.0) and not too_few_patients(units)


def _of_number(
    feature: Feature,
    numbers: NDArray[np.float64],
    units: _Units,
    learn: NDArray[np.bool_],
    among: NDArray[np.bool_],
) -> tuple[NDArray[np.float64], str]:
    """Scores in the direction that is fixed, that the training part shows, or that is the better of both."""
    words = {-1: feature.ends[0], 1: feature.ends[1]}
    if feature.direction:
        return feature.direction * numbers, f"{words[feature.direction]} (fixed)"
    learnt = _two_classes(units.abnormal[learn])
    place = learn if learnt else among
    if not _two_classes(units.abnormal[place]):
        return numbers, ""
    sign = 1 if placements(units.abnormal[place], numbers[place]).auc >= 0.5 else -1
    return (
        sign * numbers,
        f"{words[sign]} ({'learnt on train' if learnt else 'the better of both'})",
    )


def _of_category(
    values: Sequence[object], units: _Units, learn: NDArray[np.bool_], among: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], str, NDArray[np.bool_]]:
    """The share of abnormals of each category among other patients, and the volumes that it may be scored on."""
    where = "train"
    if not _two_classes(units.abnormal[learn]):
        half = _half(units)
        learn, among, where = (
            among & half,
            among & ~half,
            "half of the patients, scored on the others",
        )
    rate = float(units.abnormal[learn].mean()) if learn.any() else 0.0
    count: dict[object, list[float]] = defaultdict(lambda: [WEIGHT * rate, WEIGHT])
    for i in map(int, np.flatnonzero(learn)):
        count[values[i]][0] += float(units.abnormal[i])
        count[values[i]][1] += 1
    score = {value: hits / n for value, (hits, n) in count.items()}
    scores = np.array([score.get(value, rate) for value in values], dtype=np.float64)
    return scores, f"share of abnormals (learnt on {where})", among


def _half(units: _Units) -> NDArray[np.bool_]:
    """The volumes of a random half of the patients, stratified by their worst label, always the same."""
    volumes = (
        Volume(f"{p}", f"{i}", "lcc", 0, 0, 0, v.label)
        for i, (p, v) in enumerate(zip(units.patients, units.seen, strict=True))
    )
    split = split_patients(Cohort(volumes), (0.5, 0.0, 0.5), actionable="normal")
    out = np.zeros(len(units.seen), np.bool_)
    out[list(split.train)] = True
    return out


def _two_classes(abnormal: NDArray[np.bool_]) -> bool:
    return bool(abnormal.any() and not abnormal.all())
