from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import t as student

from dbtssl.errors import ConfigError, DataError
from dbtssl.evaluation.catalogue import METRICS
from dbtssl.evaluation.comparison.compare_methods import compare, indistinguishable
from dbtssl.evaluation.comparison.minimum_difference import smallest_difference
from dbtssl.evaluation.statistics.clustered import clustered_covariance
from dbtssl.evaluation.statistics.multi_reader import components, random_seeds
from dbtssl.evaluation.statistics.placements import placements

CURVE_METRICS = tuple(m.name for m in METRICS if m.draws)


@pytest.fixture
def methods(units):
    """Makes sets of scores: strength of a method, noise of a seed; all on the same volumes."""

    def make(strengths, seeds=1, patients=60, positives=14, seed=0):
        rng = np.random.default_rng(seed)
        ids = np.repeat(np.arange(patients), 3)
        abnormal = ids < positives
        common = rng.normal(size=patients)[ids] + rng.normal(size=len(ids)) / 2
        out = {}
        for name, strength in strengths.items():
            own = common + rng.normal(size=len(ids)) / 2 + strength * abnormal
            noise = [rng.normal(size=len(ids)) / 2 for _ in range(seeds)]
            out[name] = [units(abnormal, own + n, ids) for n in noise]
        return out

    return make


def test_one_seed_is_the_paired_clustered_t(methods):
    sets = methods({"base": 1.0, "better": 2.0})
    (d,) = compare(sets, "base")
    a, b = sets["better"][0], sets["base"][0]
    auc, v = clustered_covariance(a.abnormal, [a.scores, b.scores], a.patients)
    error = np.sqrt(v[0, 0] + v[1, 1] - 2 * v[0, 1])
    assert d.difference == pytest.approx(auc[0] - auc[1], abs=1e-15)
    assert d.error == pytest.approx(error, rel=1e-9)
    assert d.df == 13
    assert d.p == d.p_holm == pytest.approx(2 * student.sf(d.difference / error, 13))
    assert (d.low + d.high) / 2 == pytest.approx(d.difference)
    assert d.high - d.low == pytest.approx(2 * student.ppf(0.975, 13) * error)
    assert (d.seeds, d.baseline_seeds, d.n_pos_patients) == (1, 1, 14)
    assert d.test == "paired clustered t, for this training as they are; patients are random"
    assert (d.baseline, d.method, d.level, d.metric) == ("base", "better", "volume", "auc")
    assert d.evaluation_set == a.evaluation_set
    assert d.reason == ""


def test_the_confidence_moves_the_interval_and_not_p(methods):
    sets = methods({"base": 1.0, "better": 1.3})
    (wide,), (narrow,) = (compare(sets, "base", confidence=c) for c in (0.95, 0.8))
    assert wide.p == narrow.p
    assert wide.low < narrow.low < narrow.high < wide.high


def test_two_seeds_are_averaged_and_taken_as_they_are(methods):
    sets = methods({"base": 1.0, "better": 1.5}, seeds=2)
    (d,) = compare(sets, "base")
    both = [*sets["better"], *sets["base"]]
    auc, v = clustered_covariance(both[0].abnormal, [s.scores for s in both], both[0].patients)
    w = np.array([0.5, 0.5, -0.5, -0.5])
    assert d.difference == pytest.approx(w @ auc)
    assert d.error == pytest.approx(np.sqrt(w @ v @ w))
    assert d.df == 13
    assert "these 2 and 2 trainings" in d.test


def test_three_seeds_are_readers(methods):
    sets = methods({"base": 1.0, "better": 1.5}, seeds=3)
    (d,) = compare(sets, "base")
    both = [*sets["better"], *sets["base"]]
    auc, v = clustered_covariance(both[0].abnormal, [s.scores for s in both], both[0].patients)
    found = random_seeds(components(auc.reshape(2, 3), v))
    assert d.error == pytest.approx(found.error)
    assert d.df == pytest.approx(min(found.df, 13))
    t = student.isf(d.p / 2, d.df)
    assert t**2 == pytest.approx(found.f)
    assert d.test == "Obuchowski-Rockette, 3 seeds each; seeds and patients are random"


def test_trainings_that_vary_more_make_the_error_of_random_seeds_larger(methods, units):
    sets = methods({"base": 1.0, "better": 1.5}, seeds=3)
    rng = np.random.default_rng(5)
    strength = {"base": [0, 2, 4], "better": [3, 1, 5]}
    varied = {
        name: [
            replace(s, scores=s.scores + k * s.abnormal * rng.random())
            for s, k in zip(of, strength[name], strict=True)
        ]
        for name, of in sets.items()
    }
    (same,), (other,) = compare(sets, "base"), compare(varied, "base")
    assert other.error > same.error
    assert other.df < same.df


