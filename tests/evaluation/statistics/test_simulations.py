"""Whether intervals hold the truth and tests reject as often as they say, on a layout like that of SIFT-DBT's test set.

21 positive patients of 200 with 1 to 3 abnormal volumes each, 4 volumes of every other; scores with an effect of the
patient as large as that of the volume. SIFT-DBT's own set has 843 patients; more normals change little.
"""

import re
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import norm

from dbtssl.evaluation.comparison.compare_methods import compare
from dbtssl.evaluation.comparison.minimum_difference import smallest_difference
from dbtssl.evaluation.metrics.equal_depth import at_equal_depth
from dbtssl.evaluation.metrics.measure import measure
from dbtssl.evaluation.protocol import STRICT
from dbtssl.evaluation.score_set import ScoreSet
from dbtssl.evaluation.statistics.intervals import auc_value

from ..conftest import delong_covariance

pytestmark = pytest.mark.slow
SHIFT = np.sqrt(2) * norm.ppf(0.9)  # AUC 0.9
LEVEL = 0.05


class World:
    """Draws data sets; the methods share patients and volumes, and a part of the noise."""

    def __init__(self, units, seed, patients=200, positives=21):
        self.units, self.rng = units, np.random.default_rng(seed)
        self.count, self.positives = patients, positives

    def layout(self):
        sizes = self.rng.choice([1, 2, 3], self.positives, p=[0.3, 0.55, 0.15])
        ids = np.repeat(
            np.arange(self.count), np.r_[sizes, np.full(self.count - self.positives, 4)]
        )
        return ids, ids < self.positives

    def noise(self, ids, patient=0.5):
        """Unit variance, a fraction ``patient`` of it the patient's."""
        own, volume = self.rng.normal(size=self.count), self.rng.normal(size=len(ids))
        return np.sqrt(patient) * own[ids] + np.sqrt(1 - patient) * volume

    def one(self):
        """Scores that are the log of the likelihood ratio, as logits of a model trained at 1:1 would be."""
        ids, abnormal = self.layout()
        scores = self.noise(ids) + SHIFT * abnormal
        return self.units(abnormal, SHIFT * scores - SHIFT**2 / 2, ids)

    def two(self, shifts, seeds=1, of_seed=0.0):
        """Two methods whose noise correlates by one half; ``of_seed``: the spread of their strength over seeds."""
        ids, abnormal = self.layout()
        common = self.noise(ids)
        out = {}
        for name, shift in shifts.items():
            own = self.noise(ids)
            out[name] = [
                self.units(
                    abnormal,
                    np.sqrt(0.5) * common
                    + np.sqrt(0.4) * own
                    + np.sqrt(0.1) * self.noise(ids)
                    + (shift + of_seed * self.rng.normal()) * abnormal,
                    ids,
                )
                for _ in range(seeds)
            ]
        return out


