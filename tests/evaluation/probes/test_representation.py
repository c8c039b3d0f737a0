"""Every measure against brute force, scikit-learn or a closed form."""

from __future__ import annotations

from itertools import combinations
from math import comb, exp

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler

from dbtssl.evaluation.probes.representation import (
    NOT_FINITE,
    cross_view_recall,
    knn_auc,
    null_sd,
    patient_folds,
    probe_auc,
    same_patient_top1,
)


def items(patients=12, positive=5, each=6, dim=8, effect=1.0, seed=0):
    """Features, labels and patients; positive patients have ``each`` abnormal items and one normal one."""
    rng = np.random.default_rng(seed)
    owner = np.repeat(np.arange(patients), each + 1)
    abnormal = (owner < positive) & (np.tile(np.arange(each + 1), patients) < each)
    own = rng.normal(size=(patients, dim))[owner] * 0.5
    features = rng.normal(size=(len(owner), dim)) + own + effect * abnormal[:, None]
    return features.astype(np.float32), abnormal, owner


def cosine(a, b):
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def test_folds_hold_out_whole_patients_of_both_classes_and_each_as_often():
    _, abnormal, owner = items()
    held = np.zeros(len(owner), dtype=int)
    folds = list(patient_folds(abnormal, owner, folds=5, repeats=3))
    assert len(folds) == 15
    for fold in folds:
        assert not set(owner[fold]) & set(owner[~fold])
        assert abnormal[fold].any()
        assert not abnormal[fold].all()
        assert abnormal[~fold].any()
        held += fold
    assert (held == 3).all()
    assert len(list(patient_folds(abnormal[owner > 2], owner[owner > 2], 5, 1))) == 2


def test_neighbours_vote_as_written_out_by_hand():
    z, abnormal, owner = items()
    aucs = []
    for held in patient_folds(abnormal, owner):
        bank = np.flatnonzero(~held)
        scores = []
        for i in np.flatnonzero(held):
            near = sorted(bank, key=lambda j: -cosine(z[i], z[j]))[:7]
            votes = {j: exp(cosine(z[i], z[j]) / 0.07) for j in near}
            scores.append(sum(v for j, v in votes.items() if abnormal[j]) / sum(votes.values()))
        aucs.append(roc_auc_score(abnormal[held], scores))
    found = knn_auc(z, abnormal, owner, 7)
    assert found.value == pytest.approx(np.mean(aucs), abs=1e-6)
    assert (found.chance, found.reason) == (0.5, "")
    assert found.value > 0.7


def test_more_neighbours_than_items_are_all_of_them():
    z, abnormal, owner = items()
    assert knn_auc(z, abnormal, owner, 10_000).value is not None


def test_the_probe_is_a_logistic_regression_of_scikit_learn_on_the_budget():
    z, abnormal, owner = items()
    aucs = []
    for fold, held in enumerate(patient_folds(abnormal, owner)):
        rng = np.random.default_rng([1, fold])
        positive = np.unique(owner[~held & abnormal])
        negative = np.array([p for p in np.unique(owner[~held]) if p not in positive])
        few = [*rng.permutation(positive)[:2], *rng.permutation(negative)[:2]]
        assert len(few) == 4
        train = np.isin(owner, few)
        scale = StandardScaler().fit(z[train])
        model = LogisticRegression(C=0.1, class_weight="balanced", max_iter=2000)
        model.fit(scale.transform(z[train]), abnormal[train])
        aucs.append(
            roc_auc_score(abnormal[held], model.decision_function(scale.transform(z[held])))
        )
    found = probe_auc(z, abnormal, owner, 2)
    assert found.value == pytest.approx(np.mean(aucs), abs=1e-6)
    assert probe_auc(z, abnormal, owner, 5).value != found.value


@pytest.mark.parametrize(("measure", "times"), [(knn_auc, 16), (probe_auc, 10)])
def test_labels_that_mean_nothing_give_one_half_on_average(measure, times):
    """Pooled over folds it would lie well below: what is left has fewer of the class that is held out."""
    values = [measure(*items(8, 3, 4, effect=0.0, seed=s), 5).value for s in range(times)]
    assert abs(np.mean(values) - 0.5) < 3 * np.std(values) / np.sqrt(times)
    assert np.std(values) < 1.5 * null_sd(3, 5)


