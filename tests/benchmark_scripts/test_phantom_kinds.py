"""AUC by kind of lesion, against scikit-learn and the comparison of a run's own table."""

import numpy as np
import pytest
from scipy.stats import t as student
from sklearn.metrics import roc_auc_score

from dbtssl.evaluation.comparison.paired import auc_differences
from dbtssl.evaluation.score_set import ScoreSet

KINDS = np.array(["lobulated", "distortion"])


def family(rng, rows=("mine", "theirs"), seeds=1, patients=24):
    """Ten slices a patient; every second patient has five abnormal ones, of one kind of lesion."""
    patient = np.repeat(np.arange(patients), 10)
    ill = patient % 2 == 0
    abnormal = ill & (np.arange(len(patient)) % 10 < 5)
    kind = np.where(ill, KINDS[(patient // 2) % 2], "")
    ids = tuple(f"v{p}:{i:04d}" for i, p in enumerate(patient))
    found = {
        name: [
            ScoreSet("slice", ids, patient, abnormal, rng.normal(size=len(ids)) + abnormal)
            for _ in range(seeds)
        ]
        for name in rows
    }
    return found, kind


def test_a_kind_is_its_slices_against_all_normal_ones(kinds):
    sets, kind = family(np.random.default_rng(0), seeds=2)
    found = kinds.by_kind(sets, kind, "mine")
    assert list(found) == ["all", "distortion", "lobulated"]
    for name, of in found.items():
        mine = sets["theirs"]
        keep = ~mine[0].abnormal | (kind == name) | (name == "all")
        assert of["slices"] == (keep & mine[0].abnormal).sum()
        assert of["patients"] == (12 if name == "all" else 6)
        expected = [roc_auc_score(s.abnormal[keep], s.scores[keep]) for s in mine]
        assert of["rows"]["theirs"]["auc"] == pytest.approx(np.mean(expected))
        assert of["rows"]["mine"]["difference"] is None


def test_all_kinds_together_have_the_interval_of_the_tables_comparison(kinds):
    sets, kind = family(np.random.default_rng(1))
    gap = auc_differences(sets, "mine")["theirs"]
    half = student.ppf(0.975, gap.df) * gap.error
    found = kinds.by_kind(sets, kind, "mine")["all"]["rows"]["theirs"]["difference"]
    assert found["value"] == pytest.approx(gap.difference)
    assert (found["low"], found["high"]) == pytest.approx(
        (gap.difference - half, gap.difference + half)
    )


def test_too_few_patients_have_no_interval_and_say_why(kinds):
    sets, kind = family(np.random.default_rng(2), patients=4)
    found = kinds.by_kind(sets, kind, "mine")["lobulated"]["rows"]["theirs"]["difference"]
    assert found["low"] is None
    assert "patient" in found["reason"]
