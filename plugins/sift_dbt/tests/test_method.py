from __future__ import annotations

import csv
from pathlib import Path

import pytest

from dbtssl.config import validate
from dbtssl.plugins import registry
from dbtssl.training.pretraining.pretrain import PretrainConfig

PAPER = Path(__file__).parents[4] / "shared" / "paper"


@pytest.fixture
def method():
    return registry().load("method", "sift-dbt")


@pytest.mark.parametrize(("preset", "half_open"), [("mocov2", False), ("as-released", True)])
def test_presets_resolve(method, preset, half_open):
    changes = method.presets[preset]
    assert changes.keys() <= {"objective", "sampler", "finetuner", "pretrain"}
    configs = {}
    for kind in ("objective", "sampler", "finetuner"):
        target = registry().load(kind, getattr(method, kind))
        keys = getattr(method, f"{kind}_config") | changes.get(kind, {})
        configs[kind] = validate(target.Config, keys)
    validate(PretrainConfig, method.pretrain | changes.get("pretrain", {}))
    sampler = configs["sampler"]
    assert (sampler.p_view, sampler.reach, sampler.half_open) == (0.5, 4, half_open)


def test_differs_from_moco_in_its_pairs_alone(method):
    moco = registry().load("method", "moco-v2")
    assert method.objective == moco.objective
    assert method.objective_config == moco.objective_config
    assert method.pretrain == moco.pretrain
    assert method.finetuner == moco.finetuner
    assert method.sampler != moco.sampler


@pytest.mark.skipif(not PAPER.exists(), reason="the paper's tables are not beside the repository")
@pytest.mark.parametrize(
    ("table", "level"),
    [
        ("table1_slice.csv", "slice"),
        ("table2_finetuning_slice.csv", "slice"),
        ("table3_volume.csv", "volume"),
    ],
)
def test_reported_rows_are_the_papers(method, table, level):
    with (PAPER / table).open() as file:
        rows = [row for row in csv.DictReader(file) if row["method"] == "sift-dbt"]
    assert rows
    for row in rows:
        matches = [
            ours
            for ours in method.reported
            if ours.level == level
            and ours.backbone == row["backbone"]
            and ours.patches == int(row["patches"])
            and ours.finetuner == row.get("finetuner", "discriminative")
        ]
        assert len(matches) == 1, row
        percent = {k.replace("sp_at_", "sp@"): v for k, v in row.items()}
        for name in ("auc", "npv", "nr", "ar", "sp@87", "sp@80"):
            if name in percent:
                assert matches[0].values[name] == float(percent[name])


def test_every_reported_row_says_what_it_was_measured_on(method):
    for row in method.reported:
        subset = row.level == "slice" and row.patches == 1
        expected = "bcs-dbt-sift-test-sub5" if subset else "bcs-dbt-sift-test-full"
        assert row.evaluation_set == expected
        assert row.protocol == "as-published"
    assert len(method.reported) == 12
