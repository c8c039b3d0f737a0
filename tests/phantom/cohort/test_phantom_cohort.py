"""Who has what; and that nothing but the picture tells who is ill."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from pydantic import ValidationError
from scipy.stats import ks_2samp
from sklearn.metrics import roc_auc_score

from dbtssl.data.records import Label
from dbtssl.phantom.cohort.phantom_cohort import deal, plan
from dbtssl.phantom.model.phantom_config import PhantomConfig

NUISANCES = {
    "photons": lambda v: v.technique.photons,
    "ramp": lambda v: v.technique.ramp,
    "floor": lambda v: v.technique.floor,
    "gain": lambda v: v.technique.gain,
    "gamma": lambda v: v.technique.gamma,
    "roll": lambda v: v.positioning.roll,
    "squeeze": lambda v: v.positioning.squeeze,
    "shift": lambda v: v.positioning.shift,
    "pull": lambda v: v.positioning.pull,
    "pectoral": lambda v: v.positioning.pectoral,
    "density": lambda v: v.breast.density,
    "depth": lambda v: v.breast.depth,
    "width": lambda v: v.breast.width,
    "beta": lambda v: v.breast.beta,
    "lobule": lambda v: v.breast.lobule,
    "roundness": lambda v: v.breast.roundness,
    "lean": lambda v: v.breast.lean,
    "thickness": lambda v: v.thickness,
    "frames": lambda v: v.n_slices,
    "rotated": lambda v: v.rotated,
}


@pytest.fixture(scope="module")
def large():
    return plan(PhantomConfig(patients=400, seed=1))


def test_the_same_seed_plans_the_same_and_another_seed_does_not(large):
    assert plan(PhantomConfig(patients=400, seed=1)) == large
    assert plan(PhantomConfig(patients=400, seed=2)) != large


def test_keys_are_unique_and_patients_are_in_order(large):
    assert len({v.id for v in large}) == len(large)
    assert [v.patient for v in large] == sorted(v.patient for v in large)
    assert len({v.patient for v in large}) == 400


def test_balanced_is_half_ill_and_half_of_these_cancer(large):
    label = {v.patient: v.label for v in sorted(large, key=lambda v: v.label)}
    assert Counter(label.values()) == {Label.NORMAL: 200, Label.BENIGN: 100, Label.CANCER: 100}


def test_bcs_has_the_labels_of_bcs_dbt():
    found = Counter()
    for seed in range(4):
        volumes = plan(PhantomConfig(patients=500, seed=seed, prevalence="bcs"))
        worst = {v.study: v.label for v in sorted(volumes, key=lambda v: v.label)}
        found.update(worst.values())
        assert all(not v.boxes for v in volumes if not v.label.abnormal)
        low = [v.lesion for v in volumes if v.label is Label.ACTIONABLE]
        assert {(les.kind, les.contrast) for les in low} == {("lobulated", 0.4)}
    total = sum(found.values())
    assert found[Label.ACTIONABLE] / total == pytest.approx(0.050, abs=0.006)
    assert found[Label.BENIGN] / total == pytest.approx(0.020, abs=0.005)
    assert found[Label.CANCER] / total == pytest.approx(0.016, abs=0.005)


def test_only_the_breast_with_the_lesion_is_abnormal(large):
    for v in large:
        assert (v.lesion is not None) == (v.label is not Label.NORMAL)
        assert len(v.boxes) == int(v.label.abnormal)
        assert all(b.label is v.label for b in v.boxes)
    sides = {(v.patient, v.view[0]) for v in large if v.label.abnormal}
    assert len(sides) == 200


def test_a_lesion_is_the_same_in_every_volume_of_its_breast(large):
    kept = {}
    for v in large:
        if v.lesion is not None:
            assert kept.setdefault(v.patient, v.lesion) == v.lesion


def test_studies_and_views_come_at_the_asked_rates(large):
    views = Counter(v.study for v in large)
    assert set(views.values()) == {3, 4}
    assert np.mean([n == 3 for n in views.values()]) == pytest.approx(0.05, abs=0.03)
    assert len(views) / 400 == pytest.approx(1.10, abs=0.04)
    none = plan(PhantomConfig(patients=30, repeat_study=0, missing_view=0))
    assert Counter(Counter(v.study for v in none).values()) == {4: 30}
    both = plan(PhantomConfig(patients=30, repeat_study=1, missing_view=1))
    assert Counter(Counter(v.study for v in both).values()) == {3: 60}


@pytest.mark.parametrize("seed", range(4))
def test_volumes_and_frames_say_nothing_about_the_label(seed):
    volumes = plan(PhantomConfig(patients=400, seed=seed))
    ill = [v.label.abnormal for v in volumes]
    views = Counter(v.study for v in volumes)
    studies = Counter(p for p, _ in {(v.patient, v.study) for v in volumes})
    for feature in (
        [views[v.study] for v in volumes],
        [studies[v.patient] for v in volumes],
        [v.n_slices for v in volumes],
    ):
        assert roc_auc_score(ill, feature) == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("name", list(NUISANCES))
def test_ill_and_healthy_share_the_law_of_every_nuisance(large, name):
    """One volume a patient, the ill breast's where there is one, so that samples are independent."""
    first = {v.patient: v for v in reversed(large)}
    ill = {v.patient: v for v in reversed(large) if v.label.abnormal}
    value = NUISANCES[name]
    a = [value(v) for v in ill.values()]
    b = [value(v) for p, v in first.items() if p not in ill]
    assert len(a) == len(b) == 200
    assert ks_2samp(a, b).pvalue > 0.001


