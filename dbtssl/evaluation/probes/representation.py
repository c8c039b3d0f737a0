"""What frozen features know: neighbours, a small linear probe and retrieval, from features and ids alone.

For monitors, never for a table. Each `Measure` carries what chance gives, or says why there is no value.
Features are taken as they are: nothing is centred; cosines normalise each row, in double precision. Two cosines that
differ by no more than `TIE` are equal: the last bits of features in single precision hang on the processor and on what
else was in the batch. Retrieval counts equals as the expected value of any order; neighbours that vote are taken in
order of their cosine, equals in order of the items, which is that of ids.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import hypergeom
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

FOLDS, REPEATS = 5, 4  # of the cross-validation over patients
TEMPERATURE = 0.07  # of the neighbours' votes (Wu et al., CVPR 2018, section 3.4; DINO)
PROBE_C = 0.1  # inverse strength of the probe's L2 penalty, on standardised features
NOT_FINITE = "the features are not finite numbers"
TIE = 1e-6  # difference of two cosines, or of two items' votes, that is none


@dataclass(frozen=True)
class Measure:
    """A value and what chance gives in its place; without a value, the reason."""

    value: float | None = None
    chance: float | None = None
    reason: str = ""


@dataclass(frozen=True)
class Hits:
    """Items that have a partner to find, whether each found one, and what chance gives, ``(Q,)`` each.

    Where equals stand at the limit, a hit is its probability.
    """

    queries: NDArray[np.int64]
    found: NDArray[np.float64]
    chance: NDArray[np.float64]


def knn_auc(
    features: NDArray[np.float32],
    abnormal: NDArray[np.bool_],
    patients: NDArray[np.int64],
    neighbours: int,
) -> Measure:
    """AUC of the votes of the nearest labelled items of other patients.

    ``features`` is ``(n, D)``, ``abnormal`` and ``patients`` are ``(n,)``. A vote weighs ``exp(cosine / 0.07)`` (Wu et
    al., CVPR 2018). Items of a fold's patients vote for none of that fold; see `patient_folds` for how the AUC is made.
    Of equals at the limit the first items vote, and fractions of votes that differ by no more than `TIE` tie.
    """
    cosine = _cosines(features)

    def scores(bank: NDArray[np.bool_], held: NDArray[np.bool_], _: int) -> NDArray[np.float64]:
        near = _settled(cosine[np.ix_(held, bank)])
        first = np.argsort(-near, axis=1, kind="stable")[:, :neighbours]
        votes = np.exp(np.take_along_axis(near, first, axis=1) / TEMPERATURE)
        fraction: NDArray[np.float64] = (votes * abnormal[bank][first]).sum(axis=1) / votes.sum(
            axis=1
        )
        return fraction

    return _cross_validated(features, abnormal, patients, scores)


def probe_auc(
    features: NDArray[np.float32],
    abnormal: NDArray[np.bool_],
    patients: NDArray[np.int64],
    budget: int,
) -> Measure:
    """AUC of a logistic regression on the items of at most ``budget`` patients of each class, on those of others.

    Shapes and folds as in `knn_auc`; the labelled patients are drawn again in each fold, by fixed seeds. Features are
    standardised over them, and the classes weigh the same.
    """

    def scores(bank: NDArray[np.bool_], held: NDArray[np.bool_], fold: int) -> NDArray[np.float64]:
        rng = np.random.default_rng([1, fold])
        drawn = [rng.permutation(group)[:budget] for group in _by_class(abnormal, patients, bank)]
        labelled = bank & np.isin(patients, np.concatenate(drawn))
        model = make_pipeline(
            StandardScaler(),
            LogisticRegression(C=PROBE_C, class_weight="balanced", max_iter=2000),
        ).fit(features[labelled], abnormal[labelled])
        fraction: NDArray[np.float64] = model.predict_proba(features[held])[:, 1]
        return fraction

    return _cross_validated(features, abnormal, patients, scores)


def patient_folds(
    abnormal: NDArray[np.bool_],
    patients: NDArray[np.int64],
    folds: int = FOLDS,
    repeats: int = REPEATS,
) -> Iterator[NDArray[np.bool_]]:
    """Which items are held out, fold by fold, ``(n,)`` each: whole patients, with both classes in every fold.

    Patients with and without an abnormal item are shared out evenly, ``repeats`` times by fixed seeds, to at most
    ``folds`` folds. An AUC is computed within a fold, where all items meet the same bank, and averaged: pooled over
    folds, an item would be scored lower for the reason alone that its own class is rarer in what is left, and chance
    would lie below one half.
    """
    groups = _by_class(abnormal, patients, np.ones(len(patients), dtype=np.bool_))
    k = min(folds, *map(len, groups))
    for repeat in range(repeats):
        rng = np.random.default_rng([0, repeat])
        parts = [rng.permutation(np.arange(len(group)) % k) for group in groups]
        for fold in range(k):
            out = [group[part == fold] for group, part in zip(groups, parts, strict=True)]
            yield np.isin(patients, np.concatenate(out))


def null_sd(abnormal_patients: int, normal_patients: int) -> float:
    """Standard deviation of an AUC by chance alone: ``sqrt((m + n + 1) / (12 m n))`` (Mann and Whitney 1947).

    ``m`` and ``n`` are patients, as if all items of a patient had one score: the widest that clustering makes it.
    """
    m, n = abnormal_patients, normal_patients
    return float(np.sqrt((m + n + 1) / (12 * m * n)))


def cross_view_recall(
    features: NDArray[np.float32],
    breasts: NDArray[np.int64],
    mlo: NDArray[np.bool_],
    k: int,
) -> Measure:
    """Fraction of volumes whose ``k`` nearest of the other view have one of the same breast and study among them.

    ``features`` is ``(V, D)``; ``breasts`` ids ``(V,)`` of (patient, study, side); ``mlo`` tells MLO from CC. A CC
    volume looks for its MLO volume among all MLO volumes, those of the patient's other breast and other studies
    included, and the other way round. Ties count as their expected value.
    """
    if not np.isfinite(features).all():
        return Measure(reason=NOT_FINITE)
    measure = _mean(cross_view_hits(features, breasts, mlo, k))
    if measure.value is None:
        return Measure(reason="no breast has both a CC and an MLO volume")
    if measure.chance == 1.0:
        most = max(int(mlo.sum()), int((~mlo).sum()))
        return Measure(reason=f"volumes of a view: {most}; the {k} nearest are all of them")
    return measure


def cross_view_hits(
    features: NDArray[np.floating],
    breasts: NDArray[np.int64],
    mlo: NDArray[np.bool_],
    k: int,
) -> Hits:
    """`cross_view_recall`, volume by volume; the features must be finite."""
    gallery = mlo[:, None] != mlo
    return _hits(features, gallery, gallery & (breasts[:, None] == breasts), k)


def same_patient_top1(
    features: NDArray[np.float32], breasts: NDArray[np.int64], patients: NDArray[np.int64]
) -> Measure:
    """Fraction of volumes whose nearest volume of any other breast or study is of the same patient.

    The volume's own breast in its own study is left out of the gallery, so that what is found again is the patient and
    not this breast's tissue. Shapes as in `cross_view_recall`.
    """
    if not np.isfinite(features).all():
        return Measure(reason=NOT_FINITE)
    gallery = breasts[:, None] != breasts
    partners = gallery & (patients[:, None] == patients)
    measure = _mean(_hits(features, gallery, partners, 1))
    if measure.value is None:
        return Measure(reason="no patient has a second breast or study")
    return Measure(reason="only one patient") if measure.chance == 1.0 else measure


def _cross_validated(
    features: NDArray[np.float32],
    abnormal: NDArray[np.bool_],
    patients: NDArray[np.int64],
    scores: Any,
) -> Measure:
    if not np.isfinite(features).all():
        return Measure(reason=NOT_FINITE)
    positive, negative = _by_class(abnormal, patients, np.ones(len(patients), dtype=np.bool_))
    if min(len(positive), len(negative)) < 2:
        return Measure(
            reason=f"patients with a lesion: {len(positive)}, without: {len(negative)}; 2 of each are needed"
        )
    aucs = [
        roc_auc_score(abnormal[held], _settled(scores(~held, held, fold)))
        for fold, held in enumerate(patient_folds(abnormal, patients))
    ]
    return Measure(float(np.mean(aucs)), 0.5)


def _by_class(
    abnormal: NDArray[np.bool_], patients: NDArray[np.int64], among: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Ids of the patients with an abnormal item, and of the others."""
    positive = np.unique(patients[among & abnormal])
    return positive, np.setdiff1d(patients[among], positive)