def test_other_numbers_of_seeds_are_taken_as_they_are(methods):
    sets = methods({"base": 1.0, "better": 1.5}, seeds=4)
    (d,) = compare({"base": sets["base"], "better": sets["better"][:3]}, "base")
    assert (d.seeds, d.baseline_seeds) == (3, 4)
    assert "these 3 and 4 trainings as they are" in d.test


def test_holm_is_over_the_methods_of_the_call(methods):
    sets = methods({"base": 1.0, "a": 1.2, "b": 1.5, "c": 3.0})
    found = compare(sets, "base")
    assert [d.method for d in found] == ["a", "b", "c"]
    by_p = sorted(found, key=lambda d: d.p)
    assert by_p[0].p_holm == pytest.approx(min(1, 3 * by_p[0].p))
    assert by_p[1].p_holm == pytest.approx(max(by_p[0].p_holm, min(1, 2 * by_p[1].p)))
    assert by_p[2].p_holm == pytest.approx(max(by_p[1].p_holm, by_p[2].p))


@pytest.mark.parametrize("seeds", [1, 2, 3])
def test_a_method_against_itself(methods, seeds):
    sets = methods({"base": 1.0}, seeds=seeds)
    (d,) = compare({"base": sets["base"], "copy": sets["base"]}, "base")
    assert (d.difference, d.p, d.p_holm) == (0, 1, 1)
    assert d.low == pytest.approx(0, abs=1e-7)
    assert d.high == pytest.approx(0, abs=1e-7)


@pytest.mark.parametrize("metric", [m for m in CURVE_METRICS if m != "workload@0"])
def test_a_method_against_a_monotone_map_of_itself(methods, metric):
    sets = methods({"base": 1.0})
    mapped = [replace(s, scores=np.exp(s.scores / 5)) for s in sets["base"]]
    (d,) = compare({"base": sets["base"], "map": mapped}, "base", metric=metric)
    assert d.difference == pytest.approx(0, abs=1e-12)
    assert d.low == pytest.approx(0, abs=1e-9)


def test_the_lowest_patient_has_no_spread(methods):
    (d,) = compare(methods({"base": 1.0, "better": 2.0}), "base", metric="workload@0")
    assert d.difference is not None
    assert d.low is d.error is None
    assert "lies lower than the lowest" in d.reason


@pytest.mark.parametrize("metric", [m for m in CURVE_METRICS if m not in ("auc", "workload@0")])
def test_other_metrics_have_intervals_and_no_test(methods, metric):
    sets = methods({"base": 1.0, "better": 2.5}, seeds=3)
    (d,) = compare(sets, "base", metric=metric)
    assert d.low < d.difference < d.high
    assert d.p is d.p_holm is None
    assert d.reason == "only the AUC is tested; the other metrics have intervals"
    assert d.test == "paired patient bootstrap, for these trainings as they are"


def test_the_order_of_units_does_not_matter(methods):
    sets = methods({"base": 1.0, "better": 1.5})
    (mine,) = compare(sets, "base")
    s = sets["better"][0]
    order = np.random.default_rng(0).permutation(len(s.ids))
    moved = replace(
        s,
        ids=tuple(s.ids[i] for i in order),
        patients=s.patients[order],
        abnormal=s.abnormal[order],
        scores=s.scores[order],
    )
    assert compare({"base": sets["base"], "better": [moved]}, "base") == (mine,)


def test_other_units_are_refused(methods, units):
    sets = methods({"base": 1.0, "better": 1.5})
    s = sets["better"][0]
    fewer = replace(
        s, ids=s.ids[:-1], patients=s.patients[:-1], abnormal=s.abnormal[:-1], scores=s.scores[:-1]
    )
    relabelled = replace(s, abnormal=~s.abnormal)
    for other in (fewer, relabelled, replace(s, level="slice", ids=tuple(reversed(s.ids)))):
        with pytest.raises(
            ConfigError, match="better and base were not scored on the same volumes"
        ):
            compare({"base": sets["base"], "better": [other]}, "base")
    with pytest.raises(ConfigError, match="give the same volumes to different patients"):
        compare({"base": sets["base"], "better": [replace(s, patients=s.patients[::-1])]}, "base")


def test_a_baseline_that_is_not_there(methods):
    with pytest.raises(ConfigError, match=r"'bas' is not among the methods. Did you mean 'base'"):
        compare(methods({"base": 1.0, "better": 2.0}), "bas")


def test_a_method_without_scores(methods):
    with pytest.raises(ConfigError, match="method 'none' has no scores"):
        compare(methods({"base": 1.0}) | {"none": []}, "base")


