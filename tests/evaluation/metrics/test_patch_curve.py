from dataclasses import replace

import numpy as np
import pytest

from dbtssl.evaluation.aggregation.apply import score_sets
from dbtssl.evaluation.aggregation.simple import Max, Mean
from dbtssl.evaluation.metrics.patch_curve import counts, patch_curve
from dbtssl.evaluation.predictions.prediction_table import PredictionInfo, parse_predictions
from dbtssl.evaluation.protocol import STRICT
from dbtssl.evaluation.statistics.intervals import auc_value


def test_each_point_is_the_score_with_the_first_n_patches(make_table):
    table = make_table(patients=14, positives=6, patches=4)
    points = patch_curve(parse_predictions(table), STRICT, Mean(), Max())
    assert [(x.level, x.patches) for x in points] == [
        (level, n) for n in (1, 2, 3, 4) for level in ("slice", "volume")
    ]
    for n in (1, 2, 3, 4):
        rows = [r | {k: r[k][:n] for k in ("logits", "y", "x")} for r in table.to_pylist()]
        cut = parse_predictions(type(table).from_pylist(rows, schema=table.schema))
        for point, units in zip(
            points[2 * n - 2 : 2 * n], score_sets(cut, Mean(), Max())[:2], strict=True
        ):
            assert point.auc == auc_value(units, STRICT)
            assert point.level == "volume" or point.auc.low is not None


def test_at_most_twenty_points_with_both_ends():
    assert counts(20) == list(range(1, 21))
    many = counts(400)
    assert (many[0], many[-1]) == (1, 400)
    assert len(many) <= 20
    assert (np.diff(many) > 0).all()


@pytest.mark.parametrize("options", [{"patches": 1}, {"positives": 0}])
def test_nothing_to_draw(make_table, options):
    p = parse_predictions(make_table(patients=6, **{"positives": 2} | options))
    assert patch_curve(p, STRICT, Mean(), Max()) == ()


def test_the_order_of_a_lattice_means_nothing(make_table):
    p = parse_predictions(make_table(patients=6, positives=2))
    assert (
        patch_curve(replace(p, made=PredictionInfo(inference="grid")), STRICT, Mean(), Max()) == ()
    )
