"""Tasks of frozen features: planted knowledge is found, chance is chance, and no test density is learnt from."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import spearmanr
from scipy.stats import t as student
from sklearn.linear_model import Ridge

from dbtssl.errors import DataError
from dbtssl.evaluation.probes.frozen_probes import (
    DENSITY,
    PENALTIES,
    RECALL,
    FrozenTasks,
    VolumeEmbeddings,
    _rho_value,
    frozen_tasks,
)
from dbtssl.evaluation.probes.representation import NOT_FINITE

ABOUT = {"evaluation_set": "e", "rule": "r", "slices": 4, "patches": 4}


def part(patients, seed, dim=6, breasts=2):
    """CC and MLO of each breast of each patient; every feature is noise, and a breast has one density."""
    rng = np.random.default_rng(seed)
    n = patients * breasts * 2
    breast = np.arange(n) // 2 + 1000 * seed
    density = np.repeat(rng.uniform(0.05, 0.6, n // 2), 2)
    owner = np.arange(n) // (2 * breasts) + 1000 * seed
    mlo = np.arange(n) % 2 == 1
    return VolumeEmbeddings(rng.normal(size=(n, dim)), owner, breast, mlo, density)


def tasks(train=None, val=None, test=None, no_density=""):
    return frozen_tasks(
        train or part(20, 1),
        val or part(8, 2),
        test or part(12, 3),
        confidence=0.95,
        no_density=no_density,
        **ABOUT,
    )


def planted(what, scale=100.0):
    """The same part with a feature that is the density, on another scale."""
    features = what.features.copy()
    features[:, 2] = scale * what.density + 5
    return replace(what, features=features)


def test_a_feature_that_is_the_density_is_found():
    known = tasks(*(planted(part(n, s)) for n, s in ((20, 1), (8, 2), (12, 3))))
    assert known.values[DENSITY].value > 0.999
    assert known.penalty == PENALTIES[0]
    alone = [
        replace(p, features=p.density[:, None]) for p in (part(20, 1), part(8, 2), part(12, 3))
    ]
    value = tasks(*alone).values[DENSITY]
    assert value.value == pytest.approx(1)
    assert (value.low, value.high) == (None, None)
    assert value.reason == "every draw of patients gives the same value"


def test_shuffled_densities_are_not_found():
    rhos = []
    for seed in range(20):
        parts = [planted(part(n, s)) for n, s in ((20, 1), (8, 2), (40, 3))]
        rng = np.random.default_rng(seed)
        shuffled = [replace(p, density=rng.permutation(p.density)) for p in parts]
        rhos.append(tasks(*shuffled).values[DENSITY].value)
    assert abs(np.mean(rhos)) < 0.06  # 160 test volumes: 0.08 each by chance
    assert max(map(abs, rhos)) < 0.4


def test_density_as_written_out_with_numpy_and_scipy():
    train, val, test = (planted(part(n, s), 3.0) for n, s in ((20, 1), (8, 2), (12, 3)))
    noise = np.random.default_rng(9)
    train, val, test = (
        replace(p, features=p.features + noise.normal(size=p.features.shape))
        for p in (train, val, test)
    )
    mean, sd = train.features.mean(axis=0), train.features.std(axis=0)
    x, x_val, x_test = ((p.features - mean) / sd for p in (train, val, test))
    errors = {}
    for penalty in PENALTIES:
        # normal equations, the intercept not penalised
        y = train.density - train.density.mean()
        w = np.linalg.solve(x.T @ x + penalty * np.eye(x.shape[1]), x.T @ y)
        errors[penalty] = (np.mean((x_val @ w + train.density.mean() - val.density) ** 2), w)
    best = min(errors, key=lambda penalty: errors[penalty][0])
    found = tasks(train, val, test)
    assert found.penalty == best
    rho = spearmanr(x_test @ errors[best][1], test.density).statistic
    assert found.values[DENSITY].value == pytest.approx(rho, abs=1e-12)
    assert found.values[DENSITY].low < rho < found.values[DENSITY].high


def test_of_equal_penalties_the_greatest_is_taken():
    flat = [
        replace(part(n, s), features=np.zeros((4 * n, 3))) for n, s in ((20, 1), (8, 2), (12, 3))
    ]
    found = tasks(*flat)
    assert found.penalty == PENALTIES[-1]
    assert found.values[DENSITY].value is None
    assert found.values[DENSITY].reason == "the features say the same of every test volume"


def test_the_densities_of_test_patients_do_not_enter_the_fit(monkeypatch):
    """The regression is given training volumes alone, and other test densities change neither penalty nor fit."""
    seen = []
    fit = Ridge.fit

    def spy(self, x, y):
        seen.append((x.copy(), y.copy()))
        return fit(self, x, y)

    monkeypatch.setattr(Ridge, "fit", spy)
    one = tasks()
    first, seen[:] = list(seen), []
    test = part(12, 3)
    other = tasks(test=replace(test, density=1000 - test.density))
    assert len(first) == len(seen) == len(PENALTIES)
    for (x, y), (x2, y2) in zip(first, seen, strict=True):
        assert (x == x2).all()
        assert (y == y2).all()
        assert (y == part(20, 1).density).all()
    assert other.penalty == one.penalty
    assert other.values[DENSITY].value == pytest.approx(-one.values[DENSITY].value)


def test_volumes_of_unknown_density_are_left_out():
    train, val, test = part(20, 1), part(8, 2), part(12, 3)
    rng = np.random.default_rng(4)

    def holes(p):
        density = p.density.copy()
        density[rng.random(len(density)) < 0.3] = np.nan
        return replace(p, density=density)

    def without(p):
        k = p.known
        return VolumeEmbeddings(p.features[k], p.patients[k], p.breasts[k], p.mlo[k], p.density[k])

    # the same standardisation in both: features of no mean and unit variance over either
    with_holes = [holes(p) for p in (train, val, test)]
    found = tasks(*with_holes)
    assert found.n_known == tuple(int(p.known.sum()) for p in with_holes)
    assert found.n_volumes == len(test.mlo)
    few = tasks(with_holes[0], with_holes[1], without(with_holes[2]))
    assert found.values[DENSITY] == few.values[DENSITY]


def test_the_order_of_volumes_does_not_matter():
    rng = np.random.default_rng(5)

    def shuffled(p):
        o = rng.permutation(len(p.mlo))
        return VolumeEmbeddings(p.features[o], p.patients[o], p.breasts[o], p.mlo[o], p.density[o])

    one = tasks()
    other = tasks(*(shuffled(part(n, s)) for n, s in ((20, 1), (8, 2), (12, 3))))
    assert one.penalty == other.penalty
    for name, value in one.values.items():
        again = other.values[name]
        for end in ("value", "low", "high"):
            assert getattr(again, end) == pytest.approx(getattr(value, end), abs=1e-9), name


def test_a_planted_identity_is_found_again():
    test = part(12, 3)
    rng = np.random.default_rng(6)
    own = rng.normal(size=(len(test.mlo) // 2, 6))
    found = tasks(test=replace(test, features=np.repeat(own, 2, axis=0)))
    assert found.values[RECALL].value == 1
    assert found.queries == 48
    assert found.candidates == (24, 24)
    assert found.chance == pytest.approx(10 / 24)


def test_noise_is_found_as_often_as_chance():
    test = part(60, 3, dim=20)
    found = tasks(part(20, 1, dim=20), part(8, 2, dim=20), test)
    assert found.chance == pytest.approx(10 / 120)
    assert found.values[RECALL].value == pytest.approx(10 / 120, abs=0.05)
    assert found.values[RECALL].low < 10 / 120 < found.values[RECALL].high


def test_recall_by_hand():
    """Twenty breasts on an arc: CC volume i at i degrees, its MLO volume at 19.3 - i.

    From CC to MLO and back, breast 7 has 10 others nearer than its own and is missed, 8 has 6, 9 and 10 have fewer, 11
    has 5, 12 has 9 and is found, 13 has 13: five of twenty, both ways.
    """
    i = np.arange(20)
    angles = np.deg2rad(np.stack([i, 19.3 - i], axis=1)).ravel()
    arc = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    k = np.arange(40)
    test = VolumeEmbeddings(arc, k // 4, k // 2, k % 2 == 1, np.ones(40))
    # training features of mean 0 and equal variance leave angles as they are
    corners = np.array([[1.0, 0], [-1, 0], [0, 1], [0, -1]])
    train = VolumeEmbeddings(corners, np.arange(4), np.arange(4), np.zeros(4, bool), np.arange(4.0))
    found = frozen_tasks(train, train, test, confidence=0.95, no_density="none", **ABOUT)
    assert found.values[RECALL].value == pytest.approx(5 / 20)
    assert found.chance == pytest.approx(10 / 20)


def test_the_interval_of_recall_has_patients_as_units():
    """Half of the patients are always found, the others never: Wilson's interval for 10 of 20, with t."""
    test = part(20, 3, dim=60)
    rng = np.random.default_rng(7)
    features = rng.normal(size=test.features.shape)
    sure = test.patients % 2 == 0
    features[sure] = np.repeat(50 * rng.normal(size=(sure.sum() // 2, 60)), 2, axis=0)
    features[~sure & test.mlo] = -1
    features[~sure & ~test.mlo] = 1
    train = replace(part(20, 1, dim=60), features=rng.normal(size=(80, 60)))
    value = tasks(train, part(8, 2, dim=60), replace(test, features=features)).values[RECALL]
    assert value.value == pytest.approx(0.5)
    z2, n = (
        student.ppf(0.975, 19) ** 2,
        19,
    )  # 80 queries of 20 patients are worth 20, less one for the mean
    half = np.sqrt(z2 * (0.25 / n + z2 / (4 * n**2))) / (1 + z2 / n)
    assert (value.low, value.high) == pytest.approx((0.5 - half, 0.5 + half), abs=1e-9)


def test_the_interval_of_rho_holds_the_truth():
    """40 patients of 4 volumes, half of both variances the patient's; rho of a binormal r is 6 / pi asin(r / 2)."""
    rng = np.random.default_rng(0)
    r, sets, held = 0.6, 60, 0
    owner = np.repeat(np.arange(40), 4)

    def pair(count):
        x = rng.normal(size=count)
        return x, r * x + np.sqrt(1 - r**2) * rng.normal(size=count)

    for _ in range(sets):
        (a, b), (c, d) = pair(40), pair(160)
        x, y = a[owner] + c, b[owner] + d
        value = _rho_value(float(spearmanr(x, y).statistic), x, y, owner, 0.95)
        held += value.low <= 6 / np.pi * np.arcsin(r / 2) <= value.high
    assert 0.88 <= held / sets < 1  # 0.95 is known to 0.03 with so few


@pytest.mark.parametrize(
    ("change", "name", "reason"),
    [
        ({"test": part(9, 3)}, RECALL, "test volumes of a view: 18; 20 are needed"),
        (
            {"test": replace(part(12, 3), breasts=np.arange(48))},
            RECALL,
            "no test breast has both a CC and an MLO volume",
        ),
        (
            {"train": replace(part(20, 1), density=np.ones(80))},
            DENSITY,
            "different densities among training volumes: 1; 3 are needed",
        ),
        (
            {"test": replace(part(12, 3), density=np.full(48, np.nan))},
            DENSITY,
            "different densities among test volumes: 0; 3 are needed",
        ),
        (
            {"val": replace(part(8, 2), density=np.full(32, np.nan))},
            DENSITY,
            "no validation volume has a density to choose the penalty by",
        ),
        ({"val": replace(part(8, 2), features=np.full((32, 6), np.inf))}, DENSITY, NOT_FINITE),
        ({"train": replace(part(20, 1), features=np.full((80, 6), np.nan))}, RECALL, NOT_FINITE),
    ],
)
def test_what_cannot_be_measured_is_empty_and_says_why(change, name, reason):
    found = tasks(**change).values[name]
    assert (found.value, found.low, found.high) == (None, None, None)
    assert found.reason == reason


def test_few_patients_have_no_interval():
    test = part(12, 3)
    found = tasks(test=replace(test, patients=np.arange(48) // 16))
    for value in found.values.values():
        assert value.value is not None
        assert (value.low, value.reason) == (None, "interval needs 4 patients, has 3")


def test_without_densities_there_is_no_column_and_one_note():
    found = tasks(no_density="no table")
    assert list(found.values) == [RECALL]
    assert [w for w in found.words() if "density" in w] == [
        "No breast density beside the frozen features: no table."
    ]


def test_words_tell_chance_and_numbers():
    words = " ".join(tasks().words())
    assert "80 training volumes" in words
    assert "48 test volumes, its penalty chosen on 32 validation volumes" in words
    assert "fraction of 48 test volumes" in words
    assert "chance 41.7 %" in words  # 10 of 24


def test_json_and_back():
    found = tasks()
    assert FrozenTasks.from_json(found.to_json()) == found
    with pytest.raises(DataError, match="not a result of frozen features"):
        FrozenTasks.from_json("{}")
