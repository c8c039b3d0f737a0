from __future__ import annotations

import csv
from pathlib import Path

import pytest

from dbtssl.config import config_class, validate
from dbtssl.plugins import registry
from dbtssl.training.pretraining.pretrain import PretrainConfig

PAPER = Path(__file__).parents[4] / "shared" / "paper"


@pytest.fixture
def method():
    return registry().load("method", "moco-v2")


@pytest.mark.parametrize("preset", ["mocov2", "as-released"])
def test_presets_resolve(method, preset):
    changes = method.presets[preset]
    assert changes.keys() <= {"objective", "sampler", "finetuner", "pretrain"}
    objective = registry().load("objective", method.objective)
    sampler = registry().load("sampler", method.sampler)
    found = validate(objective.Config, method.objective_config | changes.get("objective", {}))
    validate(config_class(sampler), method.sampler_config | changes.get("sampler", {}))
    schedule = validate(PretrainConfig, method.pretrain | changes.get("pretrain", {}))
    assert (schedule.epochs, schedule.batch_size, schedule.lr) == (4000, 128, 0.0075)
    expected = {
        "mocov2": (0.2, 65536, 0.999, "constant", 0.4),
        "as-released": (0.5, 4096, 0.996, "cosine", 0.16),
    }[preset]
    keys = ("temperature", "queue_size", "momentum", "momentum_schedule", "brightness")
    assert tuple(getattr(found, k) for k in keys) == expected
    assert (found.crop_size, found.crop_scale, found.rotation) == (448, (0.4, 1.0), 30.0)


@pytest.mark.parametrize("name", ["moco-v2", "sift-dbt", "inter-slice", "medaug"])
def test_without_a_preset_a_row_is_mocov2(name):
    found = registry().load("method", name)
    moco = registry().load("objective", "moco-v2")
    assert "default" not in found.presets
    changed = found.objective_config | found.presets["mocov2"]["objective"]
    assert validate(moco.Config, found.objective_config) == validate(moco.Config, changed)
    assert set(found.presets["mocov2"]) == {"objective"}


@pytest.mark.skipif(not PAPER.exists(), reason="the paper's tables are not beside the repository")
@pytest.mark.parametrize(
    ("table", "level"), [("table1_slice.csv", "slice"), ("table3_volume.csv", "volume")]
)
def test_reported_rows_are_the_papers(method, table, level):
    with (PAPER / table).open() as file:
        rows = [row for row in csv.DictReader(file) if row["method"] == "moco-v2"]
    reported = [row for row in method.reported if row.level == level]
    assert len(rows) == len(reported) == 1
    for row, ours in zip(rows, reported, strict=True):
        assert (row["backbone"], int(row["patches"])) == (ours.backbone, ours.patches)
        for name, percent in ours.values.items():
            assert float(row[name.replace("sp@", "sp_at_")]) == percent
        assert len(ours.values) == 6
    sets = {"slice": "bcs-dbt-sift-test-sub5", "volume": "bcs-dbt-sift-test-full"}
    assert {row.evaluation_set for row in reported} == {sets[level]}
    assert {row.protocol for row in method.reported} == {"as-published"}
