import numpy as np
import pytest
import torch

from dbtssl.errors import ConfigError, DataError
from dbtssl.evaluation.aggregation import attention
from dbtssl.evaluation.aggregation.apply import score_sets
from dbtssl.evaluation.aggregation.attention import Attention
from dbtssl.evaluation.aggregation.simple import Max, Mean
from dbtssl.evaluation.aggregation.trainable import fit, load_state, save_state
from dbtssl.evaluation.predictions.prediction_table import parse_predictions
from dbtssl.evaluation.statistics.placements import placements
from dbtssl.interfaces import Aggregator, Groups, Trainable


def bags(count, seed, features=6, normals=0.5):
    """Groups of 3 to 8 members; in an abnormal one a single member is high in feature 0 and marked by feature 1."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(3, 9, count)
    offsets = np.r_[0, np.cumsum(sizes)]
    x = rng.normal(size=(offsets[-1], features)).astype(np.float32)
    labels = rng.random(count) >= normals
    for g in np.flatnonzero(labels):
        x[offsets[g] + rng.integers(sizes[g]), :2] = 3.0
    return Groups(np.zeros(offsets[-1]), offsets, x, labels)


def small(**changes):
    options = {"hidden": 4, "decays": (1e-3, 1e-1), "steps": 40, "normals": 1000, "seed": 0}
    return Attention(Attention.Config(**(options | changes)))


def auc(aggregator, groups):
    return placements(groups.labels, aggregator(groups)).auc


def test_is_an_aggregator_that_learns():
    assert isinstance(small(), Aggregator)
    assert isinstance(small(), Trainable)
    assert not isinstance(Max(), Trainable)


def test_the_loss_and_its_gradient_are_autograds():
    groups = bags(12, 0)
    rng = np.random.default_rng(1)
    net = attention._Net(np.full(6, 0.2), np.full(6, 1.5), 3)
    weights = rng.normal(size=net.size)
    loss, gradient = net.loss(weights, groups, 0.3)

    at = torch.tensor(weights, requires_grad=True)
    v, u, w, c, b = torch.split(at, [18, 18, 3, 6, 1])
    x = (torch.tensor(groups.features, dtype=torch.float64) - 0.2) / 1.5
    logits = []
    for start, stop in zip(groups.offsets[:-1], groups.offsets[1:], strict=True):
        h = x[start:stop]
        gate = torch.tanh(h @ v.reshape(3, 6).T) * torch.sigmoid(h @ u.reshape(3, 6).T)
        logits.append(torch.softmax(gate @ w, 0) @ h @ c + b[0])
    target = torch.tensor(groups.labels, dtype=torch.float64)
    balance = torch.where(target > 0, 0.5 / target.sum(), 0.5 / (1 - target).sum())
    each = torch.nn.functional.binary_cross_entropy_with_logits(
        torch.stack(logits), target, reduction="none"
    )
    expected = (balance * each).sum() + 0.15 * (at[:-1] ** 2).sum()
    expected.backward()
    assert loss == pytest.approx(expected.item(), rel=1e-12)
    np.testing.assert_allclose(gradient, at.grad.numpy(), rtol=1e-9, atol=1e-12)


def test_blocks_do_not_matter(monkeypatch):
    groups = bags(30, 0)
    net = attention._Net(np.zeros(6), np.ones(6), 3)
    weights = np.random.default_rng(1).normal(size=net.size)
    whole = net.loss(weights, groups, 0.3)
    logits = net.logits(weights, groups)
    monkeypatch.setattr(attention, "BLOCK", 50)
    assert len(attention._parts(groups)) > 5
    assert net.loss(weights, groups, 0.3)[0] == pytest.approx(whole[0], rel=1e-12)
    np.testing.assert_allclose(net.loss(weights, groups, 0.3)[1], whole[1], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(net.logits(weights, groups), logits, rtol=1e-12)


def test_it_finds_the_member_that_decides():
    train, val, test = bags(150, 0), bags(80, 1), bags(300, 2)
    aggregator = small()
    aggregator.fit(train, val)
    of_means = np.add.reduceat(test.features[:, 0], test.offsets[:-1]) / np.diff(test.offsets)
    assert auc(aggregator, test) > 0.95
    assert auc(aggregator, test) > placements(test.labels, of_means.astype(float)).auc + 0.03


def test_the_same_seed_learns_the_same_and_another_another():
    train, val = bags(40, 0), bags(30, 1)
    learnt = []
    for seed in (0, 0, 1):
        aggregator = small(seed=seed, normals=10)
        aggregator.fit(train, val)
        learnt.append(aggregator.state()["weights"])
    np.testing.assert_array_equal(learnt[0], learnt[1])
    assert (learnt[0] != learnt[2]).any()


def test_few_normals_are_drawn_and_every_abnormal_is_kept():
    groups = bags(60, 0, normals=0.8)
    few = attention._drawn(groups, 10, np.random.default_rng(0))
    assert (~few.labels).sum() == 10
    assert few.labels.sum() == groups.labels.sum()
    assert len(few.features) == few.offsets[-1] == len(few.values)


@pytest.mark.parametrize("which", ["training", "validation"])
def test_a_missing_class(which):
    good, bad = bags(20, 0), bags(20, 1, normals=1.1)
    pair = (bad, good) if which == "training" else (good, bad)
    with pytest.raises(DataError, match=f"the {which} predictions lack a class"):
        small().fit(*pair)


def test_untrained_or_of_other_features():
    with pytest.raises(DataError, match="has not been trained"):
        small()(bags(3, 0))
    with pytest.raises(DataError, match="needs features"):
        small().fit(
            *(Groups(g.values, g.offsets, None, g.labels) for g in (bags(9, 0), bags(9, 1)))
        )
    aggregator = small(steps=10)
    aggregator.fit(bags(20, 0), bags(20, 1))
    with pytest.raises(DataError, match="trained on 6 features, got 5"):
        aggregator(bags(3, 0, features=5))
    with pytest.raises(DataError, match="weights, expected"):
        small(hidden=5).load(aggregator.state())


def with_features(table, seed, of="patch"):
    """The same table; feature 0 of every patch is its logit, feature 1 noise."""
    import pyarrow as pa

    rng = np.random.default_rng(seed)
    cells = []
    for row in table.to_pylist():
        pairs = np.stack([row["logits"], rng.normal(size=len(row["logits"]))], axis=1)
        cells.append((pairs if of == "patch" else pairs.mean(axis=0)).astype(np.float16).ravel())
    column = pa.array(cells, type=pa.large_list(pa.float16()))
    return table.append_column("features", column).replace_schema_metadata({"n_features": "2"})


@pytest.fixture
def parts(make_table):
    def make(of="patch"):
        return [
            parse_predictions(
                with_features(make_table(patients=12, positives=5, prefix=p, seed=i), i, of)
            )
            for i, p in enumerate("ABC")
        ]

    return make


def test_over_patches_and_over_slices(parts, tmp_path):
    train, val, test = parts()
    patch, slice_ = small(steps=20), small(steps=20)
    fit(patch, slice_, train, val)
    sets = score_sets(test, patch, slice_)
    assert placements(sets[0].abnormal, sets[0].scores).auc > 0.7
    path = tmp_path / "aggregators.safetensors"
    path.write_bytes(save_state(patch, slice_))
    again = small(), small()
    load_state(*again, path)
    for one, other in zip(sets, score_sets(test, *again), strict=True):
        np.testing.assert_array_equal(one.scores, other.scores)
    with pytest.raises(DataError, match="was not made with these aggregators"):
        load_state(Mean(), again[1], path)
    path.write_bytes(b"no")
    with pytest.raises(DataError, match="no file of learned aggregators"):
        load_state(*again, path)


def test_features_of_slices_are_enough_for_volumes_and_not_for_patches(parts):
    train, val, test = parts("slice")
    slice_ = small(steps=20)
    fit(Mean(), slice_, train, val)
    assert len(score_sets(test, Mean(), slice_)[1].scores) == len(test.volumes)
    with pytest.raises(DataError, match="needs features"):
        fit(small(), Mean(), train, val)


def test_what_learns_needs_training_patients_of_its_own(parts):
    train, val, _ = parts()
    with pytest.raises(ConfigError, match="Attention learns and needs predictions"):
        fit(small(), Max(), None, val)
    with pytest.raises(DataError, match="12 patients are in the training and the validation"):
        fit(small(), Max(), train, train)
    fit(Mean(), Max(), None, None)  # nothing to learn
