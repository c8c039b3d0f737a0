import re
from pathlib import Path

import pytest

from dbtssl.evaluation.catalogue import CATALOGUE, COMPARED, DEFAULT, METRICS
from dbtssl.evaluation.metrics.metric import Metric


def test_the_default_columns_are_the_papers():
    assert DEFAULT == ("auc", "npv", "nr", "ar", "sp@87", "sp@80")


def test_names_are_distinct():
    assert len(CATALOGUE) == len(METRICS)


def test_a_benchmark_compares_by_the_default_columns_and_by_every_auc():
    assert COMPARED == ("auc", "sp@87", "sp@80", "auc-depth")


@pytest.mark.parametrize("metric", CATALOGUE.values(), ids=lambda m: m.name)
def test_every_metric_is_described(metric):
    assert re.fullmatch(r"[a-z0-9@-]+", metric.name)
    assert metric.label
    assert len(metric.meaning) > 10
    assert metric.direction in ("higher", "lower", "")
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


def test_the_page_describes_every_metric():
    page = (Path(__file__).parents[2] / "docs/metrics.md").read_text(encoding="utf-8")
    assert [name for name in CATALOGUE if f"`{name}`" not in page] == []