def test_labels_are_dealt_evenly_over_thickness():
    thickness = np.random.default_rng(0).normal(59, 16, 400).tolist()
    labels = np.array(deal(PhantomConfig(patients=400), thickness))
    fifths = labels[np.argsort(thickness)].reshape(5, 80)
    for label, share in ((Label.NORMAL, 40), (Label.BENIGN, 20), (Label.CANCER, 20)):
        assert np.abs((fifths == label).sum(1) - share).max() <= 2


def test_frames_follow_thickness_and_spacing(large):
    """Six mm of stack beyond the breast, as BCS-DBT's headers have it: 71 frames at 65 mm."""
    for v in large[:50]:
        assert v.n_slices == np.ceil((v.thickness + 6) / 2)
    fine = plan(PhantomConfig(patients=300, rows=2457))
    assert np.median([v.n_slices for v in fine]) == pytest.approx(66, abs=4)


@pytest.mark.parametrize(
    ("rows", "columns", "spacing"),
    [(2457, 1996, 1), (512, 416, 1), (256, 208, 2), (192, 156, 8 / 3)],
)
def test_matrix_has_the_ratio_of_bcs_dbt(rows, columns, spacing):
    config = PhantomConfig(rows=rows)
    assert config.columns == columns
    assert config.slice_spacing == pytest.approx(spacing)
    assert config.pixel * rows == pytest.approx(245)


@pytest.mark.parametrize(
    "wrong",
    [
        {"patients": 0},
        {"seed": -1},
        {"rows": 63},
        {"rows": 2458},
        {"spacing": 0.1},
        {"prevalence": "high"},
        {"contrast": (1.1, 0.6)},
        {"contrast": (0.5, 2.0)},
        {"missing_view": 1.5},
        {"repeat_study": -0.1},
        {"nuisance": 9},
        {"anatomy": "real"},
        {"row": 256},
    ],
)
def test_refuses(wrong):
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        PhantomConfig(**wrong)


def test_every_field_is_documented():
    assert all(info.description for info in PhantomConfig.model_fields.values())


def test_no_nuisance_is_no_nuisance():
    volumes = plan(PhantomConfig(patients=20, nuisance=0))
    assert len({v.technique.photons for v in volumes}) == 1
    assert {v.positioning.roll for v in volumes} == {0.0}
    assert {v.positioning.squeeze for v in volumes} == {1.0}