@pytest.mark.parametrize("measure", [knn_auc, probe_auc])
def test_a_clear_lesion_is_found_and_the_answer_is_always_the_same(measure):
    data = items(effect=6.0)
    assert measure(*data, 10).value > 0.97
    assert measure(*data, 10) == measure(*data, 10)


@pytest.mark.parametrize("measure", [knn_auc, probe_auc])
def test_too_few_patients_are_a_reason_in_words(measure):
    for positive in (0, 1):
        found = measure(*items(positive=positive), 5)
        assert found.value is None
        assert found.reason == (
            f"patients with a lesion: {positive}, without: {12 - positive}; 2 of each are needed"
        )
    assert measure(*items(positive=12), 5).value is None
    empty = np.zeros((0, 1), dtype=np.float32), np.zeros(0, dtype=bool), np.zeros(0, dtype=np.int64)
    assert measure(*empty, 5).value is None


def test_the_spread_of_chance_is_mann_and_whitneys():
    """All ways to rank 3 among 7, without ties."""
    aucs = []
    for positive in combinations(range(7), 3):
        label = np.isin(np.arange(7), positive)
        aucs.append(roc_auc_score(label, np.arange(7)))
    assert null_sd(3, 4) == pytest.approx(np.std(aucs))


def volumes(patients=6, seed=0, strength=1.0):
    """Each patient has two breasts, each with CC and MLO; the first has her left breast twice more in a later study."""
    rng = np.random.default_rng(seed)
    breasts = np.array([*np.repeat(np.arange(2 * patients), 2), 99, 99])
    owner = np.array([*np.repeat(np.arange(patients), 4), 0, 0])
    mlo = np.tile([False, True], 2 * patients + 1)
    _, of = np.unique(breasts, return_inverse=True)
    z = rng.normal(size=(len(breasts), 16)) + strength * rng.normal(size=(of.max() + 1, 16))[of]
    return z.astype(np.float32), breasts, owner, mlo


@pytest.mark.parametrize("k", [1, 3, 10])
def test_recall_against_sorting_by_hand(k):
    z, breasts, _, mlo = volumes()
    hits = []
    for q in range(len(z)):
        gallery = [i for i in range(len(z)) if mlo[i] != mlo[q]]
        near = sorted(gallery, key=lambda i, q=q: -cosine(z[i], z[q]))[:k]
        hits.append(any(breasts[i] == breasts[q] for i in near))
    found = cross_view_recall(z, breasts, mlo, k)
    assert found.value == pytest.approx(np.mean(hits))
    assert found.chance == pytest.approx(k / 13)


def test_a_repeated_view_counts_once_and_raises_chance():
    z, breasts, _, mlo = volumes()
    breasts[24:] = breasts[
        0
    ]  # the repeats are of one breast and study: two partners for each of four
    found = cross_view_recall(z, breasts, mlo, 3)
    two = 1 - comb(11, 3) / comb(13, 3)
    assert found.chance == pytest.approx((4 * two + 22 * 3 / 13) / 26)


def test_a_volume_without_a_partner_asks_nothing_and_stays_in_the_gallery():
    z, breasts, _, mlo = volumes()
    keep = np.arange(len(z)) != 1  # the MLO of the first breast
    found = cross_view_recall(z[keep], breasts[keep], mlo[keep], 1)
    assert found.chance == pytest.approx((13 - 1) / 24 / 13 + 12 / 24 / 12)


