from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats

from dbtssl.data.records import Box, Label, Volume
from dbtssl.errors import DataError


def test_a_paired_difference_is_scipys_where_every_patient_has_one_unit(phantom_run):
    rng = np.random.default_rng(0)
    one, other = rng.random(60), rng.random(60) * 0.8
    found = phantom_run.difference(one, other, np.arange(60))
    expected = stats.ttest_rel(one, other).confidence_interval(0.95)
    assert found["value"] == pytest.approx((one - other).mean())
    assert found["low"] == pytest.approx(expected.low, abs=0.006)  # 2000 draws
    assert found["high"] == pytest.approx(expected.high, abs=0.006)


def test_units_of_one_patient_count_as_one(phantom_run):
    rng = np.random.default_rng(1)
    gap = rng.normal(size=12)
    zero = np.zeros(12)
    once = phantom_run.difference(gap, zero, np.arange(12))
    ten = phantom_run.difference(np.repeat(gap, 10), np.zeros(120), np.repeat(np.arange(12), 10))
    assert [ten[k] for k in ("value", "low", "high")] == pytest.approx(
        [once[k] for k in ("value", "low", "high")]
    )
    assert phantom_run.difference(gap[:3], zero[:3], np.arange(3))["low"] is None


def test_a_share_of_single_units_has_wilsons_interval_with_t(phantom_run):
    hits = np.array([1.0] * 30 + [0.0] * 50)
    found = phantom_run.share(hits, np.arange(80))
    # scipy's Wilson interval at the level whose normal quantile is Student's t with 79 degrees of freedom
    level = 1 - 2 * stats.norm.sf(stats.t.ppf(0.975, 79))
    expected = stats.binomtest(30, 80).proportion_ci(level, method="wilson")
    # the ratio estimator's variance has 80 / 79 where the binomial one has 1
    assert found["low"] == pytest.approx(expected.low, abs=2e-3)
    assert found["high"] == pytest.approx(expected.high, abs=2e-3)
    assert phantom_run.share(hits[:0], np.arange(0))["value"] is None


def test_a_full_size_slice_has_the_published_pixel(phantom_run):
    volume = Volume("p", "s", "lcc", 10, 2457, 1890, Label.NORMAL)
    assert phantom_run.millimetres(volume) == pytest.approx(0.0997, abs=1e-4)


def test_scaled_boxes_keep_their_slice(phantom_run):
    box = phantom_run.scaled(Box(3, 2, 4, 6, 8, Label.CANCER), 2.0)
    assert (box.z, box.x, box.y, box.width, box.height) == (3, 4, 8, 12, 16)


def test_a_row_that_is_not_there_is_refused(phantom_run):
    rows = (SimpleNamespace(method="moco-v2", seed=0),)
    run = SimpleNamespace(record=SimpleNamespace(rows=rows), folder="runs/one")
    phantom = phantom_run.PhantomRun(run, None, None, {}, {})
    assert phantom.records("moco-v2", [0]) == [rows[0]]
    with pytest.raises(DataError, match=r"implants.*has moco-v2 \(seed 0\)"):
        phantom.records("implants")
    with pytest.raises(DataError, match=r"seeds \[4\]"):
        phantom.records("moco-v2", [4])


def test_a_row_without_a_presence_head_is_refused(phantom_run, tmp_path):
    run = SimpleNamespace(folder_of=lambda record, stage: tmp_path)
    phantom = phantom_run.PhantomRun(run, None, None, {}, {})
    for stages in ({}, {"pretrain": "key"}):
        with pytest.raises(DataError, match="left no presence head"):
            phantom.presence(SimpleNamespace(method="moco-v2", seed=0, stages=stages))


def test_a_mistake_ends_with_code_2_and_no_traceback(phantom_run, capsys):
    def fails():
        raise DataError("no such run", hint="name another")

    with pytest.raises(SystemExit) as found:
        phantom_run.script(fails)
    assert found.value.code == 2
    assert capsys.readouterr().err == "error: no such run\nhint: name another\n"
