from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from dbtssl.evaluation.operating_points.threshold_rules import ThresholdRule, choose_threshold
from dbtssl.evaluation.statistics.placements import placements


def balanced(abnormal, scores):
    """The threshold with the least |NR - AR|."""
    return choose_threshold(abnormal, scores, ThresholdRule("balanced"))


def delong_covariance(abnormal, scores):
    """AUCs ``(K,)`` and their covariance ``(K, K)``, units independent (DeLong et al. 1988)."""
    parts = [placements(abnormal, s) for s in scores]
    x = np.stack([p.abnormal for p in parts])
    y = np.stack([p.normal for p in parts])
    covariance = np.atleast_2d(np.cov(x)) / x.shape[1] + np.atleast_2d(np.cov(y)) / y.shape[1]
    return np.array([p.auc for p in parts]), covariance


def predictions_table(
    patients=12,
    positives=4,
    seed=0,
    effect=1.5,
    slices=12,
    patches=4,
    prefix="P",
    views=("lcc", "lmlo"),
    actionable=0,
):
    """A table of predictions: the first ``positives`` patients are biopsied, the last ``actionable`` recalled."""
    rng = np.random.default_rng(seed)
    rows = []
    for p in range(patients):
        patient = f"{prefix}{p:03d}"
        own = rng.normal() / 2
        for view in views:
            label = 2 + p % 2 if p < positives else int(p >= patients - actionable)
            n = slices + int(rng.integers(5))
            centre = int(rng.integers(n))
            for z in range(n):
                abnormal = label >= 2 and abs(z - centre) <= 4
                logits = own + effect * abnormal + rng.normal(size=patches)
                rows.append(
                    {
                        "volume": f"{patient}_S_{view}",
                        "patient": patient,
                        "study": "S",
                        "view": view,
                        "label": label,
                        "z": z,
                        "n_slices": n,
                        "abnormal": bool(abnormal),
                        "logits": logits.astype(np.float32).tolist(),
                        "y": [0] * patches,
                        "x": [0] * patches,
                    }
                )
    schema = pa.schema(
        {
            **dict.fromkeys(("volume", "patient", "study", "view"), pa.string()),
            "label": pa.int8(),
            "z": pa.int32(),
            "n_slices": pa.int32(),
            "abnormal": pa.bool_(),
            "logits": pa.list_(pa.float32()),
            "y": pa.list_(pa.int32()),
            "x": pa.list_(pa.int32()),
        },
        metadata={"patch_size": "64"},
    )
    return pa.Table.from_pylist(rows, schema=schema)


@pytest.fixture
def make_table():
    return predictions_table


@pytest.fixture
def units():
    """Makes a `ScoreSet` from plain sequences."""
    from dbtssl.evaluation.score_set import ScoreSet

    def make(abnormal, scores, patients=None, level="volume"):
        abnormal = np.asarray(abnormal, dtype=bool)
        patients = np.arange(len(abnormal)) if patients is None else np.asarray(patients)
        ids = tuple(f"u{i:05d}" for i in range(len(abnormal)))
        return ScoreSet(
            level, ids, patients.astype(np.int64), abnormal, np.asarray(scores, dtype=float)
        )

    return make