def test_same_patient_against_sorting_by_hand():
    z, breasts, owner, _ = volumes(strength=0.3)
    z += np.random.default_rng(5).normal(size=(6, 16))[owner].astype(np.float32)
    hits, chances = [], []
    for q in range(len(z)):
        gallery = [i for i in range(len(z)) if breasts[i] != breasts[q]]
        nearest = max(gallery, key=lambda i, q=q: cosine(z[i], z[q]))
        hits.append(owner[nearest] == owner[q])
        chances.append(np.mean([owner[i] == owner[q] for i in gallery]))
    found = same_patient_top1(z, breasts, owner)
    assert found.value == pytest.approx(np.mean(hits))
    assert found.chance == pytest.approx(np.mean(chances))
    assert found.value > 2 * found.chance


def test_equals_come_in_any_order():
    """Of a collapsed encoder: chance exactly, whatever the order of the volumes."""
    z, breasts, owner, mlo = volumes()
    z[:] = 0.3
    for k in (1, 10):
        found = cross_view_recall(z, breasts, mlo, k)
        assert found.value == found.chance
    found = same_patient_top1(z, breasts, owner)
    assert found.value == found.chance


def test_ties_count_as_their_expected_value():
    """One volume is better, the partner ties with two others for the second of two places."""
    z = np.array([[1, 0], [1, 1], [1, 1], [1, 1], [1, 0.1]], dtype=np.float32)
    breasts = np.array([0, 0, 1, 2, 3])
    mlo = np.array([False, True, True, True, True])
    found = cross_view_recall(z, breasts, mlo, 2)
    # the query 0 finds its partner with 1/3; the partner has a gallery of one: certain
    assert found.value == pytest.approx((1 / 3 + 1) / 2)


def test_what_cannot_be_asked_is_a_reason_in_words():
    z, breasts, owner, mlo = volumes(3)
    assert cross_view_recall(z, breasts, np.zeros_like(mlo), 1).reason.startswith("no breast")
    found = cross_view_recall(z, breasts, mlo, 10)
    assert (found.value, found.reason) == (
        None,
        "volumes of a view: 7; the 10 nearest are all of them",
    )
    alone = same_patient_top1(z, breasts, breasts)
    assert alone.reason == "no patient has a second breast or study"
    assert same_patient_top1(z, breasts, np.zeros_like(owner)).reason == "only one patient"


def test_features_that_are_not_finite_are_a_reason():
    z, breasts, owner, mlo = volumes()
    z[0, 0] = np.nan
    positive = owner < 3
    for found in (
        cross_view_recall(z, breasts, mlo, 1),
        same_patient_top1(z, breasts, owner),
        knn_auc(z, positive, owner, 5),
        probe_auc(z, positive, owner, 5),
    ):
        assert (found.value, found.reason) == (None, NOT_FINITE)


def near_twins():
    """Volume 0 asks; its partner and two others are nearest but for the last bits of single precision."""
    z = np.array([[1, 0], [1, 1], [1, 1], [1, 1], [1, 0.1]], dtype=np.float32)
    breasts, mlo = np.array([0, 0, 1, 2, 3]), np.array([False, True, True, True, True])
    return z, breasts, mlo


def test_the_last_bits_of_the_features_decide_nothing():
    z, breasts, mlo = near_twins()
    exact = cross_view_recall(z, breasts, mlo, 2).value
    for row in (1, 2, 3):
        for toward in (np.inf, -np.inf):
            moved = z.copy()
            moved[row, 1] = np.nextafter(moved[row, 1], np.float32(toward))
            assert cross_view_recall(moved, breasts, mlo, 2).value == exact
            owner = np.array([0, 9, 0, 1, 2])
            nearest = [same_patient_top1(x, np.arange(5), owner).value for x in (z, moved)]
            assert nearest[0] == nearest[1]


def test_neighbours_and_items_that_tie_are_taken_in_order():
    """All items alike: the first of the bank vote, and their shares tie, whatever the last bits say."""
    z, abnormal, owner = items()
    z[:] = z[0]
    flat = knn_auc(z, abnormal, owner, 7).value
    assert flat == 0.5
    rng = np.random.default_rng(1)
    for _ in range(5):
        noisy = z * (1 + 1e-7 * rng.choice([-1, 0, 1], size=z.shape)).astype(np.float32)
        assert (noisy != z).any()
        assert knn_auc(noisy, abnormal, owner, 7).value == flat
