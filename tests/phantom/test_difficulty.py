"""Neither one number of a patch nor anything of a whole volume finds the lesions."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections import Counter
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from dbtssl.phantom.cohort.phantom_cohort import plan
from dbtssl.phantom.imaging.render import render
from dbtssl.phantom.model.phantom_config import PhantomConfig

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def findings():
    path = ROOT / "benchmarks" / "phantom_findings.py"
    spec = importlib.util.spec_from_file_location("phantom_findings", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its worker processes find it there
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.mark.slow
def test_no_single_statistic_finds_the_lesions_among_bright_things(findings):
    config = PhantomConfig(patients=160, rows=192, seed=1, repeat_study=0)
    patients = groupby(plan(config), key=lambda v: v.patient)
    rows = [row for _, volumes in patients for row in findings.patches((config, tuple(volumes)))]
    rows = [row for row in rows if row[0] != findings.GHOST]
    ill = [row[0] == findings.LESION for row in rows]
    table = [findings.statistics(row[3], config.pixel) for row in rows]
    for name in table[0]:
        auc = roc_auc_score(ill, [row[name] for row in table])
        assert max(auc, 1 - auc) < 0.75, name


@pytest.mark.slow
def test_nothing_of_a_whole_volume_tells_the_label(findings):
    """What a shortcut would use: the interval of its AUC holds one half, at 95 % for all of them together."""
    config = PhantomConfig(patients=160, rows=128, seed=3)
    volumes = plan(config)
    ill = np.array([v.label.abnormal for v in volumes])
    patient = np.array([v.patient for v in volumes])
    views = Counter(v.study for v in volumes)
    pixels = [render(config, v)[0] for v in volumes]
    shortcuts = {
        "volumes in study": [views[v.study] for v in volumes],
        "frames": [len(p) for p in pixels],
        "columns": [p.shape[2] for p in pixels],
        "rows": [p.shape[1] for p in pixels],
        "mean": [p.mean() for p in pixels],
        "mean within the breast": [p[p > 100].mean() for p in pixels],
        "standard deviation": [p[p > 100].std() for p in pixels],
        "area of the breast": [(p > 100).mean() for p in pixels],
    }
    level = 1 - 0.05 / len(shortcuts)  # Bonferroni
    for name, value in shortcuts.items():
        _, low, high = findings.interval(ill, np.array(value, float), patient, 2000, level)
        assert low <= 0.5 <= high, (name, low, high)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_network_with_all_labels_finds_the_lesions_and_no_statistic_does(
    findings, tmp_path, monkeypatch
):
    """The command of docs/phantom.md, ten minutes of two quiet cores."""
    out = tmp_path / "findings.json"
    words = ["--patients", "2400", "--steps", "4000", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", ["script", *words])
    findings.main()
    found = json.loads(out.read_text())
    auc, low, _ = found["network"]["all"]
    assert auc > 0.9
    assert low > 0.88
    assert all(row["innocent"] < 0.75 for row in found["statistics"].values())


def test_the_record_of_the_docs_holds_what_they_say():
    found = json.loads((ROOT / "benchmarks/results/phantom-findings.json").read_text())
    said = (ROOT / "docs/phantom.md").read_text()
    for key in ("all", "against innocent", "against tissue", "lobulated", "spiculated"):
        auc, low, high = found["network"][key]
        assert f"| {auc:.3f} [{low:.3f}, {high:.3f}] |" in said, key
    assert found["network"]["all"][1] > 0.9
    assert max(row["innocent"] for row in found["statistics"].values()) < 0.75
