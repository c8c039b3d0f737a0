"""The side file: what lies where, and that no source of data takes it for labels."""

from __future__ import annotations

import json

import pytest

from dbtssl.data.sources.bcs_dbt import BcsDbt
from dbtssl.data.sources.phantom_source import Phantom
from dbtssl.phantom.cohort.phantom_cohort import plan
from dbtssl.phantom.model.phantom_config import PhantomConfig
from dbtssl.phantom.output.truth import FILE, truth
from dbtssl.phantom.output.write_cohort import write_cohort

CONFIG = PhantomConfig(patients=6, seed=0, rows=64, spacing=6)


def rows(name, config=CONFIG):
    columns, *found = json.loads(truth(config, plan(config)))[name]
    return [dict(zip(columns, row, strict=True)) for row in found]


def test_lesions_are_those_of_the_boxes():
    boxes = {(v.patient, v.study, v.view): (b, v) for v in plan(CONFIG) for b in v.boxes}
    found = {(r["patient"], r["study"], r["view"]): r for r in rows("lesions")}
    assert found.keys() == boxes.keys()
    for key, (box, volume) in boxes.items():
        row = found[key]
        assert row["label"] == volume.label.name.lower()
        assert (row["kind"] == "distortion") == box.distortion
        assert row["slice"] == box.z
        assert row["relative_depth"] == pytest.approx(box.z / volume.n_slices, abs=1e-4)
        side = (box.width * box.height) ** 0.5 * CONFIG.pixel
        assert row["side_mm"] == pytest.approx(side, abs=1.5 * CONFIG.pixel)
        assert 0.9 <= row["contrast"] <= 1.4


def test_actionable_lesions_are_told_here_alone():
    config = PhantomConfig(patients=150, seed=2, prevalence="bcs", rows=64)
    actionable = [row for row in rows("lesions", config) if row["label"] == "actionable"]
    assert actionable
    assert {row["kind"] for row in actionable} == {"lobulated"}


def test_density_is_told_once_a_breast():
    found = rows("breasts")
    volumes = plan(CONFIG)
    assert len(found) == len({(v.patient, v.study, v.view[0]) for v in volumes})
    for row in found:
        same = [
            v.breast.density
            for v in volumes
            if (v.patient, v.study, v.view[0]) == (row["patient"], row["study"], row["side"])
        ]
        assert same == pytest.approx([row["density"]] * len(same), abs=1e-4)


def test_innocent_things_lie_in_the_image():
    found = rows("innocent")
    assert {"fat-island", "gland-island", "calcification"} <= {row["kind"] for row in found}
    for row in found:
        assert row["x"] + row["width"] > 0
        assert row["y"] + row["height"] > 0
        assert row["x"] < CONFIG.columns
        assert row["y"] < CONFIG.rows


def test_the_plain_anatomy_has_no_innocent_things():
    config = CONFIG.model_copy(update={"anatomy": "plain"})
    assert rows("innocent", config) == []
    assert rows("lesions", config)


@pytest.mark.parametrize("source", [Phantom, BcsDbt])
def test_no_source_reads_it(tmp_path, source):
    write_cohort(CONFIG.model_copy(update={"patients": 2}), tmp_path / "cohort", jobs=1)
    with_it = source().volumes(tmp_path / "cohort")
    (tmp_path / "cohort" / FILE).write_text("{ not even JSON")
    assert source().volumes(tmp_path / "cohort") == with_it
    (tmp_path / "cohort" / FILE).unlink()
    assert source().volumes(tmp_path / "cohort") == with_it
