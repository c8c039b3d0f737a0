import hashlib

import numpy as np
import pytest
from scipy.special import expit, logit

from dbtssl.errors import ConfigError, DataError, PluginError
from dbtssl.evaluation.aggregation.apply import score_sets
from dbtssl.evaluation.aggregation.simple import Max, Mean
from dbtssl.evaluation.predictions.prediction_table import parse_predictions
from dbtssl.evaluation.predictions.selection import first_patches


def test_scores_are_mean_then_max(make_table):
    table = make_table(patients=4, positives=2)
    slices, volumes = score_sets(parse_predictions(table), Mean(), Max(), patches=3)[:2]
    rows = table.to_pylist()
    of_slice = {
        f"{r['volume']}:{r['z']:04d}": logit(expit(np.array(r["logits"][:3])).mean()) for r in rows
    }
    np.testing.assert_allclose(slices.scores, [of_slice[i] for i in slices.ids], rtol=1e-9)
    for volume, score in zip(volumes.ids, volumes.scores, strict=True):
        assert score == max(
            s for i, s in zip(slices.ids, slices.scores, strict=True) if i[:-5] == volume
        )
    labels = {r["volume"]: r["label"] >= 2 for r in rows}
    assert volumes.abnormal.tolist() == [labels[i] for i in volumes.ids]
    assert len(set(volumes.patients)) == 4


def test_all_patches_where_none_is_said(make_table):
    p = parse_predictions(make_table(patients=2, positives=1, patches=4))
    np.testing.assert_array_equal(
        score_sets(p, Mean(), Max())[0].scores, score_sets(p, Mean(), Max(), 4)[0].scores
    )


def test_too_many_patches_asked_for(make_table):
    p = parse_predictions(make_table(patients=2, positives=1, patches=4))
    with pytest.raises(
        DataError, match=r"slice 0 of volume P000_S_lcc has 4 patches, 5 are asked for"
    ):
        first_patches(p, 5)
    with pytest.raises(ConfigError, match="patches: got 0"):
        first_patches(p, 0)


def test_the_evaluation_set_is_the_ids_and_labels(make_table):
    table = make_table(patients=3, positives=1)
    p = parse_predictions(table)
    slices, volumes = score_sets(p, Mean(), Max())[:2]
    assert (
        volumes.evaluation_set
        == hashlib.sha256(
            b"P000_S_lcc\t1\nP000_S_lmlo\t1\nP001_S_lcc\t0\nP001_S_lmlo\t0\nP002_S_lcc\t0\nP002_S_lmlo\t0\n"
        ).hexdigest()
    )
    other = parse_predictions(make_table(patients=3, positives=1, seed=0, effect=9.0))
    assert score_sets(other, Max(), Max())[0].evaluation_set == slices.evaluation_set
    fewer = parse_predictions(table.slice(1))
    assert score_sets(fewer, Mean(), Max())[0].evaluation_set != slices.evaluation_set
    assert score_sets(fewer, Mean(), Max())[1].evaluation_set == volumes.evaluation_set
    relabelled = parse_predictions(make_table(patients=3, positives=2))
    assert score_sets(relabelled, Mean(), Max())[1].evaluation_set != volumes.evaluation_set


class Odd(Max):
    level = "volume"


class OfFeatures(Max):
    needs = "features"


class Short(Max):
    def __call__(self, groups):
        return super().__call__(groups)[1:]


class Infinite(Max):
    def __call__(self, groups):
        return super().__call__(groups) + np.inf


@pytest.mark.parametrize(
    ("aggregator", "error", "message"),
    [
        (Odd(), ConfigError, "aggregator Odd works at level volume, not slice"),
        (OfFeatures(), ConfigError, "needs features; predictions hold logits"),
        (Short(), PluginError, "expected one score a slice"),
        (Infinite(), PluginError, "gave scores of slices that are not finite"),
    ],
)
def test_an_aggregator_that_cannot_be_used(make_table, aggregator, error, message):
    with pytest.raises(error, match=message):
        score_sets(parse_predictions(make_table(patients=2, positives=1)), aggregator, Max())
