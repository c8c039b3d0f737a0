"""Every entry of the catalogue is computed, or says why not, and is in every rendering."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest

from dbtssl.evaluation.catalogue import CATALOGUE, MEASURED, TASKS
from dbtssl.evaluation.metrics.measure import measure
from dbtssl.evaluation.protocol import STRICT
from dbtssl.evaluation.score_set import ScoreSet
from dbtssl.evaluation.values import Score, Value
from dbtssl.report.build_table import build_table
from dbtssl.report.html.html_tables import html_tables
from dbtssl.report.table_columns import COLUMNS
from dbtssl.report.table_model import Entry
from dbtssl.report.writers.write_table import FORMATS, render


@pytest.fixture(scope="module")
def row():
    """Slices of 10 patients, 5 of them positive, at depths that matter a little."""
    rng = np.random.default_rng(0)
    patients = np.repeat(np.arange(10), 6)
    abnormal = (patients < 5) & (np.arange(60) % 3 == 0)
    scores = rng.normal(size=60) + abnormal
    ids = tuple(f"s{i:02d}" for i in range(60))
    depth = (np.arange(60) % 6 + 0.5) / 6
    units = ScoreSet("slice", ids, patients, abnormal, scores, depth)
    return measure(units, units, STRICT)


@pytest.fixture(scope="module")
def table(row):
    """A table of that row in which frozen features have values as well."""
    values = row.values | {name: Value(value=0.5, low=0.25, high=0.75) for name in TASKS}
    score = Score(
        protocol=STRICT,
        slice_aggregator="Mean",
        volume_aggregator="Max",
        patches=20,
        rows=(row.model_copy(update={"values": values}),),
    )
    return build_table("Title", [Entry("a", "resnet18", "full", 0, score)], phantom=True)


@pytest.mark.parametrize("name", MEASURED)
def test_it_is_computed_or_says_why_not(row, name):
    value = row.values[name]
    assert value.value is not None or value.reason
    assert (value.low is None) == (CATALOGUE[name].interval == "none" or name == "workload@0")


def test_workload_without_a_missed_patient_says_why_it_has_no_interval(row):
    assert "lies lower than the lowest" in row.values["workload@0"].reason


@pytest.mark.parametrize("name", CATALOGUE)
def test_it_is_rendered_for_reading(table, name):
    shown = CATALOGUE[name].show(table.rows[0].cells[name].value.value)
    chosen = replace(table, columns=(name,))
    for form in ("markdown", "latex", "terminal"):
        assert shown in render(chosen, form).decode(), form
    cells = html_tables(chosen, {})[0].rows[0].cells
    assert shown in [cell.text.rstrip("¹²†") for cell in cells]
    assert COLUMNS[name].text(table.rows[0]) == shown


@pytest.mark.parametrize("name", CATALOGUE)
def test_it_is_rendered_for_machines(table, name):
    number = table.rows[0].cells[name].value.value
    scale = 100 if CATALOGUE[name].unit == "percent" else 1
    assert f",{name}," in render(table, "csv").decode()
    assert json.loads(render(table, "json"))["rows"][0]["cells"][name]["value"]["value"] == number
    records = pq.read_table(io.BytesIO(render(table, "parquet"))).to_pylist()
    (found,) = [record for record in records if record["metric"] == name]
    assert found["value"] == pytest.approx(scale * number, abs=1e-6)


def test_no_format_is_forgotten():
    assert set(FORMATS) == {"markdown", "latex", "terminal", "csv", "json", "parquet"}
