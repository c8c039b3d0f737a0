"""Worked examples that others have printed, to the digits that they print."""

import numpy as np
import pytest
from scipy.stats import chi2

from dbtssl.evaluation.comparison.compare_methods import compare, holm
from dbtssl.evaluation.comparison.minimum_difference import chance, detectable
from dbtssl.evaluation.statistics.clustered import clustered_covariance
from dbtssl.evaluation.statistics.multi_reader import Components, random_seeds

from ..conftest import delong_covariance

# DeLong, DeLong and Clarke-Pearson 1988, as printed in SAS/STAT 13.1, example 60.8: albumin, total protein, K-G score,
# and whether surgery is indicated, of the 43 patients without missing values.
OVARIAN = """
3.0 5.8 10 0  3.2 6.3 5 1  3.9 6.8 3 1  2.8 4.8 6 0  3.2 5.8 3 1  0.9 4.0 5 0  2.5 5.7 8 0  1.6 5.6 5 1
3.8 5.7 5 1  3.7 6.7 6 1  3.2 5.4 4 1  3.8 6.6 6 1  4.1 6.6 5 1  3.6 5.7 5 1  4.3 7.0 4 1  3.6 6.7 4 0
2.3 4.4 6 1  4.2 7.6 4 0  4.0 6.6 6 0  3.5 5.8 6 1  3.8 6.8 7 1  3.0 4.7 8 0  4.5 7.4 5 1  3.7 7.4 5 1
3.1 6.6 6 1  4.1 8.2 6 1  4.3 7.0 5 1  4.3 6.5 4 1  3.2 5.1 5 1  2.6 4.7 6 1  3.3 6.8 6 0  1.7 4.0 7 0
3.7 6.1 5 1  3.3 6.3 7 1  4.2 7.7 6 1  3.5 6.2 5 1  2.9 5.7 9 0  2.1 4.8 7 1  2.8 6.2 8 0  4.0 7.0 7 1
3.3 5.7 6 1  3.7 6.9 5 1  3.6 6.6 5 1
"""


@pytest.fixture
def ovarian():
    """Labels, and the scores of K-G, total protein and albumin."""
    table = np.array(OVARIAN.split(), dtype=float).reshape(-1, 4)
    return table[:, 3] == 1, {"kg": 10 - table[:, 2], "tp": table[:, 1], "alb": table[:, 0]}


def test_delongs_ovarian_data(ovarian):
    """SAS prints AUC, standard error, and the overall test of equal areas."""
    abnormal, scores = ovarian
    auc, covariance = delong_covariance(abnormal, list(scores.values()))
    assert auc == pytest.approx([0.72580645, 0.64784946, 0.73655914], abs=5e-9)
    errors = np.sqrt(np.diag(covariance))
    assert errors == pytest.approx([0.10282161, 0.10004738, 0.09269435], abs=5e-9)
    contrast = np.array([[-1, 1, 0], [-1, 0, 1]])
    d, v = contrast @ auc, contrast @ covariance @ contrast.T
    statistic = d @ np.linalg.solve(v, d)
    assert round(statistic, 4) == 2.5340
    assert round(chi2.sf(statistic, 2), 4) == 0.2817


def test_differences_of_delongs_ovarian_data(ovarian, units):
    """Differences and their errors through `compare`, one unit a patient; p is by t there and normal in SAS."""
    abnormal, scores = ovarian
    sets = {name: [units(abnormal, s)] for name, s in scores.items()}
    tp, alb = compare(sets, "kg")
    assert (tp.method, alb.method) == ("tp", "alb")
    assert (tp.difference, tp.error) == pytest.approx((-0.07795699, 0.10460959), abs=5e-9)
    assert (alb.difference, alb.error) == pytest.approx((0.01075269, 0.09534362), abs=5e-9)
    assert (tp.df, alb.df) == (30, 30)
    assert tp.p == pytest.approx(0.45614, abs=0.006)
    assert alb.p == pytest.approx(0.91021, abs=0.001)


def test_clustered_covariance_of_delongs_data_with_one_unit_a_patient(ovarian):
    abnormal, scores = ovarian
    plain = delong_covariance(abnormal, list(scores.values()))[1]
    clustered = clustered_covariance(abnormal, list(scores.values()), np.arange(43))[1]
    np.testing.assert_allclose(clustered, plain, atol=1e-16)


def test_obuchowski_and_rockette_on_van_dyke():
    """The vignette of R's MRMCaov prints the components and the test: 2 modalities, 5 readers, 114 cases."""
    found = random_seeds(
        Components(
            methods=2,
            seeds=5,
            ms_method=0.004796171,
            ms_interaction=0.0005510306,
            cov2=0.0003395265,
            cov3=0.0002358497,
        )
    )
    assert found.f == pytest.approx(4.484854, abs=5e-6)
    assert found.df == pytest.approx(15.06611, abs=5e-5)
    assert found.p == pytest.approx(0.05123303, abs=5e-8)
    assert found.error == pytest.approx(0.0206825, abs=5e-8)


def test_holm():
    """statsmodels' ``multipletests(..., method="holm")``."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, None, 0.6]) == [1.0, None, 1.0]
    assert holm([]) == []


def test_power_of_a_paired_t_test():
    """The G*Power manual's example: 34 pairs, dz 0.5, two-sided 5 %: noncentrality 2.915476, power 0.807778."""
    assert chance(2.915476, 2.034515, 33) == pytest.approx(0.807778, abs=1e-5)
    assert detectable(33, power=0.807778) == pytest.approx(2.915476, abs=1e-4)


def test_power_with_many_degrees_of_freedom():
    """1.959964 + 0.841621, the sum of normal quantiles."""
    assert detectable(1e9) == pytest.approx(1.959964 + 0.841621, abs=1e-4)
