"""Rows that were not made alike: one fine-tuning for all, presets that hold, and what ``--strict`` refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from dbtssl.benchmark.resolve import resolve
from dbtssl.benchmark.results.run_record import record_table, write_record
from dbtssl.benchmark.row_conditions import conditions, refuse_unlike
from dbtssl.benchmark.spec.spec_files import load_spec
from dbtssl.benchmark.spec.specification import Spec
from dbtssl.cli.main import main
from dbtssl.config import validate
from dbtssl.errors import ConfigError
from dbtssl.plugins import add_plugin_file, registry
from dbtssl.report.row_differences import differences, unlike_text

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
QUICK, SMOKE = BENCHMARKS / "quick.toml", BENCHMARKS / "smoke.toml"

PLUGIN = """
from dbtssl.api import Method, hookimpl

DBTSSL_API = 1
EAGER = Method(summary="with fine-tuning of its own", finetuner_config={"lr": 0.5, "strategy": "full"})


@hookimpl
def register_components(register):
    register("method", "eager", f"{__name__}:EAGER", EAGER.summary)
"""


def rows_of(**changes):
    data = {
        "name": "toy",
        "backbone": {"name": "cnn7", "args": {"base_channels": 2}},
        "predict": {"patch_size": 64},
        "objective": {"moco-v2": {"crop_size": 64}},
        "data": {"source": "phantom", "phantom": {"patients": 3}},
    }
    return {row.name: row for row in resolve(validate(Spec, data | changes)).rows}


def unlike(rows, name, other="random-init", volumes=100):
    return differences(conditions(rows[name], volumes), conditions(rows[other], volumes))


@pytest.fixture
def eager(tmp_path):
    path = tmp_path / "eager_plugin.py"
    path.write_text(PLUGIN)
    add_plugin_file(path)
    registry.cache_clear()


@pytest.mark.parametrize("finetune", [{}, {"epochs": 3}, {"strategy": "full", "lr": 0.05}])
@pytest.mark.usefixtures("eager")
def test_one_fine_tuning_holds_for_every_row(finetune):
    names = ["random-init", "moco-v2", "sift-dbt", "eager", "simclr"]
    rows = rows_of(
        methods=names, finetune=finetune, method={"simclr": {"objective": {"crop_size": 64}}}
    )
    assert len({row.finetuner.config for row in rows.values()}) == 1
    assert all(not unlike(rows, name) for name in names)


@pytest.mark.usefixtures("eager")
def test_fine_tuning_that_a_method_brings_is_said_and_not_used():
    row = rows_of(methods=["eager"])["eager"]
    assert row.finetuner.config.lr != 0.5
    (said,) = row.told
    assert "proposes fine-tuning of its own (lr 0.5, strategy full), which is not used" in said
    assert "[method.eager.finetune]" in said


def test_the_hundred_epochs_of_the_paper_are_a_key_of_the_row():
    method = {"paper": {"method": "random-init", "preset": "paper"}}
    rows = rows_of(methods=["random-init", "paper"], method=method)
    config = rows["paper"].finetuner.config
    assert (config.strategy, config.epochs) == ("full", 100)
    assert (rows["random-init"].finetuner.config.epochs) == 50
    assert unlike(rows, "paper")["f"] == (
        "finetune.epochs 100 (50)",
        "finetune.strategy full (discriminative)",
    )


def test_a_fine_tuner_of_the_methods_own_keeps_its_settings_and_is_marked():
    rows = rows_of(
        methods=["random-init", "implants-no-labels"],
        finetune={"epochs": 3},
        objective={"implants": {"crop_size": 64}},
    )
    config = rows["implants-no-labels"].finetuner.config
    assert (config.use, config.epochs) == ("head", 3)
    assert unlike(rows, "implants-no-labels")["f"] == (
        "finetuner presence (local-multi-patch)",
        "finetune.use head (none)",
    )


def test_what_else_differs_is_named():
    method = {
        "b": {"method": "moco-v2", "backbone": {"name": "cnn7", "args": {"base_channels": 4}}},
        "c": {"method": "moco-v2", "finetune": {"lr": 0.5}, "pretrain": {"epochs": 4}},
        "d": {"method": "moco-v2", "pretrain": {"slices_per_volume": 2, "epochs": 1}},
    }
    rows = rows_of(
        methods=["random-init", "moco-v2", "b", "c", "d"],
        method=method,
        pretrain={"epochs": 2, "batch_size": 10},
    )
    assert unlike(rows, "moco-v2") == {}  # pretraining is the method
    assert unlike(rows, "b") == {"e": ("backbone.args.base_channels 4 (2)",)}
    assert unlike(rows, "c") == {"f": ("finetune.lr 0.5 (0.08)",)}
    assert unlike(rows, "c", "moco-v2")["i"] == ("400 images (200)",)
    assert unlike_text(unlike(rows, "c", "moco-v2")) == "≠fi"
    assert unlike(rows, "d", "moco-v2") == {}


def test_images_are_those_of_whole_batches():
    """95 volumes: 1 step of 64 an epoch, or 23 of 4."""
    rows = rows_of(
        methods=["moco-v2", "b"],
        method={"b": {"method": "moco-v2", "pretrain": {"batch_size": 4}}},
        pretrain={"epochs": 10, "batch_size": 64},
    )
    assert unlike(rows, "b", "moco-v2", 95) == {"i": ("920 images (640)",)}
    assert unlike(rows, "b", "moco-v2", 6_400) == {}


def test_strict_names_rows_and_keys():
    rows = rows_of(
        methods=["random-init", "moco-v2", "b"],
        method={"b": {"method": "moco-v2", "pretrain": {"epochs": 3}, "finetune": {"lr": 1.0}}},
        pretrain={"epochs": 2},
    )
    made = {name: conditions(row, 200) for name, row in rows.items()}
    refuse_unlike({name: made[name] for name in ("random-init", "moco-v2")})
    with pytest.raises(ConfigError, match="rows differ in more than the method") as caught:
        refuse_unlike(made)
    assert "b: finetune.lr 1.0 (0.08)" in caught.value.message
    with pytest.raises(ConfigError, match=r"b: .*384 images \(256\)"):
        refuse_unlike({"moco-v2": made["moco-v2"], "b": made["b"]})


@pytest.mark.parametrize("plan", [[], ["--plan"]])
def test_strict_refuses_on_the_command_line_before_any_work(tmp_path, capsys, plan):
    arguments = ["benchmark", str(SMOKE), "--out", str(tmp_path / "runs"), "--strict", *plan]
    change = ["--set", "method.random-init.finetune.lr=0.5"]
    with pytest.raises(SystemExit) as left:
        main([*arguments, *change], prog_name="dbtssl")
    assert left.value.code == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "finetune.lr" in said
    assert "random-init" in said
    assert not (tmp_path / "runs" / "store").exists()


@pytest.mark.parametrize("method", ["moco-v2", "inter-slice", "sift-dbt", "medaug"])
def test_a_preset_that_a_row_names_is_what_it_says(method):
    """quick.toml has a queue of 1024, a momentum of 0.99, and AdamW for every row."""
    sets = (f'methods=["{method}"]', f"method.{method}.preset=as-released")
    spec = load_spec(QUICK, assignments=sets)
    kept = {name: row for name, row in spec.method.items() if name in spec.methods}
    (row,) = resolve(spec.model_copy(update={"method": kept})).rows
    objective, schedule = row.objective.config, row.pretrain
    assert (objective.queue_size, objective.momentum, objective.temperature) == (4096, 0.996, 0.5)
    assert objective.momentum_schedule == "cosine"
    assert (schedule.optimizer, schedule.lr, schedule.batch_size) == ("sgd", 0.0075, 128)
    (of_objective, of_schedule) = row.told
    assert of_objective.startswith(f"{method} is not wholly preset as-released of {method}: ")
    assert "[objective.moco-v2] crop_size 64 (preset: 448), blur [0.1,0.5]" in of_objective
    assert "queue_size" not in of_objective
    assert "[pretrain] epochs 40 (preset: 4000)." in of_schedule


def test_what_the_row_itself_changes_of_its_preset_is_said():
    sets = (
        'methods=["moco-v2"]',
        "method.moco-v2.preset=as-released",
        "method.moco-v2.objective.queue_size=512",
        "method.moco-v2.pretrain.lr=0.0075",
    )
    (row,) = resolve(load_spec(SMOKE, assignments=sets)).rows
    assert row.objective.config.queue_size == 512
    said = "\n".join(row.told)
    assert "[method.moco-v2.objective] queue_size 512 (preset: 4096)" in said
    assert "lr" not in said  # as the preset has it


def test_other_pairs_than_the_presets_are_said():
    """Its window of slices was dropped without a word."""
    own = {"method": "inter-slice", "pairs": "same-slice"}
    rows = rows_of(
        methods=["with", "without"],
        method={"with": own | {"preset": "as-released"}, "without": own},
    )
    assert rows["with"].sampler.name == "same-slice"
    (said,) = (x for x in rows["with"].told if "pairs" in x)
    assert said.startswith(
        "with is not wholly preset as-released of inter-slice: [method.with] pairs "
    )
    assert "same-slice" in said
    assert "(preset: " in said
    assert rows["without"].told == ()


def test_a_row_without_a_preset_tells_nothing():
    assert rows_of(methods=["moco-v2"], pretrain={"lr": 0.5})["moco-v2"].told == ()


def test_the_table_marks_the_row_and_tests_nothing(make_run):
    run = make_run("one", {"random-init": 0.0, "alike": 3.0, "other": 3.0})
    rows = rows_of(
        methods=["random-init", "moco-v2", "b"],
        method={"b": {"method": "moco-v2", "finetune": {"lr": 1.0}}},
    )
    made = dict(zip(("random-init", "alike", "other"), map(conditions, rows.values()), strict=True))
    record = run.record.model_copy(
        update={
            "rows": tuple(
                r.model_copy(update={"conditions": made[r.method]}) for r in run.record.rows
            ),
            "told": ("other is not wholly preset x",),
        }
    )
    write_record(record, run.folder)
    table = record_table(record, run.store)
    rows = [r for r in table.rows if r.level == "slice" and r.kind == "method"]
    found = {r.method: r for r in rows if not r.subgroup}
    assert found["alike"].differences["auc"].p_holm < 0.05
    assert found["alike"].unlike == {}
    other = found["other"].differences["auc"]
    assert (other.p, other.p_holm) == (None, None)
    assert other.low is not None
    assert found["other"].unlike == {"f": ("finetune.lr 1.0 (0.08)",)}
    assert any(n.startswith("≠ beside a difference says that the row differs") for n in table.notes)
    assert "other ≠f: finetune.lr 1.0 (0.08); in brackets random-init." in table.notes
    assert "other is not wholly preset x" in table.notes
