"""A new metric is one module and one line of the catalogue: it is then computed, compared, ranked and rendered."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import dbtssl

MODULE = """
from dbtssl.evaluation.metrics.metric import Draws, Metric, bootstrap
from dbtssl.evaluation.operating_points.roc import area

GINI = Metric(
    "gini",
    "Gini",
    "twice the AUC minus one",
    low=-1.0,
    compute=bootstrap,
    interval="bootstrap",
    draws=Draws(lambda curves, rule: 2 * area(curves) - 1),
    all_normal=lambda normals: 0.0,
    default=True,
)
"""
USE = """
import io

import numpy as np
import pyarrow.parquet as pq

import dbtssl
from dbtssl.benchmark.stages.compare_stage import COMPARED
from dbtssl.evaluation.comparison.compare_methods import compare
from dbtssl.evaluation.metrics.measure import measure
from dbtssl.evaluation.protocol import STRICT
from dbtssl.evaluation.score_set import ScoreSet
from dbtssl.evaluation.shortcuts import all_normal
from dbtssl.evaluation.values import Score
from dbtssl.interfaces import Reported
from dbtssl.report.build_table import build_table
from dbtssl.report.html.html_tables import html_tables
from dbtssl.report.table_model import Entry
from dbtssl.report.writers.write_table import FORMATS, render

rng = np.random.default_rng(0)
patients = np.arange(60) % 20
abnormal = patients < 8
ids = tuple(f"v{i:02d}" for i in range(60))
a, b = (ScoreSet("volume", ids, patients, abnormal, rng.normal(size=60) + s * abnormal) for s in (0, 2))

row = measure(b, b, STRICT)
gini, auc = row.values["gini"], row.values["auc"]
assert abs(gini.value - (2 * auc.value - 1)) < 1e-12
assert gini.low < gini.value < gini.high
assert all_normal(row).values["gini"].value == 0

(found,) = compare({"a": [a], "b": [b]}, "a", metric="gini")
assert found.low < found.difference < found.high
assert "gini" in COMPARED

Reported(level="volume", backbone="resnet18", patches=20, values={"gini": -50}, protocol="strict",
         evaluation_set="x", source="y")

names = {"protocol": STRICT, "slice_aggregator": "Mean", "volume_aggregator": "Max", "patches": 20}
entries = [
    Entry(name, "resnet18", "full", 0, Score(rows=(measure(s, s, STRICT),), **names))
    for name, s in (("a", a), ("b", b))
]
table = build_table("Title", entries, phantom=True)
assert table.rows[1].cells["gini"].rank == "best"
for form in set(FORMATS) - {"parquet"}:
    assert b"ini" in render(table, form), form
records = pq.read_table(io.BytesIO(render(table, "parquet"))).to_pylist()
assert "gini" in [record["metric"] for record in records]
assert "Gini" in [column.label for column in html_tables(table, {})[0].columns]
print(dbtssl.__file__)
"""


def test_a_metric_is_one_entry(tmp_path):
    package = tmp_path / "dbtssl"
    shutil.copytree(
        Path(dbtssl.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__")
    )
    (package / "evaluation/metrics/gini.py").write_text(MODULE)
    catalogue = package / "evaluation/catalogue.py"
    text = catalogue.read_text(encoding="utf-8")
    first = "from dbtssl.evaluation.metrics.calibration"
    text = text.replace(first, f"from dbtssl.evaluation.metrics.gini import GINI\n{first}", 1)
    text = text.replace("    AUC_AT_DEPTH,\n", "    AUC_AT_DEPTH,\n    GINI,\n", 1)
    catalogue.write_text(text, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", USE],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).parent == package, "the copy is what was imported"