def _cosines(features: NDArray[np.floating]) -> NDArray[np.float64]:
    rows = features.astype(np.float64)
    unit = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return np.asarray(unit @ unit.T, dtype=np.float64)


def _settled(numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.round(numbers / TIE) * TIE, dtype=np.float64)


def _hits(
    features: NDArray[np.floating],
    gallery: NDArray[np.bool_],
    partners: NDArray[np.bool_],
    k: int,
) -> Hits:
    """Which queries have a partner among the ``k`` nearest of their gallery, of those that have a partner."""
    cosine = _cosines(features)
    queries = np.flatnonzero(partners.any(axis=1))
    found, chance = (
        np.array([_hit(near[q], gallery[q], partners[q], k) for q in queries], dtype=np.float64)
        for near in (cosine, np.zeros_like(cosine))
    )
    return Hits(queries, found, chance)


def _mean(hits: Hits) -> Measure:
    if not len(hits.queries):
        return Measure()
    return Measure(float(np.mean(hits.found)), float(np.mean(hits.chance)))


def _hit(
    cosine: NDArray[np.float64], gallery: NDArray[np.bool_], partners: NDArray[np.bool_], k: int
) -> float:
    """Probability that the ``k`` nearest hold a partner, where those within `TIE` of the best come in any order."""
    best = cosine[partners].max()
    left = k - int((cosine[gallery] > best + TIE).sum())
    if left <= 0:
        return 0.0
    tied = int((np.abs(cosine[gallery] - best) <= TIE).sum())
    right = int((cosine[partners] >= best - TIE).sum())
    return float(hypergeom.sf(0, tied, right, min(left, tied)))