def slices(rng, shift, patients=60, stack=20):
    """Two methods on slices of one volume a patient; a third has lesions on three slices, near the middle.

    Scores have the patient's own level, a prior of the depth that moves from training to training, and noise.
    """
    patient = np.repeat(np.arange(patients), stack)
    depth = (np.tile(np.arange(stack), patients) + 0.5) / stack
    middle = np.repeat(rng.normal(0.45, 0.12, patients), stack)
    abnormal = (patient < patients // 3) & (np.abs(depth - middle) <= 1.5 / stack)
    own = rng.normal(size=(2, patients))[:, patient]
    noise = rng.normal(size=(2, len(patient)))
    prior = rng.normal(0, 4, (2, 1)) * np.abs(depth - 0.45)
    scores = 0.7 * own + 0.7 * noise + prior + shift * abnormal
    ids = tuple(f"s{i:05d}" for i in range(len(patient)))
    return [ScoreSet("slice", ids, patient, abnormal, s, depth) for s in scores]


def test_at_equal_depth_the_interval_holds_and_equal_methods_are_rarely_told_apart():
    rng = np.random.default_rng(7)
    values, rejected, raw = [], [], []
    for _ in range(400):
        one, other = slices(rng, shift=0.8)
        values.append(auc_value(at_equal_depth(one), STRICT))
        found = compare({"a": [one], "b": [other]}, "a", metric="auc-depth")[0]
        rejected.append(found.p < LEVEL)
        raw.append(compare({"a": [one], "b": [other]}, "a")[0].p < LEVEL)
    truth = np.mean([v.value for v in values])
    assert 0.92 <= share(v.low <= truth <= v.high for v in values) <= 0.98
    assert 0.02 <= share(rejected) <= 0.08
    assert share(raw) > 0.3  # as they are, slices tell which training knows the depth


def share(draws):
    return float(np.mean(list(draws)))


def test_the_paired_clustered_t_rejects_equal_methods_as_often_as_it_says(units):
    world, rejected, naive = World(units, 0), [], []
    for _ in range(600):
        sets = world.two({"a": SHIFT, "b": SHIFT})
        rejected.append(compare(sets, "a")[0].p < LEVEL)
        a, b = (s.scores for (s,) in sets.values())
        auc, v = delong_covariance(sets["a"][0].abnormal, [a, b])
        naive.append(
            2 * norm.sf(abs(auc[0] - auc[1]) / np.sqrt(v[0, 0] + v[1, 1] - 2 * v[0, 1])) < LEVEL
        )
    assert 0.02 <= share(rejected) <= 0.08
    assert share(naive) > share(rejected) + 0.01


def test_random_seeds_reject_equal_methods_as_often_as_they_say(units):
    """Methods are equal on average; their seeds differ by more than patients make of it."""
    world, random, fixed = World(units, 1), [], []
    for _ in range(300):
        sets = world.two({"a": SHIFT, "b": SHIFT}, seeds=3, of_seed=0.6)
        random.append(compare(sets, "a")[0].p < LEVEL)
        fixed.append(compare({"a": sets["a"][:1], "b": sets["b"][:1]}, "a")[0].p < LEVEL)
    assert 0.005 <= share(random) <= 0.08
    assert share(fixed) > 0.15  # one training a method cannot speak for new trainings


def test_the_smallest_difference_is_found_four_times_in_five(units):
    """The median of what 100 sets say is made true, and is then found in about 80 % of 400 sets."""
    world = World(units, 2)
    weaker = SHIFT / 1.5
    said = np.median(
        [
            smallest_difference(compare(world.two({"a": weaker, "b": SHIFT}), "a")).value
            for _ in range(100)
        ]
    )
    better = np.sqrt(2) * norm.ppf(norm.cdf(weaker / np.sqrt(2)) + said)
    found = [compare(world.two({"a": weaker, "b": better}), "a")[0].p < LEVEL for _ in range(400)]
    assert 0.7 <= share(found) <= 0.9


def test_intervals_hold_the_truth(units):
    """Every metric that has one; thresholds from 10 positive patients of 100, so that they vary as well.

    With 21 positive patients nothing holds it in 0.95 everywhere. docs/metrics.md has the fractions.
    """
    test, val = World(units, 3), World(units, 4, patients=100, positives=10)
    truth = expected()
    held = {name: [] for name in truth}
    for _ in range(250):
        row = measure(test.one(), val.one(), STRICT)
        for name, true in truth.items():
            value = row.values[name]
            if value.low is not None:
                held[name].append(value.low <= true <= value.high)
    assert all(len(of) > 240 for of in held.values())
    coverage = {name: share(of) for name, of in held.items()}
    assert all(c >= 0.85 for c in coverage.values()), coverage
    page = (Path(__file__).parents[3] / "docs/metrics.md").read_text(encoding="utf-8")
    printed = {name: float(number) for name, number in re.findall(r"`(\S+)` \| (\d\.\d\d) ", page)}
    assert printed == pytest.approx(coverage, abs=0.02)


def expected():
    """What an endless set of the layout would have: closed form, or two million units if there is none."""
    prevalence = 21 * 1.85 / (21 * 1.85 + 179 * 4)
    rate = norm.cdf(SHIFT / 2)  # NR and AR where they are equal
    tp, fp = prevalence * rate, (1 - prevalence) * (1 - rate)
    tn, fn = (1 - prevalence) * rate, prevalence * (1 - rate)
    rng = np.random.default_rng(5)
    abnormal = np.arange(2_000_000) < prevalence * 2_000_000
    scores = SHIFT * (rng.normal(size=len(abnormal)) + SHIFT * abnormal) - SHIFT**2 / 2
    one_patient_each = np.arange(len(abnormal)) // 400_000  # a few patients: only values are needed
    row = measure(
        large_set(abnormal, scores, one_patient_each),
        large_set(abnormal, scores, one_patient_each),
        STRICT,
    )
    sampled = ("ap", "pauc-sens@80", "pauc-spec@90", "brier", "brier-skill", "log-loss")
    return {
        "auc": 0.9,
        **{f"sp@{s}": norm.cdf(SHIFT - norm.ppf(s / 100)) for s in (87, 80, 90, 95)},
        **{f"se@{s}": norm.cdf(SHIFT - norm.ppf(s / 100)) for s in (80, 90, 95)},
        "nr": rate,
        "ar": rate,
        "balanced-accuracy": rate,
        "npv": tn / (tn + fn),
        "ppv": tp / (tp + fp),
        "recall-rate": tp + fp,
        "npv-gain": tn / (tn + fn) - (1 - prevalence),
        "calibration-slope": 1.0,
        "calibration-intercept": 0.0,
        **{name: row.values[name].value for name in sampled},
    }


def large_set(abnormal, scores, patients):
    from dbtssl.evaluation.score_set import ScoreSet

    return ScoreSet("volume", tuple(map(str, range(len(scores)))), patients, abnormal, scores)