def test_a_metric_that_cannot_be_compared(methods):
    with pytest.raises(
        ConfigError, match=r"'auk' cannot be compared under the rule at-least. Did you mean 'auc'"
    ):
        compare(methods({"base": 1.0}), "base", metric="auk")
    with pytest.raises(ConfigError, match="'se@90' cannot be compared under the rule nearest"):
        compare(methods({"base": 1.0}), "base", metric="se@90", rule="nearest")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e151])
def test_scores_that_are_not_finite(methods, bad):
    sets = methods({"base": 1.0, "better": 2.0})
    sets["better"][0].scores[3] = bad
    with pytest.raises(
        DataError,
        match=r"better: 1 scores of volumes are not finite numbers, the first is .* of u00003",
    ):
        compare(sets, "base")


@pytest.mark.parametrize("metric", ["auc", "ap"])
@pytest.mark.parametrize("positives", [1, 3])
def test_few_positive_patients_have_a_difference_and_no_test(methods, positives, metric):
    found = compare(
        methods({"base": 1.0, "better": 2.0}, positives=positives), "base", metric=metric
    )
    assert found[0].reason == f"interval needs 4 positive patients, has {positives}"
    assert found[0].difference is not None
    assert found[0].low is found[0].p is found[0].p_holm is found[0].error is None


@pytest.mark.parametrize(("positives", "missing"), [(0, "abnormal"), (60, "normal")])
def test_one_class_has_no_difference(methods, positives, missing):
    (d,) = compare(methods({"base": 1.0, "better": 2.0}, positives=positives), "base")
    assert d.difference is d.p is None
    assert d.reason == f"there is no {missing} volume"


@pytest.mark.parametrize("metric", ["auc", "sp@80"])
def test_perfect_against_inverted_has_no_error(units, metric):
    abnormal, ids = np.arange(20) < 8, np.arange(20)
    sets = {"bad": [units(abnormal, 1.0 * ids, ids)], "good": [units(abnormal, -1.0 * ids, ids)]}
    (d,) = compare(sets, "bad", metric=metric)
    assert d.difference == 1
    assert d.p is d.low is None
    assert d.reason in (
        "the variance between patients is 0",
        "every draw of patients gives the same difference",
    )


def test_more_missed_than_there_are(units):
    abnormal, ids = np.arange(20) < 2, np.arange(20)
    sets = {name: [units(abnormal, np.sin(k * ids), ids)] for k, name in enumerate("ab", 1)}
    (d,) = compare(sets, "a", metric="workload@2")
    assert d.difference is None
    assert d.reason == "there are no more than 2 positive patients to miss"


def test_who_cannot_be_told_apart_from_the_best(methods):
    sets = methods({"best": 2.5, "near": 2.4, "far": 0.0})
    assert indistinguishable(sets, "best") == ("near",)
    assert indistinguishable(methods({"best": 2.5, "far": 0.0}, positives=3), "best") == ("far",)


def test_the_smallest_difference_is_found_four_times_in_five(methods):
    found = compare(methods({"base": 1.0, "a": 1.5, "b": 1.2}), "base")
    small = smallest_difference(found)
    # 2.1604 and 0.8700 are the 97.5 and 80 % points of t with 13 degrees of freedom: their sum is near
    error = np.median([d.error for d in found])
    assert small.value == pytest.approx((2.1604 + 0.8700) * error, rel=0.01)
    assert small.comparisons == 2
    assert f"{100 * small.value:.1f} points: with 14 positive patients" in small.words()
    assert "more than 20 % of the time (paired, two-sided 5 %" in small.words()
    assert smallest_difference(found, power=0.9).value > small.value


def test_a_set_that_could_show_nothing(methods):
    small = smallest_difference(compare(methods({"a": 1.0, "b": 2.0}, positives=2), "a"))
    assert small.value is None
    assert small.words().endswith("is not known: interval needs 4 positive patients, has 2.")
    assert smallest_difference(()).reason == "nothing is compared"


@pytest.mark.parametrize("power", [0.0, 0.05, 1.0, 1.5])
def test_a_power_that_cannot_be(methods, power):
    with pytest.raises(ConfigError, match=f"power: got {power}, expected more than 0.05 and less"):
        smallest_difference(compare(methods({"a": 1.0, "b": 2.0}), "a"), power=power)


def test_the_auc_is_that_of_the_method(methods):
    sets = methods({"base": 1.0, "better": 2.0}, seeds=3)
    (d,) = compare(sets, "base")
    mean = {k: np.mean([placements(s.abnormal, s.scores).auc for s in v]) for k, v in sets.items()}
    assert d.difference == pytest.approx(mean["better"] - mean["base"])
