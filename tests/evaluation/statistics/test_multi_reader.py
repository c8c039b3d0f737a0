import numpy as np
import pytest
from scipy.stats import ttest_rel

from dbtssl.evaluation.statistics.multi_reader import Components, components, random_seeds


def by_loops(values, covariance):
    """Hillis 2007, equations for the mean squares and the averaged covariances, one sum at a time."""
    t_n, r_n = values.shape
    v = covariance.reshape(t_n, r_n, t_n, r_n)
    grand = values.mean()
    ms_t = sum(r_n * (values[i].mean() - grand) ** 2 for i in range(t_n)) / (t_n - 1)
    ms_tr = sum(
        (values[i, j] - values[i].mean() - values[:, j].mean() + grand) ** 2
        for i in range(t_n)
        for j in range(r_n)
    ) / ((t_n - 1) * (r_n - 1))
    two = [v[i, j, i, k] for i in range(t_n) for j in range(r_n) for k in range(r_n) if j != k]
    three = [
        v[i, j, m, k]
        for i in range(t_n)
        for m in range(t_n)
        for j in range(r_n)
        for k in range(r_n)
        if i != m and j != k
    ]
    return Components(t_n, r_n, ms_t, ms_tr, np.mean(two), np.mean(three))


@pytest.mark.parametrize(("methods", "seeds"), [(2, 3), (3, 4), (4, 2)])
def test_components_by_loops(methods, seeds):
    rng = np.random.default_rng(methods)
    values = rng.random((methods, seeds))
    draws = rng.normal(size=(50, methods * seeds))
    covariance = np.cov(draws.T)
    assert components(values, covariance) == pytest.approx(by_loops(values, covariance))


def test_without_variance_of_patients_it_is_the_paired_t_test_over_seeds():
    rng = np.random.default_rng(1)
    values = rng.random((2, 5))
    found = random_seeds(components(values, np.zeros((10, 10))))
    paired = ttest_rel(values[0], values[1])
    assert found.f == pytest.approx(paired.statistic**2)
    assert found.df == pytest.approx(4)
    assert found.p == pytest.approx(paired.pvalue)
    assert abs(values[0].mean() - values[1].mean()) / found.error == pytest.approx(
        abs(paired.statistic)
    )


def test_without_variance_of_seeds_it_is_that_of_patients():
    """Equal seeds: the error is that of the difference between two values, whatever the number of seeds."""
    variance, between = 4e-4, 1e-4
    block = np.full((4, 4), variance), np.full((4, 4), between)
    covariance = np.block([[block[0], block[1]], [block[1], block[0]]])
    found = random_seeds(components(np.repeat([[0.8], [0.9]], 4, axis=1), covariance))
    assert found.error == pytest.approx(np.sqrt(2 * (variance - between)))
    assert found.df == np.inf


def test_a_negative_component_counts_as_none():
    found = random_seeds(Components(2, 3, 0.01, 0.002, cov2=1e-4, cov3=5e-4))
    assert found.f == pytest.approx(5)
    assert found.df == pytest.approx(2)


@pytest.mark.parametrize(("ms", "f", "p"), [(0.0, 0.0, 1.0), (0.1, np.inf, 0.0)])
def test_no_variance_at_all(ms, f, p):
    assert random_seeds(Components(2, 3, ms, 0.0, 0.0, 0.0)) == (f, np.inf, p, 0.0)
