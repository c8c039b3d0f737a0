import re
from pathlib import Path

import pytest

from dbtssl.evaluation.catalogue import AT_DEPTH, CATALOGUE, DEFAULT, TASKS, Metric
from dbtssl.evaluation.metrics.curve_draws import CURVE_METRICS
from dbtssl.evaluation.metrics.measure import AT_THRESHOLD, CALIBRATION, MEASURED
from dbtssl.evaluation.statistics.placements import METRICS


def test_the_default_columns_are_the_papers():
    assert METRICS == DEFAULT == ("auc", "npv", "nr", "ar", "sp@87", "sp@80")


def test_everything_that_is_measured_is_in_the_catalogue():
    measured = {*CURVE_METRICS, AT_DEPTH, *AT_THRESHOLD, *CALIBRATION, "prevalence"}
    assert measured == set(MEASURED)
    assert measured | set(TASKS) == set(CATALOGUE)


@pytest.mark.parametrize("metric", CATALOGUE.values(), ids=lambda m: m.name)
def test_every_metric_is_told(metric):
    assert re.fullmatch(r"[a-z0-9@-]+", metric.name)
    assert metric.label
    assert len(metric.meaning) > 10
    assert metric.better in ("higher", "lower", "")
    if metric.unit == "percent":
        assert metric.high == 1


def test_labels_are_distinct():
    assert len({m.label for m in CATALOGUE.values()}) == len(CATALOGUE)


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("auc", 0.8421, "84.2"),
        ("npv", 0.99625, "99.62"),
        ("calibration-slope", 0.8449, "0.84"),
        ("brier-skill", -10.05, "-10.050"),
        ("pauc-spec@90-raw", 0.0334417344173442, "0.0334"),
        ("npv-gain", -0.0012, "-0.12"),
    ],
)
def test_numbers_as_they_are_printed(name, value, text):
    assert CATALOGUE[name].show(value) == text


def test_ranges():
    assert (CATALOGUE["auc"].range, CATALOGUE["brier-skill"].range) == ("[0, 1]", "[, 1]")
    metric = Metric("x", "X", "a metric with an open end", low=None, high=0.5)
    assert metric.holds(-1e9)
    assert not metric.holds(0.51)


def test_the_page_tells_every_metric():
    page = (Path(__file__).parents[2] / "docs/metrics.md").read_text(encoding="utf-8")
    assert [name for name in (*MEASURED, *TASKS) if f"`{name}`" not in page] == []
