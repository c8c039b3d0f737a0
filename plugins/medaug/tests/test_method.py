from __future__ import annotations

import csv
from pathlib import Path

import pytest

from dbtssl.config import validate
from dbtssl.plugins import registry
from dbtssl.training.pretraining.pretrain import PretrainConfig

PAPER = Path(__file__).parents[4] / "shared" / "paper"
NAMES = ("medaug", "inter-slice")


def method(name):
    return registry().load("method", name)


def configs(name, preset):
    """Objective, sampler and schedule of a preset, resolved as a benchmark resolves them."""
    found, changes = method(name), method(name).presets[preset]
    assert changes.keys() <= {"objective", "sampler", "pretrain"}
    objective = registry().load("objective", found.objective)
    sampler = registry().load("sampler", found.sampler)
    return (
        validate(objective.Config, found.objective_config | changes.get("objective", {})),
        validate(sampler.Config, found.sampler_config | changes.get("sampler", {})),
        validate(PretrainConfig, found.pretrain | changes.get("pretrain", {})),
    )


@pytest.mark.parametrize("name", NAMES)
def test_differs_from_moco_and_sift_dbt_in_its_pairs_alone(name):
    ours = method(name)
    for other in (method("moco-v2"), method("sift-dbt")):
        for part in ("objective", "objective_config", "finetuner", "finetuner_config", "pretrain"):
            assert getattr(ours, part) == getattr(other, part)
        assert ours.presets["as-released"]["objective"] == other.presets["as-released"]["objective"]
        assert ours.sampler != other.sampler


def test_presets_of_inter_slice():
    assert set(method("inter-slice").presets) == {"mocov2", "as-released"}
    for preset, half_open in (("mocov2", False), ("as-released", True)):
        objective, sampler, schedule = configs("inter-slice", preset)
        assert (sampler.reach, sampler.half_open) == (4, half_open)
        assert objective.temperature == (0.5 if half_open else 0.2)
        assert (schedule.epochs, schedule.lr) == (4000, 0.0075)


@pytest.mark.parametrize(
    ("preset", "study", "half_open", "temperature", "queue_size"),
    [
        ("mocov2", "same", False, 0.2, 65_536),
        ("as-released", "same", True, 0.5, 4096),
        ("as-released-patient", "any", True, 0.5, 4096),
    ],
)
def test_the_baseline_of_sift_dbt(preset, study, half_open, temperature, queue_size):
    objective, sampler, schedule = configs("medaug", preset)
    assert sampler.model_dump() == {
        "study": study,
        "side": "any",
        "itself": False,
        "p_partner": 0.5,
        "reach": 4,
        "half_open": half_open,
    }
    assert (objective.temperature, objective.queue_size) == (temperature, queue_size)
    assert (schedule.epochs, schedule.batch_size) == (4000, 128)


def test_the_settings_of_medaug_itself():
    objective, sampler, schedule = configs("medaug", "medaug")
    assert sampler == registry().load("sampler", "medaug").Config()  # its rule is our default
    assert (sampler.study, sampler.side, sampler.itself) == ("same", "any", True)
    assert (sampler.p_partner, sampler.reach) == (1.0, 0)
    moco = (objective.temperature, objective.queue_size, objective.momentum, objective.dim)
    assert moco == (0.2, 24_576, 0.999, 128)
    assert objective.momentum_schedule == "constant"
    assert (objective.crop_size, objective.flip, objective.rotation) == (320, 0.5, 10.0)
    assert (objective.p_rotation, objective.p_jitter, objective.p_blur) == (1.0, 0.0, 0.0)
    assert (schedule.epochs, schedule.batch_size, schedule.lr) == (20, 16, 1e-4)
    assert (schedule.optimizer, schedule.weight_decay) == ("adamw", 1e-4)


@pytest.mark.skipif(not PAPER.exists(), reason="the paper's tables are not beside the repository")
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("table", "level", "evaluation_set"),
    [
        ("table1_slice.csv", "slice", "bcs-dbt-sift-test-sub5"),
        ("table3_volume.csv", "volume", "bcs-dbt-sift-test-full"),
    ],
)
def test_reported_rows_are_the_papers(name, table, level, evaluation_set):
    with (PAPER / table).open() as file:
        (row,) = [row for row in csv.DictReader(file) if row["method"] == name]
    (ours,) = [reported for reported in method(name).reported if reported.level == level]
    assert (row["backbone"], int(row["patches"])) == (ours.backbone, ours.patches)
    percent = {k.replace("sp_at_", "sp@"): v for k, v in row.items()}
    assert ours.values == {
        k: float(percent[k]) for k in ("auc", "npv", "nr", "ar", "sp@87", "sp@80")
    }
    assert (ours.protocol, ours.evaluation_set) == ("as-published", evaluation_set)
    assert (ours.finetuner, ours.source) == ("discriminative", f"SIFT-DBT, table {table[5]}")


@pytest.mark.parametrize("name", NAMES)
def test_nothing_else_is_reported(name):
    assert len(method(name).reported) == 2
